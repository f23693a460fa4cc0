// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of rings and of their wake-ups.

extern crate std;

mod crash;
mod doorbells;
mod frames;
mod hostile;
mod interleavings;
mod late;
mod random;
mod sleep;

use std::vec;
use std::vec::Vec;

use super::frame::{Header, Mark, Start};
use super::*;
use crate::channel::words::doubles::{Atomic, Double};
use crate::channel::words::Circle;

/// The first session of a test.
const FIRST: Session = Session::new(1, 1);

/// Returns the mark of a position in the first session.
fn mark(position: u64) -> Mark {
    FIRST.key().mark(position)
}

/// Memory of one ring.
fn memory<A: Atomic>(place: Place) -> Double<A> {
    Double::new(CONTROL_LEN + place.size())
}

/// Returns the ring in such memory.
fn ring_in<W: Words>(memory: W, place: Place) -> Ring<W> {
    Ring::new(memory, place).expect("all of its data")
}

/// Both ends of one ring, in one session.
fn ends<W: Words>(memory: &W, place: Place) -> (Producer<W>, Consumer<W>) {
    let producer = Producer::begin(ring_in(memory.clone(), place), FIRST);
    (
        producer,
        Consumer::begin(ring_in(memory.clone(), place), FIRST),
    )
}

/// Sends a message if there is room, and returns whether to ring.
fn try_send<W: Words>(
    producer: &mut Producer<W>,
    message: &[u8],
) -> Result<Option<bool>, RingError> {
    Ok(write(producer, message)?.map(|()| producer.announce()))
}

/// Writes a message if there is room, to be announced.
fn write<W: Words>(producer: &mut Producer<W>, message: &[u8]) -> Result<Option<()>, RingError> {
    let granted = producer.grant(message.len())?;
    Ok(granted.map(|granted| producer.write(granted, message, false)))
}

/// Receives a message if there is one, and returns with it whether to ring; as in use, all room is given back if not.
fn try_receive<W: Words>(consumer: &mut Consumer<W>) -> Result<(Option<Vec<u8>>, bool), RingError> {
    let Some(peeked) = consumer.peek()? else {
        return Ok((None, consumer.publish()));
    };
    let mut message = vec![0; peeked.len];
    consumer.data().read(peeked.payload, &mut message);
    consumer.verify()?;
    let ring = consumer.pass(peeked) && consumer.publish();
    Ok((Some(message), ring))
}

/// Returns a message of `len` bytes that no other `seed` gives.
fn message(seed: usize, len: usize) -> Vec<u8> {
    let mut state = Numbers::new(seed as u64);
    (0..len).map(|_| state.next() as u8).collect()
}

/// Numbers that look random, the same in each run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns one of the numbers below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}
