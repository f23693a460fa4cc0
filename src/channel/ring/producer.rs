// SPDX-License-Identifier: MIT OR Apache-2.0
//! The writing side of a ring: [`Producer`].

use core::sync::atomic::Ordering;

use super::frame::{Header, Key, Start, WORD};
use super::{
    Ring, RingError, Session, CONSUMER_SESSION, DATA, HEAD, PRODUCER_SESSION, SPACE, TAIL,
};
use crate::channel::notify::{Publisher, Sleep, Waiter, POLLING};
use crate::channel::words::{Circle, Word, Words};
use crate::memory::LINE;

/// So many bytes before they are written, lines are fetched for that: the other side had them last. Each may take as long as thirty
/// short messages.
const AHEAD: usize = 4096;

/// In so many pieces, which disturb a message that goes alone less often than a line each time would.
const FETCHES: u64 = 8;

/// No more of a ring is fetched ahead than one part of so many, lest it is taken away from a receiver that reads there.
const AHEAD_PARTS: usize = 8;

/// The writing side. Everything that decides is private to it; of the consumer's words it reads the tail, the
/// session, the wish and the promise, and checks them.
#[derive(Debug)]
pub(crate) struct Producer<W: Words> {
    ring: Ring<W>,
    /// The own session, the other side's, the head and the tail.
    own: W::Word,
    other: W::Word,
    head: W::Word,
    tail_word: W::Word,
    longest: usize,
    /// The longest payload that is one of the short.
    short: usize,
    /// How far ahead lines are fetched.
    ahead: u64,
    /// Up to here they have been.
    fetched: u64,
    /// From here on more of them are.
    fetch_at: u64,
    session: Session,
    key: Key,
    /// Where the next frame will be. Invariant: a multiple of 8.
    position: u64,
    /// A frame that begins at `position` and ends here or before has room. It may be known that there is more.
    limit: u64,
    /// The header that announces what is written, if something waits for that; else none.
    first: Header,
    /// Where it is to be written. Frames from here to `position` are written but for it.
    announced: u64,
    /// The consumer's position as last seen. Invariant: at most `place.size()` behind `position`.
    tail: u64,
    /// Whether the consumer has been seen in this session.
    met: bool,
    data: Publisher<W>,
    space: Waiter,
}

/// Room for one frame, not yet announced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    /// Where its header will be.
    position: u64,
    start: Start,
    /// The position of its payload.
    pub(crate) payload: u64,
    /// Bytes of payload that there is room for.
    pub(crate) len: usize,
    /// The position behind the frame, if all of that is used.
    end: u64,
}

impl Granted {
    #[inline(always)]
    const fn new(position: u64, start: Start, len: usize, end: u64) -> Self {
        Self {
            position,
            start,
            payload: start.payload(position),
            len,
            end,
        }
    }

    /// Returns the position behind what has to be free: behind the frame the next header's place is zeroed.
    #[inline]
    const fn needs(&self) -> u64 {
        self.end + WORD as u64
    }
}

impl<W: Words> Producer<W> {
    /// Begins `session` on `ring`, whatever is in it.
    pub(crate) fn begin(ring: Ring<W>, session: Session) -> Self {
        let Ring { words, data, place } = &ring;
        let (publisher, space) = session.begin(words, PRODUCER_SESSION, |words| {
            data.store(0, Header::NONE.word(), Ordering::Relaxed);
            words.store(HEAD, session.key().word(0), Ordering::Relaxed);
            let publisher = Publisher::begin(DATA, words, 0);
            // Who never sleeps for want of room costs the consumer no fence.
            (publisher, Waiter::begin(SPACE, words, POLLING))
        });
        let longest = place.longest();
        Self {
            own: words.word(PRODUCER_SESSION),
            other: words.word(CONSUMER_SESSION),
            head: words.word(HEAD),
            tail_word: words.word(TAIL),
            longest,
            short: longest.min(Start::LONGEST_BEHIND),
            ahead: AHEAD.min(place.size() / AHEAD_PARTS) as u64,
            fetched: 0,
            fetch_at: 0,
            ring,
            session,
            key: session.key(),
            position: 0,
            limit: 0,
            first: Header::NONE,
            announced: 0,
            tail: 0,
            met: false,
            data: publisher,
            space,
        }
    }

