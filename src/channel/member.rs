// SPDX-License-Identifier: MIT OR Apache-2.0
//! Being a member: [`Member`].

use core::fmt;
use core::future::poll_fn;
use core::task::Poll;

use super::endpoint::Wait;
use super::name::Identity;
use super::region::{Region, Table};
use super::signal::Signal;
use super::slot::{Phase, State};
use super::watch::{Event, SlotIndex, Watch, MAX_SLOTS};
use super::words::Words;
use crate::PeerId;

/// A member of a region.
///
/// Poll it for [events](Self::poll_event) several times within its limit: that is what shows the others that it
/// lives. One that is dropped without [leaving](Self::leave) dies.
///
/// It remembers what it has seen of each slot there may be, in 7 KiB: where stacks are small, give it a place of its own.
#[derive(Debug)]
pub struct Member<'m> {
    pub(super) region: Region<'m>,
    pub(super) seat: Seat,
    /// The incarnation of each slot that was connected to last; 0 for none.
    pub(super) connected: [u32; MAX_SLOTS],
}

impl<'m> Member<'m> {
    pub(super) const fn new(region: Region<'m>, seat: Seat) -> Self {
        Self {
            region,
            seat,
            connected: [0; MAX_SLOTS],
        }
    }
}

impl Member<'_> {
    /// Returns its slot.
    #[must_use]
    pub const fn slot(&self) -> SlotIndex {
        SlotIndex(self.seat.slot)
    }

    /// Returns its incarnation.
    #[must_use]
    pub const fn incarnation(&self) -> u32 {
        self.seat.state.incarnation
    }

    /// Shows that the member lives, and returns what has happened to another, if anything. Call it again until it returns
    /// nothing, which it does after one event of each slot at most. `now` is the time in ticks of the caller's clock.
    ///
    /// # Errors
    ///
    /// - [`Evicted`]: others have taken this member for dead, or the region was formatted anew. Join again.
    pub fn poll_event(&mut self, now: u64) -> Result<Option<Event>, Evicted> {
        self.seat.poll_event(&self.region.table(), now)
    }

    /// Returns the device ID that the member in `slot` shows now; nothing if it has none, or nobody is there.
    #[must_use]
    pub fn device_of(&self, slot: SlotIndex) -> Option<PeerId> {
        if slot.0 >= self.region.slots() {
            return None;
        }
        let slot = self.region.slot(slot.0);
        let (state, _) = slot.look();
        let identity = slot
            .identity(state)
            .filter(|_| state.phase == Phase::Member);
        identity?.device.map(PeerId)
    }

    /// Waits for what happens to another member, and shows meanwhile that this one lives.
    ///
    /// It does so whenever it is polled: have a [ticking](Signal::ticking) signal of its own notified several times within
    /// the limit. Futures that wait for the peer of an event do not see it by themselves: notify theirs then.
    ///
    /// # Cancellation
    ///
    /// No event is lost.
    ///
    /// # Errors
    ///
    /// As [`Member::poll_event`].
    pub async fn next_event(
        &mut self,
        signal: &Signal,
        mut now: impl FnMut() -> u64,
    ) -> Result<Event, Evicted> {
        poll_fn(|context| {
            signal.register(context.waker());
            match self.poll_event(now()) {
                Ok(Some(event)) => Poll::Ready(Ok(event)),
                Ok(None) => {
                    signal.sleep(context, Wait::Briefly);
                    Poll::Pending
                }
                Err(evicted) => Poll::Ready(Err(evicted)),
            }
        })
        .await
    }

    /// Says that this member is rung elsewhere from now on: its device has another ID, as a host process's has
    /// after it has joined a server anew.
    ///
    /// Those who connect from now on ring it there. Those who are connected ring it there and where they rang
    /// before, since some of them may not reach the one and some not the other: listen at both. A member without a device when
    /// they connected is not rung by them.
    pub fn set_address(&mut self, device: Option<PeerId>, vectors: u16) {
        let address = (device.map(|device| device.0), vectors);
        self.seat.set_address(&self.region.table(), address);
    }

    /// Leaves; the others see it at once.
    ///
    /// What was sent and is not received yet stays in the rings, until somebody joins in this slot and connects: the slot that
    /// was used least is taken first. Whose last message must arrive waits until [`Sender::unread`](super::Sender::unread) is 0.
    pub fn leave(self) {
        self.seat.leave(&self.region.table());
    }
}

/// A member's slot, what it shows there and what it sees in the others.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) slot: u16,
    pub(super) state: State,
    /// Invariant: what the member says of itself. What its slot says of that, others may have written.
    pub(super) identity: Identity,
    beats: u32,
    watch: Watch,
}

impl Seat {
    pub(super) const fn new(slot: u16, state: State, identity: Identity, limit: u64) -> Self {
        Self {
            slot,
            state,
            identity,
            beats: 1,
            watch: Watch::new(limit),
        }
    }

    pub(super) fn poll_event<W: Words>(
        &mut self,
        table: &Table<W>,
        now: u64,
    ) -> Result<Option<Event>, Evicted> {
        let own = table.slot(self.slot);
        if !own.is(self.state) || !table.is_current() {
            return Err(Evicted);
        }
        self.beats = self.beats.wrapping_add(1);
        own.beat(self.state, self.beats);
        // One who had the slot before may have written there late.
        own.show(self.state, &self.identity);
        Ok(self.watch.poll(table, self.slot, now))
    }

    pub(super) fn set_address<W: Words>(
        &mut self,
        table: &Table<W>,
        (device, vectors): (Option<u16>, u16),
    ) {
        self.identity = Identity {
            device,
            vectors,
            ..self.identity
        };
        let own = table.slot(self.slot);
        // One who has lost the slot finds out by its next poll.
        if own.is(self.state) {
            own.show(self.state, &self.identity);
        }
    }

    pub(super) fn leave<W: Words>(&self, table: &Table<W>) {
        // Somebody who was evicted has left already.
        let _ = table.slot(self.slot).advance(self.state, Phase::Free);
    }
}

/// The member's slot was taken from it, because it was taken for dead or the region was formatted anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted;

impl fmt::Display for Evicted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "others took this member for dead, or formatted the region anew; join again"
        )
    }
}
