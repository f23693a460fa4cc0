// SPDX-License-Identifier: MIT OR Apache-2.0
//! A member that writes anything anywhere in its own rings.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use ivshmem::channel::{Broken, ConnectError, Member, NoDoorbell, Progress, RecvError, SendError};
use ivshmem::SharedMemory;

use super::support::{fill, format, join, join_as, map, Numbers, DEADLINE};

pub const SLOTS: usize = 3;
pub const RING_LOG2: u32 = 10;
/// Where the rings are, by docs/layout.md: a control block of 0x180 bytes and the data, one behind the other, behind header and
/// slots of 0x80 bytes each.
const RING_LEN: usize = 0x180 + (1 << RING_LOG2);
const RINGS_AT: usize = 0x80 * (1 + SLOTS);

/// Returns the ring from one slot to another.
pub fn ring(memory: SharedMemory<'_>, from: usize, to: usize) -> SharedMemory<'_> {
    let index = from * (SLOTS - 1) + to - usize::from(to > from);
    memory
        .region(RINGS_AT + index * RING_LEN, RING_LEN)
        .unwrap()
}

/// Writes words that are random, or nearly what the protocol has there.
pub fn scribble(ring: &SharedMemory<'_>, numbers: &mut Numbers) {
    let offset = (numbers.next() as usize % RING_LEN) & !7;
    let word = ring.atomic_u64(offset).unwrap();
    let value = match numbers.next() % 4 {
        0 => numbers.next(),
        1 => numbers.next() % 4096,
        2 => word.load(Ordering::Relaxed) ^ (1 << (numbers.next() % 64)),
        // A header that is right but for its length, and for whether more follows.
        _ => {
            let right = (word.load(Ordering::Relaxed) >> 30) << 30;
            right | (numbers.next() & 1) << 29 | (numbers.next() % 64)
        }
    };
    word.store(value, Ordering::Relaxed);
}

#[test]
fn others_are_not_disturbed_by_one_that_scribbles_over_its_rings() {
    const MESSAGES: u64 = 100_000;
    let mapping = map(1 << 14);
    let memory = mapping.memory();
    let region = format(memory, SLOTS as u16, RING_LOG2);
    let mut one = join(region, "one");
    let mut other = join(region, "other");
    let hostile = join(region, "hostile");
    let slots = [&one, &other, &hostile].map(|member| usize::from(member.slot().0));
    assert_eq!(slots, [0, 1, 2]);
    let (mut sender, _) = one.connect(other.slot(), NoDoorbell).unwrap().split();
    let (_, mut receiver) = other.connect(one.slot(), NoDoorbell).unwrap().split();
    let (done, start) = (AtomicBool::new(false), Instant::now());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut numbers = Numbers(5);
            let rings = [(2, 0), (0, 2), (2, 1), (1, 2)].map(|(from, to)| ring(memory, from, to));
            while !done.load(Ordering::Relaxed) {
                let choice = numbers.next() as usize % rings.len();
                scribble(&rings[choice], &mut numbers);
            }
        });
        scope.spawn(|| {
            let mut message = [0; 100];
            for number in 0..MESSAGES {
                fill(&mut message, number);
                while let Err(error) = sender.try_send(&message) {
                    assert_eq!(error, SendError::Full);
                    assert!(start.elapsed() < DEADLINE, "stuck at {number}");
                    thread::yield_now();
                }
            }
        });
        let (mut buffer, mut expected) = ([0; 100], [0; 100]);
        for number in 0..MESSAGES {
            fill(&mut expected, number);
            while receiver.try_recv(&mut buffer).unwrap().is_none() {
                assert!(start.elapsed() < DEADLINE, "stuck at {number}");
                thread::yield_now();
            }
            assert_eq!(buffer, expected, "message {number}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// The hostile one writes between the calls, so that it hits any moment but those inside a call; the ring's own tests have a
/// thread for those.
#[test]
fn whatever_a_peer_writes_ends_the_connection_at_worst() {
    let mut outcomes = [0; 3];
    for seed in 1..=2000_u64 {
        let mapping = map(1 << 14);
        let memory = mapping.memory();
        let region = format(memory, SLOTS as u16, RING_LOG2);
        let mut one = join(region, "one");
        let hostile = join(region, "hostile");
        let (mut sender, mut receiver) = one.connect(hostile.slot(), NoDoorbell).unwrap().split();
        let mut numbers = Numbers(seed);
        let mut buffer = [0; 1024];
        let (mut sent, mut received) = (Progress::default(), Progress::default());
        for _ in 0..100 {
            let target = if numbers.next() % 2 == 0 {
                (0, 1)
            } else {
                (1, 0)
            };
            scribble(&ring(memory, target.0, target.1), &mut numbers);
            let broken = match numbers.next() % 5 {
                0 => match sender.try_send(&[1; 40]) {
                    Err(SendError::Broken(broken)) => Some(broken),
                    _ => None,
                },
                1 => match receiver.try_recv(&mut buffer[..40]) {
                    Err(RecvError::Broken(broken)) => Some(broken),
                    _ => None,
                },
                2 => match receiver.peek() {
                    Ok(Some(frame)) => {
                        assert!(frame.len() <= 1 << RING_LOG2);
                        frame.copy_to(&mut buffer);
                        frame.release().err()
                    }
                    Ok(None) => None,
                    Err(broken) => Some(broken),
                },
                3 => {
                    // Neither result matters: it must come back.
                    let _ = sender.poll_send(&[2; 3000], &mut sent);
                    let _ = receiver.poll_recv(&mut buffer, &mut received);
                    assert!(received.bytes() <= buffer.len());
                    None
                }
                _ => receiver.arm().err().or(sender.arm(2000).err()),
            };
            match broken {
                None => outcomes[0] += 1,
                Some(Broken::Corrupt) => outcomes[1] += 1,
                Some(_) => outcomes[2] += 1,
            }
        }
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
    assert_eq!(outcomes[2], 0, "nobody has left, restarted or been evicted");
}

/// Another may write into any slot, and one who had it before may be late.
#[test]
fn what_others_write_into_the_own_slot_does_not_keep_from_connecting() {
    let mapping = map(1 << 14);
    let memory = mapping.memory();
    let region = format(memory, SLOTS as u16, RING_LOG2);
    let mut one = join_as(region, "one", Some(1), 1, 0);
    let other = join_as(region, "other", Some(2), 1, 0);
    // The words of address and name, by docs/layout.md.
    for offset in (0x10..0x58).step_by(8) {
        let at = 0x80 * (1 + usize::from(one.slot().0)) + offset;
        memory.atomic_u64(at).unwrap().store(0, Ordering::Relaxed);
    }
    let mut here = one.connect(other.slot(), NoDoorbell).unwrap();
    assert!(here.receiver().is_rung(), "as it has introduced itself");
}

/// Makes the member in a slot look like another incarnation of itself.
fn pretend(memory: &SharedMemory<'_>, slot: usize, incarnation: u64) {
    let at = 0x80 + 0x80 * slot;
    // The state, and who it is.
    for offset in core::iter::once(0).chain((0x10..0x58).step_by(8)) {
        let word = memory.atomic_u64(at + offset).unwrap();
        let low = word.load(Ordering::Relaxed) & u64::from(u32::MAX);
        word.store(low | incarnation << 32, Ordering::Relaxed);
    }
}

#[test]
fn a_session_does_not_begin_twice_for_a_peer_that_goes_back() {
    let mapping = map(1 << 14);
    let memory = mapping.memory();
    let region = format(memory, 2, RING_LOG2);
    let (mut one, hostile) = (join(region, "one"), join(region, "hostile"));
    let slot = hostile.slot();
    let connect = |one: &mut Member<'_>| one.connect(slot, NoDoorbell).map(drop);
    for incarnation in [1, 2] {
        pretend(&memory, 1, incarnation);
        assert_eq!(connect(&mut one), Ok(()));
    }
    for incarnation in [1, 2] {
        pretend(&memory, 1, u64::from(incarnation));
        let already = ConnectError::AlreadyConnected { slot, incarnation };
        assert_eq!(connect(&mut one), Err(already));
    }
}
