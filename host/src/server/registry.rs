// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is connected, and who has to be told what.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use ivshmem::PeerId;
use rustix::event::{eventfd, EventfdFlags, PollFd, PollFlags};

use super::client::{Client, Departure};
use super::event::{Event, Refusal};
use super::ids::Ids;
use super::process::Process;
use super::queue::{Queue, Vectors};
use super::sending::send;
use super::survey::{Progress, Survey};
use crate::admin::Counters;
use crate::deadline::Deadline;
use crate::protocol::REFUSAL;

/// How long to wait before sending again what the kernel had no room for.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The connected clients.
#[derive(Debug)]
pub(super) struct Registry {
    clients: BTreeMap<PeerId, Client>,
    ids: Ids,
    memory: Arc<OwnedFd>,
    vectors: u16,
    limit: usize,
    /// Without the messages to those who are connected.
    counters: Counters,
}

impl Registry {
    /// Creates an empty registry for at most `limit` clients with `vectors` vectors each.
    pub(super) fn new(memory: Arc<OwnedFd>, vectors: u16, limit: usize, ids: Ids) -> Self {
        Self {
            clients: BTreeMap::new(),
            ids,
            memory,
            vectors,
            limit,
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

    /// Returns what to poll for, in the order of [`Registry::peers`].
    pub(super) fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.clients.values().map(|client| {
            let (socket, events) = client.interest();
            PollFd::from_borrowed_fd(socket, events)
        })
    }

    pub(super) fn wants_retry(&self) -> bool {
        self.clients.values().any(Client::wants_retry)
    }

    /// Makes the other end of `socket` a client, or refuses it.
    pub(super) fn admit(&mut self, socket: OwnedFd) -> Event {
        let event = self.take_in(socket);
        self.counters.note(&event);
        event
    }

    fn take_in(&mut self, socket: OwnedFd) -> Event {
        let process = Process::behind(&socket);
        let pid = process.pid;
        let vectors = match self.prepare() {
            Ok(vectors) => Arc::new(vectors),
            Err(reason) => {
                refuse(&socket);
                return Event::Refused { pid, reason };
            }
        };
        let peer = vectors.id;
        let mut queue = Queue::greeting(peer, Arc::clone(&self.memory));
        for other in self.clients.values_mut() {
            other.queue.announce(&vectors);
            queue.announce(&other.vectors);
        }
        queue.announce(&vectors);
        self.clients
            .insert(peer, Client::new(socket, process, vectors, queue));
        Event::Joined {
            peer,
            pid,
            connected: self.clients.len(),
        }
    }

    /// Provides what a new client needs: an ID and eventfds.
    fn prepare(&mut self) -> Result<Vectors, Refusal> {
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
        Ok(Vectors { id, eventfds })
    }

    /// Passes on the events that a poll has found at the connection of `peer`.
    pub(super) fn notice(
        &mut self,
        peer: PeerId,
        events: PollFlags,
        observer: &mut dyn FnMut(&Event),
    ) {
        let departure = self
            .clients
            .get_mut(&peer)
            .and_then(|client| client.notice(events).err());
        if let Some(departure) = departure {
            self.remove(peer, departure, observer);
        }
    }

    /// Lets those try again that the kernel had no room for.
    pub(super) fn retry(&mut self) {
        self.clients.values_mut().for_each(Client::retry);
    }

    /// Sends everybody what can be sent without waiting, and removes those found gone.
    pub(super) fn flush(&mut self, observer: &mut dyn FnMut(&Event)) {
        // A removal gives the others something to send; each round but the last removes a client.
        loop {
            let gone: Vec<_> = self
                .clients
                .iter_mut()
                .filter_map(|(&id, client)| Some((id, client.flush().err()?)))
                .collect();
            if gone.is_empty() {
                return;
            }
            for (peer, departure) in gone {
                self.remove(peer, departure, observer);
            }
        }
    }

    /// Removes `peer`, and has everybody else told, once.
    fn remove(&mut self, peer: PeerId, departure: Departure, observer: &mut dyn FnMut(&Event)) {
        let Some(client) = self.clients.remove(&peer) else {
            return;
        };
        self.counters.messages_sent += client.queue.sent();
        for other in self.clients.values_mut() {
            other.queue.withdraw(peer);
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
        }
        self.counters.note(&event);
        observer(&event);
    }

    /// Tells every client that every other has left, for at most `limit`, and closes all connections.
    pub(super) fn dismiss(mut self, limit: Duration) {
        let everybody: Vec<PeerId> = self.clients.keys().copied().collect();
        for (&id, client) in &mut self.clients {
            for &other in everybody.iter().filter(|&&other| other != id) {
                client.queue.withdraw(other);
            }
        }
        let deadline = Deadline::after(limit);
        loop {
            self.clients
                .retain(|_, client| client.flush().is_ok() && !client.queue.is_empty());
            if self.clients.is_empty() || deadline.remaining().is_zero() {
                return;
            }
            let Ok(ready) = self.poll(deadline.remaining().min(RETRY_INTERVAL)) else {
                return;
            };
            self.retry();
            for (peer, events) in ready {
                let client = self.clients.get_mut(&peer);
                if client.is_some_and(|client| client.notice(events).is_err()) {
                    self.clients.remove(&peer);
                }
            }
        }
    }

    /// Waits for events at the connections for at most `limit`.
    fn poll(&self, limit: Duration) -> rustix::io::Result<Vec<(PeerId, PollFlags)>> {
        let mut fds: Vec<PollFd<'_>> = self.interests().collect();
        Deadline::after(limit).poll(&mut fds)?;
        Ok(self.peers().zip(fds.iter().map(PollFd::revents)).collect())
    }
}

/// Tells the other end of a fresh connection that it is not wanted.
///
/// The buffer of a fresh connection has room for a message; one that is gone needs none.
pub(super) fn refuse(socket: &OwnedFd) {
    let _ = send(socket.as_fd(), &REFUSAL.to_le_bytes(), None);
}
