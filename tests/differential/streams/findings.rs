// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams that have shown something, or settled a question.

use ivshmem_device::ServerError;
use libtest_mimic::Failed;
use xtask::trials::same;

use super::message::{Kind, Message, Number, Stream, LEN};
use super::starting::{compare, Case, Outcome, Server};
use super::Shape;
use crate::lab::{Lab, Need};

const VERSION: Message = Message::bare(Number::Value(0));
const OWN: Message = Message::bare(Number::Own);
const LEAVES: Message = Message::bare(Number::Peer(0));
const SHAPE: Shape = Shape {
    vectors: 2,
    ioeventfd: true,
};

fn memory() -> Message {
    Message::with(Number::Value(-1), Kind::Memory(4096))
}

fn joins() -> Message {
    Message::with(Number::Peer(0), Kind::Event)
}

pub fn trials() -> Vec<Need> {
    let refused = Outcome::Refused;
    [
        // Of several descriptors the first counts; but the last read of the message has the first say.
        (
            "a_later_descriptor_replaces_an_earlier_one",
            vec![
                VERSION,
                OWN,
                Message {
                    number: Number::Value(-1),
                    files: vec![(2, vec![Kind::Event]), (5, vec![Kind::Memory(4096)])],
                },
                Message {
                    number: Number::Peer(0),
                    files: vec![(0, vec![Kind::Event]), (1, vec![Kind::Event; 2])],
                },
            ],
            Outcome::Started,
        ),
        // Whatever is wrong ends the start while there is no memory, also what is only complained about later.
        (
            "too_many_eventfds_before_the_memory_are_fatal",
            vec![VERSION, OWN, joins(), joins(), joins(), memory()],
            refused(ServerError::TooManyEvents {
                peer: 1,
                vectors: 2,
            }),
        ),
        (
            "too_many_eventfds_after_the_memory_are_not",
            vec![VERSION, OWN, memory(), joins(), joins(), joins()],
            Outcome::Started,
        ),
        (
            "a_bad_number_before_the_memory_is_fatal",
            vec![VERSION, OWN, Message::bare(Number::Value(65_536)), memory()],
            refused(ServerError::Number { found: 65_536 }),
        ),
        (
            "a_bad_number_after_the_memory_is_not",
            vec![VERSION, OWN, memory(), Message::bare(Number::Value(65_536))],
            Outcome::Started,
        ),
        (
            "the_own_departure_before_the_memory_is_fatal",
            vec![VERSION, OWN, OWN, memory()],
            refused(ServerError::Departure { peer: 0 }),
        ),
        // A peer that was never there may leave at any time.
        (
            "the_departure_of_a_stranger_is_not",
            vec![VERSION, OWN, LEAVES, memory()],
            Outcome::Started,
        ),
        (
            "an_eventfd_in_the_place_of_the_memory_is_fatal",
            vec![VERSION, OWN, Message::with(Number::Value(-1), Kind::Event)],
            refused(ServerError::NotMemory),
        ),
    ]
    .map(|(name, messages, expected)| {
        Need::new(format!("streams::{name}"), move |lab| {
            each_way(lab, &messages, expected)
        })
    })
    .into()
}

/// Sends the messages each as a whole, all at once, and byte by byte.
fn each_way(lab: &Lab, messages: &[Message], expected: Outcome) -> Result<(), Failed> {
    let len = LEN * messages.len();
    for (way, step) in [("by message", LEN), ("at once", len), ("by byte", 1)] {
        let case = Case {
            shape: SHAPE,
            own: 0,
            stream: Stream {
                messages: messages.to_vec(),
                cuts: (0..len).step_by(step).collect(),
            },
            server: Server::Stays,
        };
        same(way, compare(lab, &case)?, expected)?;
    }
    Ok(())
}
