// SPDX-License-Identifier: MIT OR Apache-2.0
//! A listening socket for callers, with their connections.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::super::socket::Listener;
use super::super::turns::RETRY_INTERVAL;
use super::connection::{Answer, Connection, Stage};
use super::request::{self, Request};
use super::{Subject, ACCEPTS_EACH_PASS};
use crate::admin::{Status, MAX_CONNECTIONS};
use crate::deadline::Deadline;

/// A door and those who came through it, the oldest first.
#[derive(Debug)]
pub(super) struct Door {
    listener: Listener,
    connections: VecDeque<Connection>,
    /// Set while no connection can be accepted, most likely for want of descriptors: polling would spin.
    closed_until: Option<Deadline>,
}

/// The answer to a wrong request.
#[derive(Serialize)]
struct Complaint {
    error: String,
}

/// What comes with the descriptor of the memory.
#[derive(Serialize)]
struct MemoryNote {
    bytes: u64,
}

impl Door {
    pub(super) fn new(listener: Listener) -> Self {
        Self {
            listener,
            connections: VecDeque::new(),
            closed_until: None,
        }
    }

    /// Returns what to poll for.
    pub(super) fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let events = match self.closed_until {
            None => PollFlags::IN,
            Some(_) => PollFlags::empty(),
        };
        let listener = std::iter::once(PollFd::new(&self.listener, events));
        listener.chain(self.connections.iter().map(Connection::interest))
    }

    /// Returns how long the loop may sleep for the door's sake.
    pub(super) fn patience(&self) -> Option<Duration> {
        let connections = self.connections.iter().map(Connection::deadline);
        connections
            .chain(self.closed_until)
            .map(Deadline::remaining)
            .min()
    }

    /// Returns whether somebody's answer needs a survey that has not begun.
    pub(super) fn wants_survey(&self) -> bool {
        let mut stages = self.connections.iter().map(|connection| &connection.stage);
        stages.any(|stage| matches!(stage, Stage::Waiting))
    }

    pub(super) fn note_survey_begun(&mut self) {
        for connection in &mut self.connections {
            if matches!(connection.stage, Stage::Waiting) {
                connection.stage = Stage::Looking;
            }
        }
    }

    /// Does what the `events` of a poll for [`Door::interests`] allow.
    pub(super) fn serve(
        &mut self,
        events: &mut impl Iterator<Item = PollFlags>,
        subject: &Subject<'_>,
    ) {
        let knocks = events.next().unwrap_or(PollFlags::empty());
        for (connection, events) in self.connections.iter_mut().zip(events) {
            let request = connection.notice(events).and_then(request::parse);
            take_up(connection, request, subject);
        }
        self.connections.retain(|connection| !connection.is_over());
        if self
            .closed_until
            .is_some_and(|until| until.remaining().is_zero())
        {
            self.closed_until = None;
        } else if knocks.is_empty() {
            return;
        }
        self.accept(subject);
    }

    /// Lets a few in.
    fn accept(&mut self, subject: &Subject<'_>) {
        for _ in 0..ACCEPTS_EACH_PASS {
            match self.listener.accept() {
                Ok(socket) => {
                    if self.connections.len() >= MAX_CONNECTIONS {
                        self.connections.pop_front();
                    }
                    let mut connection = Connection::new(socket);
                    // Most have made their request by now, and then nobody can push them out.
                    let request = connection.read().and_then(request::parse);
                    take_up(&mut connection, request, subject);
                    self.connections.push_back(connection);
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.closed_until = Some(Deadline::after(RETRY_INTERVAL));
                    return;
                }
            }
        }
    }

    /// Sends `status` to those for whom it was looked up.
    pub(super) fn answer(&mut self, status: &Status) {
        let mut document: Option<Arc<[u8]>> = None;
        for connection in &mut self.connections {
            if matches!(connection.stage, Stage::Looking) {
                let document = document.get_or_insert_with(|| line(status).into());
                connection.answer(Answer::new(Arc::clone(document), None));
            }
        }
    }
}

/// Does what a caller asks for, or tells it what is wrong, if anything has come that says which.
fn take_up(
    connection: &mut Connection,
    request: Option<Result<Request, request::Mistake>>,
    subject: &Subject<'_>,
) {
    match request {
        None => {}
        Some(Ok(Request::Status)) => connection.stage = Stage::Waiting,
        Some(Ok(Request::Memory)) => {
            let note = MemoryNote {
                bytes: subject.config.size_bytes,
            };
            let memory = Arc::clone(subject.memory);
            connection.answer(Answer::new(line(&note), Some(memory)));
        }
        Some(Err(mistake)) => {
            let complaint = Complaint {
                error: mistake.to_string(),
            };
            connection.answer(Answer::new(line(&complaint), None));
        }
    }
}

/// Renders `document` as a line of JSON.
fn line(document: &impl Serialize) -> Vec<u8> {
    // What is rendered here has only text for keys, so it cannot fail; if it did, the caller would get an empty line.
    let mut bytes = serde_json::to_vec(document).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
