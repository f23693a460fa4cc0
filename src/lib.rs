// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest driver for QEMU's inter-VM shared memory device, for kernels.
//!
//! `ivshmem` (PCI 1af4:1110) gives several virtual machines, and processes of their
//! host, one region of shared memory and doorbells that interrupt each other.
//! This crate drives it from bare metal: no `std`, no allocation, stable Rust.
//!
//! ```no_run
//! use ivshmem::pci::{ConfigSpace, PortCam};
//! use ivshmem::{PeerId, VectorIndex};
//! # use core::ptr::NonNull;
//! # use ivshmem::{CachePolicy, MsiMessage, PhysRegion, Platform};
//! # struct MyPlatform;
//! # // SAFETY: never run.
//! # unsafe impl Platform for MyPlatform {
//! #     type Error = ();
//! #     fn map(&mut self, _: PhysRegion, _: CachePolicy) -> Result<NonNull<u8>, ()> { Err(()) }
//! #     unsafe fn unmap(&mut self, _: NonNull<u8>, _: PhysRegion) {}
//! #     fn msi(&mut self, _: VectorIndex) -> Result<Option<MsiMessage>, ()> { Ok(None) }
//! # }
//! # let mut platform = MyPlatform;
//! // SAFETY: ring 0, and nobody else uses ports 0xcf8 and 0xcfc at boot.
//! let ports = unsafe { PortCam::new() };
//! // SAFETY: one CPU, and no driver has claimed the device yet.
//! let config = unsafe { ConfigSpace::new(ports) };
//! let function = ivshmem::pci::find(&config).next().ok_or("no ivshmem device")?;
//! let device = ivshmem::attach(&function, &mut platform).map_err(|_| "cannot attach")?;
//!
//! device.memory().write(0x1000, b"hello").map_err(|_| "too small")?;
//! device.ring(PeerId(1), VectorIndex(0)).map_err(|_| "no doorbell")?;
//! # Ok::<(), &str>(())
//! ```
//!
//! `MyPlatform` is the kernel's side: the [`Platform`] trait, three methods that map memory
//! and hand out interrupts.
//!
//! # Scope and limits
//!
//! - `ivshmem-plain` and `ivshmem-doorbell` of QEMU 2.6 and later, the `ivshmem` device before them (revision 0,
//!   MSI-X or INTx), and `ivshmem-flat`: one type, [`Ivshmem`]; what a [`Flavour`] lacks is an error that names it.
//!   Other hypervisors' differences are in [`quirks`]. Revision 0 exists in no QEMU since 4.0: it is
//!   tested on a model of the device, in process and lent to QEMU. `ivshmem-flat` (QEMU 10.0) is tested on the model alone.
//! - PCI by port 0xcf8 or ECAM, behind any bridges, with BARs from firmware or from [`pci::assign()`].
//! - The driver neither allocates interrupt vectors nor registers handlers: kernels differ too much.
//! - What the bytes of the memory mean is up to the peers; [`channel`] is a way to agree on it.
//! - Run on x86-64 only; nothing but `pci::PortCam` and the choice of a copy routine is specific to it.
//!
//! # Layers
//!
//! | layer | modules | enter here if |
//! | --- | --- | --- |
//! | 3 channel | [`channel`] | you have shared memory: of a guest's device, or mapped by a host process |
//! | 2 device | [`Ivshmem`], [`registers`], [`memory`], [`interrupt`] | your kernel enumerates PCI and maps BARs itself: build [`Parts`] |
//! | 1 PCI | [`pci`], [`attach()`] | it does not: implement [`Platform`] and call [`attach()`] |
//! | 0 MMIO | [`mmio`] | registers are not reached by plain loads and stores: implement [`Registers`] |
//!
//! # Safety
//!
//! The other side of the memory is taken to be hostile. Shared memory is never a
//! Rust reference but [`SharedMemory`], with checked copies and atomics; nothing
//! read from a device is trusted as a length, an index or an enum; nothing here panics or
//! loops without bound. `unsafe` stands in the constructors, where the kernel
//! promises what only it can know, and in `mmio`, `memory` and the access to configuration space.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `embedded-io-06` and `embedded-io-07`: byte streams of channels as readers and writers of `embedded-io` and
//!   `embedded-io-async` 0.6 and 0.7; for the latter Rust 1.81 is needed.
//! - `log`: a line through the `log` facade when a device is attached.
//! - `std`: `std::error::Error` for this crate's errors, and `std::io` for byte streams of channels, for programs on a host.
//! - `zerocopy`: typed fields of the shared memory, [`SharedMemory`]'s `read_value` and `write_value`.

#![no_std]
#![deny(unsafe_code)]
#![deny(clippy::must_use_candidate)]
#![warn(clippy::missing_const_for_fn)]

#[cfg(feature = "std")]
extern crate std;

mod attach;
pub mod channel;
mod device;
#[cfg(feature = "std")]
mod error;
pub mod interrupt;
mod intx;
pub mod memory;
pub mod mmio;
pub mod pci;
mod platform;
pub mod quirks;
pub mod registers;

pub use attach::{attach, attach_with, AttachError, Attached};
pub use device::{DeviceError, Feature, Flavour, Interrupts, Ivshmem, Parts};
pub use interrupt::{MsiMessage, MsixTable, VectorError, MAX_VECTORS};
pub use intx::Intx;
pub use memory::{AccessError, CopyStrategy, SharedMemory};
pub use mmio::{MmioRegion, Registers};
pub use platform::{CachePolicy, PhysRegion, Platform};
pub use quirks::Quirks;
pub use registers::{InterruptStatus, PeerId, VectorIndex};

/// The guide to channels, whose code compiles.
#[cfg(doctest)]
#[doc = include_str!("../docs/channels.md")]
struct ChannelsGuide;
