// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client's view of a server, checked message by message, without any code of the library.
//!
//! It is stricter than the protocol, which allows what our server never does: a peer's vectors come in one
//! go, or some of them and then its departure; and IDs only ascend.

use std::fmt;

/// What came with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    Nothing,
    Descriptor,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Version,
    OwnId(u16),
    Memory,
    /// A vector of this peer that is not its last.
    Vector(u16),
    /// The last vector of this peer, which has joined with that.
    Joined(u16),
    Left(u16),
}

/// A message that the protocol does not allow here.
#[derive(Clone, Debug)]
pub struct Breach {
    number: i64,
    attached: Attached,
    rule: &'static str,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            attached,
            rule,
        } = self;
        write!(f, "{number} with {attached:?}: {rule}")
    }
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Unknown,
    /// So many vectors have come.
    Known(u16),
    Gone,
}

/// What one client has heard.
#[derive(Debug)]
pub struct Witness {
    vectors: u16,
    /// Messages of the greeting that have come, up to 3.
    greeting: u8,
    id: u16,
    /// By ID.
    peers: Vec<Standing>,
    /// The peer whose next vector may come; of all others no more than have come.
    current: Option<u16>,
    joined: usize,
    incomplete: usize,
}

impl Witness {
    /// Creates the view of a client of a server that gives each `vectors` vectors.
    pub fn new(vectors: u16) -> Self {
        Self {
            vectors,
            greeting: 0,
            id: 0,
            peers: Vec::new(),
            current: None,
            joined: 0,
            incomplete: 0,
        }
    }

    /// Takes the next message.
    pub fn hear(&mut self, number: i64, attached: Attached) -> Result<Heard, Breach> {
        let heard = match (self.greeting, attached) {
            (0, Attached::Nothing) if number == 0 => Ok(Heard::Version),
            (0, _) => Err("the version comes first"),
            (1, Attached::Nothing) => u16::try_from(number)
                .inspect(|&id| self.id = id)
                .map(Heard::OwnId)
                .map_err(|_| "an ID has 16 bits"),
            (1, Attached::Descriptor) => Err("the own ID comes second"),
            (2, Attached::Descriptor) if number == -1 => Ok(Heard::Memory),
            (2, _) => Err("the memory comes third"),
            _ => match (u16::try_from(number), attached) {
                (Ok(peer), Attached::Descriptor) => self.vector(peer),
                (Ok(peer), Attached::Nothing) => self.departure(peer),
                (Err(_), _) => Err("an ID has 16 bits"),
            },
        };
        self.greeting = (self.greeting + 1).min(3);
        heard.map_err(|rule| Breach {
            number,
            attached,
            rule,
        })
    }

    fn vector(&mut self, peer: u16) -> Result<Heard, &'static str> {
        let index = usize::from(peer);
        let known = match self.peers.get(index).copied() {
            None => {
                self.peers.resize(index, Standing::Unknown);
                self.peers.push(Standing::Unknown);
                0
            }
            Some(Standing::Unknown) => return Err("IDs ascend"),
            Some(Standing::Gone) => return Err("an ID is used once"),
            Some(Standing::Known(known)) => known,
        };
        if known == self.vectors {
            return Err("it has all its vectors");
        }
        if known == 0 {
            self.incomplete += 1;
        } else if self.current != Some(peer) {
            return Err("a peer's vectors come in one go");
        }
        self.peers[index] = Standing::Known(known + 1);
        self.current = Some(peer);
        if known + 1 < self.vectors {
            return Ok(Heard::Vector(peer));
        }
        self.incomplete -= 1;
        self.joined += 1;
        Ok(Heard::Joined(peer))
    }

    fn departure(&mut self, peer: u16) -> Result<Heard, &'static str> {
        if peer == self.id {
            return Err("that is the client itself");
        }
        self.current = None;
        let standing = self.peers.get_mut(usize::from(peer));
        let standing = standing.ok_or("it never joined")?;
        match *standing {
            Standing::Known(known) if known == self.vectors => self.joined -= 1,
            Standing::Known(_) => self.incomplete -= 1,
            Standing::Gone => return Err("it has left already"),
            Standing::Unknown => return Err("it never joined"),
        }
        *standing = Standing::Gone;
        Ok(Heard::Left(peer))
    }

    /// Returns how many clients are connected by what was heard, this one included.
    pub fn joined(&self) -> usize {
        self.joined
    }

    /// Returns how many have begun to join and neither have all their vectors nor have left.
    pub fn incomplete(&self) -> usize {
        self.incomplete
    }
}
