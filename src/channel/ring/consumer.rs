// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reading side of a ring: [`Consumer`].

use core::sync::atomic::Ordering;

use super::frame::{Header, Key, Message};
use super::{
    Ring, RingError, Session, CONSUMER_SESSION, DATA, HEAD, PRODUCER_SESSION, SPACE, TAIL,
};
use crate::channel::notify::{Publisher, Sleep, Waiter};
use crate::channel::words::{Circle, Word, Words};

/// The reading side. Of the producer's words it reads headers, once each, and checks them.
#[derive(Debug)]
pub(crate) struct Consumer<W: Words> {
    ring: Ring<W>,
    /// The own session, the other side's, and the tail.
    own: W::Word,
    other: W::Word,
    tail: W::Word,
    longest: usize,
    session: Session,
    key: Key,
    /// Where the next frame is. Invariant: a multiple of 8.
    position: u64,
    /// Whether the producer has been seen in this session; before, what lies in the ring may be from another.
    begun: bool,
    /// The position that the producer knows of.
    published: u64,
    /// How far the consumer goes before it lets the producer know again.
    step: u64,
    /// How often nothing was found.
    looks: u32,
    space: Publisher<W>,
    data: Waiter,
}

/// Every so many looks that find nothing, one is at all that may have to be done then.
const LOOKS_FOR_ALL: u32 = 1 << 6;

/// Every so many, one is also at the head, which is on a line of its own.
const LOOKS_FOR_HEAD: u32 = 1 << 16;

/// The producer is told how far the consumer has come so many times in each round: that costs both sides a line of the cache.
const STEPS: u64 = 8;

/// A frame that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peeked {
    /// The position of its payload.
    pub(crate) payload: u64,
    /// Bytes of its payload; with it all of them are inside the ring.
    pub(crate) len: usize,
    /// Whether the message goes on in the next frame.
    pub(crate) more: bool,
    /// The position behind it.
    end: u64,
}

/// What a short look finds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Glance {
    Frame(Peeked),
    /// Nothing is there, nor to be done.
    Nothing,
    /// What only a [longer look](Consumer::peek) tells.
    Unusual,
}

