// SPDX-License-Identifier: MIT OR Apache-2.0
//! The loop of a server: what it waits for, and in which order it does what there is to do.

use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;

use super::desk::Subject;
use super::event::{Ending, Event};
use super::turns::RETRY_INTERVAL;
use super::Server;
use crate::deadline::{timespec, Deadline};

/// The most connections accepted between two turns of the others.
const ACCEPTS: usize = 16;

impl Server {
    /// Serves until it is stopped or another has taken over.
    pub(super) fn serve(&mut self, observer: &mut dyn FnMut(&Event)) -> rustix::io::Result<Ending> {
        let mut accepting = true;
        loop {
            let mut ready = self.wait(accepting)?;
            if ready.stop {
                return Ok(Ending::Stopped);
            }
            if self.alive.as_mut().is_some_and(Alive::is_due) {
                observer(&Event::Alive);
            }
            // Before newcomers: one that leaves makes room.
            if ready.clients {
                self.registry.notice(observer)?;
            }
            if ready.listener || !accepting {
                match self.accept(observer) {
                    Ok(()) => accepting = true,
                    // Most likely out of descriptors, with the client still waiting: polling would spin.
                    Err(error) => {
                        self.registry.note_accept_failure();
                        if accepting {
                            observer(&Event::AcceptFailed(error));
                        }
                        accepting = false;
                    }
                }
            }
            self.registry.flush(observer);
            self.desk.serve(
                &mut ready.desk.drain(..),
                &mut Subject {
                    config: &self.config,
                    birth: self.birth,
                    client_limit: self.client_limit,
                    memory: &self.memory,
                    registry: &mut self.registry,
                },
            );
            if let Some(socket) = self.desk.take_ceded() {
                let event = self.cede(socket);
                observer(&event);
                if matches!(event, Event::HandedOver { .. }) {
                    return Ok(Ending::HandedOver);
                }
            }
        }
    }

    /// Waits until something happens, or something put off is to be tried again.
    fn wait(&self, accepting: bool) -> rustix::io::Result<Ready> {
        let listener_events = if accepting {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut fds = vec![
            PollFd::new(&self.stop, PollFlags::IN),
            PollFd::new(&self.listener, listener_events),
            PollFd::new(&self.registry, PollFlags::IN),
        ];
        fds.extend(self.desk.interests());
        let again = !accepting || self.registry.wants_retry();
        let limits = [
            self.registry.is_due().then_some(Duration::ZERO),
            again.then_some(RETRY_INTERVAL),
            self.alive.map(|alive| alive.due.remaining()),
            self.desk.patience(),
        ];
        let limit = limits.into_iter().flatten().min().and_then(timespec);
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let mut events = fds.iter().map(PollFd::revents);
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        Ok(Ready {
            stop: !next().is_empty(),
            listener: !next().is_empty(),
            clients: !next().is_empty(),
            desk: events.collect(),
        })
    }

    /// Accepts connections that wait, but not so many that the others would have to wait for long.
    fn accept(&mut self, observer: &mut dyn FnMut(&Event)) -> rustix::io::Result<()> {
        for accepted in 0..ACCEPTS {
            match self.listener.accept() {
                Ok(socket) => observer(&self.registry.admit(socket)),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => break,
                // Without a descriptor left the kernel says so even if nobody waits.
                Err(_) if accepted > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// When to report being alive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alive {
    interval: Duration,
    due: Deadline,
}

impl Alive {
    pub(super) fn every(interval: Duration) -> Self {
        Self {
            interval,
            due: Deadline::after(interval),
        }
    }

    /// Returns whether it is time to report, and waits for the next time from then on.
    fn is_due(&mut self) -> bool {
        let due = self.due.remaining().is_zero();
        if due {
            self.due = Deadline::after(self.interval);
        }
        due
    }
}

/// What a poll has found.
struct Ready {
    stop: bool,
    listener: bool,
    clients: bool,
    desk: Vec<PollFlags>,
}
