// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pings themselves: sent at their times, and told of as they come back.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::{self, Broken};
use ivshmem_host::channel::{Channels, ConnectError, Connection, Neighbour, RecvError};

use super::message::{Answer, Messages};
use super::report::Report;
use crate::command::interrupt::Interrupt;
use crate::command::output::Reader;
use crate::command::target::{Member, Target};
use crate::command::Failure;

/// How often Ctrl-C is looked for, and a member that is not there.
const GLANCE: Duration = Duration::from_millis(50);

/// How long the first message may take, by which the member learns that it is pinged. It is not counted.
const GREETING: Duration = Duration::from_secs(1);

/// How long to wait for answers after the last message.
const LINGER: Duration = Duration::from_secs(1);

/// After which time a flood goes on without an answer.
const FLOOD: Duration = Duration::from_millis(10);

/// How long a message is held back until there is room for it, and how often to try. After that it counts as lost.
const HOLD: Duration = Duration::from_secs(1);
const HELD_GLANCE: Duration = Duration::from_millis(1);

/// Most messages that an answer is expected to.
const MOST_OUTSTANDING: usize = 1 << 16;

/// When messages are sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    Every(Duration),
    /// At each answer.
    Flood,
}

/// What has come of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// It is under way, or lost because nobody is there.
    Done,
    /// There is no room for it yet.
    NoRoom,
}

/// What goes on.
pub(super) struct Course<'c> {
    pub(super) channels: &'c Channels,
    pub(super) target: Target,
    pub(super) messages: Messages,
    pub(super) pace: Pace,
    pub(super) count: Option<u64>,
    /// When all ends, whatever is missing.
    pub(super) deadline: Option<Instant>,
    pub(super) interrupt: &'c Interrupt,
    pub(super) report: Report,
    /// The one that is pinged now, or was last.
    pub(super) peer: Neighbour,
    pub(super) connection: Option<Connection>,
    /// Whether the member shows no sign of life, and that was told.
    pub(super) is_missed: bool,
    /// Messages that an answer is expected to, and when they were sent.
    pub(super) outstanding: VecDeque<(u64, Instant)>,
}

