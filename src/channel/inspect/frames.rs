// SPDX-License-Identifier: MIT OR Apache-2.0
//! What lies in a ring: [`FrameLook`].

use core::sync::atomic::{fence, Ordering};

use super::finding::{Finding, Part, Problem};
use super::rings::{RingLook, Standing, FAR};
use super::source::{Source, View};
use crate::channel::ring::{Header, CONTROL_LEN, HEAD, PRODUCER_SESSION, TAIL, WORD};
use crate::channel::words::Loads;

/// A frame of a ring, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLook {
    /// Its position, in bytes from the start of the session, modulo 2^35.
    pub position: u64,
    /// The position behind it, likewise.
    pub end: u64,
    /// Where its header is, in bytes from the start of the region.
    pub offset: usize,
    /// What it is.
    pub kind: FrameKind,
}

/// The kinds of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A message, or a part of one.
    Message {
        /// Where the payload begins, in bytes from the start of the region.
        payload: usize,
        /// Bytes of payload.
        len: usize,
        /// Whether the message goes on in the next frame.
        more: bool,
    },
    /// Nothing; the next frame is at the start of the ring.
    Skip,
}

/// What is to be thought of a frame's bytes that have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// They are what was sent: the receiver has not given their room back.
    Certainly,
    /// The receiver has given their room back, but the sender is far from using it, as far as it has announced.
    Probably,
    /// They may have been overwritten while they were read.
    Hardly,
}

/// The frames of a ring from a position to the head.
///
/// It ends early where the frames are overtaken by their sender while they are looked at, and behind the first that makes no
/// sense.
#[derive(Clone, Debug)]
pub struct Frames<'s, S: ?Sized> {
    words: View<'s, S>,
    ring: RingLook,
    position: u64,
    /// Bytes up to the head. Invariant: at most the size of the ring, so that there is an end.
    left: u64,
    behind_skip: bool,
    /// Whether the frames were overtaken.
    is_overtaken: bool,
    problem: Option<Finding>,
}

impl<'s, S: Source + ?Sized> Frames<'s, S> {
    /// Those behind `position`, of which `left` bytes are announced; none if that is more than the ring has.
    pub(super) const fn new(words: View<'s, S>, ring: RingLook, position: u64, left: u64) -> Self {
        let possible = left <= ring.size as u64;
        Self {
            words,
            ring,
            position,
            left: if possible { left } else { 0 },
            behind_skip: false,
            is_overtaken: false,
            problem: None,
        }
    }

    /// Returns the position behind the last frame that was returned.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Returns whether all frames up to the head were returned.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Returns what is wrong with the frame that it ended at, if anything.
    #[must_use]
    pub const fn problem(&self) -> Option<Finding> {
        self.problem
    }

    /// Reads the frame at the position.
    fn look(&mut self) -> Result<FrameLook, Problem> {
        let place = self.ring.place();
        let position = self.position;
        let at = self.ring.offset + CONTROL_LEN;
        let offset = at + place.offset(position);
        let word = self.words.load(offset, Ordering::Acquire);
        let header = Header::from_word(word);
        let nonsense = Problem::BadFrameHeader { found: word };
        if header == Header::NONE {
            return Err(Problem::MissingHeader { position });
        }
        let mark = self.ring.key().mark(position);
        let (end, kind) = match header.as_message(mark) {
            Some(message) => {
                let end = message.end(position, place, place.longest());
                // Only the last frame of a message may be empty.
                let end = end.filter(|_| message.len > 0 || !message.more);
                let kind = FrameKind::Message {
                    payload: at + place.offset(message.start.payload(position)),
                    len: message.len,
                    more: message.more,
                };
                (end.ok_or(nonsense)?, kind)
            }
            None if header.is_skip(mark) => {
                if self.behind_skip || place.offset(position) == 0 {
                    return Err(nonsense);
                }
                (position + place.to_end(position) as u64, FrameKind::Skip)
            }
            None if header.mark() != mark.0 => {
                return Err(Problem::WrongMark {
                    found: header.mark(),
                    expected: mark.0,
                })
            }
            None => return Err(nonsense),
        };
        if end - position > self.left {
            return Err(nonsense);
        }
        Ok(FrameLook {
            position,
            end,
            offset,
            kind,
        })
    }
}

impl<S: Source + ?Sized> Iterator for Frames<'_, S> {
    type Item = FrameLook;

    fn next(&mut self) -> Option<FrameLook> {
        if self.left < WORD as u64 || self.is_overtaken || self.problem.is_some() {
            return None;
        }
        match self.look() {
            Ok(frame) => {
                self.behind_skip = frame.kind == FrameKind::Skip;
                self.left -= frame.end - frame.position;
                self.position = frame.end % (2 * FAR);
                let end = self.position;
                Some(FrameLook { end, ..frame })
            }
            Err(problem) => {
                // One whose room was given back may have been overwritten.
                self.is_overtaken = kept(self.words, &self.ring, self.position) != Kept::Certainly;
                if !self.is_overtaken {
                    let offset = CONTROL_LEN + self.ring.place().offset(self.position);
                    self.problem = Some(Finding {
                        part: Part::Ring {
                            from: self.ring.from,
                            to: self.ring.to,
                        },
                        offset: self.ring.offset + offset,
                        problem,
                    });
                }
                None
            }
        }
    }
}

/// Returns where the first frame begins of those in the half of a ring before its head, which are probably still what was sent.
/// Frames cannot be found but by the marks of their headers, so what is no header may be taken for one, if seldom.
pub(super) fn recent<S: Source + ?Sized>(words: View<'_, S>, ring: &RingLook) -> Option<u64> {
    let head = ring
        .head
        .filter(|_| ring.producer.standing == Standing::Current)?;
    let half = (ring.size as u64 / 2).min(head);
    (head - half..head).step_by(WORD).find(|&position| {
        let mut frames = Frames::new(words, *ring, position, head - position);
        let frame = frames.look();
        frame.is_ok_and(|frame| frame.kind != FrameKind::Skip)
    })
}

/// Returns what has become of what lies at a position, after it was read.
pub(super) fn kept<S: Source + ?Sized>(words: View<'_, S>, ring: &RingLook, position: u64) -> Kept {
    let load = |place| words.load(ring.offset + place, Ordering::Acquire);
    fence(Ordering::Acquire);
    if load(PRODUCER_SESSION) != ring.session.word() {
        return Kept::Hardly;
    }
    let key = ring.key();
    match key.advance(load(TAIL), position) {
        // At the position, or behind it.
        Some(ahead) if ahead == 0 || ahead >= FAR => return Kept::Certainly,
        // Nobody has come who could give back anything.
        None if ring.consumer.standing != Standing::Current => return Kept::Certainly,
        _ => {}
    }
    match key.advance(load(HEAD), position) {
        Some(ahead) if ahead <= ring.size as u64 / 2 => Kept::Probably,
        _ => Kept::Hardly,
    }
}
