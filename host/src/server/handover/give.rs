// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server that is there: it gives, or goes on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{eventfd, EventfdFlags};
use rustix::process::geteuid;

use super::super::desk::Entrance;
use super::super::event::Event;
use super::super::named_file::NamedFile;
use super::super::process::Process;
use super::super::Server;
use super::error::{HandoverError, Objection};
use super::state::{State, FORMAT};
use super::wire::{Wire, WireError, BATCH};
use super::{answer, LIMIT, MAGIC};
use crate::deadline::Deadline;
use crate::eventfd::take;

/// How a handover has ended for the one who gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The new server serves, or will as soon as this one is gone.
    Given,
    /// This one has to go on.
    Kept(HandoverError),
}

impl Server {
    /// Hands over to the process at the other end of `socket`, if it may have that, and says what came of it.
    pub(in super::super) fn cede(&mut self, socket: OwnedFd) -> Event {
        let start = Instant::now();
        let process = Process::behind(&socket);
        let outcome = match process.uid {
            Some(uid) if uid == 0 || uid == geteuid().as_raw() => self.hand_over(socket, LIMIT),
            uid => {
                let error = HandoverError::Forbidden { uid };
                let complaint = serde_json::json!({ "error": error.to_string() });
                // It is told as the desk tells its callers; if it does not listen, that is its loss.
                let wire = Wire::new(socket, Deadline::after(Duration::ZERO));
                let _ = wire.send(format!("{complaint}\n").as_bytes(), &[]);
                Outcome::Kept(error)
            }
        };
        match outcome {
            Outcome::Kept(error) => Event::HandoverFailed(error),
            Outcome::Given => Event::HandedOver {
                pid: process.pid,
                connected: self.clients(),
                took: start.elapsed(),
            },
        }
    }

    /// Gives all that the server has to the process at the other end of `socket`.
    ///
    /// The new server has about `limit` for it. If it is given, nothing may be told to clients any more, and no file be
    /// removed.
    pub(super) fn hand_over(&mut self, socket: OwnedFd, limit: Duration) -> Outcome {
        // Count 1: it can be taken once.
        let token = match eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
            Ok(token) => token,
            Err(error) => {
                return Outcome::Kept(HandoverError::System {
                    step: "create an eventfd",
                    error,
                })
            }
        };
        let mut wire = Wire::new(socket, Deadline::after(limit));
        let error = match self.give(&wire, &token) {
            Ok(()) => return confirm(&mut wire),
            Err(error) => error,
        };
        match error {
            // It has ended, and took nothing along.
            HandoverError::Ended => Outcome::Kept(error),
            _ if take(&token) == Ok(true) => Outcome::Kept(error),
            // It has the token and has not said so yet. Only it knows when it will, or it dies.
            _ => {
                wire.extend(Deadline::after(Duration::MAX));
                match next_answer(&wire) {
                    Ok(answer::TAKEN | answer::SERVING) => confirm(&mut wire),
                    _ => Outcome::Kept(error),
                }
            }
        }
    }

    /// Gives everything, up to the answer that it is taken.
    fn give(&mut self, wire: &Wire, token: &OwnedFd) -> Result<(), HandoverError> {
        let state = serde_json::to_vec(&self.state()).map_err(|_| HandoverError::NotText)?;
        wire.send(&MAGIC, &[])?;
        wire.send(&(state.len() as u64).to_le_bytes(), &[])?;
        wire.send(&state, &[])?;
        expect(wire, answer::NEXT)?;
        let mut batches = self.descriptors(token.as_fd());
        let last = batches.split_off((batches.len() - 1) / BATCH * BATCH);
        for batch in batches.chunks(BATCH) {
            wire.send(&[0], batch)?;
            expect(wire, answer::NEXT)?;
        }
        wire.send(&[0], &last)?;
        expect(wire, answer::TAKEN)
    }

    /// Describes the server as it is.
    fn state(&mut self) -> State {
        State {
            format: FORMAT,
            config: self.config.to_absolute(),
            memory_file: self.memory_file.as_ref().and_then(NamedFile::save),
            started: self.birth.at,
            listener: self.listener.save(),
            entrances: self.desk.entrances().map(Entrance::save).collect(),
            registry: self.registry.save(),
        }
    }

    /// Returns the descriptors in the order of the state, never none.
    fn descriptors<'s>(&'s self, token: BorrowedFd<'s>) -> Vec<BorrowedFd<'s>> {
        let first: [_; State::FIRST] = [token, self.memory.as_fd()];
        first
            .into_iter()
            .chain(self.listener.descriptors())
            .chain(self.desk.entrances().flat_map(Entrance::descriptors))
            .chain(self.registry.descriptors())
            .collect()
    }
}

/// Waits for an answer of the new server, which is to be `wanted`.
fn expect(wire: &Wire, wanted: u8) -> Result<(), HandoverError> {
    let found = next_answer(wire)?;
    if found == wanted {
        return Ok(());
    }
    Err(HandoverError::Refused(
        Objection::from_code(found).unwrap_or(Objection::Contents),
    ))
}

fn next_answer(wire: &Wire) -> Result<u8, WireError> {
    let mut answer = [0];
    wire.receive(&mut answer)?;
    Ok(answer[0])
}

/// Is called when the new server has the token: looks whether it is still there.
fn confirm(wire: &mut Wire) -> Outcome {
    wire.extend(Deadline::after(Duration::ZERO));
    match next_answer(wire) {
        // It has spoken to nobody yet.
        Err(WireError::Ended) => Outcome::Kept(HandoverError::Ended),
        _ => Outcome::Given,
    }
}
