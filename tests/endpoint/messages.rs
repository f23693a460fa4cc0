// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of one frame, between two threads.

use std::thread;
use std::time::Instant;

use ivshmem::channel::{Broken, NoDoorbell, Receiver, RecvError, SendError, Sender};

use super::support::{connect, fill, format, join, map, Numbers, DEADLINE};

const MESSAGES: u64 = 100_000;

/// Sends messages of many lengths.
fn send(mut sender: Sender<'_, NoDoorbell>, seed: u64) {
    let mut lengths = Numbers(seed);
    let mut buffer = vec![0; sender.longest()];
    let start = Instant::now();
    for number in 0..MESSAGES {
        let len = lengths.len(buffer.len());
        fill(&mut buffer[..len], number);
        while let Err(error) = sender.try_send(&buffer[..len]) {
            assert_eq!(error, SendError::Full);
            assert!(start.elapsed() < DEADLINE, "stuck at message {number}");
            thread::yield_now();
        }
    }
}

/// Receives them, and checks each.
fn receive(mut receiver: Receiver<'_, NoDoorbell>, longest: usize, seed: u64) {
    let mut lengths = Numbers(seed);
    let (mut buffer, mut expected) = (vec![0; longest], vec![0; longest]);
    let start = Instant::now();
    for number in 0..MESSAGES {
        let len = lengths.len(longest);
        fill(&mut expected[..len], number);
        let received = loop {
            match receiver.try_recv(&mut buffer).unwrap() {
                Some(received) => break received,
                None => assert!(start.elapsed() < DEADLINE, "stuck at message {number}"),
            }
            thread::yield_now();
        };
        assert_eq!(received, len, "message {number}");
        assert!(buffer[..len] == expected[..len], "message {number}");
    }
}

/// Both directions at once, each half on a thread of its own.
fn exchange(ring_log2: u32) {
    let mapping = map(1 << (ring_log2 + 2).max(12));
    let region = format(mapping.memory(), 2, ring_log2);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (one, other) = connect(&mut one, &mut other);
    let (there, from_there) = one.split();
    let (back, from_one) = other.split();
    let longest = there.longest();
    thread::scope(|scope| {
        scope.spawn(|| send(there, 1));
        scope.spawn(|| send(back, 2));
        scope.spawn(|| receive(from_one, longest, 1));
        scope.spawn(|| receive(from_there, longest, 2));
    });
}

#[test]
fn messages_arrive_once_and_in_order_through_the_smallest_ring() {
    exchange(8);
}

#[test]
fn messages_arrive_once_and_in_order_through_a_larger_ring() {
    exchange(14);
}

#[test]
fn a_full_ring_an_empty_one_and_messages_that_do_not_fit_are_told_apart() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let (sender, receiver) = (one.sender(), other.receiver());
    let mut buffer = [0; 256];

    assert_eq!(receiver.try_recv(&mut buffer), Ok(None));
    let longest = sender.longest();
    let too_long = SendError::TooLong {
        len: longest + 1,
        longest,
    };
    assert_eq!(sender.try_send(&buffer[..=longest]), Err(too_long));
    let parts: [&[u8]; 2] = [&buffer[..longest], &[0]];
    assert_eq!(sender.send_vectored(&parts), Err(too_long));
    let mut sent = 0;
    while sender.try_send(&[sent; 21]).is_ok() {
        sent += 1;
    }
    assert_eq!(sender.try_send(&[0; 21]), Err(SendError::Full));
    assert!(sent >= 7, "only {sent} frames of 32 bytes in 256");

    let short = RecvError::TooLong {
        len: 21,
        available: 20,
    };
    for number in 0..sent {
        // It stays until the buffer is long enough.
        assert_eq!(receiver.try_recv(&mut buffer[..20]), Err(short));
        assert_eq!(receiver.try_recv(&mut buffer[..21]), Ok(Some(21)));
        assert_eq!(buffer[..21], [number; 21]);
    }
    assert_eq!(receiver.try_recv(&mut buffer), Ok(None));
    assert_eq!(sender.try_send(&[]), Ok(()));
    assert_eq!(
        receiver.try_recv(&mut []),
        Ok(Some(0)),
        "an empty message is one"
    );
}

#[test]
fn errors_say_what_to_do() {
    for text in [
        SendError::Full.to_string(),
        RecvError::Fragmented.to_string(),
        Broken::PeerGone.to_string(),
        SendError::Broken(Broken::Evicted).to_string(),
    ] {
        assert!(text.starts_with(char::is_lowercase), "{text}");
    }
    assert_eq!(
        RecvError::Broken(Broken::Corrupt).to_string(),
        Broken::Corrupt.to_string()
    );
}
