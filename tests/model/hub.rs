// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server in process, for both protocols: [`Hub`], and the [`Line`] that leads to each client.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::descriptor::{Eventfd, Passed, Shared};

/// The number of the message with the shared memory.
const MEMORY: i64 = -1;

/// Which messages a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Until QEMU 2.5: no version. All hosts of these tests have a `long` of 8 bytes, little-endian.
    Long,
    /// Version 0.
    Zero,
}

/// When a server sends the shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    AtOnce,
    /// When [`Hub::release`] says so.
    Held,
}

/// What a client finds on its connection: bytes with descriptors on them, then perhaps the end.
#[derive(Debug, Default)]
pub struct Line {
    messages: VecDeque<(i64, Option<Passed>)>,
    /// The message that is half read: its bytes left.
    rest: Vec<u8>,
    held: bool,
    pub ended: bool,
}

/// One end of a connection.
pub type Connection = Rc<RefCell<Line>>;

impl Line {
    fn push(&mut self, number: i64, descriptor: Option<Passed>) {
        if !self.ended {
            self.messages.push_back((number, descriptor));
        }
    }

    /// Reads up to `wanted` bytes, in pieces that never are a whole message.
    pub fn read(&mut self, wanted: usize) -> Option<(Vec<u8>, Option<Passed>)> {
        const PIECE: usize = 3;
        let mut descriptor = None;
        if self.rest.is_empty() {
            let memory_next = matches!(self.messages.front(), Some((MEMORY, _)));
            if self.held && memory_next {
                return None;
            }
            let (number, passed) = self.messages.pop_front()?;
            self.rest = number.to_le_bytes().to_vec();
            descriptor = passed;
        }
        let now = self.rest.len().min(wanted).min(PIECE);
        Some((self.rest.drain(..now).collect(), descriptor))
    }

    /// Returns whether the client has read everything and the server has hung up.
    pub fn is_over(&self) -> bool {
        self.ended && self.messages.is_empty() && self.rest.is_empty()
    }
}

struct Client {
    connection: Connection,
    events: Vec<Eventfd>,
}

/// A server with clients of any kind. IDs are never used again.
pub struct Hub {
    memory: &'static Shared,
    clients: RefCell<BTreeMap<u16, Client>>,
    next: Cell<u16>,
}

impl Hub {
    /// Makes a server of `memory` whose first client is given ID `first`.
    pub fn new(first: u16, memory: &'static Shared) -> Rc<Self> {
        Rc::new(Self {
            memory,
            clients: RefCell::default(),
            next: Cell::new(first),
        })
    }

    /// Accepts a client: tells it all that it has to know, and the others of it.
    ///
    /// While the memory is held back, so is everything after it.
    pub fn join(&self, protocol: Protocol, vectors: u16, memory: Memory) -> (u16, Connection) {
        let id = self.next.get();
        self.next.set(id + 1);
        let events: Vec<_> = (0..vectors).map(|_| Eventfd::default()).collect();
        let mut line = Line {
            held: memory == Memory::Held,
            ..Line::default()
        };
        if protocol == Protocol::Zero {
            line.push(0, None);
        }
        line.push(id.into(), None);
        line.push(MEMORY, Some(Passed::Memory(self.memory)));
        let mut clients = self.clients.borrow_mut();
        for (&other, client) in clients.iter() {
            announce(&mut client.connection.borrow_mut(), id, &events);
            announce(&mut line, other, &client.events);
        }
        announce(&mut line, id, &events);
        let connection = Rc::new(RefCell::new(line));
        let client = Client {
            connection: Rc::clone(&connection),
            events,
        };
        clients.insert(id, client);
        (id, connection)
    }

    /// Accepts a client without a device: a peer that the test plays itself. Returns its ID.
    pub fn peer(&self, vectors: u16) -> u16 {
        self.join(Protocol::Zero, vectors, Memory::AtOnce).0
    }

    /// Sends what was held back of a client.
    pub fn release(&self, id: u16) {
        if let Some(client) = self.clients.borrow().get(&id) {
            client.connection.borrow_mut().held = false;
        }
    }

    /// Has a client leave: the others are told, and its eventfds are closed.
    pub fn leave(&self, id: u16) {
        let mut clients = self.clients.borrow_mut();
        clients.remove(&id);
        for client in clients.values() {
            client.connection.borrow_mut().push(id.into(), None);
        }
    }

    /// Has all clients but `id` leave, and another one join.
    pub fn replace_peers(&self, id: u16, vectors: u16) {
        let peers: Vec<_> = self.clients.borrow().keys().copied().collect();
        for peer in peers.into_iter().filter(|&peer| peer != id) {
            self.leave(peer);
        }
        self.peer(vectors);
    }

    /// Ends the server: all connections are closed, what was held is never sent.
    pub fn end(&self) {
        for client in self.clients.borrow().values() {
            let mut line = client.connection.borrow_mut();
            if line.held {
                line.messages.clear();
            }
            line.ended = true;
        }
    }

    /// Returns the eventfd of a vector of a client, as every client of the server has it.
    pub fn event(&self, id: u16, vector: u16) -> Option<Eventfd> {
        let clients = self.clients.borrow();
        clients.get(&id)?.events.get(usize::from(vector)).cloned()
    }

    /// Rings a client as a peer does. Rings to nobody are lost.
    pub fn ring(&self, id: u16, vector: u16) {
        if let Some(event) = self.event(id, vector) {
            event.ring();
        }
    }
}

fn announce(line: &mut Line, id: u16, events: &[Eventfd]) {
    for event in events {
        line.push(id.into(), Some(Passed::Event(event.clone())));
    }
}
