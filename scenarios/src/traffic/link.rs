// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checked messages with one other member: [`Link`].

use core::fmt;

use ivshmem::channel::{Broken, Doorbell, Endpoint, Name, RecvError, SendError, SlotIndex, Wait};

use super::checked::{compose, examine, LONGEST};
use crate::Failure;

/// How many messages a side may be ahead of what it has received.
const AHEAD: u64 = 32;

/// Where somebody is: slot and incarnation.
pub type Seat = (SlotIndex, u32);

/// A connection to one incarnation of another member.
#[derive(Debug)]
pub struct Link<'m, B> {
    /// Name of the other.
    pub name: Name,
    own: Seat,
    other: Seat,
    endpoint: Endpoint<'m, B>,
    sent: u64,
    received: u64,
    /// What was received when progress was told last.
    told: u64,
}

/// Why a link has ended.
#[derive(Debug)]
pub enum End {
    /// The connection has.
    Broken(Broken),
    /// A message was not the next one.
    Forged(Failure),
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl<'m, B: Doorbell> Link<'m, B> {
    /// Begins the streams of `own` and of the member called `name`, to which `endpoint` leads.
    pub const fn new(own: Seat, slot: SlotIndex, name: Name, endpoint: Endpoint<'m, B>) -> Self {
        Self {
            name,
            own,
            other: (slot, endpoint.incarnation()),
            endpoint,
            sent: 0,
            received: 0,
            told: 0,
        }
    }

    /// Returns the incarnation of the other.
    pub const fn incarnation(&self) -> u32 {
        self.other.1
    }

    /// Receives and sends what it can, within limits, and returns how many messages that was.
    ///
    /// # Errors
    ///
    /// - [`End`]: there is no more to come.
    pub fn exchange(&mut self) -> Result<u64, End> {
        let mut buffer = [0; LONGEST];
        let before = self.sent + self.received;
        for _ in 0..AHEAD {
            let received = self.endpoint.receiver().try_recv(&mut buffer);
            match received {
                Ok(Some(len)) => {
                    let message = buffer.get(..len).unwrap_or_default();
                    examine(seed(self.other), self.received, message).map_err(End::Forged)?;
                    self.received += 1;
                }
                Ok(None) => break,
                Err(RecvError::Broken(broken)) => return Err(broken.into()),
                Err(error) => return Err(End::Forged(error.into())),
            }
        }
        while self.sent < self.received + AHEAD {
            let message = compose(seed(self.own), self.sent, &mut buffer);
            match self.endpoint.sender().try_send(message) {
                Ok(()) => self.sent += 1,
                Err(SendError::Full) => break,
                Err(SendError::Broken(broken)) => return Err(broken.into()),
                Err(error) => return Err(End::Forged(error.into())),
            }
        }
        Ok(self.sent + self.received - before)
    }

    /// Asks to be woken when there is more to receive or to send, and says how long to wait.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end.
    pub fn arm(&mut self) -> Result<Wait, Broken> {
        if self.sent < self.received + AHEAD && self.endpoint.sender().arm(LONGEST)? == Wait::Ready
        {
            return Ok(Wait::Ready);
        }
        self.endpoint.receiver().arm()
    }

    /// Returns whether more has been received since this was asked last.
    pub fn has_news(&mut self) -> bool {
        core::mem::replace(&mut self.told, self.received) != self.received
    }
}

/// As lines for programs have it.
impl<B> fmt::Display for Link<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((_, incarnation), sent, received) = (self.other, self.sent, self.received);
        write!(
            f,
            "peer={} incarnation={incarnation} sent={sent} received={received}",
            self.name
        )
    }
}

/// Returns the seed of the stream of somebody's messages.
pub const fn seed((slot, incarnation): Seat) -> u64 {
    (incarnation as u64) << 16 | slot.0 as u64
}
