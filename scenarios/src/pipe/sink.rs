// SPDX-License-Identifier: MIT OR Apache-2.0
//! The receiving side: [`Sink`].

use core::fmt;

use arrayvec::ArrayVec;
use ivshmem::channel::{
    Broken, Doorbell, Endpoint, Event, EventKind, Evicted, Frame, Name, SendError, SlotIndex, Wait,
};

use super::message::{
    is_hello, verdict, Seal, ACCEPTED, COMPLETE, DAMAGED, HELLO_LEN, INTERRUPTED,
};
use crate::party::{Party, Side};
use crate::Failure;

/// Others that may send at the same time. Who comes while there are so many is not heard.
const MAX_SENDERS: usize = 8;

/// How much of the data is looked at at once.
const PIECE: usize = 512;

/// A member that takes whatever streams are sent to it, checks and counts them, and keeps nothing.
#[derive(Debug)]
pub struct Sink<'m, S: Side> {
    party: Party<'m, S>,
    senders: ArrayVec<Sender<'m, S::Bell>, MAX_SENDERS>,
}

impl<'m, S: Side> Sink<'m, S> {
    /// Begins with nobody.
    pub fn new(party: Party<'m, S>) -> Self {
        Self {
            party,
            senders: ArrayVec::new(),
        }
    }

    /// Takes what there is, and waits if there is nothing: to be called again and again.
    ///
    /// # Errors
    ///
    /// - The member has lost its slot, or the side wants to end.
    pub fn step(&mut self) -> Result<(), Failure> {
        self.party.side.check()?;
        let heard = self.party.side.doorbells();
        if self.party.side.now_ns() >= self.party.beat_ns() {
            self.look_around()?;
        }
        if self.take() == 0 {
            let waits = self.senders.iter_mut();
            // One that is broken says so when it is looked at next.
            let waits = waits.map(|sender| sender.endpoint.receiver().arm().unwrap_or(Wait::Ready));
            let wait = waits.fold(Wait::UntilRung, Wait::sooner);
            self.party.rest(wait, heard)?;
        }
        Ok(())
    }

    /// Leaves the region. Senders in the middle of a stream notice.
    pub fn leave(self) {
        self.party.leave();
    }

    fn look_around(&mut self) -> Result<(), Evicted> {
        while let Some(event) = self.party.poll_event()? {
            match event.kind {
                EventKind::Joined | EventKind::Restarted => self.welcome(&event),
                EventKind::Died => self.give_up(event.slot),
                // What it has sent before is taken first.
                EventKind::Left => {}
            }
        }
        Ok(())
    }

    /// Connects to one who has come. What it says shows whether it sends a stream.
    fn welcome(&mut self, event: &Event) {
        let place = self.senders.iter().position(|s| s.slot == event.slot);
        if let Some(place) = place {
            if self.senders[place].endpoint.incarnation() == event.incarnation {
                return;
            }
            let former = self.senders.swap_remove(place);
            former.tell(&self.party.side, End::Broken);
        }
        if self.senders.is_full() {
            return;
        }
        // One who has gone again, or was heard to its end, is not heard.
        if let Ok(endpoint) = self.party.connect(event.slot) {
            self.senders.push(Sender {
                slot: event.slot,
                name: event.name,
                endpoint,
                state: State::Silent,
            });
        }
    }

    /// Ends the stream of one who shows no sign of life. Should it live again, it is told.
    fn give_up(&mut self, slot: SlotIndex) {
        let of = |s: &Sender<'_, _>| s.slot == slot && !matches!(s.state, State::Silent);
        if let Some(place) = self.senders.iter().position(of) {
            let mut sender = self.senders.swap_remove(place);
            // That it cannot be told is all the same.
            let _ = sender.say(INTERRUPTED);
            sender.tell(&self.party.side, End::Broken);
        }
    }

    /// Takes a frame of each, and returns how many that were.
    fn take(&mut self) -> usize {
        let side = &self.party.side;
        let mut taken = 0;
        self.senders.retain(|sender| match sender.take(side) {
            Ok(Taken::Nothing) => true,
            Ok(Taken::Frame) => {
                taken += 1;
                true
            }
            Err(end) => {
                sender.tell(side, end);
                false
            }
        });
        taken
    }
}

