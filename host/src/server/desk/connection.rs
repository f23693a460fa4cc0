// SPDX-License-Identifier: MIT OR Apache-2.0
//! One caller: its request, and the answer on its way.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{recv, shutdown, RecvFlags, Shutdown};

use super::super::sending::send;
use super::request::{Report, MAX_BYTES};
use crate::admin::PATIENCE;
use crate::deadline::Deadline;

/// Bytes thrown away at once of what a caller sends beyond its request.
const WASTE_BYTES: usize = 1 << 14;

/// A connection, from the request to the end of the answer.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    pub(super) stage: Stage,
    /// The longest request there can be, in bytes; at most `MAX_BYTES`.
    max_request: usize,
    deadline: Deadline,
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Stage {
    /// The request has not come whole.
    Reading(Vec<u8>),
    /// The next survey will answer the request.
    Waiting(Report),
    /// The survey under way will answer it.
    Looking(Report),
    /// The answer goes.
    Writing(Answer),
    /// The answer has gone. Closed while something is left unread, a connection over TCP would lose it.
    Ending,
    /// Somebody else will answer the request.
    Ceded,
    /// There is nothing left to do.
    Over,
}

/// An answer, and how much of it has gone.
#[derive(Debug)]
pub(super) struct Answer {
    bytes: Arc<[u8]>,
    sent: usize,
    /// Goes with the first byte.
    descriptor: Option<Arc<OwnedFd>>,
}

impl Answer {
    pub(super) fn new(bytes: impl Into<Arc<[u8]>>, descriptor: Option<Arc<OwnedFd>>) -> Self {
        Self {
            bytes: bytes.into(),
            sent: 0,
            descriptor,
        }
    }
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, max_request: usize) -> Self {
        Self {
            socket,
            stage: Stage::Reading(Vec::new()),
            max_request,
            deadline: Deadline::after(PATIENCE),
        }
    }

    /// Returns what to poll for.
    pub(super) fn interest(&self) -> PollFd<'_> {
        let events = match self.stage {
            Stage::Reading(_) | Stage::Ending => PollFlags::IN,
            Stage::Writing(_) => PollFlags::OUT,
            Stage::Waiting(_) | Stage::Looking(_) | Stage::Ceded | Stage::Over => {
                PollFlags::empty()
            }
        };
        PollFd::new(&self.socket, events)
    }

    /// Returns the socket, for somebody else.
    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over) || self.deadline.remaining().is_zero()
    }

    /// Takes note of the events that a poll has found, and returns whether more has come of the request.
    pub(super) fn notice(&mut self, events: PollFlags) -> bool {
        if events.is_empty() {
            return false;
        }
        match &self.stage {
            Stage::Reading(_) => return self.read(),
            Stage::Writing(_) => self.write(),
            Stage::Ending => self.end(),
            // Only a hang-up or an error is told of here.
            Stage::Waiting(_) | Stage::Looking(_) => self.stage = Stage::Over,
            Stage::Ceded | Stage::Over => {}
        }
        false
    }

    /// Starts to send `answer`.
    pub(super) fn answer(&mut self, answer: Answer) {
        self.stage = Stage::Writing(answer);
        self.write();
    }

    /// Reads what is there of the request, and returns whether that is anything.
    pub(super) fn read(&mut self) -> bool {
        let Stage::Reading(sent) = &mut self.stage else {
            return false;
        };
        let mut piece = [0; MAX_BYTES];
        let (space, _) = piece.split_at_mut(self.max_request.saturating_sub(sent.len()));
        match recv(&self.socket, space, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => false,
            Ok((0, _)) | Err(_) => {
                self.stage = Stage::Over;
                false
            }
            Ok((received, _)) => {
                sent.extend_from_slice(piece.get(..received).unwrap_or_default());
                true
            }
        }
    }

    /// Sends what can be sent without waiting.
    fn write(&mut self) {
        let Stage::Writing(answer) = &mut self.stage else {
            return;
        };
        while let Some(rest) = answer
            .bytes
            .get(answer.sent..)
            .filter(|rest| !rest.is_empty())
        {
            let descriptor = answer
                .descriptor
                .as_ref()
                .map(|descriptor| descriptor.as_fd());
            match send(self.socket.as_fd(), rest, descriptor) {
                Ok(sent) => {
                    answer.sent += sent;
                    answer.descriptor = None;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.stage = Stage::Over;
                    return;
                }
            }
        }
        self.stage = match shutdown(&self.socket, Shutdown::Write) {
            Ok(()) => Stage::Ending,
            Err(_) => Stage::Over,
        };
    }

    /// Throws away what is there, up to the caller's end of the connection.
    fn end(&mut self) {
        let mut waste = [0; WASTE_BYTES];
        match recv(&self.socket, &mut waste[..], RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok((received, _)) if received > 0 => {}
            Ok(_) | Err(_) => self.stage = Stage::Over,
        }
    }
}
