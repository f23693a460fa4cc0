// SPDX-License-Identifier: MIT OR Apache-2.0
//! What channels are made of, without channels: two eventfds, two slots, a ring of slots. What takes longer through a channel
//! is the channel's; the rest is the machine's.
//!
//! Both sides know the length and trust each other. The copies are made by the routine of the channels, on two mappings of one
//! memory as two processes have them.

use std::hint::{black_box, spin_loop};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use ivshmem::SharedMemory;
use ivshmem_host::mapping::Mapping;
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::io::{read, retry_on_intr, write};

use super::cpus::Cpus;
use super::measure::{one_way, ping_pong, Motion, Slice, Subject};
use super::RING_BYTES;
use crate::command::Failure;

/// Where the slot back is; the slot there is at the start. Each has its number in front.
const BACK: usize = 2 << 20;
/// Where the ring is.
const RING: usize = 2 * BACK;
/// Where its counters are, apart from each other.
const HEAD: usize = RING + RING_BYTES + 0x100;
const TAIL: usize = RING + RING_BYTES + 0x200;
/// Bytes of all that.
const LEN: usize = RING + RING_BYTES + 4096;
/// Bytes of a number.
const NUMBER: usize = 8;

/// Eventfds and memory that nobody else has.
#[derive(Debug)]
pub(super) struct Bare {
    cpus: Cpus,
    eventfds: [OwnedFd; 2],
    mappings: [Mapping; 2],
}

impl Bare {
    pub(super) fn new(cpus: Cpus) -> Result<Self, Failure> {
        let failed = |error| Failure::new(format!("cannot get memory to compare with: {error}"));
        let eventfd = || eventfd(0, EventfdFlags::CLOEXEC).map_err(failed);
        let memory = memfd_create("ivshmem-bench", MemfdFlags::CLOEXEC).map_err(failed)?;
        ftruncate(&memory, LEN as u64).map_err(failed)?;
        let mapping = || {
            let mapping = Mapping::of(&memory).map_err(Failure::new)?;
            // All pages are there before anything is timed.
            mapping.memory().fill(0, LEN, 0).map_err(Failure::new)?;
            Ok::<_, Failure>(mapping)
        };
        Ok(Self {
            cpus,
            eventfds: [eventfd()?, eventfd()?],
            mappings: [mapping()?, mapping()?],
        })
    }

    /// Two eventfds, each written to by one side and read by the other, which sleeps in it.
    fn wake_ups(&self, count: u64) -> Result<Slice, Failure> {
        let [there, back] = &self.eventfds;
        let failed = |error| Failure::new(format!("an eventfd failed: {error}"));
        let ring = |fd: &OwnedFd| {
            let rung = retry_on_intr(|| write(fd, &1_u64.to_ne_bytes()));
            rung.map(drop).map_err(failed)
        };
        let sleep = |fd: &OwnedFd| {
            let woken = retry_on_intr(|| read(fd, &mut [0_u8; 8]));
            woken.map(drop).map_err(failed)
        };
        ping_pong(
            self.cpus,
            count,
            || ring(there).and_then(|()| sleep(back)),
            || sleep(there).and_then(|()| ring(back)),
        )
    }

    /// One slot in each direction: the shortest way that a message of that length has.
    fn slots(&self, len: usize, count: u64) -> Result<Slice, Failure> {
        let [here, there] = self.sides();
        let (message, mut buffer, mut echo) = (vec![0x5a; len], vec![0; len], vec![0; len]);
        for slot in [0, BACK] {
            word(here, slot)?.store(0, Ordering::Release);
        }
        let (ask, asked) = (word(here, 0)?, word(there, 0)?);
        let (answer, answered) = (word(there, BACK)?, word(here, BACK)?);
        let (mut turn, mut other_turn) = (0, 0);
        ping_pong(
            self.cpus,
            count,
            || {
                turn += 1;
                put(here, NUMBER, &message)?;
                ask.store(turn, Ordering::Release);
                wait(answered, |value| value == turn);
                get(here, BACK + NUMBER, &mut buffer)
            },
            || {
                other_turn += 1;
                wait(asked, |value| value == other_turn);
                get(there, NUMBER, &mut echo)?;
                put(there, BACK + NUMBER, &echo)?;
                answer.store(other_turn, Ordering::Release);
                Ok(())
            },
        )
    }

    /// Slots in a ring, as many as fit, with two counters, each of which the other side remembers.
    fn ring(&self, len: usize, count: u64) -> Result<Slice, Failure> {
        let [here, there] = self.sides();
        let (message, mut buffer) = (vec![0x5a; len], vec![0; len]);
        for counter in [HEAD, TAIL] {
            word(here, counter)?.store(0, Ordering::Release);
        }
        let slots = (RING_BYTES / len) as u64;
        let place = move |position: u64| RING + (position % slots) as usize * len;
        let (announce, announced) = (word(there, HEAD)?, word(here, HEAD)?);
        let (free, freed) = (word(here, TAIL)?, word(there, TAIL)?);
        let (mut received, mut head) = (0, 0);
        let (mut sent, mut tail) = (0, 0);
        one_way(
            self.cpus,
            count,
            || {
                if received == head {
                    head = wait(announced, |value| value > received);
                }
                get(here, place(received), &mut buffer)?;
                received += 1;
                free.store(received, Ordering::Release);
                Ok(())
            },
            || {
                if sent - tail == slots {
                    tail = wait(freed, |value| value > sent - slots);
                }
                put(there, place(sent), &message)?;
                sent += 1;
                announce.store(sent, Ordering::Release);
                Ok(())
            },
        )
    }

    fn sides(&self) -> [SharedMemory<'_>; 2] {
        self.mappings.each_ref().map(Mapping::memory)
    }
}

impl Subject for Bare {
    fn run(&mut self, motion: Motion, len: usize, count: u64) -> Result<Slice, Failure> {
        match motion {
            Motion::Asleep => self.wake_ups(count),
            Motion::Awake => self.slots(len, count),
            Motion::Stream => self.ring(len, count),
        }
    }
}

fn word(memory: SharedMemory<'_>, offset: usize) -> Result<&AtomicU64, Failure> {
    memory.atomic_u64(offset).map_err(Failure::new)
}

fn put(memory: SharedMemory<'_>, offset: usize, message: &[u8]) -> Result<(), Failure> {
    memory
        .write(offset, black_box(message))
        .map_err(Failure::new)
}

fn get(memory: SharedMemory<'_>, offset: usize, buffer: &mut [u8]) -> Result<(), Failure> {
    memory.read(offset, black_box(buffer)).map_err(Failure::new)
}

/// Looks until it is so, and returns the value.
fn wait(word: &AtomicU64, is_so: impl Fn(u64) -> bool) -> u64 {
    loop {
        let value = word.load(Ordering::Acquire);
        if is_so(value) {
            return value;
        }
        spin_loop();
    }
}
