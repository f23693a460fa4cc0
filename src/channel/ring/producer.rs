// SPDX-License-Identifier: MIT OR Apache-2.0
//! The writing side of a ring: [`Producer`].

use core::sync::atomic::Ordering;

use super::frame::{Header, Key, Place, Start, WORD};
use super::{
    RingError, Session, CONSUMER_SESSION, CONTROL_LEN, DATA, HEAD, PRODUCER_SESSION, SPACE, TAIL,
};
use crate::channel::notify::{Publisher, Sleep, Waiter, POLLING};
use crate::channel::words::{Word, Words};

/// So many bytes before they are written, lines are fetched for that: the other side had them last.
const AHEAD: u64 = 256;

/// The writing side. Everything that decides is private to it; of the consumer's words it reads the tail, the
/// session, the wish and the promise, and checks them.
#[derive(Debug)]
pub(crate) struct Producer<W: Words> {
    ring: W,
    /// The own session, the other side's, the head and the tail.
    own: W::Word,
    other: W::Word,
    head: W::Word,
    tail_word: W::Word,
    place: Place,
    longest: usize,
    session: Session,
    key: Key,
    /// Where the next frame will be. Invariant: a multiple of 8.
    position: u64,
    /// Frames from here to `position` are written but for the header here.
    announced: u64,
    /// The header that is to be written at `announced`.
    first: Header,
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
    /// Offset of its payload in the ring's part of the region.
    pub(crate) payload: usize,
    /// Bytes of payload that there is room for.
    pub(crate) len: usize,
    /// The position behind the frame, if all of that is used.
    end: u64,
}

impl Granted {
    /// Returns the position behind what has to be free: behind the frame the next header's place is zeroed.
    #[inline]
    const fn needs(&self) -> u64 {
        self.end + WORD as u64
    }
}

impl<W: Words> Producer<W> {
    /// Begins `session` on the ring in `ring`, whatever is in it.
    pub(crate) fn begin(ring: W, place: Place, session: Session) -> Self {
        let (data, space) = session.begin(&ring, PRODUCER_SESSION, |ring| {
            ring.store(CONTROL_LEN, 0, Ordering::Relaxed);
            ring.store(HEAD, session.key().word(0), Ordering::Relaxed);
            let data = Publisher::begin(DATA, ring, 0);
            // Who never sleeps for want of room costs the consumer no fence.
            (data, Waiter::begin(SPACE, ring, POLLING))
        });
        Self {
            own: ring.word(PRODUCER_SESSION),
            other: ring.word(CONSUMER_SESSION),
            head: ring.word(HEAD),
            tail_word: ring.word(TAIL),
            longest: place.longest(),
            ring,
            place,
            session,
            key: session.key(),
            position: 0,
            announced: 0,
            first: Header::NONE,
            tail: 0,
            met: false,
            data,
            space,
        }
    }

    /// Returns the size of the ring in bytes.
    pub(crate) const fn size(&self) -> usize {
        self.place.size()
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
        if len > self.longest || Start::of(len) != Start::Behind {
            return None;
        }
        let end = Start::Behind.end(self.position, len);
        let offset = self.place.offset(self.position);
        let size = self.place.size();
        let ends = offset + (end - self.position) as usize;
        let is_free = end + WORD as u64 - self.tail <= size as u64;
        if ends > size || !is_free || self.announced != self.position {
            return None;
        }
        self.write_header(end, Header::NONE, Ordering::Relaxed);
        let at = CONTROL_LEN + offset;
        self.ring.write_first_line_last(at + WORD, payload);
        let mark = self.key.mark(self.position);
        let header = Header::message(len as u32, Start::Behind, false, mark);
        self.ring.store(at, header.word(), Ordering::Release);
        self.position = end;
        self.announced = end;
        self.fetch_ahead();
        Some(self.made_known())
    }

    /// Finds room for a payload of `len` bytes where it is known that there is some, as there mostly is.
    #[inline(always)]
    pub(crate) fn glance(&self, len: usize) -> Option<Granted> {
        if len > self.longest {
            return None;
        }
        let granted = self.next(len);
        let has_room = granted.needs() - self.tail <= self.place.size() as u64;
        has_room.then_some(granted)
    }

