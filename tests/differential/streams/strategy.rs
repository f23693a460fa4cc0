// SPDX-License-Identifier: MIT OR Apache-2.0
//! How streams are chosen: anything a server could send, except what crashes or hangs QEMU 7.2.
//!
//! Left out, each for what QEMU does:
//!
//! - a peer that left is told of again, or leaves twice: it frees an array twice, or uses one that it has freed;
//! - eventfds of the device itself before the memory: it uses a table that is not there yet (SIGSEGV);
//! - memory of a page or more whose size is no power of two: it aborts;
//! - the end of the connection before the memory: it never starts, and keeps a processor busy;
//! - no memory at all: it waits for it, as it must;
//! - memory in the place of an eventfd: the device's own would keep QEMU's main loop busy, as it can always be read; a
//!   peer's would be written to, which is no ring that could be counted.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::message::{Kind, Message, Number, Stream, LEN, PEERS};

/// The end of a handshake.
const MEMORY: Number = Number::Value(-1);

/// Returns streams to a device that has its memory.
pub fn running() -> impl Strategy<Value = Stream> {
    (vec(late(), 1..14), cuts()).prop_map(|(messages, cuts)| Stream {
        messages: without_crashes(messages),
        cuts,
    })
}

/// Returns streams to a device that starts, with its ID if it gets one.
pub fn starting() -> impl Strategy<Value = (Stream, u16)> {
    let ids = prop_oneof![Just(0), Just(3), Just(40_000), Just(u16::MAX)];
    let version = prop_oneof![12 => bare(Just(Number::Value(0))), 1 => any_message()];
    let wrong_id = prop_oneof![
        bare(select(vec![-1, 65_536, i64::MIN, i64::MAX, 1 << 32]).prop_map(Number::Value)),
        carried(Just(Number::Own), Just(Kind::Event)),
    ];
    let own = prop_oneof![12 => bare(Just(Number::Own)), 1 => wrong_id];
    let early = prop_oneof![
        4 => vec(early(), 0..4),
        1 => vec(prop_oneof![3 => early(), 1 => odd()], 0..6),
    ];
    let memory = prop_oneof![12 => good_memory(), 1 => bad_memory()];
    (ids, version, own, early, memory, vec(late(), 0..8), cuts()).prop_map(
        |(id, version, own, early, memory, late, cuts)| {
            let mut messages = vec![version, own];
            messages.extend(early);
            messages.push(memory);
            messages.extend(late);
            let messages = without_crashes(messages);
            (Stream { messages, cuts }, id)
        },
    )
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    let boundaries = (0..32_usize).prop_map(|index| LEN * index);
    prop_oneof![
        Just((0..32).map(|index| LEN * index).collect()),
        Just(Vec::new()),
        Just((0..32 * LEN).collect()),
        vec(0..32 * LEN, 0..12),
        vec(boundaries, 0..6),
    ]
}

fn peer() -> impl Strategy<Value = Number> {
    (0..PEERS).prop_map(Number::Peer)
}

/// What may come before the memory and does no harm.
fn early() -> BoxedStrategy<Message> {
    prop_oneof![6 => carried(peer(), Just(Kind::Event)), 1 => bare(peer())].boxed()
}

/// What may come once the device runs.
fn late() -> BoxedStrategy<Message> {
    let own = carried(Just(Number::Own), Just(Kind::Event));
    let left = bare(peer());
    prop_oneof![
        8 => carried(peer(), Just(Kind::Event)),
        3 => own,
        2 => left,
        3 => odd(),
        1 => good_memory(),
        1 => bad_memory(),
    ]
    .boxed()
}

/// What makes no sense.
fn odd() -> BoxedStrategy<Message> {
    let beyond = select(vec![-2, 65_536, 70_000, 1 << 32, i64::MIN, i64::MAX]);
    let any = any::<i64>().prop_filter("an id", |value| !(-1..=65_535).contains(value));
    let number = prop_oneof![beyond, any].prop_map(Number::Value);
    prop_oneof![
        2 => bare(number.clone()),
        1 => carried(number, Just(Kind::Event)),
        1 => bare(Just(MEMORY)),
        1 => bare(Just(Number::Own)),
    ]
    .boxed()
}

/// Any number at all, with a descriptor or without.
fn any_message() -> BoxedStrategy<Message> {
    let any = any::<i64>().prop_map(Number::Value);
    let few = (-2_i64..3).prop_map(Number::Value);
    let number = prop_oneof![any, few];
    prop_oneof![bare(number.clone()), carried(number, Just(Kind::Event))].boxed()
}

fn good_memory() -> BoxedStrategy<Message> {
    let len = select(vec![4096, 8192, 1 << 16]).prop_map(Kind::Memory);
    carried(Just(MEMORY), len)
}

fn bad_memory() -> BoxedStrategy<Message> {
    let small = select(vec![0, 1, 100, 2048, 4095]).prop_map(Kind::Memory);
    prop_oneof![
        carried(Just(MEMORY), Just(Kind::Event)),
        carried(Just(MEMORY), small),
        bare(Just(MEMORY)),
    ]
    .boxed()
}

fn bare(number: impl Strategy<Value = Number> + 'static) -> BoxedStrategy<Message> {
    number.prop_map(Message::bare).boxed()
}

/// A message with a descriptor on one of its bytes; rarely with two there, or with one more on a later byte.
fn carried(
    number: impl Strategy<Value = Number> + 'static,
    kind: impl Strategy<Value = Kind> + Clone + 'static,
) -> BoxedStrategy<Message> {
    let byte = prop_oneof![3 => Just(0), 1 => 0..LEN];
    let together = prop_oneof![8 => vec(kind.clone(), 1), 1 => vec(kind.clone(), 2..4)];
    let later = weighted(0.1, (1..LEN, kind));
    (number, byte, together, later)
        .prop_map(|(number, byte, kinds, later)| {
            let mut files = vec![(byte, kinds)];
            files.extend(
                later
                    .filter(|&(at, _)| at > byte)
                    .map(|(at, kind)| (at, vec![kind])),
            );
            Message { number, files }
        })
        .boxed()
}

/// Leaves out what is said of peers that have left.
fn without_crashes(mut messages: Vec<Message>) -> Vec<Message> {
    let mut gone = Vec::new();
    messages.retain(|message| {
        let stays = !gone.contains(&message.number);
        if matches!(message.number, Number::Peer(_)) && message.files.is_empty() {
            gone.push(message.number);
        }
        stays
    });
    messages
}
