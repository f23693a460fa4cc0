// SPDX-License-Identifier: MIT OR Apache-2.0
//! A listening socket for callers, with their connections.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::super::turns::RETRY_INTERVAL;
use super::connection::{Answer, Connection, Stage};
use super::entrance::Entrance;
use super::report::Documents;
use super::request::{json, Dialect, Report, Request};
use super::{http, Subject, ACCEPTS_EACH_PASS};
use crate::admin::MAX_CONNECTIONS;
use crate::deadline::Deadline;

/// A door and those who came through it, the oldest first.
#[derive(Debug)]
pub(super) struct Door {
    entrance: Entrance,
    dialect: Dialect,
    connections: VecDeque<Connection>,
    /// Set while no connection can be accepted, most likely for want of descriptors: polling would spin.
    closed_until: Option<Deadline>,
}

/// What comes with the descriptor of the memory.
#[derive(Serialize)]
struct MemoryNote {
    bytes: u64,
}

impl Door {
    pub(super) fn new(entrance: Entrance) -> Self {
        Self {
            dialect: match entrance {
                Entrance::Unix(_) => Dialect::Line,
                Entrance::Tcp(_) => Dialect::Http,
            },
            entrance,
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
        let entrance = std::iter::once(PollFd::new(&self.entrance, events));
        entrance.chain(self.connections.iter().map(Connection::interest))
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
        stages.any(|stage| matches!(stage, Stage::Waiting(_)))
    }

    pub(super) fn note_survey_begun(&mut self) {
        for connection in &mut self.connections {
            if let Stage::Waiting(report) = connection.stage {
                connection.stage = Stage::Looking(report);
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
            if connection.notice(events) {
                take_up(connection, self.dialect, subject);
            }
        }
        self.connections.retain(|connection| !connection.is_over());
        let opens = self
            .closed_until
            .is_some_and(|until| until.remaining().is_zero());
        if opens || !knocks.is_empty() {
            self.closed_until = None;
            self.accept(subject);
        }
    }

    /// Returns the connection of one who asks for a handover.
    pub(super) fn take_ceded(&mut self) -> Option<OwnedFd> {
        let index = self
            .connections
            .iter()
            .position(|connection| matches!(connection.stage, Stage::Ceded))?;
        self.connections.remove(index).map(Connection::into_socket)
    }

    pub(super) const fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    /// Leaves the socket to another process.
    pub(super) fn disown(self) {
        self.entrance.disown();
    }

    /// Lets a few in.
    fn accept(&mut self, subject: &Subject<'_>) {
        for _ in 0..ACCEPTS_EACH_PASS {
            match self.entrance.accept() {
                Ok(socket) => {
                    if self.connections.len() >= MAX_CONNECTIONS {
                        self.connections.pop_front();
                    }
                    let mut connection = Connection::new(socket, self.dialect.max_bytes());
                    // Most have made their request by now, and then nobody can push them out.
                    if connection.read() {
                        take_up(&mut connection, self.dialect, subject);
                    }
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

    /// Sends those for whom the status was looked up what they asked for.
    pub(super) fn answer(&mut self, documents: &mut Documents) {
        for connection in &mut self.connections {
            let Stage::Looking(report) = connection.stage else {
                continue;
            };
            let text = match report {
                Report::Status => documents.status(),
                Report::Metrics => documents.metrics(),
            };
            let bytes = match self.dialect {
                Dialect::Line => text,
                Dialect::Http => http::metrics(&text).into(),
            };
            connection.answer(Answer::new(bytes, None));
        }
    }
}

/// Does what a caller asks for, or tells it what is wrong, if its request is complete.
fn take_up(connection: &mut Connection, dialect: Dialect, subject: &Subject<'_>) {
    let Stage::Reading(sent) = &connection.stage else {
        return;
    };
    match dialect.parse(sent) {
        None => {}
        Some(Ok(Request::Report(report))) => connection.stage = Stage::Waiting(report),
        Some(Ok(Request::Handover)) => connection.stage = Stage::Ceded,
        Some(Ok(Request::Memory)) => {
            let note = MemoryNote {
                bytes: subject.config.size_bytes,
            };
            let memory = Arc::clone(subject.memory);
            connection.answer(Answer::new(json(&note), Some(memory)));
        }
        Some(Err(refusal)) => connection.answer(Answer::new(refusal, None)),
    }
}
