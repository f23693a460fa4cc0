// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the server is asked about itself, within its loop.
//!
//! There may be two doors: the admin socket, and metrics over HTTP. Nobody who asks, or does not, may hold up the
//! clients, so there is a bound to everything, for each door:
//!
//! | a caller that | costs |
//! | --- | --- |
//! | sends nothing, or does not read its answer | one of [`MAX_CONNECTIONS`] places for [`PATIENCE`](crate::admin::PATIENCE), or until it is the oldest and another comes |
//! | sends without end | the longest request there is; the rest is thrown away unread |
//! | asks again and again | one survey at a time, in pieces (see [`survey`](super::survey)), and one document for all who wait for it |
//! | connects a thousand times | [`ACCEPTS_EACH_PASS`] in each pass of the loop, and the oldest give way |

mod connection;
mod door;
mod entrance;
mod http;
mod report;
mod request;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags};

use super::registry::Registry;
use super::survey::{Progress, Survey};
use super::{ClientLimit, Config};
use crate::admin::MAX_CONNECTIONS;
use door::Door;
use report::Documents;

pub(super) use entrance::{Entrance, EntranceParts};

/// Connections accepted at one door in one pass of the loop.
const ACCEPTS_EACH_PASS: usize = 8;

/// Descriptors of the admin socket: the listener, its lock, the connections, and one that is just being opened.
pub(super) const ADMIN_DESCRIPTORS: u64 = MAX_CONNECTIONS as u64 + 3;

/// Descriptors for metrics over TCP: the listener, the connections, and one that is just being opened.
pub(super) const METRICS_DESCRIPTORS: u64 = MAX_CONNECTIONS as u64 + 2;

/// What there is to be asked about.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) config: &'a Config,
    pub(super) birth: Birth,
    pub(super) client_limit: ClientLimit,
    pub(super) memory: &'a Arc<OwnedFd>,
    pub(super) registry: &'a mut Registry,
}

/// When a server started, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    pub(super) at: SystemTime,
    pub(super) since: Instant,
}

impl Birth {
    pub(super) fn now() -> Self {
        Self {
            at: SystemTime::now(),
            since: Instant::now(),
        }
    }

    /// The birth of one that started at this time, in another process.
    pub(super) fn at(at: SystemTime) -> Self {
        let age = at.elapsed().unwrap_or_default();
        let now = Instant::now();
        Self {
            at,
            since: now.checked_sub(age).unwrap_or(now),
        }
    }
}

/// The doors that callers come through, and what is being looked up for them.
#[derive(Debug)]
pub(super) struct Desk {
    doors: Vec<Door>,
    survey: Option<Survey>,
}

impl Desk {
    pub(super) fn new(entrances: impl IntoIterator<Item = Entrance>) -> Self {
        Self {
            doors: entrances.into_iter().map(Door::new).collect(),
            survey: None,
        }
    }

    /// Returns the connection of one who asks for a handover.
    pub(super) fn take_ceded(&mut self) -> Option<OwnedFd> {
        self.doors.iter_mut().find_map(Door::take_ceded)
    }

    /// Returns the listening sockets.
    pub(super) fn entrances(&self) -> impl Iterator<Item = &Entrance> {
        self.doors.iter().map(Door::entrance)
    }

    /// Leaves the sockets to another process.
    pub(super) fn disown(self) {
        self.doors.into_iter().for_each(Door::disown);
    }

    /// Returns what to poll for.
    pub(super) fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.doors.iter().flat_map(Door::interests)
    }

    /// Returns how long the loop may sleep for all that the desk has to do; `None` for as long as nothing happens.
    pub(super) fn patience(&self) -> Option<Duration> {
        if self.survey.is_some() || self.doors.iter().any(Door::wants_survey) {
            return Some(Duration::ZERO);
        }
        self.doors.iter().filter_map(Door::patience).min()
    }

    /// Does what the `events` of a poll for [`Desk::interests`] allow, and a piece of what is under way.
    pub(super) fn serve(
        &mut self,
        events: &mut impl Iterator<Item = PollFlags>,
        subject: &mut Subject<'_>,
    ) {
        for door in &mut self.doors {
            door.serve(events, subject);
        }
        self.look(subject);
    }

    /// Goes on with the survey, or begins one if somebody waits for it; at its end all who did get their answers.
    ///
    /// Whoever asks while one is under way gets the next, which sees what was rung before the request.
    fn look(&mut self, subject: &mut Subject<'_>) {
        if self.survey.is_none() && self.doors.iter().any(Door::wants_survey) {
            self.doors.iter_mut().for_each(Door::note_survey_begun);
            self.survey = Some(subject.registry.begin_survey());
        }
        let Some(survey) = &mut self.survey else {
            return;
        };
        if subject.registry.survey(survey) == Progress::Done {
            self.survey = None;
            let mut documents = Documents::new(report::status(subject));
            for door in &mut self.doors {
                door.answer(&mut documents);
            }
        }
    }
}
