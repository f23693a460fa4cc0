// SPDX-License-Identifier: MIT OR Apache-2.0
//! The half of a connection that receives: [`Receiver`].

use core::sync::atomic::{fence, Ordering};

use super::error::{Broken, RecvError};
use super::frame::Frame;
use super::link::Link;
use super::{Wait, PATIENCE};
use crate::channel::doorbell::Doorbell;
use crate::channel::ring::{Consumer, Glance, Peeked, RingError};
use crate::channel::words::Circle;
use crate::SharedMemory;

/// How many frames one call passes at most, whatever the peer sends.
pub(super) const FRAMES_PER_CALL: usize = 1024;

/// The receiving half of an [`Endpoint`](super::Endpoint).
///
/// It has lines of the cache for itself, as a [`Sender`](super::Sender).
#[derive(Debug)]
#[repr(align(128))]
pub struct Receiver<'m, D> {
    consumer: Consumer<SharedMemory<'m>>,
    link: Link<'m, D>,
    /// How many more looks are made before the wish to be rung is withdrawn; 0 if it is.
    patience: u32,
    /// How many messages have ended.
    pub(super) message: u64,
    /// How many bytes of the next have been passed.
    pub(super) passed: usize,
    /// Whether a fragment of the next has been passed.
    pub(super) is_inside: bool,
}

impl<'m, D: Doorbell> Receiver<'m, D> {
    pub(super) const fn new(consumer: Consumer<SharedMemory<'m>>, link: Link<'m, D>) -> Self {
        Self {
            consumer,
            link,
            patience: PATIENCE,
            message: 0,
            passed: 0,
            is_inside: false,
        }
    }

    /// Receives a message of one frame into the start of `target`, and returns its length; nothing if none is there.
    ///
    /// The rest of a message of which a part was received is dropped.
    ///
    /// # Errors
    ///
    /// - [`RecvError::TooLong`]: it is longer than `target`. It is still there.
    /// - [`RecvError::Fragmented`]: it comes in fragments; see [`Receiver::poll_recv`]. It is still there.
    /// - [`RecvError::Broken`]: the connection has come to its end. What was sent before the peer left is received first.
    #[inline(always)]
    pub fn try_recv(&mut self, target: &mut [u8]) -> Result<Option<usize>, RecvError> {
        match self.glance() {
            Glance::Nothing => return Ok(None),
            Glance::Frame(peeked) => {
                if let Some(len) = self.recv_usual(peeked, target) {
                    return Ok(Some(len));
                }
            }
            Glance::Unusual => {}
        }
        self.recv_any(target)
    }

    /// Receives what usually comes, if it fits. Nothing has happened if it returns nothing.
    #[inline(always)]
    fn recv_usual(&mut self, peeked: Peeked, target: &mut [u8]) -> Option<usize> {
        let target = target.get_mut(..peeked.len)?;
        Circle::read(self.consumer.data(), peeked.payload, target);
        self.consumer.verify().ok()?;
        self.message += 1;
        self.move_on(peeked);
        Some(peeked.len)
    }

    /// Looks for what usually comes, a message in one frame, and for nothing, without what is needed for anything else.
    #[inline(always)]
    fn glance(&mut self) -> Glance {
        if self.patience > 0 || self.is_inside || !self.link.is_intact(self.consumer.is_current()) {
            return Glance::Unusual;
        }
        match self.consumer.glance() {
            // An empty frame may end another.
            Glance::Frame(peeked) if peeked.more || peeked.len == 0 => Glance::Unusual,
            Glance::Nothing if !self.link.is_peer_there() => Glance::Unusual,
            usual => usual,
        }
    }

    /// Receives whatever comes.
    // Apart, so that what usually comes needs no more registers than it does.
    #[inline(never)]
    fn recv_any(&mut self, target: &mut [u8]) -> Result<Option<usize>, RecvError> {
        let Some(peeked) = self.next_message()? else {
            return Ok(None);
        };
        if peeked.more {
            return Err(RecvError::Fragmented);
        }
        self.copy_out(&peeked, target)?;
        self.pass(peeked);
        Ok(Some(peeked.len))
    }

