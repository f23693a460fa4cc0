// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server that is killed, its clients that live on, and the next server at the same socket.

use crate::common::{counter, ring, shape, Raw, RawClient};
use crate::process::{names, Running};
use rustix::fs::fstat;
use rustix::process::{kill_process, Signal};

/// The greeting of a first client with one vector.
fn greeting(id: i64) -> [(i64, bool); 4] {
    [(0, false), (id, false), (-1, true), (id, true)]
}

/// Returns device and inode of a descriptor that came with a message.
fn identity(message: &Raw) -> (u64, u64) {
    let stat = fstat(message.1.as_ref().unwrap()).unwrap();
    (stat.st_dev, stat.st_ino)
}

/// Ends a server as its user does.
fn end(server: &mut Running) {
    kill_process(server.pid(), Signal::TERM).unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn clients_of_a_killed_server_go_on_and_the_next_one_keeps_away_from_their_ids() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("memory");
    let more = ["--shm-file", file.to_str().unwrap()];
    let mut server = Running::start(":", 1, &more);
    server.line();
    let killed = server.child.id();
    let first = RawClient::connect(&server.socket);
    let first_told = first.receive_many(4);
    let second = RawClient::connect(&server.socket);
    let second_told = second.receive_many(5);
    let first_of_second = first.receive_many(1);
    server.restart(1, &more);
    assert!(first.receive().is_none(), "nothing more is said");
    assert!(second.receive().is_none());

    // The protocol lets them ring each other without a server.
    ring(first_of_second[0].1.as_ref().unwrap());
    assert_eq!(counter(second_told[4].1.as_ref().unwrap()), 1);
    ring(second_told[3].1.as_ref().unwrap());
    assert_eq!(counter(first_told[3].1.as_ref().unwrap()), 1);

    server.line();
    let line = server.line();
    let start = format!(
        "ivshmem: the server before (process {killed}) ended without a word; its clients, if any live, \
         cannot be reached and are not known here; IDs start at 64"
    );
    assert!(line.starts_with(&start), "{line}");
    assert!(line.contains("the memory is the same file"), "{line}");
    let late = RawClient::connect(&server.socket);
    let told = late.receive_many(4);
    assert_eq!(shape(&told), greeting(64));
    assert_eq!(identity(&told[2]), identity(&first_told[2]));

    // Even after one that has ended well: it could not tell the clients of the killed one.
    end(&mut server);
    server.restart(1, &more);
    server.line();
    assert!(server.line().starts_with(&start));
    let late = RawClient::connect(&server.socket);
    assert_eq!(shape(&late.receive_many(4)), greeting(64));
}

#[test]
fn a_server_with_new_memory_says_so() {
    let mut server = Running::start(":", 1, &[]);
    server.line();
    let first = RawClient::connect(&server.socket);
    let before = first.receive_many(4);
    server.restart(1, &[]);
    server.line();
    let line = server.line();
    assert!(line.contains("the memory is a new one"), "{line}");
    let now = RawClient::connect(&server.socket).receive_many(4);
    assert_ne!(identity(&before[2]), identity(&now[2]));
}

#[test]
fn one_that_nobody_joined_leaves_nothing_to_say() {
    let mut server = Running::start(":", 1, &[]);
    server.line();
    server.restart(1, &[]);
    server.line();
    let client = RawClient::connect(&server.socket);
    assert_eq!(shape(&client.receive_many(4)), greeting(0));
    assert!(server.line().contains("peer 0 joined"));
    end(&mut server);
    assert!(names(server.directory.path()).is_empty());
}

#[test]
fn a_start_that_fails_does_not_lose_what_the_killed_one_has_left() {
    let mut server = Running::start(":", 1, &[]);
    server.line();
    let first = RawClient::connect(&server.socket);
    first.receive_many(4);
    server.restart(1, &["--shm-file", "/"]);
    assert_eq!(server.child.wait().unwrap().code(), Some(2));
    let squatter = server.directory.path().join("squatter");
    std::fs::rename(&server.socket, squatter).unwrap();
    std::fs::write(&server.socket, "").unwrap();
    server.restart(1, &[]);
    let line = server.line();
    assert!(line.contains("is not a socket"), "{line}");
    std::fs::remove_file(&server.socket).unwrap();
    server.restart(1, &[]);
    server.line();
    assert!(server.line().contains("IDs start at 64"));
}

#[test]
fn after_too_many_kills_the_way_out_is_told() {
    let mut server = Running::start(":", 1, &[]);
    server.line();
    let lock = server.directory.path().join("ivshmem.sock.lock");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    std::fs::write(&lock, "nobody wrote this").unwrap();
    for _ in 0..2 {
        server.restart(1, &[]);
        let line = server.line();
        assert!(line.contains("stop all clients, remove "), "{line}");
        assert_eq!(server.child.wait().unwrap().code(), Some(2));
    }
    std::fs::remove_file(&lock).unwrap();
    server.restart(1, &[]);
    server.line();
    let client = RawClient::connect(&server.socket);
    assert_eq!(shape(&client.receive_many(4)), greeting(0));
}
