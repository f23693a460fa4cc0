// SPDX-License-Identifier: MIT OR Apache-2.0
//! Callers at the admin socket that mean harm, while clients join and others ask.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::{eventually, RawClient, LIMIT};
use crate::process::Running;
use ivshmem_host::admin::{socket_beside, Admin, MAX_CONNECTIONS, PATIENCE};
use ivshmem_host::peer::Peer;

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket_beside(socket)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Asserts that a client is let in and that a question is answered, both at once.
fn assert_served(server: &Running) {
    let peer = Peer::connect_within(&server.socket, LIMIT).unwrap();
    let admin = Admin::of(&server.socket).within(LIMIT);
    let status = admin.status().unwrap();
    assert!(status
        .peers
        .iter()
        .any(|other| other.id == peer.id().unwrap().0));
}

/// Asserts that the server ends the connection without a word.
fn assert_ends(mut stream: &UnixStream) {
    let mut answer = Vec::new();
    // Starts again where a signal interrupts it.
    assert_eq!(stream.read_to_end(&mut answer).unwrap(), 0);
}

/// Waits until the server has as many descriptors as before.
fn assert_all_closed(server: &Running, before: usize) {
    eventually("the descriptors are back", || {
        server.descriptors().len() == before
    });
}

#[test]
fn callers_that_send_nothing_give_way_to_those_who_do() {
    let server = Running::start(":", 2, &[]);
    server.line();
    let before = server.descriptors().len();
    let silent: Vec<UnixStream> = (0..3 * MAX_CONNECTIONS)
        .map(|_| connect(&server.socket))
        .collect();
    assert_served(&server);
    eventually("all are accepted, and no more than the limit kept", || {
        server.descriptors().len() <= before + MAX_CONNECTIONS
    });
    // The first has been pushed out: that it ends is not for the time.
    assert_ends(&silent[0]);
    drop(silent);
    assert_all_closed(&server, before);
}

#[test]
fn a_caller_that_sends_nothing_is_left_in_time() {
    let server = Running::start(":", 2, &[]);
    server.line();
    let silent = connect(&server.socket);
    assert!(LIMIT > PATIENCE);
    assert_ends(&silent);
}

#[test]
fn a_thousand_connections_at_once_hold_nobody_up() {
    let server = Running::start(":", 2, &[]);
    server.line();
    let before = server.descriptors().len();
    for _ in 0..1000 {
        let mut stream = connect(&server.socket);
        // Some ask and do not wait for the answer; the server may have pushed them out by then.
        let _ = stream.write_all(b"status\n");
    }
    let crowd: Vec<UnixStream> = (0..1000).map(|_| connect(&server.socket)).collect();
    assert_served(&server);
    drop(crowd);
    assert_all_closed(&server, before);
}

#[test]
fn callers_that_ask_without_end_hold_nobody_up() {
    let server = Running::start(":", 8, &[]);
    server.line();
    let alone = server.descriptors().len();
    let _crowd: Vec<RawClient> = (0..64)
        .map(|_| RawClient::connect(&server.socket))
        .collect();
    let admin = Admin::of(&server.socket).within(LIMIT);
    eventually("all have joined", || {
        admin.status().unwrap().clients.connected == 64
    });
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    // They push each other out at times.
                    let _ = admin.status();
                }
            });
        }
        for _ in 0..50 {
            let peer = Peer::connect_within(&server.socket, LIMIT).unwrap();
            assert!(peer.vectors() > 0);
        }
        enough.store(true, Ordering::Relaxed);
    });
    // Each client has its connection and its vectors.
    assert_all_closed(&server, alone + 64 * 9);
}

#[test]
fn a_caller_that_sends_megabytes_is_heard_for_a_line() {
    let server = Running::start(":", 2, &[]);
    server.line();
    let before = server.descriptors().len();
    let megabyte = vec![b'x'; 1 << 20];
    for start in [&b""[..], b"status\n", b"memory\n"] {
        let mut stream = connect(&server.socket);
        stream
            .set_write_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        stream.write_all(start).unwrap();
        for _ in 0..8 {
            // Taken and thrown away, or refused by the end of the connection.
            match stream.write_all(&megabyte) {
                Ok(()) => {}
                Err(error) => {
                    let kinds = [
                        ErrorKind::BrokenPipe,
                        ErrorKind::ConnectionReset,
                        ErrorKind::WouldBlock,
                    ];
                    assert!(kinds.contains(&error.kind()), "{error:?}");
                    break;
                }
            }
        }
        assert_served(&server);
    }
    assert_all_closed(&server, before);
    assert!(resident_kib(&server) < 64 << 10, "nothing was kept");
}

#[test]
fn callers_that_do_not_read_hold_nobody_up() {
    const CLIENTS: usize = 6;
    const VECTORS: u16 = 2048;
    let server = Running::start(":", VECTORS, &[]);
    server.line();
    let alone = server.descriptors().len();
    let clients: Vec<RawClient> = (0..CLIENTS)
        .map(|_| RawClient::connect(&server.socket))
        .collect();
    // The last one hears of all vectors. Full counters make long answers.
    let vectors = CLIENTS * usize::from(VECTORS);
    clients[CLIENTS - 1].receive_many(3);
    for _ in 0..vectors {
        let (_, vector) = clients[CLIENTS - 1].receive().unwrap();
        rustix::io::write(vector.unwrap(), &(u64::MAX - 1).to_ne_bytes()).unwrap();
    }
    let deaf: Vec<UnixStream> = (0..2 * MAX_CONNECTIONS)
        .map(|_| {
            let mut stream = connect(&server.socket);
            stream.write_all(b"status\n").unwrap();
            stream
        })
        .collect();
    assert_served(&server);
    assert_served(&server);
    let status = Admin::of(&server.socket).within(LIMIT).status().unwrap();
    let buffer = fs::read_to_string("/proc/sys/net/core/wmem_default").unwrap();
    assert!(
        serde_json::to_string(&status).unwrap().len() > buffer.trim().parse().unwrap(),
        "the answer does not fit into a socket's buffer"
    );
    drop(deaf);
    // Each client has its connection and its vectors; the two that were asserted on have gone.
    assert_all_closed(&server, alone + CLIENTS + vectors);
}

/// Returns how much memory the server has, in KiB.
fn resident_kib(server: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}
