// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reading side of a ring: [`Consumer`].

use core::sync::atomic::Ordering;

use super::frame::{Header, Key, Place};
use super::{
    RingError, Session, CONSUMER_SESSION, CONTROL_LEN, DATA, HEAD, PRODUCER_SESSION, SPACE, TAIL,
};
use crate::channel::notify::{Publisher, Sleep, Waiter};
use crate::channel::words::Words;

/// The reading side. Of the producer's words it reads headers, once each, and checks them.
#[derive(Debug)]
pub(crate) struct Consumer<W> {
    ring: W,
    place: Place,
    session: Session,
    key: Key,
    /// Where the next frame is. Invariant: a multiple of 8.
    position: u64,
    /// Whether the producer has been seen in this session; before, what lies in the ring may be from another.
    begun: bool,
    /// The position that the producer knows of.
    published: u64,
    /// How often nothing was found.
    looks: u32,
    space: Publisher,
    data: Waiter,
}

/// Every so many looks that find nothing, one is also at the head, which is on a line of its own.
const LOOKS_FOR_HEAD: u32 = 1 << 16;

/// A frame that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peeked {
    /// Offset of its payload in the ring's part of the region.
    pub(crate) payload: usize,
    /// Bytes of its payload; with it all of them are inside the ring.
    pub(crate) len: usize,
    /// Whether the message goes on in the next frame.
    pub(crate) more: bool,
    /// The position behind it.
    end: u64,
}

impl<W: Words> Consumer<W> {
    /// Begins `session` on the ring in `ring`.
    pub(crate) fn begin(ring: W, place: Place, session: Session) -> Self {
        let (space, data) = session.begin(&ring, CONSUMER_SESSION, |ring| {
            ring.store(TAIL, session.key().word(0), Ordering::Relaxed);
            let space = Publisher::begin(SPACE, ring, 0);
            // Who sleeps from the start finds the promise still given; who polls says so.
            (space, Waiter::begin(DATA, ring, 0))
        });
        Self {
            ring,
            place,
            session,
            key: session.key(),
            position: 0,
            begun: false,
            published: 0,
            looks: 0,
            space,
            data,
        }
    }

    /// Returns the next frame, `None` while there is none: then [`Consumer::publish`], since the producer may wait for all
    /// of the room.
    ///
    /// The payload is the peer's to change at any time: copy it out, then [`Consumer::verify`].
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<Option<Peeked>, RingError> {
        if !self.begun {
            self.begun = self.session.is_at(&self.ring, PRODUCER_SESSION);
            if !self.begun {
                return Ok(None);
            }
        }
        // A skip leads to offset 0, where there is none.
        for _ in 0..2 {
            let offset = self.place.offset(self.position);
            let word = self.ring.load(CONTROL_LEN + offset, Ordering::Acquire);
            let header = Header::from_word(word);
            if header == Header::NONE {
                return self.wait_for_header(offset);
            }
            if let Some(message) = header.as_message(self.key.mark(self.position)) {
                let end = message.start.end(self.position, message.len);
                // Else it would reach beyond the end of the ring.
                if message.len > self.place.longest()
                    || end - self.position > self.place.to_end(self.position) as u64
                {
                    return Err(self.blame());
                }
                let payload = message.start.payload(self.position);
                return Ok(Some(Peeked {
                    payload: CONTROL_LEN + self.place.offset(payload),
                    len: message.len,
                    more: message.more,
                    end,
                }));
            }
            if !header.is_skip(self.key.mark(self.position)) || offset == 0 {
                return Err(self.blame());
            }
            self.position += self.place.to_end(self.position) as u64;
        }
        Err(self.blame())
    }

    /// Finds nothing, and now and then also that there should be something: who had the producer's slot before may have taken its
    /// header away, by a store that came late. The head says so, if one looks at the header behind it.
    #[inline]
    fn wait_for_header(&mut self, offset: usize) -> Result<Option<Peeked>, RingError> {
        self.looks = self.looks.wrapping_add(1);
        if self.looks % LOOKS_FOR_HEAD == 0 {
            let head = self.ring.load(HEAD, Ordering::Acquire);
            let header = self.ring.load(CONTROL_LEN + offset, Ordering::Relaxed);
            // What has been received already is behind the position as soon as its header is there, the head only then.
            let ahead = self.key.advance(head, self.position);
            let is_ahead =
                ahead.is_some_and(|ahead| 0 < ahead && ahead <= self.place.size() as u64);
            if is_ahead && header == Header::NONE.word() {
                return Err(self.blame());
            }
        }
        self.verify().map(|()| None)
    }

    /// Checks, when bytes have been copied out, that they are of this session.
    #[inline]
    pub(crate) fn verify(&self) -> Result<(), RingError> {
        self.ring.fence(Ordering::Acquire);
        if self.session.is_at(&self.ring, PRODUCER_SESSION) {
            return Ok(());
        }
        Err(RingError::Restarted)
    }

    /// What the producer wrote is wrong: because another one has come meanwhile, or else by its own fault.
    #[cold]
    fn blame(&self) -> RingError {
        match self.verify() {
            Ok(()) => RingError::Corrupt,
            Err(error) => error,
        }
    }

    /// Passes the frame that [`Consumer::peek`] returned last. Returns whether it is time to [publish](Consumer::publish): that
    /// costs both sides a cache line, so not for each frame.
    #[inline]
    pub(crate) fn pass(&mut self, peeked: Peeked) -> bool {
        self.position = peeked.end;
        self.position - self.published >= self.place.size() as u64 / 8
    }

    /// Makes known how far the consumer has come. Returns whether to ring.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        let tail = self.key.word(self.position);
        if self.published == self.position {
            // One who had the slot before may have written there late. A producer that took that for no room and sleeps finds out
            // when its sleep ends with its next heartbeat.
            if self.ring.load(TAIL, Ordering::Relaxed) != tail {
                self.ring.store(TAIL, tail, Ordering::Release);
            }
            return false;
        }
        self.published = self.position;
        self.ring.store(TAIL, tail, Ordering::Release);
        self.space.published(&self.ring, self.position)
    }

    /// Asks to be woken when there is a frame. Look again afterwards, then sleep as told.
    pub(crate) fn arm(&mut self) -> Sleep {
        // The look that follows is the last for long.
        self.looks = LOOKS_FOR_HEAD - 1;
        self.data.arm(&self.ring, self.position + 1)
    }

    /// Says that nobody need ring.
    #[inline]
    pub(crate) fn poll(&mut self) {
        self.data.poll(&self.ring);
    }

    /// Returns whether this side's session is still this one: another begins when the peer's next incarnation is
    /// connected to.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        self.session.is_at(&self.ring, CONSUMER_SESSION)
    }

    /// Returns the ring's part of the region, for the payload of what was peeked at.
    pub(crate) const fn words(&self) -> &W {
        &self.ring
    }
}
