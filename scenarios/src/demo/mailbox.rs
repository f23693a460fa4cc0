// SPDX-License-Identifier: MIT OR Apache-2.0
//! A place in shared memory for one message from one role to another.
//!
//! | offset in the page of a role | content |
//! | --- | --- |
//! | 0x000 | presence: 0, or the peer ID plus one, stored last |
//! | 0x100 * (1 + to) | mailbox to role `to`: number of the message, number of the last message taken from it, length, text |
//!
//! Only the role that owns a page writes to it, so a number says both "this is
//! message N" and, in the opposite mailbox, "I have taken yours up to N".

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use ivshmem::{AccessError, PeerId, SharedMemory};

const PAGE: usize = 0x1000;
const MAILBOX: usize = 0x100;
const PRESENCE: usize = 0x0;
const SENT: usize = 0x0;
const TAKEN: usize = 0x4;
const LENGTH: usize = 0x8;
const TEXT: usize = 0x10;

/// Longest message in bytes.
pub const MAX_TEXT: usize = MAILBOX - TEXT;

/// A party of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first guest.
    A,
    /// The second guest.
    B,
    /// The process on the host.
    Host,
}

impl Role {
    /// Returns the role called `name` on the command line.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::A, Self::B, Self::Host]
            .into_iter()
            .find(|role| role.name() == name)
    }

    /// Returns the name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Host => "host",
        }
    }

    /// Returns the offset of the role's page.
    const fn page(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => PAGE,
            Self::Host => 2 * PAGE,
        }
    }

    /// Returns the part of the region that this role writes to reach `to`.
    fn mailbox<'m>(
        self,
        memory: &SharedMemory<'m>,
        to: Self,
    ) -> Result<SharedMemory<'m>, AccessError> {
        let index = 1 + to.page() / PAGE;
        memory.region(self.page() + index * MAILBOX, MAILBOX)
    }
}

/// A role is shown by the name that people know it by.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::Host => "host",
        })
    }
}

/// Says in shared memory that `own` is here, and returns what tells who `other` is once it is here too.
///
/// # Errors
///
/// The region is too small.
pub fn meet<'m>(
    memory: &SharedMemory<'m>,
    own: (Role, PeerId),
    other: Role,
) -> Result<impl FnMut() -> Option<PeerId> + 'm, AccessError> {
    let (role, id) = own;
    let mine = memory.atomic_u32(role.page() + PRESENCE)?;
    mine.store((u32::from(id.0) + 1).to_le(), Ordering::Release);
    let theirs = memory.atomic_u32(other.page() + PRESENCE)?;
    Ok(move || {
        let value = u32::from_le(theirs.load(Ordering::Acquire));
        PeerId::from_position(value.wrapping_sub(1))
    })
}

/// One side of a pair of mailboxes.
#[derive(Debug)]
pub struct Mailbox<'m> {
    outgoing: SharedMemory<'m>,
    incoming: SharedMemory<'m>,
    /// Words of `outgoing` and `incoming`, found once.
    words: Words<'m>,
    /// Own numbers are private; shared memory only gets copies.
    sent: u32,
    taken: u32,
}

#[derive(Debug)]
struct Words<'m> {
    sent: &'m AtomicU32,
    taken_by_me: &'m AtomicU32,
    received: &'m AtomicU32,
    taken_by_them: &'m AtomicU32,
    length_out: &'m AtomicU32,
    length_in: &'m AtomicU32,
}

impl<'m> Mailbox<'m> {
    /// Returns the side of `own` of the conversation with `other`, in a region that was zero at the start.
    ///
    /// # Errors
    ///
    /// The region is too small.
    pub fn new(memory: &SharedMemory<'m>, own: Role, other: Role) -> Result<Self, AccessError> {
        let outgoing = own.mailbox(memory, other)?;
        let incoming = other.mailbox(memory, own)?;
        let words = Words {
            sent: outgoing.atomic_u32(SENT)?,
            taken_by_me: outgoing.atomic_u32(TAKEN)?,
            received: incoming.atomic_u32(SENT)?,
            taken_by_them: incoming.atomic_u32(TAKEN)?,
            length_out: outgoing.atomic_u32(LENGTH)?,
            length_in: incoming.atomic_u32(LENGTH)?,
        };
        Ok(Self {
            outgoing,
            incoming,
            words,
            sent: 0,
            taken: 0,
        })
    }

    /// Returns whether the last message sent has been taken, so that another can be.
    #[must_use]
    pub fn is_free(&self) -> bool {
        u32::from_le(self.words.taken_by_them.load(Ordering::Acquire)) == self.sent
    }

    /// Sends `text`, cut at [`MAX_TEXT`] bytes. `false`: the last message has not been taken yet.
    ///
    /// # Errors
    ///
    /// None in a region that [`Mailbox::new`] accepted.
    pub fn try_send(&mut self, text: &[u8]) -> Result<bool, AccessError> {
        if !self.is_free() {
            return Ok(false);
        }
        let text = &text[..text.len().min(MAX_TEXT)];
        self.outgoing.write(TEXT, text)?;
        self.words
            .length_out
            .store((text.len() as u32).to_le(), Ordering::Relaxed);
        self.sent = self.sent.wrapping_add(1);
        self.words.sent.store(self.sent.to_le(), Ordering::Release);
        Ok(true)
    }

    /// Returns whether a message is waiting.
    #[must_use]
    pub fn has_message(&self) -> bool {
        u32::from_le(self.words.received.load(Ordering::Acquire)) != self.taken
    }

    /// Takes the message that is waiting, if there is one: copies it to `buffer` and returns its length.
    ///
    /// # Errors
    ///
    /// None in a region that [`Mailbox::new`] accepted.
    pub fn try_receive(
        &mut self,
        buffer: &mut [u8; MAX_TEXT],
    ) -> Result<Option<usize>, AccessError> {
        if !self.has_message() {
            return Ok(None);
        }
        // The length is the other side's: read once, bounded, and only the copy is used.
        let length = u32::from_le(self.words.length_in.load(Ordering::Relaxed)) as usize;
        let length = length.min(MAX_TEXT);
        self.incoming.read(TEXT, &mut buffer[..length])?;
        self.taken = self.taken.wrapping_add(1);
        self.words
            .taken_by_me
            .store(self.taken.to_le(), Ordering::Release);
        Ok(Some(length))
    }
}