/// One who may send a stream.
#[derive(Debug)]
struct Sender<'m, B> {
    slot: SlotIndex,
    name: Name,
    endpoint: Endpoint<'m, B>,
    state: State,
}

/// How far a stream is.
#[derive(Debug)]
enum State {
    /// Nothing has been said yet.
    Silent,
    /// Data comes.
    Data {
        seal: Seal,
        /// What was counted before a message that comes in fragments, which its sender may give up.
        before: Option<Seal>,
    },
    /// All data has come, and this is what should be said of it.
    Sealed { seal: Seal },
}

/// What one look at a sender has brought.
enum Taken {
    Nothing,
    Frame,
}

/// Why one is not listened to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Complete,
    Damaged,
    /// It has gone, has broken the connection, or sends something else than a stream.
    Broken,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::Damaged => "damaged",
            Self::Broken => "broken",
        })
    }
}

impl From<Broken> for End {
    fn from(_: Broken) -> Self {
        Self::Broken
    }
}

impl<B: Doorbell> Sender<'_, B> {
    /// Takes the next frame, and answers it.
    fn take(&mut self, side: &impl Side) -> Result<Taken, End> {
        let Some(frame) = self.endpoint.receiver().peek()? else {
            return Ok(Taken::Nothing);
        };
        match &mut self.state {
            State::Silent => {
                let message = whole::<HELLO_LEN, _>(frame)?;
                if !message.is_some_and(|message| is_hello(&message)) {
                    return Err(End::Broken);
                }
                self.state = State::Data {
                    seal: Seal::default(),
                    before: None,
                };
                side.show(format_args!("@ accepted peer={}", self.name));
                self.say(ACCEPTED).map_err(|_| End::Broken)?;
            }
            State::Data { seal, before } => {
                if frame.is_first() {
                    if let Some(before) = before.take() {
                        *seal = before;
                    }
                    if !frame.is_last() {
                        *before = Some(seal.clone());
                    }
                }
                let is_end = frame.is_empty();
                count(&frame, seal);
                if frame.is_last() {
                    *before = None;
                }
                frame.release()?;
                if is_end {
                    let seal = seal.clone();
                    self.state = State::Sealed { seal };
                }
            }
            State::Sealed { seal } => {
                let expected = seal.message();
                let (word, end) = match whole(frame)? {
                    Some(message) if message == expected => (COMPLETE, End::Complete),
                    _ => (DAMAGED, End::Damaged),
                };
                // It may have gone, and all is there nevertheless.
                let _ = self.say(word);
                return Err(end);
            }
        }
        Ok(Taken::Frame)
    }

    /// Says something about what has come so far. Two short messages have room in any ring.
    fn say(&mut self, word: u32) -> Result<(), SendError> {
        let message = verdict(word, self.bytes());
        self.endpoint.sender().try_send(&message)
    }

    fn bytes(&self) -> u64 {
        match &self.state {
            State::Silent => 0,
            State::Data { seal, .. } | State::Sealed { seal } => seal.bytes,
        }
    }

    /// Tells how a stream has ended; of one that did not begin there is nothing to tell.
    fn tell(&self, side: &impl Side, end: End) {
        if !matches!(self.state, State::Silent) {
            let (name, bytes) = (self.name, self.bytes());
            side.show(format_args!("@ stream peer={name} bytes={bytes} end={end}"));
        }
    }
}

/// Takes a message of so many bytes out of the ring; nothing if it is another one.
fn whole<const LEN: usize, B: Doorbell>(
    frame: Frame<'_, '_, B>,
) -> Result<Option<[u8; LEN]>, Broken> {
    let mut message = [0; LEN];
    let is_whole = frame.is_first() && frame.is_last() && frame.len() == LEN;
    frame.copy_to(&mut message);
    frame.release()?;
    Ok(is_whole.then_some(message))
}

/// Counts the data of a frame.
fn count<B: Doorbell>(frame: &Frame<'_, '_, B>, seal: &mut Seal) {
    let memory = frame.memory();
    let mut piece = [0; PIECE];
    for offset in (0..frame.len()).step_by(PIECE) {
        let piece = &mut piece[..PIECE.min(frame.len() - offset)];
        // It lies inside the frame; if it did not, the checksum would tell.
        let _ = memory.read(offset, piece);
        seal.add(piece);
    }
}