    /// Returns the next frame in place; nothing if none is there. It stays until it is [released](Frame::release).
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end. What was sent before the peer left is received first.
    #[inline]
    pub fn peek(&mut self) -> Result<Option<Frame<'_, 'm, D>>, Broken> {
        let peeked = match self.glance() {
            Glance::Frame(peeked) => Some(peeked),
            Glance::Nothing => None,
            Glance::Unusual => self.next()?,
        };
        match peeked {
            Some(peeked) => self.frame(peeked).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the frame that was just found, in place.
    #[inline]
    pub(super) fn frame(&mut self, peeked: Peeked) -> Result<Frame<'_, 'm, D>, Broken> {
        let payload = self.consumer.data().region(peeked.payload, peeked.len);
        match payload {
            Ok(memory) => Ok(Frame::new(self, peeked, memory)),
            Err(_) => Err(self.link.fail(RingError::Corrupt)),
        }
    }

    /// Returns whether the peer can ring this member. If not, [`Wait::Briefly`] is all that [arming](Receiver::arm) ever
    /// says, and what has come is seen after the sleep only.
    #[must_use]
    pub const fn is_rung(&self) -> bool {
        self.link.is_rung()
    }

    /// Asks to be woken when there is something, and says how long to wait before the next try.
    ///
    /// A peer that leaves or dies does not ring: wake up for
    /// [`Member::poll_event`](crate::channel::Member::poll_event) too, which is needed several times within the limit anyway.
    ///
    /// # Errors
    ///
    /// - [`Broken`]: the connection has come to its end.
    pub fn arm(&mut self) -> Result<Wait, Broken> {
        self.check()?;
        let wait = if self.link.is_rung() {
            self.patience = PATIENCE;
            self.consumer.arm().into()
        } else {
            self.consumer.doubt();
            self.consumer.poll();
            Wait::Briefly
        };
        Ok(if self.look()?.is_some() {
            Wait::Ready
        } else {
            wait
        })
    }

    /// Returns the first frame of the next message.
    #[inline(always)]
    pub(super) fn next_message(&mut self) -> Result<Option<Peeked>, Broken> {
        if self.is_inside {
            return self.drop_rest();
        }
        self.next()
    }

    /// Passes what is left of a message of which a part was received, and returns the first frame of the next.
    #[cold]
    fn drop_rest(&mut self) -> Result<Option<Peeked>, Broken> {
        for _ in 0..FRAMES_PER_CALL {
            match self.next()? {
                Some(peeked) if self.is_inside => self.pass(peeked),
                next => return Ok(next),
            }
        }
        Ok(None)
    }

    /// Returns the next frame of a message.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<Peeked>, Broken> {
        self.check()?;
        if self.patience > 0 {
            self.lose_patience();
        }
        match self.look()? {
            Some(peeked) if peeked.len == 0 => self.examine_empty(peeked),
            next => Ok(next),
        }
    }

    /// Counts a look after arming, and after some says that nobody need ring.
    #[cold]
    fn lose_patience(&mut self) {
        self.patience -= 1;
        if self.patience == 0 {
            self.consumer.poll();
        }
    }

    /// Treats a frame without payload: the end of a message that was given up, or an empty message.
    #[cold]
    fn examine_empty(&mut self, peeked: Peeked) -> Result<Option<Peeked>, Broken> {
        if peeked.more {
            // Nobody sends these, and they could go on for ever.
            return Err(self.link.fail(RingError::Corrupt));
        }
        if !self.is_inside {
            return Ok(Some(peeked));
        }
        self.pass(peeked);
        match self.look()? {
            Some(peeked) if peeked.len == 0 && peeked.more => {
                Err(self.link.fail(RingError::Corrupt))
            }
            next => Ok(next),
        }
    }

    /// Returns what is at the position.
    #[inline(always)]
    fn look(&mut self) -> Result<Option<Peeked>, Broken> {
        match self.consumer.peek() {
            Ok(Some(peeked)) => Ok(Some(peeked)),
            Ok(None) => self.look_at_peer(),
            Err(error) => Err(self.link.fail(error)),
        }
    }

    /// Finds out why there is nothing.
    #[inline]
    fn look_at_peer(&mut self) -> Result<Option<Peeked>, Broken> {
        self.publish();
        if self.link.is_peer_there() {
            return Ok(None);
        }
        // It may have sent something and then left.
        fence(Ordering::Acquire);
        match self.consumer.peek() {
            Ok(Some(peeked)) => Ok(Some(peeked)),
            Ok(None) => Err(self.link.give_up()),
            Err(error) => Err(self.link.fail(error)),
        }
    }

    /// Copies a payload to the start of `target`.
    #[inline(always)]
    pub(super) fn copy_out(&mut self, peeked: &Peeked, target: &mut [u8]) -> Result<(), RecvError> {
        let available = target.len();
        let target = target.get_mut(..peeked.len).ok_or(RecvError::TooLong {
            len: peeked.len,
            available,
        })?;
        Ok(self.copy_part(peeked, 0, target)?)
    }

    /// Copies the payload from byte `from` on to `target`, which is at most as long as what is there.
    #[inline]
    pub(super) fn copy_part(
        &mut self,
        peeked: &Peeked,
        from: usize,
        target: &mut [u8],
    ) -> Result<(), Broken> {
        let position = peeked.payload + from as u64;
        Circle::read(self.consumer.data(), position, target);
        self.verify()
    }

    /// Checks that what was read is of this connection.
    #[inline(always)]
    pub(super) fn verify(&mut self) -> Result<(), Broken> {
        self.consumer
            .verify()
            .map_err(|error| self.link.fail(error))
    }

    /// Goes on to the next frame.
    #[inline(always)]
    pub(super) fn pass(&mut self, peeked: Peeked) {
        self.is_inside = peeked.more;
        if peeked.more {
            self.passed = self.passed.saturating_add(peeked.len);
        } else {
            self.passed = 0;
            self.message += 1;
        }
        self.move_on(peeked);
    }

    /// Leaves the frame, and says so where it is time.
    #[inline(always)]
    fn move_on(&mut self, peeked: Peeked) {
        if self.consumer.pass(peeked) {
            self.publish();
        }
    }

    /// Says how far this side has come, and rings if the sender waits for that.
    #[inline]
    fn publish(&mut self) {
        let asked = self.consumer.publish();
        self.link.ring_if(asked);
    }

    #[inline(always)]
    pub(super) fn check(&mut self) -> Result<(), Broken> {
        self.link.check(self.consumer.is_current())
    }
}
