// SPDX-License-Identifier: MIT OR Apache-2.0
//! What other hypervisors' ivshmem devices do differently from QEMU's.
//!
//! | hypervisor | what differs | what the driver does | source |
//! | --- | --- | --- | --- |
//! | ACRN, in the hypervisor | registers take aligned 32-bit accesses only; IDs are VM numbers, so not dense; an event for a masked vector is dropped | all accesses are such; nothing counts on dense IDs; look at memory again after `unmask` | ACRN `hypervisor/dm/vpci/ivshmem.c` |
//! | ACRN, in the device model | no register BAR | `Resources::registers` is `None`; what needs registers is an error that says so | ACRN `devicemodel/hw/pci/ivshmem.c` |
//! | cloud-hypervisor | registers read 0, writes only warn; no MSI-X | looks like `ivshmem-plain`, which has neither ID nor doorbell | cloud-hypervisor `devices/src/ivshmem.rs` |
//! | StratoVirt | MSI-X, but register writes have no effect and `IVPosition` reads 0 | [`Quirks::INERT_REGISTERS`], set by the caller: nothing in configuration space tells it from QEMU | StratoVirt `devices/src/misc/ivshmem.rs` |

use bitflags::bitflags;

bitflags! {
    /// Differences that a device does not tell of, for [`attach_with`](crate::attach_with()) and [`Parts`](crate::Parts).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Quirks: u32 {
        /// Registers read 0 and ignore writes: there is no ID and no doorbell, whatever the
        /// revision and MSI-X say. Interrupts raised by the host still arrive.
        const INERT_REGISTERS = 1;
    }
}
