// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answering pings: [`Echo`].
//!
//! Whoever wants to know whether a member is there and how far away it is joins under a name that begins with [`PING_PREFIX`],
//! connects to the member, and sends it messages; each is sent back as it is. Nothing else is ever sent to such a member,
//! and it is not a peer to talk to, so that a program needs to know nothing of it.

use super::doorbell::Doorbell;
use super::endpoint::{Broken, Endpoint, Frame, Grant, SendError, Wait};
use super::member::Member;
use super::name::Name;
use super::watch::{Event, EventKind, SlotIndex, MAX_SLOTS};

/// How the names of members begin who want nothing but their messages back.
pub const PING_PREFIX: &str = "ping:";

/// How many messages of each are answered in one call at most.
const MESSAGES_PER_CALL: u32 = 8;

/// How much is copied at once, from one ring to the other.
const PIECE: usize = 256;

impl Name {
    /// Returns whether a member of this name wants its messages back, and nothing else.
    #[must_use]
    pub fn asks_for_echo(&self) -> bool {
        self.as_bytes().starts_with(PING_PREFIX.as_bytes())
    }
}

/// Sends the messages of those who ping back to them, up to `N` at a time.
///
/// Hand it each event of the member, and [poll](Echo::poll) it whenever the member wakes up: when rung, and at each heartbeat.
/// One poll answers a few messages only, and a message in fragments, which is longer than any ping, is dropped. Who comes while `N`
/// who live are answered is not.
///
/// ```
/// use ivshmem::channel::{Doorbell, Echo, Evicted, Member, Wait};
///
/// /// What a member does that has nothing else to do, each time that it wakes up; returns how long to sleep.
/// fn tend<'m, D: Doorbell + Copy>(
///     member: &mut Member<'m>,
///     echo: &mut Echo<'m, D>,
///     doorbell: D,
///     now: u64,
/// ) -> Result<Wait, Evicted> {
///     while let Some(event) = member.poll_event(now)? {
///         if !echo.take(member, &event, doorbell) {
///             // It is about somebody else.
///         }
///     }
///     Ok(echo.poll())
/// }
/// ```
#[derive(Debug)]
pub struct Echo<'m, D, const N: usize = 4> {
    places: [Option<Pinger<'m, D>>; N],
    /// In which slots there are such members, answered or not: one bit each.
    slots: [u64; MAX_SLOTS / 64],
    answered: u64,
}

/// One who pings.
#[derive(Debug)]
struct Pinger<'m, D> {
    slot: SlotIndex,
    endpoint: Endpoint<'m, D>,
    /// Whether it shows signs of life.
    lives: bool,
}

impl<D, const N: usize> Default for Echo<'_, D, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'m, D, const N: usize> Echo<'m, D, N> {
    const VACANT: Option<Pinger<'m, D>> = None;

    /// Begins with nobody.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            places: [Self::VACANT; N],
            slots: [0; MAX_SLOTS / 64],
            answered: 0,
        }
    }

    /// Returns how many messages were sent back so far.
    #[must_use]
    pub const fn answered(&self) -> u64 {
        self.answered
    }

    /// Returns the slots of those who are answered.
    #[must_use]
    pub fn slots(&self) -> [Option<SlotIndex>; N] {
        let mut places = self.places.iter();
        core::array::from_fn(|_| places.next()?.as_ref().map(|pinger| pinger.slot))
    }

    /// Returns whether a member that pings was in `slot` as far as the events have told.
    fn is_marked(&self, slot: SlotIndex) -> bool {
        let word = self.slots.get(usize::from(slot.0 / 64));
        word.is_some_and(|word| word & (1 << (slot.0 % 64)) != 0)
    }

    fn mark(&mut self, slot: SlotIndex, asks: bool) {
        if let Some(word) = self.slots.get_mut(usize::from(slot.0 / 64)) {
            let bit = 1 << (slot.0 % 64);
            *word = if asks { *word | bit } else { *word & !bit };
        }
    }

    fn place_of(&mut self, slot: SlotIndex) -> Option<&mut Option<Pinger<'m, D>>> {
        let is_in = |place: &&mut Option<Pinger<'m, D>>| {
            place.as_ref().is_some_and(|pinger| pinger.slot == slot)
        };
        self.places.iter_mut().find(is_in)
    }

    fn free(&mut self, slot: SlotIndex) {
        if let Some(place) = self.place_of(slot) {
            *place = None;
        }
    }
}