    /// Returns the size of the ring in bytes.
    pub(crate) const fn size(&self) -> usize {
        self.ring.place.size()
    }

    /// Returns the longest payload of one frame.
    pub(crate) const fn longest(&self) -> usize {
        self.longest
    }

    /// Sends a short message if it is known that there is room for it behind the last one, as there mostly is, and nothing else
    /// is to be announced with it. Returns whether to ring.
    #[inline(always)]
    pub(crate) fn send_short(&mut self, payload: &[u8]) -> Option<bool> {
        let len = payload.len();
        let end = Start::Behind.end(self.position, len);
        if len > self.short || end > self.limit || self.first != Header::NONE {
            return None;
        }
        self.write_header(end, Header::NONE, Ordering::Relaxed);
        self.ring.data.write(self.position + WORD as u64, payload);
        let mark = self.key.mark(self.position);
        let header = Header::message(len as u32, Start::Behind, false, mark);
        self.write_header(self.position, header, Ordering::Release);
        self.position = end;
        self.fetch_ahead();
        Some(self.made_known())
    }

    /// Finds room for a payload of `len` bytes behind the last one if it is known that there is some, as there mostly is.
    #[inline(always)]
    pub(crate) fn glance(&self, len: usize) -> Option<Granted> {
        if len > self.longest {
            return None;
        }
        let start = Start::of(len);
        let end = start.end(self.position, len);
        (end <= self.limit).then(|| Granted::new(self.position, start, len, end))
    }

    /// Finds room for a payload of `len` bytes, at most [`Producer::longest`]; `None` while there is none.
    ///
    /// What is granted lasts until the next call of [`Producer::write`] or [`Producer::finish`]; it may be dropped.
    pub(crate) fn grant(&mut self, len: usize) -> Result<Option<Granted>, RingError> {
        debug_assert!(len <= self.longest(), "{len}");
        let granted = self.next(len);
        if granted.needs() - self.tail > self.size() as u64 {
            self.refresh()?;
        }
        let known = self.tail + self.size() as u64;
        let to_end = self.ring.place.to_end(self.position) as u64;
        self.limit = (self.position + to_end).min(known - WORD as u64);
        Ok((granted.needs() <= known).then_some(granted))
    }

    /// Returns where the next frame will be: before the end of the ring, or at its start.
    const fn next(&self, len: usize) -> Granted {
        let start = Start::of(len);
        let end = start.end(self.position, len);
        let to_end = self.ring.place.to_end(self.position) as u64;
        if end - self.position <= to_end {
            Granted::new(self.position, start, len, end)
        } else {
            let position = self.position + to_end;
            Granted::new(position, start, len, start.end(position, len))
        }
    }

    /// Writes a granted frame with this payload, of the length that was asked for, to be announced together with others.
    ///
    /// The consumer looks at the line of the header all the time and takes it away with each look. So everything else is
    /// written before what is in that line.
    #[inline(always)]
    pub(crate) fn write(&mut self, granted: Granted, payload: &[u8], more: bool) {
        self.write_header(granted.end, Header::NONE, Ordering::Relaxed);
        self.ring.data.write(granted.payload, payload);
        self.stage(granted, more);
    }

    /// Ends a granted frame, of which the first `len` bytes are the payload, to be announced together with others.
    #[inline]
    pub(crate) fn finish(&mut self, granted: Granted, len: usize, more: bool) {
        let len = len.min(granted.len);
        let end = granted.start.end(granted.position, len);
        self.write_header(end, Header::NONE, Ordering::Relaxed);
        self.stage(
            Granted {
                len,
                end,
                ..granted
            },
            more,
        );
    }

