// SPDX-License-Identifier: MIT OR Apache-2.0
//! A model lent to QEMU: the remote side of `x-pci-proxy-dev` (measured on QEMU 7.2).
//!
//! No QEMU since 4.0 has the historic device, but QEMU can be given a PCI device by another process: it forwards what the
//! guest does over a Unix socket. [`Remote`] is the other end of that socket, with a [`Device`](crate::Device) behind
//! it. The command `ivshmem-device proxy` of this package is a loop around it.
//!
//! ```no_run
//! use std::os::unix::net::UnixStream;
//!
//! use ivshmem_device::adapters::Protocol;
//! use ivshmem_device::proxy::{Remote, Report, Status};
//! use ivshmem_device::{Generation, Properties};
//! use rustix::event::{poll, PollFd, PollFlags};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = "ivshmem,chardev=/run/ivshmem.sock,size=1M,msi=off,use64=0";
//! let properties = Properties::parse(Generation::V2_5, text)?;
//! let (ours, qemus) = UnixStream::pair()?;
//! // Start QEMU with `qemus` inherited as descriptor N, and `-device x-pci-proxy-dev,fd=N`; close it here.
//! # drop(qemus);
//! let report = |what: Report| eprintln!("{what}");
//! let mut remote = Remote::open(&properties, Protocol::Version0, ours.into(), report)?;
//! while remote.handle()? == Status::Plugged {
//!     poll(&mut [PollFd::new(&remote, PollFlags::IN)], None)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Messages
//!
//! A header of 16 bytes (command as `i32`, 4 bytes of padding, payload size as `u64`, all little-endian) and a payload;
//! descriptors ride beside the header.
//!
//! | command | from | payload | descriptors | answer |
//! | --- | --- | --- | --- | --- |
//! | 0 the guest's memory | QEMU | 192 bytes | 0 to 8, closed at once | none |
//! | 1 answer | remote | `u64`, or nothing after a reset | | |
//! | 2, 3 write, read configuration space | QEMU | `u32` offset, `u32` value, `i32` length | | 0, value |
//! | 4, 5 write, read a BAR | QEMU | `u64` bus address, `u64` value, `u32` length, `u8` 1 for memory, padding | | 0, value |
//! | 6 interrupt | QEMU | none | 2: eventfds to interrupt by, and to learn of the end of an interrupt by | none |
//! | 7 reset | QEMU | none | | nothing |
//!
//! # Limits of QEMU 7.2
//!
//! - No MSI and no MSI-X, and no line either without KVM: [`check`] refuses a device with MSI-X.
//! - BARs have 32 bits: [`check`] refuses `use64=1` (the upper half would become an I/O BAR) and 2 GiB or more.
//! - Shared memory is not mapped but trapped: some 10 microseconds for an access, and an atomic operation of the guest is a
//!   read and then a write. It is a device to test drivers with.
//! - No migration.

mod check;
mod error;
mod line;
mod link;
mod message;
mod parser;
mod remote;

pub use check::{check, Unsuitable};
pub use error::{LinkError, RemoteError};
pub use message::{Reply, Request, RequestError, Space, HEADER_LEN};
pub use parser::Parser;
pub use remote::{Remote, Report, Status};
