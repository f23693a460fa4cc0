// SPDX-License-Identifier: MIT OR Apache-2.0
//! A role that sends and receives while others die and come back, and says so: [`Porter`].

use ivshmem::channel::{Broken, Endpoint, Event, EventKind, RecvError, SendError, Wait};

use super::role::Role;
use crate::party::{Party, Side, BRIEF_NS, PATIENCE_NS};
use crate::Failure;

/// A role in the region.
#[derive(Debug)]
pub struct Porter<'m, S: Side> {
    party: Party<'m, S>,
    own: Role,
    /// The role that was seen to die last, until it is back.
    dead: Option<Role>,
    /// The role that was seen to come last, and its incarnation.
    come: Option<(Role, u32)>,
}

/// A connection to one life of another role.
#[derive(Debug)]
pub struct Hop<'m, B> {
    pub(super) endpoint: Endpoint<'m, B>,
    pub(super) other: Role,
}

/// Why a porter stopped.
#[derive(Debug)]
pub enum Stop {
    /// The other side of the connection is there no more.
    Lost(Broken),
    /// Something that was not to be expected.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// For those who lose nobody.
impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Lost(broken) => broken.into(),
            Stop::Failed(failure) => failure,
        }
    }
}

impl<'m, S: Side> Porter<'m, S> {
    /// Goes on as `own` in the place of `party`.
    pub const fn new(party: Party<'m, S>, own: Role) -> Self {
        Self {
            party,
            own,
            dead: None,
            come: None,
        }
    }

    /// Waits for `other`, and connects to it.
    ///
    /// # Errors
    ///
    /// - It does not come in time, or was met before.
    pub fn meet(&mut self, other: Role) -> Result<Hop<'m, S::Bell>, Failure> {
        let endpoint = self.party.meet(other.member())?;
        Ok(Hop { endpoint, other })
    }

    /// Waits for the next life of the role at the other end of `hop`, and connects to it.
    ///
    /// # Errors
    ///
    /// - It does not come in time.
    pub fn meet_again(&mut self, hop: Hop<'m, S::Bell>) -> Result<Hop<'m, S::Bell>, Failure> {
        let Hop { endpoint, other } = hop;
        let before = endpoint.incarnation();
        // It may have been seen before the connection was found to have ended.
        self.wait_for(other, |porter| {
            porter
                .come
                .is_some_and(|(role, life)| role == other && life != before)
        })?;
        self.meet(other)
    }

    /// Waits until `other` is seen to have died.
    ///
    /// # Errors
    ///
    /// - It lives on.
    pub fn mourn(&mut self, other: Role) -> Result<(), Failure> {
        self.wait_for(other, |porter| porter.dead == Some(other))
    }

    fn wait_for(&mut self, other: Role, wanted: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let deadline_ns = self.party.side.now_ns() + PATIENCE_NS;
        while !wanted(self) {
            if self.party.side.now_ns() > deadline_ns {
                return Err(Failure::new(format_args!("nothing happens to {other}")));
            }
            self.party.side.check()?;
            let until_ns = self.party.side.now_ns() + BRIEF_NS;
            self.party
                .side
                .sleep(self.party.side.doorbells(), until_ns)?;
            while let Some(event) = self.party.poll_event()? {
                self.tell(&event);
            }
        }
        Ok(())
    }

    /// Shows what has happened to another, if it is about life and death.
    fn tell(&mut self, event: &Event) {
        let Some(role) = Role::of_member(event.name) else {
            return;
        };
        match event.kind {
            EventKind::Died => {
                self.dead = Some(role);
                self.say(format_args!("{role} has died: its heartbeat stands still"));
            }
            EventKind::Joined | EventKind::Restarted => {
                let incarnation = event.incarnation;
                self.come = Some((role, incarnation));
                if self.dead == Some(role) {
                    self.dead = None;
                    self.say(format_args!("{role} is back, as incarnation {incarnation}"));
                }
            }
            EventKind::Left => {}
        }
    }

    /// Shows a line of this role.
    pub fn say(&self, what: core::fmt::Arguments<'_>) {
        self.party.side.show(format_args!("{}: {what}", self.own));
    }

    /// Returns the side.
    pub const fn side(&self) -> &S {
        &self.party.side
    }

    /// Sends a message when there is room.
    pub(super) fn send(&mut self, hop: &mut Hop<'m, S::Bell>, message: &[u8]) -> Result<(), Stop> {
        let sender = hop.endpoint.sender();
        self.until(|step| match step {
            Step::Try => match sender.try_send(message) {
                Ok(()) => Ok(Next::Done(())),
                Err(SendError::Full) => Ok(Next::Wait(Wait::Ready)),
                Err(SendError::Broken(broken)) => Err(Stop::Lost(broken)),
                Err(error) => Err(Failure::from(error).into()),
            },
            Step::Arm => sender
                .arm(message.len())
                .map(Next::Wait)
                .map_err(Stop::Lost),
        })
    }

    /// Receives a message into the start of `buffer`, when there is one, and returns it.
    pub(super) fn receive<'b>(
        &mut self,
        hop: &mut Hop<'m, S::Bell>,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], Stop> {
        let receiver = hop.endpoint.receiver();
        let len = self.until(|step| match step {
            Step::Try => match receiver.try_recv(buffer) {
                Ok(Some(len)) => Ok(Next::Done(len)),
                Ok(None) => Ok(Next::Wait(Wait::Ready)),
                Err(RecvError::Broken(broken)) => Err(Stop::Lost(broken)),
                Err(error) => Err(Failure::from(error).into()),
            },
            Step::Arm => receiver.arm().map(Next::Wait).map_err(Stop::Lost),
        })?;
        Ok(&buffer[..len])
    }

    /// Tries, and arms and sleeps in between. Shows meanwhile that this role lives, and what happens to others.
    fn until<T>(&mut self, mut step: impl FnMut(Step) -> Result<Next<T>, Stop>) -> Result<T, Stop> {
        let mut deadline_ns = None;
        loop {
            self.look().map_err(Stop::Failed)?;
            let heard = self.party.side.doorbells();
            if let Next::Done(done) = step(Step::Try)? {
                return Ok(done);
            }
            let now_ns = self.party.side.now_ns();
            if now_ns > *deadline_ns.get_or_insert(now_ns + PATIENCE_NS) {
                return Err(Failure::from("the other side is silent").into());
            }
            match step(Step::Arm)? {
                Next::Done(done) => return Ok(done),
                Next::Wait(wait) => self.party.rest(wait, heard)?,
            }
        }
    }

    /// Shows that this role lives, if it is time to, and what has happened to others.
    fn look(&mut self) -> Result<(), Failure> {
        if self.party.side.now_ns() < self.party.beat_ns() {
            return Ok(());
        }
        self.party.side.check()?;
        while let Some(event) = self.party.poll_event()? {
            self.tell(&event);
        }
        Ok(())
    }

    /// Leaves the region.
    pub fn leave(self) {
        self.party.leave();
    }
}

/// What is asked of one who waits.
#[derive(Clone, Copy, Debug)]
enum Step {
    Try,
    Arm,
}

/// Its answer.
enum Next<T> {
    Done(T),
    Wait(Wait),
}
