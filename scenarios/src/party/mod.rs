// SPDX-License-Identifier: MIT OR Apache-2.0
//! Members of a region that talk through channels, in guests and in processes of the host.
//!
//! A [`Party`] is a member and the [`Side`] it runs on. It meets others by their names, and sends and receives in one of two
//! [`Manner`]s. Whatever it does, it answers those who ping it. The demo, the benchmarks and the trials of channels are made
//! of it.

mod figures;
mod manner;
mod side;

pub use figures::Figures;
pub use manner::Manner;
pub use side::Side;

use core::task::Poll;

use arrayvec::ArrayVec;
use ivshmem::channel::{
    Echo, Endpoint, Event, EventKind, Evicted, Idle, Introduction, Member, Name, Receiver,
    RecvError, Region, SendError, Sender, SlotIndex, Wait,
};

use crate::Failure;
use manner::Waiting;

/// For how long a member's heartbeat may stand still: ample, since machines of trials share few processors.
pub const LIMIT_NS: u64 = 2_000_000_000;

/// The time between two heartbeats, much less than the limit.
const BEAT_NS: u64 = LIMIT_NS / 20;

/// How long another member may take to come. The host boots machines and builds things meanwhile.
pub(crate) const PATIENCE_NS: u64 = 30_000_000_000;

/// How long one sleeps that is told to sleep briefly.
pub(crate) const BRIEF_NS: u64 = 1_000_000;

/// Others that are kept in mind.
const MAX_OTHERS: usize = 16;

/// Others that are answered at once when they ping.
const MAX_PINGERS: usize = 2;

/// A member of a region and the side it runs on.
#[derive(Debug)]
pub struct Party<'m, S: Side> {
    /// The guest or process.
    pub side: S,
    member: Member<'m>,
    echo: Echo<'m, S::Bell, MAX_PINGERS>,
    /// Who is there.
    others: ArrayVec<(Name, SlotIndex), MAX_OTHERS>,
    /// When the next heartbeat is due.
    beat_ns: u64,
}

impl<'m, S: Side> Party<'m, S> {
    /// Joins under `name`.
    ///
    /// # Errors
    ///
    /// - The region is full, or was formatted anew.
    /// - Somebody of that name lives.
    pub fn join(region: Region<'m>, side: S, name: Name) -> Result<Self, Failure> {
        let device = side.device();
        let mut joining = region.join(Introduction {
            name,
            device: device.map(|(id, _)| id),
            vectors: device.map_or(0, |(_, vectors)| vectors),
            limit: LIMIT_NS,
        });
        let deadline_ns = side.now_ns() + PATIENCE_NS;
        loop {
            let now_ns = side.now_ns();
            if let Poll::Ready(joined) = joining.poll(now_ns) {
                return Ok(Self {
                    member: joined?,
                    echo: Echo::new(),
                    others: ArrayVec::new(),
                    beat_ns: now_ns,
                    side,
                });
            }
            if now_ns > deadline_ns {
                return Err(Failure::new(format_args!("{name} is there already")));
            }
            // One that was killed has its slot back as soon as it has stood still for the limit.
            side.sleep(side.doorbells(), now_ns + BEAT_NS)?;
        }
    }

