// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's inter-VM shared memory device (ivshmem, PCI 1af4:1110) as a model.
//!
//! For authors of VMMs who want to offer it to their guests, for tests of drivers, and, by the command
//! `ivshmem-device proxy`, for a QEMU that has no longer the device's historic form. It is written from what the device does, and
//! shares nothing with the driver in the crate `ivshmem`, so that a mistake in one shows in the other.
//!
//! | device | QEMU | here |
//! | --- | --- | --- |
//! | `ivshmem`, revision 0: MSI-X or INTx, a server or `shm=` | until 2.5 | [`Device`], [`Generation::V2_3`] and [`Generation::V2_5`] |
//! | `ivshmem-plain`: memory alone | since 2.6 | [`Device`], [`Generation::Modern`] |
//! | `ivshmem-doorbell`: memory, doorbells, MSI-X | since 2.6 | [`Device`], [`Generation::Modern`] |
//! | `ivshmem-flat`: no PCI, one line | since 10.0 | [`Flat`] |
//!
//! # How it is embedded
//!
//! The model does no input or output and needs no `std`, only `alloc`. The VMM passes in what happens: accesses of the guest, bytes
//! and descriptors from the server, events of peers. It implements [`Host`], through which the device acts. With feature
//! `std` come sockets, eventfds and mappings for Linux (the module `adapters`), and the proxy.
//!
//! ```
//! use ivshmem_device::{Bar, Device, Properties};
//! # use ivshmem_device::*;
//! # struct Vmm;
//! # struct Fd;
//! # impl Descriptor for Fd {
//! #     fn len_bytes(&self) -> Option<u64> { None }
//! #     fn number(&self) -> i32 { 3 }
//! # }
//! # struct Ram(std::cell::RefCell<Vec<u8>>);
//! # impl Memory for Ram {
//! #     fn len_bytes(&self) -> u64 { self.0.borrow().len() as u64 }
//! #     fn read(&self, offset: u64, bytes: &mut [u8]) {
//! #         bytes.copy_from_slice(&self.0.borrow()[offset as usize..][..bytes.len()]);
//! #     }
//! #     fn write(&self, offset: u64, bytes: &[u8]) {
//! #         self.0.borrow_mut()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
//! #     }
//! # }
//! # impl Host for Vmm {
//! #     type Descriptor = Fd;
//! #     type Memory = Ram;
//! #     fn map(&mut self, _: Fd, _: u64) -> Result<Ram, HostError> { unreachable!() }
//! #     fn listen(&mut self, _: u16, _: &Fd) -> Result<(), HostError> { Ok(()) }
//! #     fn ring(&mut self, _: &Fd) {}
//! #     fn message(&mut self, _: MsiMessage) {}
//! #     fn line(&mut self, _: Level) {}
//! #     fn notice(&mut self, notice: Notice) { eprintln!("{notice}"); }
//! # }
//! # let ram = Ram(vec![0; 1 << 20].into());
//! # let mut vmm = Vmm;
//! let properties = Properties::parse(Generation::Modern, "ivshmem-plain,memdev=ram")?;
//! let mut device = Device::<Vmm>::with_memory(&properties, ram)?;
//! // The guest's firmware gives BAR 2 an address, and its driver writes there.
//! device.write_config(0x18, &0xc000_0000_u32.to_le_bytes(), &mut vmm);
//! let (bar, offset) = device.decode(0xc000_0010).expect("BAR 2 claims it");
//! device.write_bar(bar, offset, b"hello", &mut vmm);
//! # let mut bytes = [0; 5];
//! # device.read_bar(Bar::Memory, 0x10, &mut bytes, &mut vmm);
//! # assert_eq!(&bytes, b"hello");
//! # Ok::<(), PropertyError>(())
//! ```
//!
//! # What differs between the generations
//!
//! | what | [`V2_3`](Generation::V2_3) | [`V2_5`](Generation::V2_5) | [`Modern`](Generation::Modern) |
//! | --- | --- | --- | --- |
//! | first message of the server | own ID | own ID | version 0, then own ID |
//! | a number on the wire | C `long` of the host | C `long` of the host | 8 bytes, little-endian |
//! | set-up | while the guest runs | while the guest runs | before it |
//! | own ID | any bare ID of a peer without eventfds | the first bare ID | the second message |
//! | `IVPosition` is valid | memory is there, its descriptor is not 0 | memory is there | always |
//! | IDs | 0 to 65534 (1) | 0 to 65534 | 0 to 65535 |
//! | second memory | mapped over the first | refused | refused |
//! | memory too small | QEMU ends (2) | refused | creation fails |
//! | bare -1 | ignored | ignored; with `ioeventfd` refused | memory forgotten: refused |
//! | peer leaves | forgotten only with `ioeventfd` | forgotten only with `ioeventfd` | forgotten |
//! | own eventfd cannot be watched | QEMU ends (2) | vector is dead | vector is dead; before the memory, creation fails |
//! | more eventfds than vectors | refused (1) | refused | refused |
//! | doorbell without a server | peer 0 ignored with a [`Notice`] (1) | ignored | ignored |
//! | INTx status of an event | low byte of the counter | low byte of the counter | no INTx |
//! | Interrupt Mask at reset | kept | kept | 0 |
//! | event while MSI-X is off | pending | pending | lost |
//! | `chardev` that is no Unix socket | as if there were none | refused | taken |
//! | master with an ID that is not 0 | | | creation fails |
//! | `size=0` | accepted: no BAR 2 | refused | no such property |
//!
//! (1) Here QEMU 2.3 used memory that was not its own; the model does what 2.5 does. A message that comes in
//! pieces, on which both historic ones aborted, is put together. Unplugging frees everything in all generations.
//!
//! (2) [`Device::receive`] returns the error, and the connection is to be given up.
//!
//! # What the model leaves to others
//!
//! - An event is taken as QEMU takes it in its main loop. With KVM, QEMU lets the kernel deliver (irqfd), which keeps
//!   events while MSI-X is off and does not look at Bus Master; a VMM that does the same follows [`Host::route`].
//! - A message with several descriptors is read as by QEMU 7.2 in all generations: the first one of the last read that
//!   brought any counts, and the others are closed.
//! - Accesses that are not aligned, or wider than 4 bytes, are cut into aligned pieces. What real hypervisors do with
//!   them depends on the accelerator.

#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

#[cfg(feature = "std")]
pub mod adapters;
mod device;
mod flat;
mod generation;
mod host;
mod notice;
mod pci;
pub mod properties;
#[cfg(feature = "std")]
pub mod proxy;
mod registers;
mod server;
mod state;

pub use device::{Bar, Device};
pub use flat::Flat;
pub use generation::Generation;
pub use host::{Descriptor, Host, HostError, Ioeventfd, Level, Memory, MsiMessage};
pub use notice::Notice;
pub use properties::{Kind, Properties, PropertyError, Role, Source};
pub use server::ServerError;
pub use state::{State, StateError};
