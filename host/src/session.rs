// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client's knowledge of its server: who it is, who else is there, whose vectors are whose.
//!
//! Free of input and output: messages go in, what they mean comes out, and
//! descriptors are of any type `F`. Order is checked as far as QEMU does: version
//! first, own ID second, the shared memory exactly once; vectors may come before the memory.

use std::collections::BTreeMap;

use ivshmem::{PeerId, VectorIndex};

use crate::protocol::{Message, ProtocolError, MAX_VECTORS, MEMORY, REFUSAL, VERSION};

/// A change that a server reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// A peer is there and its vector 0 can be rung.
    Joined(PeerId),
    /// A further vector of `peer`, or a vector of this client itself, is there.
    VectorAdded {
        /// The peer, or this client.
        peer: PeerId,
        /// The vector.
        vector: VectorIndex,
    },
    /// A peer has left; its vectors can no longer be rung.
    Left(PeerId),
    /// The server has gone; nobody will be reported to join or leave any more.
    ServerGone,
}

/// What a message meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<F> {
    /// Nothing to report: the version, or a peer leaving that was never announced.
    Nothing,
    /// The own ID is known.
    Identity(PeerId),
    /// The shared memory.
    Memory(F),
    /// The membership has changed.
    Change(Event),
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Version,
    Identity,
    Member(PeerId),
}

/// The state of one client's connection.
#[derive(Debug)]
pub struct Session<F> {
    stage: Stage,
    memory_seen: bool,
    own: Vec<F>,
    /// Invariant: every vector list here has at least one entry.
    peers: BTreeMap<PeerId, Vec<F>>,
}

impl<F> Session<F> {
    /// Creates the state of a connection on which nothing has arrived.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            stage: Stage::Version,
            memory_seen: false,
            own: Vec::new(),
            peers: BTreeMap::new(),
        }
    }

    /// Returns the own ID, once it is known.
    #[must_use]
    pub const fn id(&self) -> Option<PeerId> {
        match self.stage {
            Stage::Member(id) => Some(id),
            Stage::Version | Stage::Identity => None,
        }
    }

    /// Returns the descriptors of the own vectors, in the order of the vectors.
    #[must_use]
    pub fn own(&self) -> &[F] {
        &self.own
    }

    /// Returns the other peers in ascending order, with the descriptors of their vectors.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &[F])> {
        self.peers.iter().map(|(&id, vectors)| (id, &vectors[..]))
    }

    /// Returns the descriptors of the vectors of `peer`, the own ID included.
    #[must_use]
    pub fn vectors(&self, peer: PeerId) -> Option<&[F]> {
        if self.id() == Some(peer) {
            return Some(&self.own);
        }
        self.peers.get(&peer).map(|vectors| &vectors[..])
    }

    /// Takes in one message.
    ///
    /// # Errors
    ///
    /// Any [`ProtocolError`] but `TooManyDescriptors`. The state is as before the message;
    /// the connection should be given up.
    pub fn take(&mut self, message: Message<F>) -> Result<Outcome<F>, ProtocolError> {
        let Message { number, descriptor } = message;
        match self.stage {
            Stage::Version => self.take_version(number, descriptor),
            Stage::Identity => self.take_identity(number, descriptor),
            Stage::Member(own) => match descriptor {
                Some(descriptor) => self.take_descriptor(own, number, descriptor),
                None => self.take_departure(own, number),
            },
        }
    }

    fn take_version(
        &mut self,
        number: i64,
        descriptor: Option<F>,
    ) -> Result<Outcome<F>, ProtocolError> {
        match (number, descriptor) {
            (VERSION, None) => {
                self.stage = Stage::Identity;
                Ok(Outcome::Nothing)
            }
            (REFUSAL, None) => Err(ProtocolError::Refused),
            (number, Some(_)) => Err(ProtocolError::UnexpectedDescriptor { number }),
            (found, None) => Err(ProtocolError::Version { found }),
        }
    }

    fn take_identity(
        &mut self,
        number: i64,
        descriptor: Option<F>,
    ) -> Result<Outcome<F>, ProtocolError> {
        if descriptor.is_some() {
            return Err(ProtocolError::UnexpectedDescriptor { number });
        }
        let id = peer_id(number).ok_or(ProtocolError::OwnId { found: number })?;
        self.stage = Stage::Member(id);
        Ok(Outcome::Identity(id))
    }

    fn take_descriptor(
        &mut self,
        own: PeerId,
        number: i64,
        descriptor: F,
    ) -> Result<Outcome<F>, ProtocolError> {
        if number == MEMORY {
            if self.memory_seen {
                return Err(ProtocolError::SecondMemory);
            }
            self.memory_seen = true;
            return Ok(Outcome::Memory(descriptor));
        }
        let peer = peer_id(number).ok_or(ProtocolError::Number { found: number })?;
        let vectors = if peer == own {
            &mut self.own
        } else {
            self.peers.entry(peer).or_default()
        };
        let index = u16::try_from(vectors.len()).unwrap_or(u16::MAX);
        if index >= MAX_VECTORS {
            return Err(ProtocolError::TooManyVectors { peer });
        }
        vectors.push(descriptor);
        Ok(Outcome::Change(if peer != own && index == 0 {
            Event::Joined(peer)
        } else {
            Event::VectorAdded {
                peer,
                vector: VectorIndex(index),
            }
        }))
    }

    fn take_departure(&mut self, own: PeerId, number: i64) -> Result<Outcome<F>, ProtocolError> {
        if number == MEMORY {
            return Err(ProtocolError::MemoryMissing);
        }
        let peer = peer_id(number).ok_or(ProtocolError::Number { found: number })?;
        if peer == own {
            return Err(ProtocolError::LeftSelf { id: own });
        }
        Ok(match self.peers.remove(&peer) {
            Some(_) => Outcome::Change(Event::Left(peer)),
            // QEMU's own server may have failed to announce it: no reason to leave.
            None => Outcome::Nothing,
        })
    }
}

