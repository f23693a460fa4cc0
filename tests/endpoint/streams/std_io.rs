// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams as readers and writers of `std::io`.

use std::io::{copy, ErrorKind, Read, Write};
use std::thread;

use ivshmem::channel::{ByteReader, ByteStream, ByteWriter, Spin};

use super::{check_cuts, give_up, with_random_cuts, ERRORS};
use crate::support::{connected_by, fill, sleeper};

#[test]
fn bytes_come_out_as_they_went_in() {
    with_random_cuts(|cuts, sender, receiver| {
        let mut writer = ByteWriter::new(sender, give_up);
        let mut reader = ByteReader::new(receiver, give_up);
        let done = |result: std::io::Result<usize>| match result {
            Err(error) if error.kind() == ErrorKind::TimedOut => None,
            result => Some(result.unwrap()),
        };
        check_cuts(
            cuts,
            |bytes| done(Write::write(&mut writer, bytes)),
            |target| done(Read::read(&mut reader, target)),
        );
    });
}

#[test]
fn a_file_is_copied_through_a_small_ring_by_threads_that_sleep() {
    const LEN: usize = 1 << 20;
    connected_by(12, [1, 1], |here, there, bells| {
        let mut bytes = vec![0; LEN];
        fill(&mut bytes, 31);
        thread::scope(|scope| {
            let bytes = &bytes;
            scope.spawn(move || {
                let spin = Spin {
                    looks: 100,
                    sleep: sleeper(bells, 0),
                };
                let mut writer = ByteWriter::new(here.split().0, spin);
                assert_eq!(copy(&mut &bytes[..], &mut writer).unwrap(), LEN as u64);
                Write::flush(&mut writer).unwrap();
            });
            let mut reader = ByteReader::new(there.split().1, sleeper(bells, 1));
            let mut out = vec![0; LEN];
            reader.read_exact(&mut out).unwrap();
            assert!(out == *bytes);
        });
    });
}

#[test]
fn one_object_reads_and_writes() {
    connected_by(8, [1, 1], |here, there, _| {
        let mut here = ByteStream::new(here, give_up, give_up);
        let mut there = ByteStream::new(there, give_up, give_up);
        here.write_all(b"there").unwrap();
        there.write_all(b"and back").unwrap();
        here.flush().unwrap();
        let mut target = [0; 8];
        there.read_exact(&mut target[..5]).unwrap();
        assert_eq!(target[..5], *b"there");
        here.read_exact(&mut target).unwrap();
        assert_eq!(target, *b"and back");
    });
}

#[test]
fn errors_have_their_kinds() {
    let kinds = ERRORS.map(|error| std::io::Error::from(error).kind());
    let expected = [
        ErrorKind::BrokenPipe,
        ErrorKind::ConnectionReset,
        ErrorKind::InvalidData,
        ErrorKind::ConnectionAborted,
        ErrorKind::TimedOut,
    ];
    assert_eq!(kinds, expected);
    for error in ERRORS {
        assert_eq!(std::io::Error::from(error).to_string(), error.to_string());
    }
}