    /// Finds room for a payload of `len` bytes, at most [`Producer::longest`]; `None` while there is none.
    ///
    /// What is granted lasts until the next call of [`Producer::write`] or [`Producer::finish`]; it may be dropped.
    #[inline(always)]
    pub(crate) fn grant(&mut self, len: usize) -> Result<Option<Granted>, RingError> {
        debug_assert!(len <= self.longest(), "{len}");
        let known = self.glance(len);
        if known.is_some() {
            return Ok(known);
        }
        self.refresh()?;
        Ok(self.glance(len))
    }

    /// Returns where the next frame will be: before the end of the ring, or at its start.
    #[inline(always)]
    const fn next(&self, len: usize) -> Granted {
        let start = Start::of(len);
        let end = start.end(self.position, len);
        let to_end = self.place.to_end(self.position) as u64;
        if end - self.position <= to_end {
            self.at(self.position, start, len, end)
        } else {
            let position = self.position + to_end;
            self.at(position, start, len, start.end(position, len))
        }
    }

    #[inline(always)]
    const fn at(&self, position: u64, start: Start, len: usize, end: u64) -> Granted {
        Granted {
            position,
            start,
            payload: CONTROL_LEN + self.place.offset(start.payload(position)),
            len,
            end,
        }
    }

    /// Writes a granted frame with this payload, of the length that was asked for, to be announced together with others.
    ///
    /// The consumer looks at the line of the header all the time and takes it away with each look. So everything else is
    /// written before what is in that line.
    #[inline(always)]
    pub(crate) fn write(&mut self, granted: Granted, payload: &[u8], more: bool) {
        self.write_header(granted.end, Header::NONE, Ordering::Relaxed);
        self.ring.write_first_line_last(granted.payload, payload);
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
        if self.announced == self.position {
            self.first = header;
        } else {
            self.write_header(self.position, header, Ordering::Relaxed);
        }
        self.position = granted.end;
        self.fetch_ahead();
    }

    /// Announces what was written, before anything is waited for. Returns whether to ring.
    #[inline(always)]
    pub(crate) fn announce(&mut self) -> bool {
        if self.announced == self.position {
            return false;
        }
        self.write_header(self.announced, self.first, Ordering::Release);
        self.announced = self.position;
        self.made_known()
    }

    /// Says how far the announced frames go. Returns whether to ring.
    #[inline(always)]
    fn made_known(&mut self) -> bool {
        let head = self.key.word(self.position);
        self.head.store(head, Ordering::Release);
        self.data.published(&self.ring, self.position)
    }

    /// Has the line fetched that will be written in a while.
    #[inline(always)]
    fn fetch_ahead(&self) {
        let ahead = self.place.offset(self.position + AHEAD);
        self.ring.expect_write(CONTROL_LEN + ahead);
    }

    #[inline(always)]
    fn write_header(&self, position: u64, header: Header, order: Ordering) {
        let offset = CONTROL_LEN + self.place.offset(position);
        self.ring.store(offset, header.word(), order);
    }

    /// Returns the bytes that are free as far as is known.
    #[inline]
    pub(crate) const fn free(&self) -> usize {
        self.place.size() - (self.position - self.tail) as usize
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
        if advance > self.announced - self.tail {
            return Err(RingError::Corrupt);
        }
        self.tail += advance;
        Ok(())
    }

    /// Asks to be woken when a payload of `len` bytes fits. Try again afterwards, then sleep as told.
    pub(crate) fn arm(&mut self, len: usize) -> Sleep {
        // Less than 0 is room that was there from the start: the next try finds it.
        let position = self
            .next(len)
            .needs()
            .saturating_sub(self.place.size() as u64);
        self.space.arm(&self.ring, position)
    }

    /// Says that nobody need ring when there is room, as at first: for who has armed and does not mean to sleep again soon.
    #[inline]
    pub(crate) fn poll(&mut self) {
        self.space.poll(&self.ring);
    }

    /// Returns whether this side's session is still this one: another begins when the peer's next incarnation is
    /// connected to.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        self.session.is_at(&self.own)
    }

    /// Returns the ring's part of the region, for the payload of what is granted.
    pub(crate) const fn words(&self) -> &W {
        &self.ring
    }
}
