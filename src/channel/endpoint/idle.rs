// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a caller without an executor waits: [`Idle`].

use core::ops::ControlFlow;

use super::Wait;

/// How a caller without an executor waits.
///
/// A closure from [`Wait`] to [`ControlFlow`] is one that sleeps at once; [`Spin`] looks a number of times before. Who has
/// a clock, and spins for as long as a sleep costs, implements it.
pub trait Idle {
    /// Returns whether to look again at once. `looks` counts from 1 how often there was nothing since the last sleep.
    ///
    /// As long as it says so the peer does not ring, and does not pay for looking whether it should.
    fn spins(&mut self, looks: u32) -> bool {
        let _ = looks;
        false
    }

    /// Sleeps as long as `wait` says, or less. To break is to give up.
    ///
    /// It is asked with [`Wait::Ready`] too, so that it can give up however fast the peer is. An interrupt that has come
    /// since it was called last ends the sleep at once.
    fn sleep(&mut self, wait: Wait) -> ControlFlow<()>;
}

impl<F: FnMut(Wait) -> ControlFlow<()>> Idle for F {
    fn sleep(&mut self, wait: Wait) -> ControlFlow<()> {
        self(wait)
    }
}

/// Looks a number of times before it sleeps.
#[derive(Clone, Copy, Debug)]
pub struct Spin<F> {
    /// How often to look in vain before sleeping.
    pub looks: u32,
    /// How to sleep.
    pub sleep: F,
}

impl<F: FnMut(Wait) -> ControlFlow<()>> Idle for Spin<F> {
    fn spins(&mut self, looks: u32) -> bool {
        looks <= self.looks
    }

    fn sleep(&mut self, wait: Wait) -> ControlFlow<()> {
        (self.sleep)(wait)
    }
}
