// SPDX-License-Identifier: MIT OR Apache-2.0
//! Our channels: two members on two mappings of one memory, as two processes have them.

use std::task::Poll;

use ivshmem::channel::{Format, Introduction, Member, Name, NoDoorbell, Receiver, Region, Sender};
use ivshmem_host::mapping::Mapping;
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};

use crate::case::{Contender, Rx, Tx};
use crate::RING_LEN;

/// Messages that are announced together: enough that the receiver is not at the sender's heels.
const BATCH: u32 = 512;
/// Bytes of a message in place that are written and read at a time.
const PIECE: usize = 16 << 10;

type Out = Sender<'static, NoDoorbell>;
type In = Receiver<'static, NoDoorbell>;

/// Maps new memory twice, for as long as this program runs.
pub fn memory(len: usize) -> [&'static Mapping; 2] {
    let file = memfd_create("bench", MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&file, len as u64).expect("memory");
    [(); 2].map(|()| {
        let mapping: &Mapping = Box::leak(Box::new(Mapping::of(&file).expect("a mapping")));
        // Every page is there before the first round.
        mapping.memory().fill(0, len, 0).expect("all of it");
        mapping
    })
}

fn join(mapping: &'static Mapping, name: &str) -> Member<'static> {
    let format = Format {
        slots: 2,
        ring_log2: Some(RING_LEN.trailing_zeros()),
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

/// A sender that has a batch open, except while the ring is full.
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
        self.open = (self.open + 1) % BATCH;
        if self.open != 0 {
            // It goes on with the next message; a loop in one function would not need this.
            core::mem::forget(batch);
        }
        pushed
    }

    fn flush(&mut self) {
        drop(self.sender.batch());
    }
}

/// Messages that are made and used where they lie, a piece at a time: no side has a buffer for all of one.
pub struct InPlace;

/// One side of it.
pub struct Unmoved<T>(T);

impl Contender for InPlace {
    type Tx = Unmoved<Out>;
    type Rx = Unmoved<In>;

    fn make(_: usize) -> [(Self::Tx, Self::Rx); 2] {
        connect().map(|(sender, receiver)| (Unmoved(sender), Unmoved(receiver)))
    }
}

impl Tx for Unmoved<Out> {
    fn try_send(&mut self, message: &[u8]) -> bool {
        let Ok(grant) = self.0.reserve(message.len()) else {
            return false;
        };
        let piece = &message[..message.len().min(PIECE)];
        for at in (0..message.len()).step_by(PIECE) {
            grant.write(at, piece).expect("inside");
        }
        grant.commit().is_ok()
    }
}

impl Rx for Unmoved<In> {
    fn try_recv(&mut self, buffer: &mut [u8]) -> bool {
        let Ok(Some(frame)) = self.0.peek() else {
            return false;
        };
        let piece = buffer.len().min(PIECE);
        for at in (0..buffer.len()).step_by(PIECE) {
            let read = frame.memory().read(at, &mut buffer[..piece]);
            read.expect("inside");
        }
        frame.release().is_ok()
    }
}
