// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a party needs of the guest or process that it runs in: [`Side`].

use core::fmt;

use ivshmem::channel::Doorbell;
use ivshmem::PeerId;

use crate::Failure;

/// A guest or a process of the host.
pub trait Side {
    /// How others are woken.
    type Bell: Doorbell + Clone + fmt::Debug;

    /// Returns the doorbell.
    fn bell(&self) -> Self::Bell;

    /// Returns where this side is rung, and how many vectors it listens to; nothing if it cannot be rung.
    fn device(&self) -> Option<(PeerId, u16)>;

    /// Returns how many doorbells have been heard so far, on all vectors.
    fn doorbells(&self) -> u64;

    /// Sleeps until more doorbells than `heard` have come, which may be so already, or until `until_ns` is over.
    ///
    /// # Errors
    ///
    /// The side cannot sleep.
    fn sleep(&self, heard: u64, until_ns: u64) -> Result<(), Failure>;

    /// Returns the time in nanoseconds from some fixed point.
    fn now_ns(&self) -> u64;

    /// Returns an error if whatever goes on shall end.
    ///
    /// # Errors
    ///
    /// Why.
    fn check(&self) -> Result<(), Failure>;

    /// Shows a line to people and programs.
    fn show(&self, line: fmt::Arguments<'_>);
}
