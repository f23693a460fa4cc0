// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages that are longer than the ring.

use std::task::Poll;
use std::thread;
use std::time::Instant;

use ivshmem::channel::{Progress, Receiver, RecvError, SendError, Sender, Wait};

use super::support::{connect, fill, format, join, map, Numbers, DEADLINE};

/// Sends as much as there is room for.
fn pump<D: ivshmem::channel::Doorbell>(
    sender: &mut Sender<'_, D>,
    receiver: &mut Receiver<'_, D>,
    message: &[u8],
    target: &mut [u8],
) -> usize {
    let (mut sent, mut received) = (Progress::default(), Progress::default());
    let mut done = false;
    for _ in 0..message.len() + 2 {
        if !done {
            done = sender.poll_send(message, &mut sent).is_ready();
        }
        if let Poll::Ready(len) = receiver.poll_recv(target, &mut received) {
            assert!(done);
            assert_eq!(received, Progress::default());
            return len.unwrap();
        }
    }
    panic!("stuck after {} of {}", received.bytes(), message.len());
}

#[test]
fn long_messages_pass_through_the_smallest_ring() {
    const MOST: usize = 10_000;
    const MESSAGES: u64 = 1000;
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (one, other) = connect(&mut one, &mut other);
    let (mut sender, mut receiver) = (one.split().0, other.split().1);
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut lengths = Numbers(3);
            for number in 0..MESSAGES {
                let mut message = vec![0; lengths.len(MOST)];
                fill(&mut message, number);
                let mut progress = Progress::default();
                while sender
                    .poll_send(&message, &mut progress)
                    .map(Result::unwrap)
                    == Poll::Pending
                {
                    assert!(
                        start.elapsed() < DEADLINE,
                        "stuck at {number}, {progress:?}"
                    );
                    thread::yield_now();
                }
            }
        });
        let mut lengths = Numbers(3);
        let (mut target, mut expected) = (vec![0; MOST], vec![0; MOST]);
        for number in 0..MESSAGES {
            let len = lengths.len(MOST);
            fill(&mut expected[..len], number);
            let mut progress = Progress::default();
            loop {
                if let Poll::Ready(received) = receiver.poll_recv(&mut target, &mut progress) {
                    assert_eq!(received, Ok(len), "message {number}");
                    break;
                }
                assert!(
                    start.elapsed() < DEADLINE,
                    "stuck at {number}, {progress:?}"
                );
                thread::yield_now();
            }
            assert!(target[..len] == expected[..len], "message {number}");
        }
    });
}

#[test]
fn a_message_that_was_given_up_is_not_received() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let (sender, receiver) = (one.sender(), other.receiver());
    let (mut long, mut target) = ([0; 1000], [0; 1000]);
    fill(&mut long, 7);

    let (mut given_up, mut received) = (Progress::default(), Progress::default());
    assert!(sender.poll_send(&long, &mut given_up).is_pending());
    assert!(given_up.bytes() > 0);
    assert!(receiver.poll_recv(&mut target, &mut received).is_pending());
    assert_eq!(received.bytes(), given_up.bytes());
    assert_eq!(sender.try_send(b"next"), Ok(()));
    // The same call that waits for the rest gets the next message from its start.
    assert_eq!(
        receiver.poll_recv(&mut target, &mut received),
        Poll::Ready(Ok(4))
    );
    assert_eq!(target[..4], *b"next");

    // With its old progress it is sent from the start, not from where it was.
    assert!(sender.poll_send(&long, &mut given_up).is_pending());
    let mut received = Progress::default();
    loop {
        let sent = sender.poll_send(&long, &mut given_up);
        if let Poll::Ready(len) = receiver.poll_recv(&mut target, &mut received) {
            assert_eq!(len, Ok(long.len()));
            break;
        }
        assert!(sent.is_pending() || given_up == Progress::default());
        if sent.is_ready() {
            assert_eq!(
                receiver.poll_recv(&mut target, &mut received),
                Poll::Ready(Ok(long.len()))
            );
            break;
        }
    }
    assert_eq!(target, long);
}

