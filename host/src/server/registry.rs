// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is connected, and who has to be told what.

mod farewell;
mod handover;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use ivshmem::PeerId;
use rustix::event::epoll::EventFlags;
use rustix::event::{eventfd, EventfdFlags};

use super::client::{Client, Departure};
use super::event::{Event, Refusal};
use super::ids::Ids;
use super::limits;
use super::process::Process;
use super::queue::{Queue, Vectors, GREETING};
use super::sending::send;
use super::survey::{Progress, Survey};
use super::turns::Turns;
use crate::admin::Counters;
use crate::protocol::REFUSAL;

/// Messages that a client is sent in one turn.
const TURN: usize = 16;

/// Messages sent between two looks for newcomers and departures: a fifth of a millisecond.
const SLICE: usize = 128;

/// Departures dealt with between two looks for newcomers; each concerns every other client's queue.
const REMOVALS: usize = 8;

/// The connected clients.
#[derive(Debug)]
pub(super) struct Registry {
    clients: BTreeMap<PeerId, Client>,
    /// Clients that have been greeted, and of whom nobody has been told yet.
    newcomers: Vec<Arc<Vectors>>,
    turns: Turns,
    ids: Ids,
    memory: Arc<OwnedFd>,
    vectors: u16,
    limit: usize,
    send_buffer: usize,
    /// Without the messages to those who are connected.
    counters: Counters,
}

impl Registry {
    /// Creates an empty registry for at most `limit` clients with `vectors` vectors each.
    pub(super) fn new(
        turns: Turns,
        memory: Arc<OwnedFd>,
        vectors: u16,
        limit: usize,
        ids: Ids,
    ) -> Self {
        Self {
            clients: BTreeMap::new(),
            newcomers: Vec::new(),
            turns,
            ids,
            memory,
            vectors,
            limit,
            send_buffer: limits::send_buffer(limits::in_flight(limit)),
            counters: Counters::default(),
        }
    }

