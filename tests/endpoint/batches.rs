// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages that are announced together.

use std::mem;
use std::task::Poll;

use ivshmem::channel::{
    Broken, Endpoint, NoDoorbell, Progress, Receiver, RecvError, SendError, Wait,
};

use super::support::{connect, connected_by, format, join, join_as, map, LIMIT};

/// Connects two members by rings of 256 bytes, and runs something with both ends.
fn connected(run: impl FnOnce(Endpoint<'_, NoDoorbell>, Endpoint<'_, NoDoorbell>)) {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (here, there) = connect(&mut one, &mut other);
    run(here, there);
}

/// Receives all that is there, and returns the first byte of each.
fn receive_all(receiver: &mut Receiver<'_, NoDoorbell>) -> Vec<u8> {
    let mut buffer = [0; 256];
    std::iter::from_fn(|| {
        let len = receiver.try_recv(&mut buffer).unwrap()?;
        assert!(buffer[..len].iter().all(|&byte| byte == buffer[0]));
        Some(buffer[0])
    })
    .collect()
}

#[test]
fn a_batch_arrives_as_a_whole_when_it_is_sent_or_dropped() {
    connected(|mut here, mut there| {
        // Often enough to come round the ring at many places.
        for round in 0..100 {
            let mut batch = here.sender().batch();
            for number in 0..3 {
                batch.push(&[number; 21]).unwrap();
                assert!(receive_all(there.receiver()).is_empty());
            }
            if round % 2 == 0 {
                batch.send().unwrap();
            } else {
                drop(batch);
            }
            assert_eq!(receive_all(there.receiver()), [0, 1, 2]);
        }
    });
}

#[test]
fn a_batch_costs_one_ring() {
    connected_by(8, [1, 1], |mut here, mut there, bells| {
        while there.receiver().arm().unwrap() != Wait::UntilRung {}
        let mut batch = here.sender().batch();
        for number in 0..3 {
            batch.push(&[number; 8]).unwrap();
        }
        assert_eq!(bells.rung(1), 0);
        batch.send().unwrap();
        assert_eq!(bells.rung(1), 1);
    });
}

#[test]
fn a_batch_that_fills_the_ring_is_announced_so_that_there_can_be_room() {
    connected(|mut here, mut there| {
        let mut batch = here.sender().batch();
        let mut pushed = Vec::new();
        for number in 0..50 {
            while let Err(error) = batch.push(&[number; 40]) {
                assert_eq!(error, SendError::Full);
                let received = receive_all(there.receiver());
                assert_eq!(received, pushed, "all that was added before");
                pushed.clear();
            }
            pushed.push(number);
        }
        assert!(matches!(
            batch.push(&[0; 200]),
            Err(SendError::TooLong { .. })
        ));
        drop(batch);
        assert_eq!(receive_all(there.receiver()), pushed);
    });
}

/// Adds messages until there is room for a short one but not for a long one, and forgets the batch.
fn forget(here: &mut Endpoint<'_, NoDoorbell>) {
    let mut batch = here.sender().batch();
    for number in 0..4 {
        batch.push(&[number; 40]).unwrap();
    }
    mem::forget(batch);
}

#[test]
fn a_batch_that_is_forgotten_is_announced_with_the_next_message() {
    connected(|mut here, mut there| {
        forget(&mut here);
        assert!(receive_all(there.receiver()).is_empty());
        here.sender().try_send(&[5]).unwrap();
        assert_eq!(receive_all(there.receiver()), [0, 1, 2, 3, 5]);
    });
}

#[test]
fn a_batch_that_is_forgotten_does_not_fill_the_ring_for_ever() {
    connected(|mut here, mut there| {
        forget(&mut here);
        assert_eq!(here.sender().try_send(&[5; 56]), Err(SendError::Full));
        assert_eq!(receive_all(there.receiver()), [0, 1, 2, 3]);
        here.sender().try_send(&[5; 56]).unwrap();
        assert_eq!(receive_all(there.receiver()), [5]);

        forget(&mut here);
        assert_ne!(here.sender().arm(56), Ok(Wait::Ready));
        assert_eq!(receive_all(there.receiver()), [0, 1, 2, 3]);
        assert_eq!(here.sender().arm(56), Ok(Wait::Ready));
    });
}

#[test]
fn a_batch_gives_up_a_message_that_was_begun_in_fragments() {
    connected(|mut here, mut there| {
        let (long, mut progress) = ([7; 500], Progress::default());
        assert_eq!(here.sender().poll_send(&long, &mut progress), Poll::Pending);
        let mut buffer = [0; 512];
        let mut received = Progress::default();
        let receiver = there.receiver();
        assert_eq!(
            receiver.poll_recv(&mut buffer, &mut received),
            Poll::Pending
        );
        assert!(received.bytes() > 0);
        let mut batch = here.sender().batch();
        batch.push(&[1; 8]).unwrap();
        batch.push(&[2; 8]).unwrap();
        batch.send().unwrap();
        for number in [1, 2] {
            assert_eq!(
                receiver.poll_recv(&mut buffer, &mut received),
                Poll::Ready(Ok(8))
            );
            assert_eq!(buffer[..8], [number; 8]);
        }
    });
}

#[test]
fn a_batch_of_one_who_has_lost_its_slot_is_not_announced() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut here, mut there) = connect(&mut one, &mut other);
    let mut batch = here.sender().batch();
    batch.push(&[1; 8]).unwrap();
    let _successor = join_as(region, "one", None, 0, LIMIT);
    let broken = SendError::Broken(Broken::Evicted);
    assert_eq!(batch.push(&[2; 8]), Err(broken));
    assert_eq!(batch.send(), Err(Broken::Evicted));
    assert_eq!(
        there.receiver().try_recv(&mut [0; 8]),
        Err(RecvError::Broken(Broken::PeerRestarted))
    );
}
