// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of what clients are told, and when, with the other ends of their connections in hand.

#[path = "../../../tests/support/witness.rs"]
mod witness;

#[path = "../../../tests/support/receive.rs"]
mod receive;

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::{socketpair, AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::*;
use crate::server::ids::Given;
use crate::server::ledger::Ledger;
use receive::receive;
use witness::{Heard, Witness};

const VECTORS: u16 = 8;

/// A client's end of its connection, and what it has heard.
struct Visitor {
    socket: OwnedFd,
    witness: Witness,
}

impl Visitor {
    /// Receives at most `limit` messages, or what is there.
    fn hear(&mut self, limit: usize) -> Vec<Heard> {
        let mut heard = Vec::new();
        while heard.len() < limit {
            match receive(&self.socket, RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => break,
                message => {
                    let (number, attached) = message.unwrap().expect("the connection is open");
                    let message = self.witness.hear(number, attached);
                    heard.push(message.unwrap_or_else(|breach| panic!("{breach}")));
                }
            }
        }
        heard
    }
}

struct Lab {
    registry: Registry,
    visitors: Vec<Visitor>,
}

impl Lab {
    fn new() -> Self {
        crate::server::raise_descriptor_limit().unwrap();
        let memory = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let ledger = Ledger::new(None, &fstat(&memory).unwrap(), 0);
        let ids = Ids::new(Given::none(0), ledger);
        Self {
            registry: Registry::new(Turns::new().unwrap(), memory, VECTORS, 200, ids),
            visitors: Vec::new(),
        }
    }

    fn join(&mut self) -> &mut Visitor {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let event = self.registry.admit(ours);
        assert!(matches!(event, Event::Joined { .. }), "{event}");
        self.visitors.push(Visitor {
            socket: theirs,
            witness: Witness::new(VECTORS),
        });
        self.visitors.last_mut().unwrap()
    }

    /// Does what the server does between two looks for newcomers.
    fn pass(&mut self) {
        self.registry.notice(&mut |_| {}).unwrap();
        self.registry.flush(&mut |_| {});
    }

    /// Lets everybody hear everything, and checks that all know of all.
    fn settle(&mut self) {
        let mut is_quiet = false;
        while !is_quiet {
            self.pass();
            let heard: usize = self
                .visitors
                .iter_mut()
                .map(|v| v.hear(usize::MAX).len())
                .sum();
            is_quiet = heard == 0 && !self.registry.is_due();
        }
        let count = self.visitors.len();
        assert_eq!(self.registry.peers().count(), count);
        for visitor in &self.visitors {
            let witness = &visitor.witness;
            assert_eq!((witness.joined(), witness.incomplete()), (count, 0));
        }
    }
}

#[test]
fn a_newcomer_is_greeted_at_once_while_thousands_of_messages_wait() {
    let mut lab = Lab::new();
    for _ in 0..100 {
        lab.join();
    }
    lab.pass();
    assert!(lab.registry.is_due());
    let greeting = lab.join().hear(usize::MAX);
    let expected = [Heard::Version, Heard::OwnId(100), Heard::Memory];
    assert_eq!(greeting, expected);
    lab.settle();
}

#[test]
fn one_with_much_to_hear_does_not_keep_the_others_waiting() {
    const OTHERS: usize = 40;
    let mut lab = Lab::new();
    for _ in 0..OTHERS {
        lab.join();
    }
    lab.settle();
    lab.join().hear(usize::MAX);
    // A newcomer hears of everybody, as fast as it can read; everybody else, of one. Each has
    // had a turn after as many messages as all turns have.
    let turns = OTHERS + 1;
    let mut newcomers_messages = 0;
    for _ in 0..(turns * TURN).div_ceil(SLICE) {
        lab.pass();
        let newcomer = lab.visitors.last_mut().unwrap();
        newcomers_messages += newcomer.hear(usize::MAX).len();
    }
    assert!(newcomers_messages < OTHERS * usize::from(VECTORS));
    for visitor in &mut lab.visitors[..OTHERS] {
        assert_eq!(visitor.hear(1), [Heard::Vector(OTHERS as u16)]);
    }
    lab.settle();
}

#[test]
fn a_pass_is_bounded_however_much_there_is_to_send() {
    let mut lab = Lab::new();
    for _ in 0..100 {
        lab.join().hear(usize::MAX);
    }
    while {
        lab.pass();
        let heard: usize = lab
            .visitors
            .iter_mut()
            .map(|v| v.hear(usize::MAX).len())
            .sum();
        // The last turn of a slice may go over.
        assert!(heard <= SLICE + TURN, "{heard} messages in one pass");
        heard > 0
    } {}
    lab.settle();
}

#[test]
fn whoever_hears_late_or_in_pieces_hears_the_truth_in_order() {
    let mut lab = Lab::new();
    let mut random = 1_u32;
    let mut below = |limit: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as usize % limit
    };
    for _ in 0..3000 {
        match below(4) {
            0 if lab.visitors.len() < 60 => {
                lab.join();
            }
            1 if lab.visitors.len() > 20 => {
                let leaver = below(lab.visitors.len());
                lab.visitors.swap_remove(leaver);
            }
            _ => {
                let reader = below(lab.visitors.len().max(1));
                let messages = below(40);
                // The first ten do not read.
                if let Some(visitor) = lab.visitors.get_mut(reader.max(10)) {
                    visitor.hear(messages);
                }
            }
        }
        if below(3) == 0 {
            lab.pass();
        }
    }
    lab.settle();
}

#[test]
fn many_that_die_at_once_are_removed_a_few_at_a_time() {
    let mut lab = Lab::new();
    for _ in 0..100 {
        lab.join();
    }
    lab.settle();
    lab.visitors.truncate(50);
    let mut left = 0;
    while left < 50 {
        let (mut noticed, mut found_gone) = (0, 0);
        lab.registry.notice(&mut |_| noticed += 1).unwrap();
        lab.registry.flush(&mut |_| found_gone += 1);
        assert!(noticed <= REMOVALS && found_gone <= REMOVALS);
        assert!(noticed + found_gone > 0);
        left += noticed + found_gone;
    }
    lab.settle();
}
