// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a party waits for at one half of a connection: [`Attempt`].

use ivshmem::channel::{Broken, Doorbell, Receiver, SendError, Sender, Wait};

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

    /// Returns how often to look before anything else is done.
    pub(super) const fn looks(self) -> u32 {
        match self {
            Self::Doorbell => 1,
            Self::Polling => SPINS,
        }
    }
}

/// Something to be tried again until it succeeds.
pub(crate) trait Attempt {
    type Done;

    /// Tries once more.
    fn again(&mut self) -> Result<Option<Self::Done>, Failure>;

    /// Asks to be woken.
    fn arm(&mut self) -> Result<Wait, Broken>;
}

pub(crate) struct Sending<'a, 'm, B> {
    pub(crate) sender: &'a mut Sender<'m, B>,
    pub(crate) message: &'a [u8],
}

impl<B: Doorbell> Attempt for Sending<'_, '_, B> {
    type Done = ();

    fn again(&mut self) -> Result<Option<()>, Failure> {
        match self.sender.try_send(self.message) {
            Ok(()) => Ok(Some(())),
            Err(SendError::Full) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn arm(&mut self) -> Result<Wait, Broken> {
        self.sender.arm(self.message.len())
    }
}

pub(crate) struct Receiving<'a, 'm, B> {
    pub(crate) receiver: &'a mut Receiver<'m, B>,
    pub(crate) buffer: &'a mut [u8],
}

impl<B: Doorbell> Attempt for Receiving<'_, '_, B> {
    type Done = usize;

    fn again(&mut self) -> Result<Option<usize>, Failure> {
        Ok(self.receiver.try_recv(self.buffer)?)
    }

    fn arm(&mut self) -> Result<Wait, Broken> {
        self.receiver.arm()
    }
}

/// A look at something that whoever rings has changed.
pub(crate) struct Looking<L>(pub(crate) L);

impl<T, L: FnMut() -> Option<T>> Attempt for Looking<L> {
    type Done = T;

    fn again(&mut self) -> Result<Option<T>, Failure> {
        Ok(self.0())
    }

    fn arm(&mut self) -> Result<Wait, Broken> {
        Ok(Wait::UntilRung)
    }
}
