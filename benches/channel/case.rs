// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is measured, the same for every way to pass messages.

use std::hint::{black_box, spin_loop};
use std::time::{Duration, Instant};

use crate::cores::{Apart, Cores};

/// Bytes of a page, of a line of the cache, and by which buffers are moved: allocations begin at multiples of it.
const PAGE: usize = 4096;
const LINE: usize = 64;
const STEP: usize = 16;

/// One who sends messages of one length.
pub trait Tx: Send {
    /// Sends a message if there is room.
    fn try_send(&mut self, message: &[u8]) -> bool;

    /// Ends what was sent together.
    fn flush(&mut self) {}
}

/// One who receives them.
pub trait Rx: Send {
    /// Receives a message, of the length of `buffer`, if there is one.
    fn try_recv(&mut self, buffer: &mut [u8]) -> bool;
}

/// A way to pass messages.
pub trait Contender {
    /// One end.
    type Tx: Tx;
    /// The other.
    type Rx: Rx;

    /// Makes two ways for messages of `len` bytes, one there and one back.
    fn make(len: usize) -> [(Self::Tx, Self::Rx); 2];
}

/// How messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// There and back, one at a time.
    RoundTrip,
    /// There, as fast as they can.
    Stream,
    /// There and back, between two who may sleep.
    Wake,
}

/// Something that can be timed.
pub trait Case {
    /// Returns the nanoseconds of one of `count` round trips, or of one message in a stream of so many.
    fn time(&mut self, cores: Cores, motion: Motion, count: u32) -> f64;
}

/// A contender at work.
pub struct Rig<C: Contender> {
    len: usize,
    /// Where in a line the buffers of the next timing begin.
    place: usize,
    there: (Apart<C::Tx>, Apart<C::Rx>),
    back: (Apart<C::Tx>, Apart<C::Rx>),
}

impl<C: Contender> Rig<C> {
    pub fn new(len: usize) -> Self {
        let [there, back] = C::make(len).map(|(tx, rx)| (Apart(tx), Apart(rx)));
        Self {
            len,
            place: 0,
            there,
            back,
        }
    }
}

impl<C: Contender> Case for Rig<C> {
    fn time(&mut self, cores: Cores, motion: Motion, count: u32) -> f64 {
        self.place = (self.place + STEP) % LINE;
        let elapsed = match motion {
            Motion::RoundTrip | Motion::Wake => self.round_trip(cores, count),
            Motion::Stream => self.stream(cores, count),
        };
        elapsed.as_nanos() as f64 / f64::from(count)
    }
}

impl<C: Contender> Rig<C> {
    fn round_trip(&mut self, cores: Cores, count: u32) -> Duration {
        let message = Buffer::new(self.len, 0x5a, self.place);
        let [mut buffer, mut echo] = [(); 2].map(|()| Buffer::new(self.len, 0, self.place));
        let (message, buffer, echo) = (message.bytes(), buffer.bytes_mut(), echo.bytes_mut());
        let ((Apart(ask), Apart(asked)), (Apart(answer), Apart(answered))) =
            (&mut self.there, &mut self.back);
        let (elapsed, ()) = cores.run(
            || {
                let start = Instant::now();
                for _ in 0..count {
                    send(ask, message);
                    ask.flush();
                    recv(answered, buffer);
                }
                start.elapsed()
            },
            || {
                for _ in 0..count {
                    recv(asked, echo);
                    send(answer, echo);
                    answer.flush();
                }
            },
        );
        assert_eq!(buffer[..8], message[..8], "what came back");
        elapsed
    }

    fn stream(&mut self, cores: Cores, count: u32) -> Duration {
        let message = Buffer::new(self.len, 0x5a, self.place);
        let mut buffer = Buffer::new(self.len, 0, self.place);
        let (message, buffer) = (message.bytes(), buffer.bytes_mut());
        let (Apart(tx), Apart(rx)) = &mut self.there;
        let (elapsed, ()) = cores.run(
            || {
                let start = Instant::now();
                for _ in 0..count {
                    recv(rx, buffer);
                }
                start.elapsed()
            },
            || {
                for _ in 0..count {
                    send(tx, message);
                }
                tx.flush();
            },
        );
        assert_eq!(buffer[..8], message[..8], "what came");
        elapsed
    }
}

/// A private buffer that begins at another place of a line for each timing: how copies of much fare depends on where both
/// sides are, by half and more, and that shall not be the luck of an allocation.
struct Buffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// Begins `place` bytes behind the start of a page.
    fn new(len: usize, value: u8, place: usize) -> Self {
        let memory = vec![value; len + 2 * PAGE];
        let start = (memory.as_ptr() as usize).wrapping_neg() % PAGE + place;
        Self { memory, start, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

fn send(tx: &mut impl Tx, message: &[u8]) {
    while !tx.try_send(black_box(message)) {
        spin_loop();
    }
}

fn recv(rx: &mut impl Rx, buffer: &mut [u8]) {
    while !rx.try_recv(black_box(&mut *buffer)) {
        spin_loop();
    }
}
