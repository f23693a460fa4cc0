// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a party waits: [`Manner`].

use core::ops::ControlFlow;

use ivshmem::channel::{Idle, Wait};

use super::{Party, Side, PATIENCE_NS};
use crate::Failure;

/// Looks at the memory between two looks at the clock.
const SPINS: u32 = 1024;

/// How a side learns that a message or room has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Asleep until a doorbell rings.
    Doorbell,
    /// By looking again and again. Nobody rings.
    Polling,
}

impl Manner {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Doorbell, Self::Polling];

    /// Returns the name in reports and orders.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Doorbell => "doorbell",
            Self::Polling => "polling",
        }
    }

    /// Returns the manner that is called so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|manner| manner.name() == name)
    }
}

/// A party that waits for another, and shows meanwhile that it lives.
pub(super) struct Waiting<'p, 'm, S: Side> {
    party: &'p mut Party<'m, S>,
    manner: Manner,
    looks: u32,
    /// Doorbells heard before the last look.
    heard: u64,
    /// When the other is given up; nothing before the first wait.
    deadline_ns: Option<u64>,
    /// Why the wait was given up.
    failure: Option<Failure>,
}

impl<'p, 'm, S: Side> Waiting<'p, 'm, S> {
    /// Begins before the first look.
    #[inline]
    pub(super) fn new(party: &'p mut Party<'m, S>, manner: Manner) -> Self {
        Self {
            heard: party.side.doorbells(),
            party,
            manner,
            looks: 0,
            deadline_ns: None,
            failure: None,
        }
    }

    /// Returns why the wait was given up.
    pub(super) fn failure(self) -> Failure {
        self.failure
            .unwrap_or_else(|| Failure::from("nobody knows why this wait was given up"))
    }

    /// Does what is due. An error is kept.
    fn tend(&mut self) -> ControlFlow<()> {
        let now_ns = self.party.side.now_ns();
        let deadline_ns = *self.deadline_ns.get_or_insert(now_ns + PATIENCE_NS);
        let tended = match self.party.keep() {
            Ok(()) if now_ns > deadline_ns => Err(Failure::from("the other side is silent")),
            tended => tended,
        };
        self.heed(tended)
    }

    fn heed(&mut self, result: Result<(), Failure>) -> ControlFlow<()> {
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                self.failure = Some(failure);
                ControlFlow::Break(())
            }
        }
    }
}

impl<S: Side> Idle for &mut Waiting<'_, '_, S> {
    fn spins(&mut self, _: u32) -> bool {
        self.looks = self.looks.wrapping_add(1);
        match self.manner {
            Manner::Doorbell => false,
            Manner::Polling => !self.looks.is_multiple_of(SPINS) || self.tend().is_continue(),
        }
    }

    fn sleep(&mut self, wait: Wait) -> ControlFlow<()> {
        if self.failure.is_some() {
            return ControlFlow::Break(());
        }
        self.tend()?;
        let rested = self.party.rest(wait, self.heard);
        self.heard = self.party.side.doorbells();
        self.heed(rested)
    }
}