    /// Returns the member.
    pub const fn member(&self) -> &Member<'m> {
        &self.member
    }

    /// Returns where the member called `name` is, if it is there.
    pub fn find(&self, name: Name) -> Option<SlotIndex> {
        let found = self.others.iter().find(|(other, _)| *other == name);
        found.map(|(_, slot)| *slot)
    }

    /// Returns when the next heartbeat is due, on the side's clock.
    pub const fn beat_ns(&self) -> u64 {
        self.beat_ns
    }

    /// Shows that the member lives, and returns what has happened to another; to be called until it returns nothing,
    /// whenever [`Party::beat_ns`] is over. Of those who ping it says nothing.
    ///
    /// # Errors
    ///
    /// - [`Evicted`]: it has lost its slot.
    pub fn poll_event(&mut self) -> Result<Option<Event>, Evicted> {
        loop {
            let now_ns = self.side.now_ns();
            let Some(event) = self.member.poll_event(now_ns)? else {
                self.beat_ns = now_ns + BEAT_NS;
                self.echo.poll();
                return Ok(None);
            };
            let bell = self.side.bell();
            if !self.echo.take(&mut self.member, &event, bell) {
                self.note(&event);
                return Ok(Some(event));
            }
        }
    }

    /// Returns how many pings were answered so far.
    pub const fn answered(&self) -> u64 {
        self.echo.answered()
    }

    /// Keeps in mind who is there.
    fn note(&mut self, event: &Event) {
        self.others.retain(|(_, slot)| *slot != event.slot);
        if matches!(event.kind, EventKind::Joined | EventKind::Restarted) {
            // Where there are more, some are not met.
            let _ = self.others.try_push((event.name, event.slot));
        }
    }

    /// Shows that the member lives, if it is time to, and answers pings.
    ///
    /// # Errors
    ///
    /// - [`Evicted`]: it has lost its slot.
    /// - The side wants to end.
    pub fn keep(&mut self) -> Result<(), Failure> {
        self.side.check()?;
        if self.side.now_ns() >= self.beat_ns {
            while self.poll_event()?.is_some() {}
        }
        self.echo.poll();
        Ok(())
    }

    /// Waits until the member called `name` is there, and connects to it.
    ///
    /// # Errors
    ///
    /// - It does not come in time.
    /// - It was met before.
    pub fn meet(&mut self, name: Name) -> Result<Endpoint<'m, S::Bell>, Failure> {
        let deadline_ns = self.side.now_ns() + PATIENCE_NS;
        loop {
            while self.poll_event()?.is_some() {}
            if let Some(slot) = self.find(name) {
                return self.connect(slot);
            }
            if self.side.now_ns() > deadline_ns {
                return Err(Failure::new(format_args!("{name} does not show up")));
            }
            self.side.check()?;
            // Nobody rings when somebody joins.
            let until_ns = self.side.now_ns() + BRIEF_NS;
            self.side.sleep(self.side.doorbells(), until_ns)?;
        }
    }

    /// Connects to the member in `slot`.
    ///
    /// # Errors
    ///
    /// Those of [`Member::connect`].
    pub fn connect(&mut self, slot: SlotIndex) -> Result<Endpoint<'m, S::Bell>, Failure> {
        Ok(self.member.connect(slot, self.side.bell())?)
    }

    /// Sends a message, when there is room.
    ///
    /// # Errors
    ///
    /// - The connection has come to its end, or the other side makes no room in time.
    pub fn send(
        &mut self,
        sender: &mut Sender<'m, S::Bell>,
        message: &[u8],
        manner: Manner,
    ) -> Result<(), Failure> {
        // Mostly there is nothing to wait for, nor to be cut into fragments.
        match sender.try_send(message) {
            Err(SendError::Full | SendError::TooLong { .. }) => {}
            sent => return Ok(sent?),
        }
        let mut waiting = Waiting::new(self, manner);
        match sender.send_with(message, &mut waiting) {
            Err(SendError::Full) => Err(waiting.failure()),
            sent => Ok(sent?),
        }
    }

    /// Receives a message into the start of `buffer`, when there is one, and returns its length.
    ///
    /// # Errors
    ///
    /// - The connection has come to its end, or nothing comes in time.
    /// - The message is longer than `buffer`.
    pub fn receive(
        &mut self,
        receiver: &mut Receiver<'m, S::Bell>,
        buffer: &mut [u8],
        manner: Manner,
    ) -> Result<usize, Failure> {
        match receiver.try_recv(buffer) {
            Ok(None) | Err(RecvError::Fragmented) => {}
            Ok(Some(len)) => return Ok(len),
            Err(error) => return Err(error.into()),
        }
        let mut waiting = Waiting::new(self, manner);
        let received = receiver.recv_with(buffer, &mut waiting)?;
        received.ok_or_else(|| waiting.failure())
    }

    /// Looks until there is something, in between asleep until a doorbell rings if that is the manner.
    ///
    /// # Errors
    ///
    /// - There is nothing in time.
    pub fn look_until<T>(
        &mut self,
        manner: Manner,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<T, Failure> {
        let mut waiting = Waiting::new(self, manner);
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            core::hint::spin_loop();
            let mut idle = &mut waiting;
            if !idle.spins(1) && idle.sleep(Wait::UntilRung).is_break() {
                return Err(waiting.failure());
            }
        }
    }

    /// Answers pings, and sleeps as told by arming if no doorbell has come since `heard` was counted.
    ///
    /// # Errors
    ///
    /// - The side wants to end.
    pub fn rest(&mut self, wait: Wait, heard: u64) -> Result<(), Failure> {
        let until_ns = match wait.sooner(self.echo.poll()) {
            Wait::Ready => return Ok(()),
            Wait::UntilRung => self.beat_ns,
            Wait::Briefly => self.beat_ns.min(self.side.now_ns() + BRIEF_NS),
        };
        self.side.sleep(heard, until_ns)
    }

    /// Leaves, and returns the side.
    pub fn leave(self) -> S {
        self.member.leave();
        self.side
    }
}
