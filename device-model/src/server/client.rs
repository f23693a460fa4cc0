// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a client makes of its server's messages, in each generation: [`Client`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::wire::{Assembler, Message};
use super::ServerError;
use crate::Generation;

/// The number of the message with the shared memory.
const MEMORY: i64 = -1;
/// The only version of the protocol.
const VERSION: i64 = 0;
/// The last ID for which the historic devices had room (QEMU 2.5).
const HISTORIC_LAST: u16 = u16::MAX - 1;

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Version,
    OwnId,
    Running,
}

/// What a message has changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change<D> {
    /// Nothing that the device has to act upon.
    Nothing,
    /// Here is the shared memory.
    Memory(D),
    /// A peer, or the device itself, has one more vector.
    Vector { peer: u16, vector: u16 },
    /// A peer has left; these are its vectors.
    Left { peer: u16, events: Vec<D> },
}

/// The state of a connection to a server.
#[derive(Debug)]
pub(crate) struct Client<D> {
    generation: Generation,
    /// Most eventfds of one peer.
    vectors: u32,
    /// QEMU until 2.5 forgot peers that left only where it had ioeventfds to take back.
    forgets: bool,
    assembler: Assembler<D>,
    stage: Stage,
    id: Option<u16>,
    memory_seen: bool,
    peers: BTreeMap<u16, Vec<D>>,
}

impl<D> Client<D> {
    pub(crate) const fn new(generation: Generation, vectors: u32, ioeventfd: bool) -> Self {
        let historic = generation.is_historic();
        Self {
            generation,
            vectors,
            forgets: !historic || ioeventfd,
            assembler: Assembler::new(generation),
            stage: if historic {
                Stage::Running
            } else {
                Stage::Version
            },
            id: None,
            memory_seen: false,
            peers: BTreeMap::new(),
        }
    }

    /// Returns the own ID.
    pub(crate) const fn id(&self) -> Option<u16> {
        self.id
    }

    /// Returns the eventfd of a vector of a peer.
    pub(crate) fn event(&self, peer: u16, vector: u16) -> Option<&D> {
        self.peers.get(&peer)?.get(usize::from(vector))
    }

    /// Returns all vectors of all peers.
    pub(crate) fn events(&self) -> impl Iterator<Item = (u16, u16, &D)> {
        self.peers.iter().flat_map(|(&peer, events)| {
            let numbered = (0..).zip(events);
            numbered.map(move |(vector, event)| (peer, vector, event))
        })
    }

    /// Returns how many bytes are missing to the end of the current message.
    pub(crate) const fn wanted(&self) -> usize {
        self.assembler.wanted()
    }

    /// Takes the descriptors that came with one read of the current message.
    pub(crate) fn attach(&mut self, descriptors: impl IntoIterator<Item = D>) {
        self.assembler.attach(descriptors);
    }

    /// Takes bytes from the front of `bytes` up to the end of a message, and says what that message means.
    ///
    /// # Errors
    ///
    /// - What is wrong with it; the state is as before.
    pub(crate) fn take(&mut self, bytes: &mut &[u8]) -> Result<Change<D>, ServerError> {
        let Some(Message { number, descriptor }) = self.assembler.take(bytes) else {
            return Ok(Change::Nothing);
        };
        match (self.stage, descriptor) {
            (Stage::Version, None) if number == VERSION => {
                self.stage = Stage::OwnId;
                Ok(Change::Nothing)
            }
            (Stage::Version, _) => Err(ServerError::Version { found: number }),
            (Stage::OwnId, None) => {
                let id = u16::try_from(number);
                self.id = Some(id.map_err(|_| ServerError::OwnId { found: number })?);
                self.stage = Stage::Running;
                Ok(Change::Nothing)
            }
            (Stage::OwnId, Some(_)) => Err(ServerError::OwnId { found: number }),
            (Stage::Running, Some(memory)) if number == MEMORY => self.take_memory(memory),
            (Stage::Running, Some(event)) => self.take_event(self.peer(number)?, event),
            (Stage::Running, None) if number == MEMORY => self.take_bare_minus_one(),
            (Stage::Running, None) => self.take_bare_id(self.peer(number)?),
        }
    }

    /// Returns a number as the ID of a peer.
    fn peer(&self, number: i64) -> Result<u16, ServerError> {
        let error = ServerError::Number { found: number };
        let peer = u16::try_from(number).map_err(|_| error)?;
        // QEMU 2.3 grew its table to any size and cut the number short for the check; this is the limit of 2.5.
        if self.generation.is_historic() && peer > HISTORIC_LAST {
            return Err(error);
        }
        Ok(peer)
    }

    fn take_memory(&mut self, memory: D) -> Result<Change<D>, ServerError> {
        // QEMU 2.3 maps a second memory over the first.
        if self.memory_seen && self.generation != Generation::V2_3 {
            return Err(ServerError::SecondMemory);
        }
        Ok(Change::Memory(memory))
    }

    /// Notes that the device has its memory.
    pub(crate) fn memory_taken(&mut self) {
        self.memory_seen = true;
    }

    fn take_event(&mut self, peer: u16, event: D) -> Result<Change<D>, ServerError> {
        let events = self.peers.entry(peer).or_default();
        let vector = events.len();
        // QEMU 2.3 wrote behind its array.
        if vector >= self.vectors as usize {
            let vectors = self.vectors;
            return Err(ServerError::TooManyEvents { peer, vectors });
        }
        events.push(event);
        Ok(Change::Vector {
            peer,
            vector: vector as u16,
        })
    }

    /// -1 without a descriptor: the memory, forgotten; or, to the historic devices, the end of peer -1.
    fn take_bare_minus_one(&self) -> Result<Change<D>, ServerError> {
        match self.generation {
            Generation::V2_5 if self.forgets => Err(ServerError::Departure { peer: MEMORY }),
            Generation::V2_3 | Generation::V2_5 => Ok(Change::Nothing),
            Generation::Modern if self.memory_seen => Err(ServerError::SecondMemory),
            Generation::Modern => Err(ServerError::NoMemory),
        }
    }

    /// An ID without a descriptor: a peer has left, unless it is what the historic devices take for their own ID.
    fn take_bare_id(&mut self, peer: u16) -> Result<Change<D>, ServerError> {
        let is_own = match self.generation {
            // So a peer leaving that was never seen, or has left before, gives the device its ID.
            Generation::V2_3 => !self.peers.contains_key(&peer),
            Generation::V2_5 => self.id.is_none(),
            Generation::Modern if self.id == Some(peer) => {
                return Err(ServerError::Departure { peer: peer.into() });
            }
            Generation::Modern => false,
        };
        if is_own {
            self.id = Some(peer);
            return Ok(Change::Nothing);
        }
        if !self.forgets {
            return Ok(Change::Nothing);
        }
        Ok(match self.peers.remove(&peer) {
            Some(events) => Change::Left { peer, events },
            None => Change::Nothing,
        })
    }
}
