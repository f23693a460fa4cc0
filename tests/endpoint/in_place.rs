// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages that are written and read in place, and credits.

use super::support::{connect, fill, format, join, map, Numbers};

#[test]
fn messages_are_written_and_read_in_place() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let (sender, receiver) = (one.sender(), other.receiver());

    // Often enough to come round the ring at many places.
    for number in 0..100_u64 {
        let len = 16 + number as usize % 64;
        let grant = sender.reserve(len).unwrap();
        assert_eq!(grant.len(), len);
        assert_eq!(grant.as_ptr() as usize % 8, 0);
        grant.write_u64_le(0, number).unwrap();
        grant.write(8, &[number as u8; 8]).unwrap();
        assert!(grant.write(len - 7, &[0; 8]).is_err());
        assert!(grant.write_u64_le(usize::MAX, 0).is_err());
        assert!(receiver.peek().unwrap().is_none(), "not yet committed");
        grant.commit().unwrap();

        let frame = receiver.peek().unwrap().unwrap();
        assert_eq!(frame.len(), len);
        assert!(frame.is_first() && frame.is_last());
        assert_eq!(frame.read_u64_le(0), Ok(number));
        assert!(frame.read_u64_le(len - 7).is_err());
        assert_eq!(frame.as_ptr() as usize % 8, 0);
        let mut start = [0; 16];
        assert_eq!(frame.copy_to(&mut start), 16);
        assert_eq!(start[8..], [number as u8; 8]);
        let mut all = [0; 256];
        assert_eq!(frame.copy_to(&mut all), len);
        frame.release().unwrap();
    }
}

#[test]
fn what_is_dropped_is_neither_sent_nor_received() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let (sender, receiver) = (one.sender(), other.receiver());

    let free = sender.free_bytes().unwrap();
    sender.reserve(100).unwrap().write(0, b"nothing").unwrap();
    assert_eq!(sender.free_bytes(), Ok(free));
    let grant = sender.reserve(100).unwrap();
    grant.write(0, b"something").unwrap();
    grant.commit_first(4).unwrap();
    for _ in 0..2 {
        let frame = receiver.peek().unwrap().unwrap();
        assert_eq!(
            frame.len(),
            4,
            "less was sent than reserved, and it stays until released"
        );
    }
    let mut buffer = [0; 8];
    assert_eq!(receiver.try_recv(&mut buffer), Ok(Some(4)));
    assert_eq!(buffer[..4], *b"some");
    assert!(receiver.peek().unwrap().is_none());
}

/// A payload of 512 bytes or more begins at a line, also where less was sent than reserved, and wherever the ring ends.
#[test]
fn long_payloads_begin_at_a_line_however_much_of_them_is_sent() {
    let mapping = map(16384);
    let region = format(mapping.memory(), 2, 11);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let (sender, receiver) = (one.sender(), other.receiver());
    let longest = sender.longest();
    let mut numbers = Numbers(7);
    let (mut written, mut read) = (vec![0; longest], vec![0; longest]);
    for number in 0..2000 {
        let reserved = 480 + numbers.next() as usize % (longest + 1 - 480);
        let sent = numbers.next() as usize % (reserved + 1);
        let aligned = reserved >= 512;
        fill(&mut written, number);
        let grant = sender.reserve(reserved).unwrap();
        assert!(!aligned || grant.as_ptr() as usize % 64 == 0, "{number}");
        grant.write(0, &written[..reserved]).unwrap();
        grant.commit_first(sent).unwrap();

        let frame = receiver.peek().unwrap().unwrap();
        assert!(!aligned || frame.as_ptr() as usize % 64 == 0, "{number}");
        assert_eq!(frame.copy_to(&mut read), sent);
        assert!(read[..sent] == written[..sent], "{number}");
        frame.release().unwrap();
        // What was written beyond is not taken for a message.
        assert!(receiver.peek().unwrap().is_none());
    }
}

#[test]
fn parts_are_sent_as_one_message() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let parts: [&[u8]; 4] = [b"one ", b"", b"mes", b"sage"];
    let mut buffer = [0; 64];
    for _ in 0..50 {
        one.sender().send_vectored(&parts).unwrap();
        assert_eq!(other.receiver().try_recv(&mut buffer), Ok(Some(11)));
        assert_eq!(buffer[..11], *b"one message");
    }
    assert_eq!(one.sender().send_vectored(&[]), Ok(()));
    assert_eq!(other.receiver().try_recv(&mut buffer), Ok(Some(0)));
}

#[test]
fn free_bytes_are_credits_that_hold() {
    let mapping = map(16384);
    let region = format(mapping.memory(), 2, 10);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut one, mut other) = connect(&mut one, &mut other);
    let (sender, receiver) = (one.sender(), other.receiver());

    let all = sender.free_bytes().unwrap();
    assert_eq!(all, 1024);
    for sent in 1..=10 {
        sender.try_send(&[0; 21]).unwrap();
        assert_eq!(sender.free_bytes(), Ok(all - sent * 32));
    }
    let mut buffer = [0; 21];
    while receiver.try_recv(&mut buffer).unwrap().is_some() {}
    assert_eq!(
        sender.free_bytes(),
        Ok(all),
        "all of it when the ring was found empty"
    );
    // As many messages as the credits allow, less the word behind the last.
    let mut room = sender.free_bytes().unwrap() - 8;
    while room >= 32 {
        sender.try_send(&[0; 24]).unwrap();
        room -= 32;
    }
}
