// SPDX-License-Identifier: MIT OR Apache-2.0
//! A memory, members on it, and bells that threads sleep on.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use ivshmem::channel::{
    Doorbell, Endpoint, Format, Introduction, Member, Name, NoDoorbell, Region, Wait,
};
use ivshmem::{PeerId, SharedMemory, VectorIndex};
use ivshmem_host::mapping::Mapping;
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};

/// After how many ticks a member counts as dead.
pub const LIMIT: u64 = 10;
/// After which time a test that waits has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// For how long one sleeps whose ring may not come.
const NAP: Duration = Duration::from_millis(1);

/// Maps new memory.
pub fn map(len: u64) -> Mapping {
    let fd = memfd_create("endpoint", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, len).unwrap();
    Mapping::of(&fd).unwrap()
}

/// Formats the memory with rings of a size.
pub fn format(memory: SharedMemory<'_>, slots: u16, ring_log2: u32) -> Region<'_> {
    let format = Format {
        slots,
        ring_log2: Some(ring_log2),
    };
    Region::open_or_format(memory, &format).unwrap()
}

/// Joins without a device, at time 0.
pub fn join<'m>(region: Region<'m>, name: &str) -> Member<'m> {
    join_as(region, name, None, 0, 0)
}

/// Joins at a time.
pub fn join_as<'m>(
    region: Region<'m>,
    name: &str,
    device: Option<u16>,
    vectors: u16,
    now: u64,
) -> Member<'m> {
    let mut joining = region.join(Introduction {
        name: Name::new(name),
        device: device.map(PeerId),
        vectors,
        limit: LIMIT,
    });
    for now in now..=now + 2 * LIMIT {
        if let Poll::Ready(member) = joining.poll(now) {
            return member.unwrap();
        }
    }
    panic!("{name} cannot join");
}

/// Connects two members without doorbells.
pub fn connect<'m>(
    one: &mut Member<'m>,
    other: &mut Member<'m>,
) -> (Endpoint<'m, NoDoorbell>, Endpoint<'m, NoDoorbell>) {
    let there = one.connect(other.slot(), NoDoorbell).unwrap();
    let back = other.connect(one.slot(), NoDoorbell).unwrap();
    (there, back)
}

/// Connects device 0 and device 1 by rings of a size, and runs something with both ends.
pub fn connected_by<R>(
    ring_log2: u32,
    vectors: [u16; 2],
    run: impl FnOnce(Endpoint<'_, &Bells>, Endpoint<'_, &Bells>, &Bells) -> R,
) -> R {
    let mapping = map(1 << 18);
    let bells = Bells::default();
    let region = format(mapping.memory(), 2, ring_log2);
    let mut one = join_as(region, "one", Some(0), vectors[0], 0);
    let mut other = join_as(region, "other", Some(1), vectors[1], 0);
    let here = one.connect(other.slot(), &bells).unwrap();
    let there = other.connect(one.slot(), &bells).unwrap();
    run(here, there, &bells)
}

/// Numbers that look random and are the same each time.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a length, short ones as often as long ones.
    pub fn len(&mut self, most: usize) -> usize {
        let bits = self.next() % (u64::from(most.ilog2()) + 2);
        (self.next() % (1 << bits)).min(most as u64) as usize
    }
}

/// Fills a message with what its number demands.
pub fn fill(message: &mut [u8], number: u64) {
    let mut numbers = Numbers(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for chunk in message.chunks_mut(8) {
        let word = numbers.next().to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// The bells of up to four devices, on which threads sleep.
#[derive(Debug, Default)]
pub struct Bells([Bell; 4]);

#[derive(Debug, Default)]
struct Bell {
    rung: AtomicU32,
    vectors: AtomicU32,
    pending: Mutex<bool>,
    change: Condvar,
}

impl Bells {
    /// Returns how often a device was rung.
    pub fn rung(&self, device: u16) -> u32 {
        self.0[usize::from(device)].rung.load(Ordering::Relaxed)
    }

    /// Returns which vectors of a device were rung, as bits.
    pub fn vectors(&self, device: u16) -> u32 {
        self.0[usize::from(device)].vectors.load(Ordering::Relaxed)
    }

    /// Sleeps until a device is rung, at most until `limit`, and returns whether it was.
    pub fn sleep(&self, device: u16, limit: Duration) -> bool {
        let bell = &self.0[usize::from(device)];
        let end = Instant::now() + limit;
        let mut pending = bell.pending.lock().unwrap();
        while !*pending {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            pending = bell.change.wait_timeout(pending, left).unwrap().0;
        }
        *pending = false;
        true
    }
}

impl Doorbell for Bells {
    fn ring(&self, peer: PeerId, vector: VectorIndex) {
        let bell = &self.0[usize::from(peer.0)];
        bell.rung.fetch_add(1, Ordering::Relaxed);
        bell.vectors.fetch_or(1 << vector.0, Ordering::Relaxed);
        *bell.pending.lock().unwrap() = true;
        bell.change.notify_one();
    }
}

/// Sleeps on the bell of `device` as long as told.
pub fn wait(wait: Wait, bells: &Bells, device: u16) {
    match wait {
        Wait::Ready => {}
        Wait::UntilRung => assert!(bells.sleep(device, DEADLINE), "a wake-up was lost"),
        // May end without a ring.
        Wait::Briefly => drop(bells.sleep(device, NAP)),
    }
}

/// Does so again and again.
pub fn sleeper(bells: &Bells, device: u16) -> impl FnMut(Wait) -> ControlFlow<()> + '_ {
    move |how| {
        wait(how, bells, device);
        ControlFlow::Continue(())
    }
}
