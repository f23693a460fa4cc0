// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings of other crates, between two threads of one process. None of them checks what it finds, nor who is there.
//!
//! Those that carry bytes have as many as our rings; those that carry items of a fixed size as many items as fit.

use std::sync::Arc;

use bbqueue::nicknames::YakiNiku;
use bbqueue::prod_cons::framed::{FramedConsumer, FramedProducer};
use bbqueue::traits::bbqhdl::BbqHandle as _;
use bbqueue::traits::storage::BoxedSlice;
use crossbeam_queue::ArrayQueue as Array;
use heapless::spsc;
use ringbuf::traits::{Consumer as _, Observer as _, Producer as _, Split as _};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use crate::case::{Contender, Rx, Tx};
use crate::RING_LEN;

/// Returns how many items of `len` bytes have the size of a ring.
const fn items(len: usize) -> usize {
    RING_LEN / len
}

/// `rtrb`, a ring of bytes of which chunks are written and read. Both sides have to know the length.
pub struct Rtrb;

impl Contender for Rtrb {
    type Tx = rtrb::Producer<u8>;
    type Rx = rtrb::Consumer<u8>;

    fn make(_: usize) -> [(Self::Tx, Self::Rx); 2] {
        [(); 2].map(|()| rtrb::RingBuffer::new(RING_LEN))
    }
}

impl Tx for rtrb::Producer<u8> {
    fn try_send(&mut self, message: &[u8]) -> bool {
        self.push_entire_slice(message).is_ok()
    }
}

impl Rx for rtrb::Consumer<u8> {
    fn try_recv(&mut self, buffer: &mut [u8]) -> bool {
        self.pop_entire_slice(buffer).is_ok()
    }
}

/// `ringbuf`, likewise.
pub struct Ringbuf;

impl Contender for Ringbuf {
    type Tx = HeapProd<u8>;
    type Rx = HeapCons<u8>;

    fn make(_: usize) -> [(Self::Tx, Self::Rx); 2] {
        [(); 2].map(|()| HeapRb::new(RING_LEN).split())
    }
}

impl Tx for HeapProd<u8> {
    fn try_send(&mut self, message: &[u8]) -> bool {
        self.vacant_len() >= message.len() && self.push_slice(message) == message.len()
    }
}

impl Rx for HeapCons<u8> {
    fn try_recv(&mut self, buffer: &mut [u8]) -> bool {
        self.occupied_len() >= buffer.len() && self.pop_slice(buffer) == buffer.len()
    }
}

/// `bbqueue` with frames: messages of any length, as ours.
pub struct Bbqueue;

type Bytes = &'static YakiNiku;

impl Contender for Bbqueue {
    type Tx = FramedProducer<Bytes, usize>;
    type Rx = FramedConsumer<Bytes, usize>;

    fn make(_: usize) -> [(Self::Tx, Self::Rx); 2] {
        [(); 2].map(|()| {
            // As a static would be, without counted references.
            let queue: Bytes = Box::leak(Box::new(YakiNiku::new_with_storage(BoxedSlice::new(
                RING_LEN,
            ))));
            ((&queue).framed_producer(), (&queue).framed_consumer())
        })
    }
}

impl Tx for FramedProducer<Bytes, usize> {
    fn try_send(&mut self, message: &[u8]) -> bool {
        let Ok(mut grant) = self.grant(message.len()) else {
            return false;
        };
        grant.copy_from_slice(message);
        grant.commit(message.len());
        true
    }
}

impl Rx for FramedConsumer<Bytes, usize> {
    fn try_recv(&mut self, buffer: &mut [u8]) -> bool {
        let Ok(grant) = self.read() else {
            return false;
        };
        buffer.copy_from_slice(&grant);
        grant.release();
        true
    }
}

/// `crossbeam_queue::ArrayQueue`, of items of one size.
pub struct ArrayQueue<const N: usize>;

impl<const N: usize> Contender for ArrayQueue<N> {
    type Tx = Arc<Array<[u8; N]>>;
    type Rx = Arc<Array<[u8; N]>>;

    fn make(len: usize) -> [(Self::Tx, Self::Rx); 2] {
        [(); 2].map(|()| {
            let queue = Arc::new(Array::new(items(len)));
            (Arc::clone(&queue), queue)
        })
    }
}

impl<const N: usize> Tx for Arc<Array<[u8; N]>> {
    fn try_send(&mut self, message: &[u8]) -> bool {
        !self.is_full() && message.try_into().is_ok_and(|item| self.push(item).is_ok())
    }
}

impl<const N: usize> Rx for Arc<Array<[u8; N]>> {
    fn try_recv(&mut self, buffer: &mut [u8]) -> bool {
        self.pop().is_some_and(|item| {
            buffer.copy_from_slice(&item);
            true
        })
    }
}

/// `heapless::spsc`, likewise. It is as large as `ITEMS` says, which is one item more than fit.
pub struct Heapless<const N: usize, const ITEMS: usize>;

impl<const N: usize, const ITEMS: usize> Contender for Heapless<N, ITEMS> {
    type Tx = spsc::Producer<'static, [u8; N]>;
    type Rx = spsc::Consumer<'static, [u8; N]>;

    fn make(len: usize) -> [(Self::Tx, Self::Rx); 2] {
        assert_eq!(ITEMS, items(len));
        [(); 2].map(|()| {
            // Made in place: it is larger than a stack.
            let queue: Box<spsc::Queue<[u8; N], ITEMS>> = on_the_heap();
            Box::leak(queue).split()
        })
    }
}

fn on_the_heap<const N: usize, const ITEMS: usize>() -> Box<spsc::Queue<[u8; N], ITEMS>> {
    let builder = std::thread::Builder::new().stack_size(8 * RING_LEN);
    let made = builder.spawn(|| Box::new(spsc::Queue::new()));
    made.expect("a thread").join().expect("a queue")
}

impl<const N: usize> Tx for spsc::Producer<'static, [u8; N]> {
    fn try_send(&mut self, message: &[u8]) -> bool {
        self.ready()
            && message
                .try_into()
                .is_ok_and(|item| self.enqueue(item).is_ok())
    }
}

impl<const N: usize> Rx for spsc::Consumer<'static, [u8; N]> {
    fn try_recv(&mut self, buffer: &mut [u8]) -> bool {
        self.dequeue().is_some_and(|item| {
            buffer.copy_from_slice(&item);
            true
        })
    }
}
