// SPDX-License-Identifier: MIT OR Apache-2.0
//! The writing side of a ring: [`Producer`].

use core::sync::atomic::Ordering;

use super::frame::{Header, Key, Place, Start, LINE, WORD};
use super::{
    RingError, Session, CONSUMER_SESSION, CONTROL_LEN, DATA, HEAD, PRODUCER_SESSION, SPACE, TAIL,
};
use crate::channel::notify::{Publisher, Sleep, Waiter, POLLING};
use crate::channel::words::Words;

/// The writing side. Everything that decides is private to it; of the consumer's words it reads the tail, the
/// session, the wish and the promise, and checks them.
#[derive(Debug)]
pub(crate) struct Producer<W> {
    ring: W,
    place: Place,
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
    data: Publisher,
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

    /// Returns the longest payload of one frame.
    pub(crate) const fn longest(&self) -> usize {
        self.place.longest()
    }

    /// Finds room for a payload of `len` bytes, at most [`Producer::longest`]; `None` while there is none.
    ///
    /// What is granted lasts until the next call of [`Producer::write`] or [`Producer::finish`]; it may be dropped.
    #[inline]
    pub(crate) fn grant(&mut self, len: usize) -> Result<Option<Granted>, RingError> {
        debug_assert!(len <= self.longest(), "{len}");
        let (position, end) = self.frame(len);
        let need = self.room(end);
        if need > self.free() {
            self.refresh()?;
            if need > self.free() {
                return Ok(None);
            }
        }
        let start = Start::of(len);
        Ok(Some(Granted {
            position,
            start,
            payload: CONTROL_LEN + self.place.offset(start.payload(position)),
            len,
        }))
    }

    /// Returns where the next frame begins and ends: before the end of the ring, or at its start.
    #[inline]
    const fn frame(&self, len: usize) -> (u64, u64) {
        let start = Start::of(len);
        let end = start.end(self.position, len);
        let to_end = self.place.to_end(self.position) as u64;
        if end - self.position <= to_end {
            return (self.position, end);
        }
        let position = self.position + to_end;
        (position, start.end(position, len))
    }

    /// Returns the bytes that must be free for a frame that ends at `end`. Behind it the next header's place is zeroed.
    #[inline]
    const fn room(&self, end: u64) -> usize {
        (end - self.position) as usize + WORD
    }

    /// Writes a granted frame with this payload, of the length that was asked for, to be announced together with others.
    ///
    /// The consumer looks at the line of the header all the time and takes it away with each look. So everything else is
    /// written before what is in that line.
    #[inline]
    pub(crate) fn write(&mut self, granted: Granted, payload: &[u8], more: bool) {
        self.clear_next(&granted, payload.len());
        let first = LINE - granted.payload % LINE;
        let (first, rest) = payload.split_at(first.min(payload.len()));
        if !rest.is_empty() {
            self.ring.write(granted.payload + first.len(), rest);
        }
        self.ring.write(granted.payload, first);
        self.stage(granted, payload.len(), more);
    }

    /// Ends a granted frame, of which the first `len` bytes are the payload, to be announced together with others.
    #[inline]
    pub(crate) fn finish(&mut self, granted: Granted, len: usize, more: bool) {
        let len = len.min(granted.len);
        self.clear_next(&granted, len);
        self.stage(granted, len, more);
    }

    /// Zeroes the place of the header behind a frame.
    #[inline]
    fn clear_next(&self, granted: &Granted, len: usize) {
        let next = granted.start.end(granted.position, len);
        self.write_header(next, Header::NONE, Ordering::Relaxed);
    }

    #[inline]
    fn stage(&mut self, granted: Granted, len: usize, more: bool) {
        let mark = self.key.mark(granted.position);
        let mut header = Header::message(len as u32, granted.start, more, mark);
        if granted.position != self.position {
            self.write_header(granted.position, header, Ordering::Relaxed);
            header = Header::skip(self.key.mark(self.position));
        }
        if self.announced == self.position {
            self.first = header;
        } else {
            self.write_header(self.position, header, Ordering::Relaxed);
        }
        self.position = granted.start.end(granted.position, len);
    }

    /// Announces what was written, before anything is waited for. Returns whether to ring.
    #[inline]
    pub(crate) fn announce(&mut self) -> bool {
        if self.announced == self.position {
            return false;
        }
        self.write_header(self.announced, self.first, Ordering::Release);
        self.announced = self.position;
        let head = self.key.word(self.position);
        self.ring.store(HEAD, head, Ordering::Release);
        self.data.published(&self.ring, self.position)
    }

    #[inline]
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
        let tail = self.ring.load(TAIL, Ordering::Acquire);
        let Some(advance) = self.key.advance(tail, self.tail) else {
            // The consumer has not come yet, or it has gone: only who has met it can tell. If it is there, one that had its
            // slot before has stored late, and it will put that right.
            return if self.met && !self.session.is_at(&self.ring, CONSUMER_SESSION) {
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
        let (_, end) = self.frame(len);
        let end = self.position + self.room(end) as u64;
        // Less than 0 is room that was there from the start: the next try finds it.
        let position = end.saturating_sub(self.place.size() as u64);
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
        self.session.is_at(&self.ring, PRODUCER_SESSION)
    }

    /// Returns the ring's part of the region, for the payload of what is granted.
    pub(crate) const fn words(&self) -> &W {
        &self.ring
    }
}
