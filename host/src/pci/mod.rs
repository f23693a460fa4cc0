// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ivshmem device of a Linux guest, used by a program in it: no module of one's own is needed.
//!
//! [`Peer::open_pci`](crate::peer::Peer::open_pci) and [`Options::join_pci`](crate::channel::Options::join_pci) open it; here is what can go wrong,
//! and [`find`], which tells where the devices are. `docs/linux-guests.md` is the guide.
//!
//! | the device is bound to | memory and doorbell | being rung | needs |
//! | --- | --- | --- | --- |
//! | no driver | through sysfs (`resource2`, `resource0`) | never: whoever waits looks again and again | root |
//! | `vfio-pci` | through VFIO | each vector by an eventfd | an IOMMU, and the group's file in `/dev/vfio` |
//!
//! Which of the two it is the device's driver decides, and nothing is bound or unbound here. What is turned on to use the device is
//! turned off again when it is dropped.
//!
//! # Caching
//!
//! Neither way offers write-back: the kernel maps BARs uncached. Whether that counts is for the host's processor and kernel to say:
//! under emulation it does not, under KVM it may, and then every access goes to memory. `resource2_wc` (write-combining) is
//! never used: stores through it become visible in another order, and channels rely on their order.

mod address;
mod device;
mod error;
mod ioctl;
mod registers;
mod sysfs;
#[cfg(test)]
mod tests;
mod vfio;

use ivshmem::registers::BLOCK_LEN;

pub use address::{Address, BadAddress};
pub use error::{OpenError, VfioStep};

pub(crate) use device::Device;
use device::{Found, Hold};
use registers::Window;
use sysfs::{Function, Places, VFIO_DRIVER};

use crate::mapping::{MapError, Mapping};
use crate::size::MIN_BYTES;

/// Most vectors that are listened to: a doorbell rings no others.
const MOST_VECTORS: usize = 256;

/// Returns where this machine's ivshmem devices are, ascending.
#[must_use]
pub fn find() -> Vec<Address> {
    sysfs::find_all(&Places::system())
}

/// Opens the device at `address`.
pub(crate) fn open(address: Address) -> Result<Device, OpenError> {
    open_at(&Places::system(), address)
}

fn open_at(places: &Places, address: Address) -> Result<Device, OpenError> {
    let function = Function::find(places, address)?;
    let found = match function.driver() {
        None => by_sysfs(&function)?,
        Some(driver) if driver == VFIO_DRIVER => vfio::open(places, &function)?,
        Some(driver) => return Err(OpenError::OtherDriver { address, driver }),
    };
    Device::new(address, found)
}

/// Takes a function that no driver has.
fn by_sysfs(function: &Function) -> Result<Found, OpenError> {
    let address = function.address;
    let failed = |error| OpenError::Map { address, error };
    let bar = function.bar(2).ok_or(OpenError::NoMemory { address })?;
    let enabled = function.enable()?;
    let memory = function.open("resource2")?;
    let memory = Mapping::part(&memory, 0, bar.bytes).map_err(failed)?;
    let registers = match function.bar(0) {
        Some(bar) if bar.bytes >= BLOCK_LEN => {
            let file = function.open("resource0")?;
            // A mapping begins with the page that the BAR lies in.
            let skip = bar.start % MIN_BYTES;
            let len = skip.saturating_add(bar.bytes).next_multiple_of(MIN_BYTES);
            let mapping = Mapping::part(&file, 0, len).map_err(failed)?;
            let too_small = MapError::TooSmall { bytes: bar.bytes };
            let window = Window::mapped(mapping, skip as usize);
            Some(window.ok_or(failed(too_small))?)
        }
        _ => None,
    };
    Ok(Found {
        flavour: function.flavour()?,
        registers,
        memory,
        vectors: Vec::new(),
        hold: Hold::Sysfs(enabled),
    })
}
