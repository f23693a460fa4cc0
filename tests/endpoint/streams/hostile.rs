// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams from and to a member that writes anything anywhere in its rings.

use ivshmem::channel::{Broken, ByteReader, ByteWriter, NoDoorbell, StreamError};

use super::give_up;
use crate::hostile::{ring, scribble, RING_LOG2, SLOTS};
use crate::support::{format, join, map, Numbers};

/// It writes between the calls, and sends as others do as well, so that there is something to read.
#[test]
fn whatever_a_peer_writes_ends_the_stream_at_worst() {
    let mut outcomes = [0; 3];
    for seed in 1..=1000_u64 {
        let mapping = map(1 << 14);
        let memory = mapping.memory();
        let region = format(memory, SLOTS as u16, RING_LOG2);
        let mut one = join(region, "one");
        let mut hostile = join(region, "hostile");
        let (sender, receiver) = one.connect(hostile.slot(), NoDoorbell).unwrap().split();
        let mut there = hostile.connect(one.slot(), NoDoorbell).unwrap();
        let mut writer = ByteWriter::new(sender, give_up);
        let mut reader = ByteReader::new(receiver, give_up);
        let mut numbers = Numbers(seed);
        for _ in 0..60 {
            let len = numbers.len(400);
            let _ = there.sender().try_send(&[1; 400][..len]);
            let (from, to) = if numbers.next() % 2 == 0 {
                (0, 1)
            } else {
                (1, 0)
            };
            if numbers.next() % 4 == 0 {
                scribble(&ring(memory, from, to), &mut numbers);
            }
            let len = numbers.len(400);
            let result = match numbers.next() % 4 {
                0 => writer.write(&[2; 400][..len]),
                1 => writer.is_ready().map(usize::from).map_err(Into::into),
                2 => reader.is_ready().map(usize::from).map_err(Into::into),
                _ => reader.read(&mut [0; 400][..len]),
            };
            match result {
                Ok(done) => {
                    assert!(done <= len.max(1));
                    outcomes[0] += 1;
                }
                Err(StreamError::GaveUp) => {}
                Err(StreamError::Broken(Broken::Corrupt)) => outcomes[1] += 1,
                Err(_) => outcomes[2] += 1,
            }
        }
    }
    assert!(outcomes[0] > 1000 && outcomes[1] > 1000, "{outcomes:?}");
    assert_eq!(outcomes[2], 0, "nobody has left, restarted or been evicted");
}
