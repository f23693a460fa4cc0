// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two processes exchange messages of all lengths.

use std::path::Path;
use std::time::Duration;

use ivshmem_host::channel::{Channels, Connection};

use crate::child::{spawn, Join, END, NAME, PARENT};
use crate::lab::{lengths, member, message, server, LIMIT, PATIENT};

const ROUNDS: u64 = 30;

/// Sends messages, several at once, and checks what comes back.
pub fn check_echo(connection: &mut Connection, rounds: u64) {
    for round in 0..rounds {
        let messages: Vec<_> = lengths()
            .zip(round * 100..)
            .map(|(len, number)| message(number, len))
            .collect();
        // A burst of short ones, then each alone.
        for sent in messages.iter().filter(|message| message.len() < 100) {
            connection.send(sent, LIMIT).unwrap();
        }
        for sent in messages.iter().filter(|message| message.len() < 100) {
            assert_eq!(connection.recv(LIMIT).unwrap(), Some(&sent[..]));
        }
        for sent in &messages {
            connection.send(sent, LIMIT).unwrap();
            let received = connection.recv(LIMIT).unwrap().expect("an answer");
            assert!(received == &sent[..], "{} bytes", sent.len());
        }
    }
}

fn with_child(parent: &Channels, join: Join, place: &Path, spin: Duration) {
    let mut child = spawn(join, place, spin, PATIENT);
    let mut connection = parent.connect(NAME, LIMIT).unwrap();
    check_echo(&mut connection, ROUNDS);
    connection.send(END, LIMIT).unwrap();
    assert!(child.wait().unwrap().success());
}

fn through_server(spin: Duration) {
    let (_directory, server) = server(2);
    let options = member(PARENT).spin(spin);
    let parent = options.join_server(server.socket()).unwrap();
    with_child(&parent, Join::Server, server.socket(), spin);
}

/// Every wait goes through an eventfd.
pub fn asleep() {
    through_server(Duration::ZERO);
}

pub fn by_default() {
    through_server(Duration::from_micros(50));
}

/// Nobody can ring.
pub fn in_a_file() {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    file.as_file().set_len(1 << 18).unwrap();
    let parent = member(PARENT).join_file(file.path()).unwrap();
    with_child(&parent, Join::File, file.path(), Duration::from_micros(50));
}