    /// Returns the IDs of the clients, ascending.
    pub(super) fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.clients.keys().copied()
    }

    /// Returns the clients, by ascending ID.
    pub(super) fn clients(&self) -> impl Iterator<Item = (PeerId, &Client)> {
        self.clients.iter().map(|(&id, client)| (id, client))
    }

    pub(super) const fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Returns what has happened so far.
    pub(super) fn counters(&self) -> Counters {
        let sent = self.clients.values().map(|client| client.queue.sent());
        let mut counters = self.counters;
        counters.messages_sent += sent.sum::<u64>();
        counters
    }

    /// Counts a connection that could not be accepted.
    pub(super) fn note_accept_failure(&mut self) {
        self.counters.accept_failures += 1;
    }

    /// Begins a look at everybody's doorbells.
    pub(super) fn begin_survey(&self) -> Survey {
        Survey::of(&self.clients)
    }

    /// Goes on with `survey`.
    pub(super) fn survey(&mut self, survey: &mut Survey) -> Progress {
        survey.step(&mut self.clients)
    }

    /// Returns whether [`Registry::flush`] has something to do now.
    pub(super) fn is_due(&self) -> bool {
        self.turns.is_due()
    }

    /// Returns whether [`Registry::flush`] is to be called after [`RETRY_INTERVAL`](super::turns::RETRY_INTERVAL) at the latest.
    pub(super) fn wants_retry(&self) -> bool {
        self.turns.wants_retry()
    }

    /// Makes the other end of `socket` a client and sends it its ID and the memory, or refuses it.
    ///
    /// QEMU waits for these two in its start-up, and for nothing else; so they go before the news for
    /// others, which [`Registry::flush`] sends.
    pub(super) fn admit(&mut self, socket: OwnedFd) -> Event {
        let event = self.take_in(socket);
        self.counters.note(&event);
        event
    }

    fn take_in(&mut self, socket: OwnedFd) -> Event {
        let process = Process::behind(&socket);
        let pid = process.pid;
        let vectors = match self.prepare(&socket) {
            Ok(vectors) => Arc::new(vectors),
            Err(reason) => {
                refuse(&socket);
                return Event::Refused { pid, reason };
            }
        };
        let peer = vectors.id;
        let queue = Queue::greeting(peer, Arc::clone(&self.memory));
        let own = Arc::clone(&vectors);
        let mut client = Client::new(socket, process, self.send_buffer, own, queue);
        // One that is gone already will be found so at its turn.
        let _ = client.flush(GREETING);
        self.clients.insert(peer, client);
        self.newcomers.push(vectors);
        Event::Joined {
            peer,
            pid,
            connected: self.clients.len(),
        }
    }

    /// Has everybody told of the newcomers, and the newcomers of everybody and themselves.
    fn introduce(&mut self) {
        let newcomers = std::mem::take(&mut self.newcomers);
        let Some(first) = newcomers.first().map(|vectors| vectors.id) else {
            return;
        };
        let everybody: Vec<_> = self
            .clients
            .values()
            .map(|client| Arc::clone(&client.vectors))
            .collect();
        for (&peer, client) in &mut self.clients {
            // IDs ascend, so a newcomer's own vectors come after those who were there before.
            let is_newcomer = peer >= first;
            let news = if is_newcomer { &everybody } else { &newcomers };
            for vectors in news {
                client.queue.announce(vectors);
            }
            if is_newcomer {
                // It has just been sent its greeting.
                self.turns.place(peer, client);
            } else {
                self.turns.line_up(peer, client);
            }
        }
    }

    /// Provides what a new client needs: an ID, eventfds, and somebody who watches its connection.
    fn prepare(&mut self, socket: &OwnedFd) -> Result<Vectors, Refusal> {
        if self.clients.len() >= self.limit {
            return Err(Refusal::Full { limit: self.limit });
        }
        // Non-blocking, or a peer that filled the counter would block whoever rings next.
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let eventfds = (0..self.vectors)
            .map(|_| eventfd(0, flags))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Refusal::System)?;
        let id = self.ids.take().ok_or(Refusal::NoIdLeft)?;
        self.turns.enter(id, socket).map_err(Refusal::Watch)?;
        Ok(Vectors { id, eventfds })
    }

    /// Takes note of what has happened at the connections.
    ///
    /// # Errors
    ///
    /// The error of the system, which has none for a caller that does nothing wrong.
    pub(super) fn notice(&mut self, observer: &mut dyn FnMut(&Event)) -> rustix::io::Result<()> {
        let mut removals = 0;
        for (peer, events) in self.turns.events()? {
            if removals == REMOVALS {
                // What has not been looked at comes again.
                break;
            }
            let Some(client) = self.clients.get_mut(&peer) else {
                continue;
            };
            if let Err(departure) = client.notice(events) {
                self.remove(peer, departure, observer);
                removals += 1;
            } else if events.contains(EventFlags::OUT) {
                self.turns.resume(peer, client);
            }
        }
        Ok(())
    }

    /// Sends a slice of what can be sent without waiting, and removes those found gone.
    pub(super) fn flush(&mut self, observer: &mut dyn FnMut(&Event)) {
        self.introduce();
        self.retry();
        let mut left = SLICE;
        while left > 0 {
            let Some(peer) = self.turns.next() else {
                return;
            };
            let cost = match self.turn(peer) {
                Ok(sent) => sent.max(1),
                Err(departure) => {
                    self.remove(peer, departure, observer);
                    SLICE / REMOVALS
                }
            };
            left = left.saturating_sub(cost);
        }
    }

    /// Lets those line up again for whom the kernel was short of something a while ago.
    fn retry(&mut self) {
        for peer in self.turns.retry() {
            if let Some(client) = self.clients.get_mut(&peer) {
                self.turns.resume(peer, client);
            }
        }
    }

    /// Lets `peer`, which stood at the front of the line, have its turn, and returns how many messages it was sent.
    fn turn(&mut self, peer: PeerId) -> Result<usize, Departure> {
        // It may have left since it lined up.
        let Some(client) = self.clients.get_mut(&peer) else {
            return Ok(0);
        };
        client.in_line = false;
        let sent = client.flush(TURN)?;
        self.turns.place(peer, client);
        Ok(sent)
    }

    /// Removes `peer`, and has everybody else told, once.
    fn remove(&mut self, peer: PeerId, departure: Departure, observer: &mut dyn FnMut(&Event)) {
        // Whoever is to be withdrawn must have been announced.
        self.introduce();
        let Some(client) = self.clients.remove(&peer) else {
            return;
        };
        self.turns.leave(&client);
        self.counters.messages_sent += client.queue.sent();
        for (&other, client) in &mut self.clients {
            client.queue.withdraw(peer);
            self.turns.line_up(other, client);
        }
        let connected = self.clients.len();
        let event = match departure {
            Departure::Left => Event::Left { peer, connected },
            Departure::CutOff(fault) => {
                self.ids.note_cut_off();
                Event::CutOff {
                    peer,
                    fault,
                    connected,
                }
            }
        };
        if connected == 0 {
            self.ids.note_empty();
            self.turns.clear();
        }
        self.counters.note(&event);
        observer(&event);
    }
}

impl AsFd for Registry {
    /// Returns a descriptor that is readable while [`Registry::notice`] has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.turns.as_fd()
    }
}

/// Tells the other end of a fresh connection that it is not wanted.
///
/// The buffer of a fresh connection has room for a message; one that is gone needs none.
pub(super) fn refuse(socket: &OwnedFd) {
    let _ = send(socket.as_fd(), &REFUSAL.to_le_bytes(), None);
}
