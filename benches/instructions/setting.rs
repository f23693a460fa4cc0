// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regions, members and connections for the operations.

use std::cell::Cell;
use std::hint::black_box;
use std::task::Poll;

use ivshmem::channel::{Doorbell, Endpoint, Format, Introduction, Member, Name, Region};
use ivshmem::{CopyStrategy, PeerId, VectorIndex};
use ivshmem_host::mapping::Mapping;
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};

/// After this many messages each side knows that the other polls.
const WARM_UP: usize = 100;
/// Nobody is taken for dead.
const LIMIT: u64 = 1 << 40;

/// Counts how often anybody is rung.
#[derive(Default)]
pub struct Bell(Cell<usize>);

impl Bell {
    pub fn rung(&self) -> usize {
        self.0.get()
    }
}

impl Doorbell for Bell {
    fn ring(&self, _: PeerId, _: VectorIndex) {
        self.0.set(self.0.get() + 1);
    }
}

/// One end of a connection.
pub type End<'m, 'b> = Endpoint<'m, &'b Bell>;

/// Runs something with both ends of a connection that has been in use, by rings that are empty.
pub fn with_pair(
    strategy: CopyStrategy,
    ring_log2: u32,
    run: impl FnOnce([&mut End<'_, '_>; 2], &Bell),
) {
    with_region(2, ring_log2, strategy, |region| {
        let bell = Bell::default();
        let mut one = join(region, 0, "one");
        let mut other = join(region, 1, "other");
        let mut here = one.connect(other.slot(), &bell).unwrap();
        let mut there = other.connect(one.slot(), &bell).unwrap();
        for _ in 0..WARM_UP {
            exchange(&mut here, &mut there, 64);
        }
        run([&mut here, &mut there], &bell);
    });
}

/// Runs something with a region that was formatted just now.
pub fn with_region(
    slots: u16,
    ring_log2: u32,
    strategy: CopyStrategy,
    run: impl FnOnce(Region<'_>),
) {
    let slots_len = u64::from(slots);
    let rings = slots_len * (slots_len - 1) * ((1 << ring_log2) + 1024);
    let fd = memfd_create("instructions", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, (rings + slots_len * 1024).next_power_of_two()).unwrap();
    let mapping = Mapping::of(&fd).unwrap();
    let memory = mapping.memory().with_copy_strategy(strategy);
    let format = Format {
        slots,
        ring_log2: Some(ring_log2),
    };
    run(Region::open_or_format(memory, &format).unwrap());
}

/// Joins at once.
pub fn join<'m>(region: Region<'m>, device: u16, name: &str) -> Member<'m> {
    let mut joining = region.join(Introduction {
        name: Name::new(name),
        device: Some(PeerId(device)),
        vectors: 1,
        limit: LIMIT,
    });
    match joining.poll(0) {
        Poll::Ready(member) => member.unwrap(),
        Poll::Pending => panic!("{name} cannot join at once"),
    }
}

/// Joins in all slots but the first, each under a name of its own: a namesake would be waited for.
pub fn join_others(region: Region<'_>) -> Vec<Member<'_>> {
    (1..region.slots())
        .map(|index| join(region, index, &index.to_string()))
        .collect()
}

/// Sends one message and receives it.
pub fn exchange(from: &mut End<'_, '_>, to: &mut End<'_, '_>, len: usize) {
    let message = [0x5a; 64];
    from.sender().try_send(black_box(&message[..len])).unwrap();
    let mut buffer = [0; 64];
    let received = to.receiver().try_recv(black_box(&mut buffer));
    assert_eq!(received, Ok(Some(len)));
}
