// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of all lengths there and back, whoever comes first.

use std::path::Path;

use ivshmem::channel::{Format, Progress};
use ivshmem_host::channel::{Channels, Connection};
use tempfile::NamedTempFile;

use crate::lab::{lengths, member, message, LIMIT, RING, RING_LOG2};
use crate::program::{Program, Running};

pub const END: &[u8] = b"the end of it";
/// No busy machine makes anybody dead.
pub const PATIENT: [&str; 2] = ["-l", "60000"];

pub fn region(len: u64) -> NamedTempFile {
    let file = NamedTempFile::new_in("/dev/shm").unwrap();
    file.as_file().set_len(len).unwrap();
    file
}

pub fn join(file: &Path, name: &str) -> Channels {
    member(name).join_file(file).unwrap()
}

/// Sends each message and checks that it comes back.
pub fn check_echo(connection: &mut Connection, messages: impl IntoIterator<Item = Vec<u8>>) {
    for sent in messages {
        connection.send(&sent, LIMIT).unwrap();
        let received = connection.recv(LIMIT).unwrap().expect("an answer");
        assert!(received == &sent[..], "{} bytes", sent.len());
    }
}

fn of_all_lengths(rounds: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..rounds).flat_map(|round| lengths().map(move |len| message(round, len)))
}

pub fn end(connection: &mut Connection, program: &mut Running) {
    connection.send(END, LIMIT).unwrap();
    assert!(program.end().success());
}

/// The program finds a region and a member there, and what was sent before it came.
pub fn rust_formats(program: &Program) {
    let file = region(1 << 18);
    let alice = join(file.path(), "alice");
    let mut running = program.start(&PATIENT, file.path(), "carl");
    assert_eq!(running.line(), "member 1 1");
    assert_eq!(running.line(), "joined 0 1 alice");
    let mut connection = alice.connect("carl", LIMIT).unwrap();
    check_echo(&mut connection, of_all_lengths(3));
    // Several on their way at once.
    let burst: Vec<_> = (0..10).map(|number| message(number, 80)).collect();
    for sent in &burst {
        connection.send(sent, LIMIT).unwrap();
    }
    for sent in &burst {
        assert_eq!(connection.recv(LIMIT).unwrap(), Some(&sent[..]));
    }
    end(&mut connection, &mut running);
}

/// The program formats, and greets before anybody receives.
pub fn c_formats(program: &Program) {
    let file = region(1 << 18);
    let format = format!("4:{RING_LOG2}");
    let arguments = [&PATIENT[..], &["-g", "-f", &format]].concat();
    let mut running = program.start(&arguments, file.path(), "carl");
    assert_eq!(running.line(), "member 0 1");
    let alice = member("alice").format(None).join_file(file.path()).unwrap();
    assert_eq!(running.line(), "joined 1 1 alice");
    let mut connection = alice.connect("carl", LIMIT).unwrap();
    assert_eq!(connection.recv(LIMIT).unwrap(), Some(&b"hello"[..]));
    check_echo(&mut connection, of_all_lengths(1));
    end(&mut connection, &mut running);
}

/// The smallest ring there is, around which everything goes hundreds of times.
pub fn small_ring(program: &Program) {
    let file = region(1 << 14);
    let format = Format {
        slots: 2,
        ring_log2: Some(8),
    };
    let options = member("alice").format(Some(format));
    let alice = options.join_file(file.path()).unwrap();
    let mut running = program.start(&PATIENT, file.path(), "carl");
    let mut connection = alice.connect("carl", LIMIT).unwrap();
    // Each length that fits into one frame, in an order that brings it to all places; then longer ones.
    let short = (0..1500).map(|number| message(number, (number as usize * 29) % 113));
    check_echo(&mut connection, short);
    let long = (0..20).map(|number| message(number, number as usize * 77));
    check_echo(&mut connection, long);
    end(&mut connection, &mut running);
}

/// A message that this side gives up in the middle is nothing to the program, and the next one is answered.
pub fn given_up(program: &Program) {
    let file = region(1 << 18);
    let alice = join(file.path(), "alice");
    let mut running = program.start(&PATIENT, file.path(), "carl");
    let mut connection = alice.connect("carl", LIMIT).unwrap();
    for number in 0..20 {
        let long = message(number, 3 * RING);
        let mut progress = Progress::default();
        let begun = connection.sender().inner();
        assert!(begun.poll_send(&long, &mut progress).is_pending());
        assert!(progress.bytes() > 0, "a part of it is on its way");
        check_echo(&mut connection, [message(number, 0), message(number, 100)]);
    }
    end(&mut connection, &mut running);
}
