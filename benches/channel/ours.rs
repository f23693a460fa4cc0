// SPDX-License-Identifier: MIT OR Apache-2.0
//! Our channels: two members on two mappings of one memory, as two processes have them.

use std::task::Poll;

use ivshmem::channel::{Format, Introduction, Member, Name, NoDoorbell, Receiver, Region, Sender};
use ivshmem_host::mapping::Mapping;
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};

use crate::case::{Contender, Rx, Tx};
use crate::RING_LEN;

/// Messages that are announced together.
const BATCH: u32 = 32;

type Out = Sender<'static, NoDoorbell>;
type In = Receiver<'static, NoDoorbell>;

/// Maps new memory twice, for as long as this program runs.
pub fn memory(len: usize) -> [&'static Mapping; 2] {
    let file = memfd_create("bench", MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&file, len as u64).expect("memory");
    [(); 2].map(|()| &*Box::leak(Box::new(Mapping::of(&file).expect("a mapping"))))
}

fn join(mapping: &'static Mapping, name: &str) -> Member<'static> {
    let format = Format {
        slots: 2,
        ring_log2: Some(
            std::env::var("RL")
                .ok()
                .and_then(|v| v.parse().ok())
                .unwrap_or(RING_LEN.trailing_zeros()),
        ),
    };
    let region = Region::open_or_format(mapping.memory(), &format).expect("room");
    let mut joining = region.join(Introduction {
        name: Name::new(name),
        device: None,
        vectors: 0,
        limit: 1000,
    });
    match joining.poll(0) {
        Poll::Ready(member) => member.expect("a slot"),
        Poll::Pending => unreachable!("nobody else has this name"),
    }
}

/// Connects two members: what goes there, and what goes back.
fn connect() -> [(Out, In); 2] {
    let [here, there] = memory(4 * RING_LEN);
    let (mut one, mut other) = (join(here, "one"), join(there, "other"));
    let (to_other, from_other) = one.connect(other.slot(), NoDoorbell).expect("it").split();
    let (to_one, from_one) = other.connect(one.slot(), NoDoorbell).expect("it").split();
    [(to_other, from_one), (to_one, from_other)]
}

/// One message at a time, copied in and out.
pub struct Copying;

impl Contender for Copying {
    type Tx = Out;
    type Rx = In;

    fn make(_: usize) -> [(Self::Tx, Self::Rx); 2] {
        connect()
    }
}

impl Tx for Out {
    fn try_send(&mut self, message: &[u8]) -> bool {
        Self::try_send(self, message).is_ok()
    }
}

impl Rx for In {
    fn try_recv(&mut self, buffer: &mut [u8]) -> bool {
        Self::try_recv(self, buffer).is_ok_and(|len| len.is_some())
    }
}

/// Messages of which several are announced together.
pub struct Batched;

/// A sender that leaves the announcement to every so many messages.
pub struct BatchOut {
    sender: Out,
    open: u32,
}

impl Contender for Batched {
    type Tx = BatchOut;
    type Rx = In;

    fn make(_: usize) -> [(Self::Tx, Self::Rx); 2] {
        connect().map(|(sender, receiver)| (BatchOut { sender, open: 0 }, receiver))
    }
}

impl Tx for BatchOut {
    fn try_send(&mut self, message: &[u8]) -> bool {
        let mut batch = self.sender.batch();
        let pushed = batch.push(message).is_ok();
        self.open += 1;
        if self.open < BATCH {
            core::mem::forget(batch);
        } else {
            self.open = 0;
        }
        pushed
    }

    fn flush(&mut self) {
        drop(self.sender.batch());
    }
}
