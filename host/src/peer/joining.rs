// SPDX-License-Identifier: MIT OR Apache-2.0
//! Joining a server: from its path to the first vector, in the order of the protocol.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use ivshmem::PeerId;

use super::error::{ConnectError, ReceiveError, Step};
use super::link::{Link, Received};
use crate::deadline::Deadline;
use crate::mapping::Mapping;
use crate::session::{Outcome, Session};

/// A connection on which the handshake is done, up to the first vector of its own.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(super) link: Link,
    pub(super) session: Session<Arc<OwnedFd>>,
    pub(super) id: PeerId,
    pub(super) mapping: Mapping,
}

impl Joined {
    /// Joins the server at `path`.
    pub(crate) fn at(path: &Path, deadline: Deadline) -> Result<Self, ConnectError> {
        let mut handshake = Handshake {
            link: Link::open(path, deadline)?,
            session: Session::new(),
            deadline,
        };
        let id = handshake.until(Step::Identity, |outcome| match outcome {
            Outcome::Identity(id) => Some(id),
            _ => None,
        })?;
        let memory = handshake.until(Step::Memory, |outcome| match outcome {
            Outcome::Memory(memory) => Some(memory),
            _ => None,
        })?;
        let mapping = Mapping::of(memory).map_err(ConnectError::Memory)?;
        while handshake.session.own().is_empty() {
            handshake.step(Step::OwnVector)?;
        }
        Ok(Self {
            link: handshake.link,
            session: handshake.session,
            id,
            mapping,
        })
    }
}

/// A connection on which the handshake is under way.
struct Handshake {
    link: Link,
    session: Session<Arc<OwnedFd>>,
    deadline: Deadline,
}

impl Handshake {
    /// Takes in the next message; `step` is what it is waited for.
    fn step(&mut self, step: Step) -> Result<Outcome<Arc<OwnedFd>>, ConnectError> {
        if self.deadline.remaining().is_zero() {
            return Err(ConnectError::Timeout(step));
        }
        match self.link.receive(self.deadline)? {
            Received::Message(message) => {
                Ok(self.session.take(message).map_err(ReceiveError::from)?)
            }
            Received::Nothing => Err(ConnectError::Timeout(step)),
            Received::End => Err(ConnectError::Closed(step)),
        }
    }

    /// Takes in messages until `wanted` finds what it wants in one.
    fn until<T>(
        &mut self,
        step: Step,
        wanted: impl Fn(Outcome<Arc<OwnedFd>>) -> Option<T>,
    ) -> Result<T, ConnectError> {
        loop {
            if let Some(found) = wanted(self.step(step)?) {
                return Ok(found);
            }
        }
    }
}