impl<F> Default for Session<F> {
    fn default() -> Self {
        Self::new()
    }
}

fn peer_id(number: i64) -> Option<PeerId> {
    u16::try_from(number).ok().map(PeerId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take<F>(
        session: &mut Session<F>,
        number: i64,
        descriptor: Option<F>,
    ) -> Result<Outcome<F>, ProtocolError> {
        session.take(Message { number, descriptor })
    }

    /// A session with ID 3 and memory that knows peer 1 with two vectors.
    fn member() -> Session<&'static str> {
        let mut session = Session::new();
        for (number, descriptor, outcome) in [
            (0, None, Outcome::Nothing),
            (3, None, Outcome::Identity(PeerId(3))),
            (-1, Some("memory"), Outcome::Memory("memory")),
            (1, Some("1.0"), Outcome::Change(Event::Joined(PeerId(1)))),
            (
                1,
                Some("1.1"),
                Outcome::Change(Event::VectorAdded {
                    peer: PeerId(1),
                    vector: VectorIndex(1),
                }),
            ),
            (
                3,
                Some("3.0"),
                Outcome::Change(Event::VectorAdded {
                    peer: PeerId(3),
                    vector: VectorIndex(0),
                }),
            ),
        ] {
            assert_eq!(take(&mut session, number, descriptor), Ok(outcome));
        }
        session
    }

    #[test]
    fn a_handshake_tells_id_memory_and_vectors() {
        let session = member();
        assert_eq!(session.id(), Some(PeerId(3)));
        assert_eq!(session.own(), ["3.0"]);
        assert_eq!(session.vectors(PeerId(1)), Some(&["1.0", "1.1"][..]));
        assert_eq!(session.vectors(PeerId(3)), Some(&["3.0"][..]));
        assert_eq!(session.vectors(PeerId(2)), None);
        assert_eq!(session.peers().count(), 1);
    }

    #[test]
    fn a_peer_leaves_once_and_may_return() {
        let mut session = member();
        assert_eq!(
            take(&mut session, 1, None),
            Ok(Outcome::Change(Event::Left(PeerId(1))))
        );
        assert_eq!(take(&mut session, 1, None), Ok(Outcome::Nothing));
        assert_eq!(
            take(&mut session, 1, Some("new")),
            Ok(Outcome::Change(Event::Joined(PeerId(1))))
        );
        assert_eq!(session.vectors(PeerId(1)), Some(&["new"][..]));
    }

    #[test]
    fn a_bad_start_is_named() {
        for (number, descriptor, error) in [
            (-1, None, ProtocolError::Refused),
            (1, None, ProtocolError::Version { found: 1 }),
            (
                0,
                Some("fd"),
                ProtocolError::UnexpectedDescriptor { number: 0 },
            ),
        ] {
            assert_eq!(take(&mut Session::new(), number, descriptor), Err(error));
        }
        for (number, descriptor, error) in [
            (-1, None, ProtocolError::OwnId { found: -1 }),
            (65536, None, ProtocolError::OwnId { found: 65536 }),
            (i64::MIN, None, ProtocolError::OwnId { found: i64::MIN }),
            (
                7,
                Some("fd"),
                ProtocolError::UnexpectedDescriptor { number: 7 },
            ),
        ] {
            let mut session = Session::new();
            assert_eq!(take(&mut session, 0, None), Ok(Outcome::Nothing));
            assert_eq!(take(&mut session, number, descriptor), Err(error));
        }
    }

    #[test]
    fn a_bad_message_is_named_and_changes_nothing() {
        for (number, descriptor, error) in [
            (-1, Some("again"), ProtocolError::SecondMemory),
            (-1, None, ProtocolError::MemoryMissing),
            (-2, None, ProtocolError::Number { found: -2 }),
            (65536, Some("fd"), ProtocolError::Number { found: 65536 }),
            (1 << 32, None, ProtocolError::Number { found: 1 << 32 }),
            (3, None, ProtocolError::LeftSelf { id: PeerId(3) }),
        ] {
            let mut session = member();
            assert_eq!(take(&mut session, number, descriptor), Err(error));
            assert_eq!(session.own(), ["3.0"]);
            assert_eq!(session.vectors(PeerId(1)), Some(&["1.0", "1.1"][..]));
        }
    }

    #[test]
    fn vectors_are_limited_to_what_a_device_can_have() {
        let mut session = Session::new();
        take(&mut session, 0, None).unwrap();
        take(&mut session, 0, None).unwrap();
        for peer in [0, 9] {
            for _ in 0..MAX_VECTORS {
                take(&mut session, peer, Some(())).unwrap();
            }
            assert_eq!(
                take(&mut session, peer, Some(())),
                Err(ProtocolError::TooManyVectors {
                    peer: PeerId(peer as u16)
                })
            );
        }
    }
}
