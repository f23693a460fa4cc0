// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests A and B and this process, on one region of shared memory.
//!
//! The server and the host peer run in this process; each guest is the release kernel in a QEMU of its own. Whatever
//! ends a [`Stage`], also Ctrl-C, ends everything that it started.

mod error;
mod guests;
mod host;
mod interrupt;
mod stage;

pub use error::PartyError;
pub use guests::Guests;
pub use host::{HostBell, HostSide};
pub use interrupt::Interrupt;
pub use stage::{Stage, VECTORS};