    #[inline(always)]
    fn stage(&mut self, granted: Granted, more: bool) {
        let mark = self.key.mark(granted.position);
        let mut header = Header::message(granted.len as u32, granted.start, more, mark);
        if granted.position != self.position {
            self.write_header(granted.position, header, Ordering::Relaxed);
            header = Header::skip(self.key.mark(self.position));
        }
        if self.first == Header::NONE {
            self.first = header;
            self.announced = self.position;
        } else {
            self.write_header(self.position, header, Ordering::Relaxed);
        }
        self.position = granted.end;
        self.fetch_ahead();
    }

    /// Announces what was written, before anything is waited for. Returns whether to ring.
    #[inline(always)]
    pub(crate) fn announce(&mut self) -> bool {
        if self.first == Header::NONE {
            return false;
        }
        self.write_header(self.announced, self.first, Ordering::Release);
        self.first = Header::NONE;
        self.made_known()
    }

    /// Says how far the announced frames go. Returns whether to ring.
    #[inline(always)]
    fn made_known(&mut self) -> bool {
        let head = self.key.word(self.position);
        self.head.store(head, Ordering::Release);
        self.data.published(&self.ring.words, self.position)
    }

    /// Has the lines fetched that will be written in a while, if it is time for some more.
    #[inline(always)]
    fn fetch_ahead(&mut self) {
        if self.position >= self.fetch_at {
            self.fetch();
        }
    }

    #[inline(never)]
    fn fetch(&mut self) {
        let end = self.position + self.ahead;
        let mut next = self.fetched.max(self.position);
        while next < end {
            self.ring.data.expect_write(next);
            next += LINE as u64;
        }
        self.fetched = next;
        self.fetch_at = self.position + self.ahead / FETCHES;
    }

    #[inline(always)]
    fn write_header(&self, position: u64, header: Header, order: Ordering) {
        self.ring.data.store(position, header.word(), order);
    }

    /// Returns the bytes that are free as far as is known.
    #[inline]
    pub(crate) const fn free(&self) -> usize {
        self.size() - (self.position - self.tail) as usize
    }

    /// Looks how far the consumer has come.
    #[cold]
    pub(crate) fn refresh(&mut self) -> Result<(), RingError> {
        let tail = self.tail_word.load(Ordering::Acquire);
        let Some(advance) = self.key.advance(tail, self.tail) else {
            // The consumer has not come yet, or it has gone: only who has met it can tell. If it is there, one that had its
            // slot before has stored late, and it will put that right.
            return if self.met && !self.session.is_at(&self.other) {
                Err(RingError::Restarted)
            } else {
                Ok(())
            };
        };
        self.met = true;
        // What is not announced yet cannot have been consumed.
        let announced = if self.first == Header::NONE {
            self.position
        } else {
            self.announced
        };
        if advance > announced - self.tail {
            return Err(RingError::Corrupt);
        }
        self.tail += advance;
        Ok(())
    }

    /// Asks to be woken when a payload of `len` bytes fits. Try again afterwards, then sleep as told.
    pub(crate) fn arm(&mut self, len: usize) -> Sleep {
        // Less than 0 is room that was there from the start: the next try finds it.
        let position = self.next(len).needs().saturating_sub(self.size() as u64);
        self.space.arm(&self.ring.words, position)
    }

    /// Says that nobody need ring when there is room, as at first: for who has armed and does not mean to sleep again soon.
    #[inline]
    pub(crate) fn poll(&mut self) {
        self.space.poll(&self.ring.words);
    }

    /// Returns whether this side's session is still this one: another begins when the peer's next incarnation is
    /// connected to.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        self.session.is_at(&self.own)
    }

    /// Returns what the payload of what is granted is in.
    #[inline]
    pub(crate) const fn data(&self) -> &W::Circle {
        &self.ring.data
    }
}