impl<'m, D: Doorbell, const N: usize> Echo<'m, D, N> {
    /// Takes in an event of `member`, and returns whether it is about somebody who pings, and so of no other concern.
    ///
    /// Such a one is connected to here, so that [`Member::connect`] would find it connected already.
    pub fn take(&mut self, member: &mut Member<'m>, event: &Event, doorbell: D) -> bool
    where
        D: Clone,
    {
        match event.kind {
            EventKind::Joined | EventKind::Restarted => {
                let asks = event.name.asks_for_echo();
                self.mark(event.slot, asks);
                if asks {
                    self.welcome(member, event, doorbell);
                } else {
                    self.free(event.slot);
                }
                asks
            }
            // The name need not be known any more.
            EventKind::Left => {
                let asked = self.is_marked(event.slot);
                self.mark(event.slot, false);
                self.free(event.slot);
                asked
            }
            EventKind::Died => {
                if let Some(Some(pinger)) = self.place_of(event.slot) {
                    // It may move again, and then goes on with this connection, which is the only one.
                    pinger.lives = false;
                }
                self.is_marked(event.slot)
            }
        }
    }

    fn welcome(&mut self, member: &mut Member<'m>, event: &Event, doorbell: D)
    where
        D: Clone,
    {
        if let Some(Some(pinger)) = self.place_of(event.slot) {
            if pinger.endpoint.incarnation() == event.incarnation {
                pinger.lives = true;
                return;
            }
        }
        self.free(event.slot);
        let places = &mut self.places;
        let vacant = places.iter().position(Option::is_none);
        let dead = || places.iter().position(|p| matches!(p, Some(p) if !p.lives));
        let Some(place) = vacant.or_else(dead).and_then(|at| places.get_mut(at)) else {
            return;
        };
        // One who has gone again needs no answer.
        if let Ok(endpoint) = member.connect(event.slot, doorbell) {
            *place = Some(Pinger {
                slot: event.slot,
                endpoint,
                lives: true,
            });
        }
    }

    /// Returns whether all who are answered can ring this member. If not, [`Wait::Briefly`] is what [`Echo::poll`] says.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        let mut pingers = self.places.iter().flatten();
        pingers.all(|pinger| pinger.endpoint.is_rung())
    }

    /// Answers what has come, a bounded number of messages, and returns how long to wait before the next call, if nothing
    /// else wakes the member before.
    pub fn poll(&mut self) -> Wait {
        let mut wait = Wait::UntilRung;
        for place in &mut self.places {
            let answered = place
                .as_mut()
                .map(|pinger| answer(&mut pinger.endpoint, &mut self.answered));
            match answered {
                Some(Ok(until)) => wait = wait.sooner(until),
                Some(Err(_)) => *place = None,
                None => {}
            }
        }
        wait
    }
}

/// Sends messages back, and asks to be woken for the next.
fn answer<D: Doorbell>(endpoint: &mut Endpoint<'_, D>, answered: &mut u64) -> Result<Wait, Broken> {
    let (sender, receiver) = endpoint.halves();
    for _ in 0..MESSAGES_PER_CALL {
        let Some(frame) = receiver.peek()? else {
            return receiver.arm();
        };
        if frame.is_first() && frame.is_last() {
            let len = frame.len();
            match sender.reserve(len) {
                Ok(grant) => {
                    copy(&frame, grant)?;
                    *answered += 1;
                }
                // It stays where it is until there is room.
                Err(SendError::Full) => return sender.arm(len),
                Err(SendError::Broken(broken)) => return Err(broken),
                // Both rings have one size, so no frame is too long for the way back.
                Err(SendError::TooLong { .. }) => {}
            }
        }
        frame.release()?;
    }
    Ok(Wait::Ready)
}

/// Sends a frame back. The peer may change it meanwhile, and then gets that back.
fn copy<D: Doorbell>(frame: &Frame<'_, '_, D>, grant: Grant<'_, '_, D>) -> Result<(), Broken> {
    let (source, target) = (frame.memory(), grant.memory());
    let mut piece = [0; PIECE];
    for offset in (0..frame.len()).step_by(PIECE) {
        let len = PIECE.min(frame.len() - offset);
        let piece = piece.get_mut(..len).unwrap_or_default();
        let copied = source
            .read(offset, piece)
            .and_then(|()| target.write(offset, piece));
        debug_assert!(copied.is_ok(), "both are as long as the frame");
    }
    grant.commit()
}