impl<W: Words> Consumer<W> {
    /// Begins `session` on `ring`.
    pub(crate) fn begin(ring: Ring<W>, session: Session) -> Self {
        let words = &ring.words;
        let (space, data) = session.begin(words, CONSUMER_SESSION, |words| {
            words.store(TAIL, session.key().word(0), Ordering::Relaxed);
            let space = Publisher::begin(SPACE, words, 0);
            // Who sleeps from the start finds the promise still given; who polls says so.
            (space, Waiter::begin(DATA, words, 0))
        });
        Self {
            own: words.word(CONSUMER_SESSION),
            other: words.word(PRODUCER_SESSION),
            tail: words.word(TAIL),
            longest: ring.place.longest(),
            step: ring.place.size() as u64 / STEPS,
            ring,
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
    // Each level that this result is handed through costs more than the look.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Result<Option<Peeked>, RingError> {
        if !self.begun && !self.begins() {
            return Ok(None);
        }
        let header = self.header(Ordering::Acquire);
        if header == Header::NONE {
            return self.wait_for_header();
        }
        match header.as_message(self.key.mark(self.position)) {
            Some(message) => self.accept(message),
            None => self.skip(header),
        }
    }

    /// Returns the next frame if it is where the last one ended, as most are.
    #[inline(always)]
    pub(crate) fn glance(&mut self) -> Glance {
        if !self.begun {
            return Glance::Unusual;
        }
        let header = self.header(Ordering::Acquire);
        match header.as_message(self.key.mark(self.position)) {
            Some(message) => self.locate(message).map_or(Glance::Unusual, Glance::Frame),
            None if header == Header::NONE && self.may_rest() => Glance::Nothing,
            None => Glance::Unusual,
        }
    }

    /// Returns whether there is nothing to be done where nothing is found, as far as a short look tells, which counts for one.
    #[inline(always)]
    fn may_rest(&mut self) -> bool {
        let looks = self.looks.wrapping_add(1);
        let rests = looks % LOOKS_FOR_ALL != 0
            && self.published == self.position
            && self.session.is_at(&self.other);
        if rests {
            self.looks = looks;
        }
        rests
    }

    #[cold]
    fn begins(&mut self) -> bool {
        self.begun = self.session.is_at(&self.other);
        self.begun
    }

    /// Returns what is at the position.
    #[inline]
    fn header(&self, order: Ordering) -> Header {
        Header::from_word(self.ring.data.load(self.position, order))
    }

    /// Checks what the header of a message says.
    #[inline]
    fn accept(&self, message: Message) -> Result<Option<Peeked>, RingError> {
        match self.locate(message) {
            Some(peeked) => Ok(Some(peeked)),
            None => Err(self.blame()),
        }
    }

    /// Returns where a message at the position is, unless it would reach beyond the end of the ring.
    #[inline(always)]
    const fn locate(&self, message: Message) -> Option<Peeked> {
        let Some(end) = message.end(self.position, self.ring.place, self.longest) else {
            return None;
        };
        Some(Peeked {
            payload: message.start.payload(self.position),
            len: message.len,
            more: message.more,
            end,
        })
    }

    /// Goes to the start of the ring, where there is no other skip, if that is what `header` says.
    #[cold]
    fn skip(&mut self, header: Header) -> Result<Option<Peeked>, RingError> {
        let is_skip = header.is_skip(self.key.mark(self.position));
        if !is_skip || self.ring.place.offset(self.position) == 0 {
            return Err(self.blame());
        }
        self.position += self.ring.place.to_end(self.position) as u64;
        let header = self.header(Ordering::Acquire);
        if header == Header::NONE {
            return self.wait_for_header();
        }
        match header.as_message(self.key.mark(self.position)) {
            Some(message) => self.accept(message),
            None => Err(self.blame()),
        }
    }

    /// Finds nothing, and now and then looks whether there should be something.
    #[inline]
    fn wait_for_header(&mut self) -> Result<Option<Peeked>, RingError> {
        self.looks = self.looks.wrapping_add(1);
        if self.looks % LOOKS_FOR_HEAD == 0 && self.misses_header() {
            return Err(self.blame());
        }
        self.verify().map(|()| None)
    }

    /// Returns whether one who had the producer's slot before has taken its header away, by a store that came late. The head
    /// says so, if one looks at the header behind it.
    #[cold]
    fn misses_header(&self) -> bool {
        let head = self.ring.words.load(HEAD, Ordering::Acquire);
        // What has been received already is behind the position as soon as its header is there, the head only then.
        let ahead = self.key.advance(head, self.position);
        ahead.is_some_and(|ahead| 0 < ahead && ahead <= self.ring.place.size() as u64)
            && self.header(Ordering::Relaxed) == Header::NONE
    }

    /// Checks, when bytes have been copied out, that they are of this session.
    #[inline]
    pub(crate) fn verify(&self) -> Result<(), RingError> {
        self.ring.words.fence(Ordering::Acquire);
        if self.session.is_at(&self.other) {
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

    /// Passes the frame that [`Consumer::peek`] returned last. Returns whether it is time to [publish](Consumer::publish).
    #[inline]
    pub(crate) fn pass(&mut self, peeked: Peeked) -> bool {
        self.position = peeked.end;
        self.position - self.published >= self.step
    }

    /// Makes known how far the consumer has come. Returns whether to ring.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        let tail = self.key.word(self.position);
        if self.published == self.position {
            // One who had the slot before may have written there late. A producer that took that for no room and sleeps finds out
            // when its sleep ends with its next heartbeat.
            if self.tail.load(Ordering::Relaxed) != tail {
                self.tail.store(tail, Ordering::Release);
            }
            return false;
        }
        self.published = self.position;
        self.tail.store(tail, Ordering::Release);
        self.space.published(&self.ring.words, self.position)
    }

    /// Asks to be woken when there is a frame. Look again afterwards, then sleep as told.
    pub(crate) fn arm(&mut self) -> Sleep {
        self.doubt();
        self.data.arm(&self.ring.words, self.position + 1)
    }

    /// Has the next look that finds nothing look at the head too: it is the last for long.
    pub(crate) fn doubt(&mut self) {
        self.looks = LOOKS_FOR_HEAD - 1;
    }

    /// Says that nobody need ring.
    #[inline]
    pub(crate) fn poll(&mut self) {
        self.data.poll(&self.ring.words);
    }

    /// Returns whether this side's session is still this one: another begins when the peer's next incarnation is
    /// connected to.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        self.session.is_at(&self.own)
    }

    /// Returns what the payload of what was peeked at is in.
    #[inline]
    pub(crate) const fn data(&self) -> &W::Circle {
        &self.ring.data
    }
}
