// SPDX-License-Identifier: MIT OR Apache-2.0
//! A member in whose connection somebody writes; it goes on as well as it can.

use std::task::Poll;

use ivshmem::channel::{Doorbell, Introduction, Joining, Member, Name, Region, SlotIndex};
use ivshmem::PeerId;

use super::halves::{split, Incoming, Outgoing, Received};
use crate::device::shown;
use crate::input::Input;

/// A member, or one who wants to be one again.
pub struct Attacked<'m, D> {
    region: Region<'m>,
    introduction: Introduction,
    joining: Option<Joining<'m>>,
    member: Option<Member<'m>>,
    connection: Option<(Outgoing<'m, D>, Incoming<'m, D>)>,
    peer: SlotIndex,
    peer_name: Name,
    doorbell: D,
}

/// Returns how somebody introduces itself who can be rung, and who takes nobody for dead.
pub fn introduction(name: &str, device: u16) -> Introduction {
    Introduction {
        name: Name::new(name),
        device: Some(PeerId(device)),
        vectors: 2,
        limit: u64::MAX,
    }
}

impl<'m, D: Doorbell + Clone> Attacked<'m, D> {
    /// Takes a member that talks to the one of a name, who is in a slot at first.
    pub fn new(
        region: Region<'m>,
        introduction: Introduction,
        member: Member<'m>,
        (peer, peer_name): (SlotIndex, Name),
        doorbell: D,
    ) -> Self {
        let mut attacked = Self {
            region,
            introduction,
            joining: None,
            member: Some(member),
            connection: None,
            peer,
            peer_name,
            doorbell,
        };
        attacked.connect();
        attacked
    }

    /// Does what the next bytes say. Returns whether a message was sent or received.
    pub fn step(&mut self, input: &mut Input<'_>, meddle: impl FnOnce()) -> bool {
        let choice: u8 = input.take();
        match (choice % 16, &mut self.connection) {
            (0..=5, Some((outgoing, _))) => return outgoing.act(input, meddle),
            (6..=11, Some((_, incoming))) => {
                return !matches!(incoming.act(input, meddle), Received::Nothing)
            }
            (12, _) => self.connect(),
            (13, _) if choice == 13 => {
                if let Some(member) = self.member.take() {
                    self.connection = None;
                    member.leave();
                }
            }
            _ => self.live(),
        }
        false
    }

    fn connect(&mut self) {
        let Some(member) = &mut self.member else {
            return;
        };
        let connected = member.connect(self.peer, self.doorbell.clone());
        if let Ok(endpoint) = shown(connected) {
            self.connection = Some(split(endpoint, self.region.ring_len()));
        }
    }

    /// Looks who is there, or joins again.
    fn live(&mut self) {
        let Some(member) = &mut self.member else {
            return self.join();
        };
        // A round gives one event of each slot.
        for _ in 0..self.region.slots() {
            match shown(member.poll_event(0)) {
                Ok(Some(event)) => {
                    if event.name == self.peer_name {
                        self.peer = event.slot;
                    }
                }
                Ok(None) => return,
                Err(_) => {
                    self.member = None;
                    self.connection = None;
                    return;
                }
            }
        }
        panic!("a round that does not end");
    }

    fn join(&mut self) {
        let begin = || self.region.join(self.introduction);
        match self.joining.get_or_insert_with(begin).poll(0) {
            Poll::Ready(Ok(member)) => {
                self.joining = None;
                self.member = Some(member);
                self.connect();
            }
            Poll::Ready(Err(error)) => {
                let _ = shown(Err::<(), _>(error));
            }
            Poll::Pending => {}
        }
    }
}
