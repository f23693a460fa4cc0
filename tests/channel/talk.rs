// SPDX-License-Identifier: MIT OR Apache-2.0
//! A member that talks to everybody who is there, and checks each word it hears.

use std::collections::btree_map::Entry;
use std::collections::BTreeMap;
use std::task::Poll;

use ivshmem::channel::{
    Broken, ConnectError, Endpoint, Event, EventKind, Evicted, Member, NoDoorbell, Progress,
    RecvError, SendError, SlotIndex,
};

/// Messages that are sent to, and received from, each peer in one turn at most.
const BURST: usize = 4;
/// Longest message; several fragments.
const LONGEST: usize = 3000;
/// What each message begins with: the sender's slot and incarnation, the connection, its number, and how much the
/// sender has heard.
const HEAD: usize = 32;

/// A message, as far as it has to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    slot: u16,
    incarnation: u32,
    /// Another one for each connection of a sender.
    connection: u64,
    number: u64,
    heard: u64,
}

impl Head {
    /// Returns the message, which all of it says.
    fn message(&self) -> Vec<u8> {
        let from = u64::from(self.slot) << 32 | u64::from(self.incarnation);
        let words = [from, self.connection, self.number, self.heard];
        let mut message: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        // Most are short, some have fragments.
        let sum = words
            .into_iter()
            .fold(0, |sum: u64, word| sum.wrapping_mul(31).wrapping_add(word));
        let len = match sum % 16 {
            0 => HEAD + sum as usize / 16 % (LONGEST - HEAD),
            _ => HEAD + sum as usize / 16 % 200,
        };
        message.extend((HEAD..len).map(|at| (sum as usize + at) as u8));
        message
    }

    fn of(message: &[u8]) -> Self {
        let word = |at: usize| {
            let bytes = message.get(at * 8..at * 8 + 8).expect("a whole head");
            u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
        };
        Self {
            slot: (word(0) >> 32) as u16,
            incarnation: word(0) as u32,
            connection: word(1),
            number: word(2),
            heard: word(3),
        }
    }
}

/// A connection, and how far it is.
struct Peer<'m> {
    endpoint: Endpoint<'m, NoDoorbell>,
    connection: u64,
    next: u64,
    /// The message that is being sent.
    sending: Option<Vec<u8>>,
    sent: Progress,
    received: Progress,
    /// What has come of the message that is being received.
    buffer: Vec<u8>,
    /// The last message that came.
    last: Option<Head>,
}

/// A member that talks.
pub struct Talker<'m> {
    pub member: Member<'m>,
    peers: BTreeMap<u16, Peer<'m>>,
    connections: u64,
    /// Messages that it has received.
    pub heard: u64,
    /// Messages that its peers say they had received, those of each incarnation counted once.
    pub heard_by_others: u64,
}

impl<'m> Talker<'m> {
    pub fn new(member: Member<'m>) -> Self {
        Self {
            member,
            peers: BTreeMap::new(),
            connections: 0,
            heard: 0,
            heard_by_others: 0,
        }
    }

    /// Looks who is there, and talks to all of them. Shows the events to `tell` first.
    pub fn turn(&mut self, now: u64, mut tell: impl FnMut(Event)) -> Result<(), Evicted> {
        while let Some(event) = self.member.poll_event(now)? {
            tell(event);
            match event.kind {
                EventKind::Joined | EventKind::Restarted => self.connect(event.slot)?,
                EventKind::Left => drop(self.peers.remove(&event.slot.0)),
                // It may only be slow, and then goes on with the same connection.
                EventKind::Died => {}
            }
        }
        let slots: Vec<_> = self.peers.keys().copied().collect();
        for slot in slots {
            self.talk(slot)?;
        }
        Ok(())
    }

    fn connect(&mut self, slot: SlotIndex) -> Result<(), Evicted> {
        match self.member.connect(slot, NoDoorbell) {
            Ok(endpoint) => {
                self.connections += 1;
                let peer = Peer {
                    endpoint,
                    connection: self.connections << 32 | u64::from(std::process::id()),
                    next: 0,
                    sending: None,
                    sent: Progress::default(),
                    received: Progress::default(),
                    buffer: vec![0; LONGEST],
                    last: None,
                };
                self.peers.insert(slot.0, peer);
            }
            // It was slow, or it was there already when its predecessor was connected to.
            Err(ConnectError::AlreadyConnected { .. }) => {}
            Err(ConnectError::NobodyThere { .. }) => drop(self.peers.remove(&slot.0)),
            Err(ConnectError::Evicted) => return Err(Evicted),
            Err(error) => panic!("{error}"),
        }
        Ok(())
    }

    /// Sends to a peer and receives from it.
    fn talk(&mut self, slot: u16) -> Result<(), Evicted> {
        let Entry::Occupied(mut entry) = self.peers.entry(slot) else {
            return Ok(());
        };
        let peer = entry.get_mut();
        let own = (self.member.slot().0, self.member.incarnation());
        let ended = peer.send(own, self.heard).and_then(|()| peer.receive(slot));
        match ended {
            Ok(received) => {
                self.heard += received.messages;
                self.heard_by_others += received.heard;
                Ok(())
            }
            Err(Broken::PeerGone | Broken::PeerRestarted) => {
                entry.remove();
                Ok(())
            }
            Err(Broken::Evicted) => Err(Evicted),
            Err(Broken::Corrupt) => panic!(
                "slot {} has found the ring of slot {slot} corrupt after {:?}",
                own.0, peer.last
            ),
        }
    }
}

/// What a turn has brought.
#[derive(Default)]
struct News {
    messages: u64,
    /// By how much more the peer has heard.
    heard: u64,
}

impl Peer<'_> {
    fn send(&mut self, (slot, incarnation): (u16, u32), heard: u64) -> Result<(), Broken> {
        for _ in 0..BURST {
            let head = Head {
                slot,
                incarnation,
                connection: self.connection,
                number: self.next,
                heard,
            };
            let message = self.sending.get_or_insert_with(|| head.message());
            match self.endpoint.sender().poll_send(message, &mut self.sent) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => {
                    self.sending = None;
                    self.next += 1;
                }
                Poll::Ready(Err(SendError::Broken(broken))) => return Err(broken),
                Poll::Ready(Err(error)) => panic!("{error}"),
            }
        }
        Ok(())
    }

    fn receive(&mut self, slot: u16) -> Result<News, Broken> {
        let mut news = News::default();
        for _ in 0..BURST {
            let receiver = self.endpoint.receiver();
            let len = match receiver.poll_recv(&mut self.buffer, &mut self.received) {
                Poll::Pending => break,
                Poll::Ready(Ok(len)) => len,
                Poll::Ready(Err(RecvError::Broken(broken))) => return Err(broken),
                Poll::Ready(Err(error)) => panic!("{error}"),
            };
            let head = self.check(slot, &self.buffer[..len]);
            news.messages += 1;
            news.heard += head.heard - self.last.map_or(0, |last| last.heard);
            self.last = Some(head);
        }
        Ok(news)
    }

    /// Checks that a message is the one after the last, and returns its head.
    fn check(&self, slot: u16, message: &[u8]) -> Head {
        let head = Head::of(message);
        let expected = match self.last {
            // The first of a connection says which one it is.
            None => Head {
                slot,
                number: 0,
                ..head
            },
            Some(last) => Head {
                number: last.number + 1,
                heard: head.heard.max(last.heard),
                ..last
            },
        };
        assert_eq!(head, expected, "after {:?}", self.last);
        assert_eq!(message, head.message(), "{head:?}");
        head
    }
}