impl Course<'_> {
    /// Pings until it is enough.
    pub(super) fn run(&mut self) -> Result<(), Failure> {
        self.connect()?;
        let mut next = Instant::now();
        // Since when a message is held back because there is no room for it.
        let mut held = None;
        loop {
            let now = Instant::now();
            let is_last = self.count.is_some_and(|count| self.report.sent >= count);
            if self.is_over(now) || (is_last && (self.outstanding.is_empty() || now >= next)) {
                return Ok(());
            }
            let is_due = match self.pace {
                Pace::Every(_) => now >= next,
                Pace::Flood => self.outstanding.is_empty() || now >= next,
            };
            if !is_last && is_due {
                let give_up = *held.get_or_insert(now) + HOLD <= now;
                if self.send()? == Sent::Done || give_up {
                    self.report.sent += 1;
                    held = None;
                    next = self.next_after(now, next);
                }
            }
            let until = self.deadline.map_or(next, |deadline| next.min(deadline));
            let mut rest = until.saturating_duration_since(Instant::now());
            if held.is_some() {
                // An answer makes room, and so may the member without one.
                rest = HELD_GLANCE;
            }
            if self.receive(rest.min(GLANCE))? == Reader::Gone {
                return Ok(());
            }
        }
    }

    /// Returns when something is due again after a message was sent `now`.
    fn next_after(&self, now: Instant, due: Instant) -> Instant {
        let is_last = self.count.is_some_and(|count| self.report.sent >= count);
        match self.pace {
            _ if is_last => now + LINGER,
            // Late once does not make all others late.
            Pace::Every(interval) if now < due + interval => due + interval,
            Pace::Every(interval) => now + interval,
            Pace::Flood => now + FLOOD,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.interrupt.came() || self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Connects to the member if it is there in an incarnation that was not met yet, and has it know that.
    fn connect(&mut self) -> Result<(), Failure> {
        let evicted = |error| Failure::new(format!("{error}"));
        let found = self.target.find(self.channels).map_err(evicted)?;
        let Some(peer) = found.filter(|peer| peer.lives) else {
            return Ok(());
        };
        let mut connection = match self.channels.connect_to(peer.slot) {
            Ok(connection) => connection,
            // It has gone again, or is the one that has broken the connection.
            Err(ConnectError::Slot(_)) => return Ok(()),
            Err(error) => return Err(Failure::new(error)),
        };
        let longest = connection.sender().inner().longest();
        if self.messages.size() > longest {
            return Err(Failure::new(format!(
                "pings of {} bytes are too long for this region: --size {longest} at most",
                self.messages.size()
            )));
        }
        let greeting = self.messages.compose(0);
        let sent = connection.sender().inner().try_send(greeting);
        (self.peer, self.connection) = (peer, Some(connection));
        self.is_missed = false;
        let end = Instant::now() + GREETING;
        let mut is_answered = sent.is_err();
        while !is_answered && self.connection.is_some() && !self.is_over(Instant::now()) {
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            is_answered = self.next_answer(rest.min(GLANCE))? == Some(Answer::To(0));
        }
        Ok(())
    }

    /// Sends the next message.
    fn send(&mut self) -> Result<Sent, Failure> {
        if self.connection.is_none() {
            self.connect()?;
        }
        let number = self.report.sent + 1;
        let Some(connection) = &mut self.connection else {
            return Ok(Sent::Done);
        };
        let message = self.messages.compose(number);
        let sent_at = Instant::now();
        match connection.sender().inner().try_send(message) {
            Ok(()) => {
                if self.outstanding.len() == MOST_OUTSTANDING {
                    self.outstanding.pop_front();
                }
                self.outstanding.push_back((number, sent_at));
            }
            Err(channel::SendError::Full) => return Ok(Sent::NoRoom),
            Err(channel::SendError::Broken(broken)) => self.part(broken)?,
            Err(error) => self
                .report
                .note(format_args!("seq={number} was not sent: {error}")),
        }
        Ok(Sent::Done)
    }

    /// Waits for an answer for at most `limit`, and tells of it.
    fn receive(&mut self, limit: Duration) -> Result<Reader, Failure> {
        let number = match self.next_answer(limit)? {
            Some(Answer::To(number)) => number,
            Some(Answer::Wrong) => {
                self.report.wrong += 1;
                self.report
                    .note("an answer has other content than any message");
                return Ok(Reader::Reads);
            }
            None => return Ok(Reader::Reads),
        };
        let now = Instant::now();
        let place = self.outstanding.binary_search_by_key(&number, |&(n, _)| n);
        match place.ok().and_then(|place| self.outstanding.remove(place)) {
            Some((_, sent_at)) => {
                let time = now.saturating_duration_since(sent_at);
                self.report
                    .answer(&self.peer, self.messages.size(), number, time)
            }
            None => {
                // The greeting may be late.
                self.report.duplicates += u64::from(number > 0);
                Ok(Reader::Reads)
            }
        }
    }

    /// Waits for whatever comes for at most `limit`.
    fn next_answer(&mut self, limit: Duration) -> Result<Option<Answer>, Failure> {
        let Some(connection) = &mut self.connection else {
            thread::sleep(limit);
            return Ok(None);
        };
        match connection.recv(limit) {
            Ok(answer) => {
                // Its messages may come before its signs of life.
                self.is_missed &= answer.is_some();
                Ok(answer.map(|message| self.messages.examine(message)))
            }
            Err(RecvError::Broken(broken)) => self.part(broken).map(|()| None),
            // It may come to life again.
            Err(RecvError::PeerDied) => {
                if !self.is_missed {
                    self.is_missed = true;
                    self.report
                        .note(format_args!("{} shows no sign of life", Member(&self.peer)));
                }
                thread::sleep(limit);
                Ok(None)
            }
            Err(_) => Ok(Some(Answer::Wrong)),
        }
    }

    /// Ends the connection. What was sent to it is lost.
    fn part(&mut self, broken: Broken) -> Result<(), Failure> {
        if broken == Broken::Evicted {
            return Err(Failure::new(broken));
        }
        self.report
            .note(format_args!("{}: {broken}", Member(&self.peer)));
        self.connection = None;
        self.outstanding.clear();
        Ok(())
    }
}