#[test]
fn a_receiver_that_gives_up_drops_the_rest_and_gets_the_next() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let (sender, receiver) = (one.sender(), other.receiver());
    let mut target = [0; 300];

    let (mut sent, mut received) = (Progress::default(), Progress::default());
    assert!(sender.poll_send(&[1; 300], &mut sent).is_pending());
    assert!(receiver.poll_recv(&mut target, &mut received).is_pending());
    assert_eq!(receiver.try_recv(&mut target), Ok(None));
    while sender.poll_send(&[1; 300], &mut sent).is_pending() {
        assert_eq!(
            receiver.try_recv(&mut target),
            Ok(None),
            "the rest of what was begun"
        );
    }
    assert_eq!(receiver.try_recv(&mut target), Ok(None));
    assert_eq!(sender.try_send(b"next"), Ok(()));
    assert_eq!(receiver.try_recv(&mut target), Ok(Some(4)));
}

#[test]
fn fragments_are_not_taken_for_messages_and_stay() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let (sender, receiver) = (one.sender(), other.receiver());
    let mut target = [0; 500];

    let mut sent = Progress::default();
    let long = [5; 150];
    assert!(sender.longest() < long.len());
    assert_eq!(sender.poll_send(&long, &mut sent), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_recv(&mut target), Err(RecvError::Fragmented));
    let mut received = Progress::default();
    let result = receiver.poll_recv(&mut target[..100], &mut received);
    let Poll::Ready(Err(RecvError::TooLong {
        len,
        available: 100,
    })) = result
    else {
        panic!("{result:?}");
    };
    assert!(len > 100);
    assert_eq!(
        receiver.poll_recv(&mut target, &mut received),
        Poll::Ready(Ok(150)),
        "a longer buffer that begins with what was received"
    );
    assert_eq!(target[..150], long);

    // Frame by frame.
    assert_eq!(sender.poll_send(&long, &mut sent), Poll::Ready(Ok(())));
    let mut ends = Vec::new();
    while let Some(frame) = receiver.peek().unwrap() {
        ends.push((frame.is_first(), frame.is_last()));
        frame.release().unwrap();
    }
    assert_eq!(ends.first(), Some(&(true, false)));
    assert_eq!(ends.last(), Some(&(false, true)));
}

#[test]
fn every_length_around_the_longest_frame_passes() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let (sender, receiver) = (one.sender(), other.receiver());
    let mut target = [0; 600];
    for len in 0..600 {
        let mut message = vec![0; len];
        fill(&mut message, len as u64);
        assert_eq!(pump(sender, receiver, &message, &mut target), len);
        assert!(target[..len] == message[..], "length {len}");
    }
}

#[test]
fn who_is_told_to_try_again_gets_on() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let (sender, receiver) = (one.sender(), other.receiver());
    assert_eq!(receiver.arm(), Ok(Wait::Briefly), "nobody can ring");
    assert_eq!(sender.arm(100), Ok(Wait::Ready));
    while sender.try_send(&[0; 56]).is_ok() {}
    assert_eq!(sender.arm(56), Ok(Wait::Briefly));
    assert_eq!(receiver.arm(), Ok(Wait::Ready));
    let mut target = [0; 56];
    while receiver.try_recv(&mut target).unwrap().is_some() {}
    assert_eq!(sender.arm(56), Ok(Wait::Ready));
    assert_eq!(sender.try_send(&[0; 56]), Ok(()));
    assert_ne!(sender.try_send(&[0; 56]), Err(SendError::Full));
}

#[test]
fn a_message_whose_place_another_has_taken_starts_anew() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let (sender, receiver) = (one.sender(), other.receiver());
    let (first, second) = ([1; 300], [2; 300]);
    let (mut of_first, mut of_second) = (Progress::default(), Progress::default());
    let (mut target, mut received) = ([0; 300], Progress::default());

    assert!(sender.poll_send(&first, &mut of_first).is_pending());
    assert!(receiver.poll_recv(&mut target, &mut received).is_pending());
    assert!(sender.poll_send(&second, &mut of_second).is_pending());
    assert!(receiver.poll_recv(&mut target, &mut received).is_pending());
    // Now the second is given up for the first, of which nothing is left at the receiver.
    let mut done = false;
    for _ in 0..20 {
        done = done || sender.poll_send(&first, &mut of_first).is_ready();
        if let Poll::Ready(len) = receiver.poll_recv(&mut target, &mut received) {
            assert_eq!(len, Ok(300));
            assert_eq!(target, first);
            return;
        }
    }
    panic!("stuck after {received:?}");
}
