// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of messages in a stream.

use ivshmem::channel::{ByteReader, ByteWriter, Progress};

use super::give_up;
use crate::support::{connect, format, join, map};
use crate::tasks::executor::{connected, Task};

#[test]
fn ends_of_messages_are_not_seen_and_those_without_bytes_are_skipped() {
    connected(8, |here, there, _| {
        let (mut sender, mut reader) = (here.split().0, ByteReader::new(there.split().1, give_up));
        let long = [7; 150];
        sender.try_send(b"").unwrap();
        sender.try_send(b"ab").unwrap();
        sender.try_send(b"").unwrap();
        sender.try_send(b"cde").unwrap();
        assert!(reader.is_ready().unwrap());
        let mut target = [0; 4];
        assert_eq!(reader.try_read(&mut []), Ok(Some(0)));
        assert_eq!(reader.try_read(&mut target), Ok(Some(4)));
        assert_eq!(target, *b"abcd");
        assert_eq!(reader.try_read(&mut target), Ok(Some(1)));
        assert_eq!(target[0], b'e');
        assert!(!reader.is_ready().unwrap());
        assert_eq!(reader.try_read(&mut target), Ok(None));

        assert!(sender.longest() < long.len());
        let sent = sender.poll_send(&long, &mut Progress::default());
        assert!(sent.is_ready());
        sender.try_send(b"").unwrap();
        assert_eq!(reader.read(&mut [0; 200]), Ok(150), "fragments as well");
        assert!(!reader.is_ready().unwrap(), "nothing but an empty one");
    });
}

#[test]
fn halves_are_given_back_and_begin_at_a_message() {
    connected(8, |here, there, _| {
        let mut writer = ByteWriter::new(here.split().0, give_up);
        let mut reader = ByteReader::new(there.split().1, give_up);
        assert_eq!(writer.write(b"half read"), Ok(9));
        assert_eq!(reader.read(&mut [0; 4]), Ok(4));
        let (mut sender, mut receiver) = (writer.into_sender(), reader.into_receiver());
        let mut buffer = [0; 16];
        assert_eq!(receiver.try_recv(&mut buffer), Ok(None));
        sender.try_send(b"whole").unwrap();
        assert_eq!(receiver.try_recv(&mut buffer), Ok(Some(5)));
    });
}

#[test]
fn one_that_is_ready_writes_something() {
    let mapping = map(1 << 14);
    let region = format(mapping.memory(), 2, 10);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (here, there) = connect(&mut one, &mut other);
    let mut writer = ByteWriter::new(here.split().0, give_up);
    let mut receiver = there.split().1;
    let mut outcomes = [0; 2];
    for round in 0..2000 {
        assert_eq!(writer.try_write(&[]), Ok(Some(0)));
        let ready = writer.is_ready().unwrap();
        // Too long for what is left as often as not.
        let wrote = writer.try_write(&[1; 300][..1 + round % 300]).unwrap();
        if ready {
            assert!(wrote.is_some_and(|len| len > 0));
        }
        outcomes[usize::from(ready)] += 1;
        if round % 10 == 0 {
            while receiver.try_recv(&mut [0; 512]).unwrap().is_some() {}
        }
    }
    assert!(outcomes.iter().all(|count| *count > 100), "{outcomes:?}");
}

#[test]
fn futures_of_streams_that_are_dropped_lose_nothing() {
    connected(8, |here, there, lines| {
        let [sending, receiving] = &lines.devices;
        let mut writer = ByteWriter::new(here.split().0, &sending.sending);
        let mut reader = ByteReader::new(there.split().1, &receiving.receiving);
        let task = Task::default();
        let (mut next, mut expected) = (0_u8, 0_u8);
        let mut dropped = 0;
        for round in 0..3000_usize {
            let bytes: Vec<u8> = (0..round % 70)
                .map(|i| next.wrapping_add(i as u8))
                .collect();
            match task.poll_once(writer.write(&bytes)) {
                std::task::Poll::Ready(len) => next = next.wrapping_add(len.unwrap() as u8),
                std::task::Poll::Pending => dropped += 1,
            }
            let mut target = vec![0; round % 59];
            match task.poll_once(reader.read(&mut target)) {
                std::task::Poll::Ready(len) => {
                    for byte in &target[..len.unwrap()] {
                        assert_eq!(*byte, expected);
                        expected = expected.wrapping_add(1);
                    }
                }
                std::task::Poll::Pending => dropped += 1,
            }
        }
        assert!(dropped > 100, "{dropped}");
    });
}
