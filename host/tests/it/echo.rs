// SPDX-License-Identifier: MIT OR Apache-2.0
//! Members that ping those whose programs do nothing for it.

use std::path::Path;
use std::time::{Duration, Instant};

use ivshmem::channel::{EventKind, Format, Name};
use ivshmem_host::channel::{Channels, ConnectError, Connection, Options, Pings};
use ivshmem_host::server::{Config, RunningServer, Server};
use tempfile::TempDir;

use crate::common::{eventually, LIMIT};

/// Small rings, so that they fill.
fn options(name: &str) -> Options {
    let format = Format {
        slots: 16,
        ring_log2: Some(10),
    };
    Options::new(name).format(Some(format)).limit(LIMIT)
}

fn server() -> (TempDir, RunningServer) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ivshmem.sock");
    let server = Server::spawn(Config::new(path, 1 << 19, 1)).unwrap();
    (directory, server)
}

fn pinger(number: usize) -> Options {
    options(&format!("ping:{number}")).pings(Pings::Ignored)
}

/// Sends messages, and demands that each comes back.
fn exchange(connection: &mut Connection, messages: u64) {
    for number in 0..messages {
        let message = number.to_le_bytes().repeat(1 + number as usize % 40);
        connection.send(&message, LIMIT).unwrap();
        assert_eq!(connection.recv(LIMIT), Ok(Some(&message[..])));
    }
}

/// Has a member pinged that does nothing, by members that come and go.
fn ping_idle(join: impl Fn(Options) -> Channels) {
    let idle = join(options("idle"));
    let friend = join(options("friend"));
    for number in 0..3 {
        let pinger = join(pinger(number));
        assert_eq!(pinger.peers().unwrap().len(), 2, "a pinger sees everybody");
        exchange(&mut pinger.connect("idle", LIMIT).unwrap(), 50);
        exchange(&mut pinger.connect("friend", LIMIT).unwrap(), 50);
    }
    let names: Vec<_> = idle.peers().unwrap().iter().map(|p| p.name).collect();
    assert_eq!(names, [Name::new("friend")]);
    let event = idle.next_event(Duration::ZERO).unwrap().unwrap();
    assert_eq!((event.kind, event.name), (EventKind::Joined, names[0]));
    assert_eq!(
        idle.next_event(Duration::ZERO),
        Ok(None),
        "nor do events tell"
    );
    // The program's own connection is another.
    let mut there = idle.connect("friend", LIMIT).unwrap();
    let mut back = friend.connect("idle", LIMIT).unwrap();
    there.send(b"hello", LIMIT).unwrap();
    assert_eq!(back.recv(LIMIT), Ok(Some(&b"hello"[..])));
}

#[test]
fn members_of_a_server_answer() {
    let (_directory, server) = server();
    ping_idle(|options| options.join_server(server.socket()).unwrap());
}

#[test]
fn members_of_a_file_answer() {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    file.as_file().set_len(1 << 19).unwrap();
    ping_idle(|options| options.join_file(file.path()).unwrap());
}

fn join(path: &Path, options: Options) -> Channels {
    options.join_server(path).unwrap()
}

#[test]
fn a_flood_of_pings_stops_neither_the_heart_nor_other_connections() {
    let (_directory, server) = server();
    let path = server.socket();
    let flooded = join(path, options("flooded").limit(Duration::from_millis(200)));
    let limit = Duration::from_secs(2);
    let friend = join(path, options("friend").limit(limit));
    let mut there = flooded.connect("friend", LIMIT).unwrap();
    let mut back = friend.connect("flooded", LIMIT).unwrap();
    let mut floods: Vec<_> = (0..3).map(|number| join(path, pinger(number))).collect();
    let mut connections: Vec<_> = floods
        .iter_mut()
        .map(|pinger| pinger.connect("flooded", LIMIT).unwrap())
        .collect();
    let start = Instant::now();
    let mut answers = [0_u64; 3];
    let mut messages = 0_u64;
    while start.elapsed() < limit + Duration::from_secs(1) {
        for (connection, answers) in connections.iter_mut().zip(&mut answers) {
            // Nobody waits for the answer.
            while connection.sender().inner().try_send(&[7; 100]).is_ok() {}
            while connection.receiver().try_recv().unwrap().is_some() {
                *answers += 1;
            }
        }
        there.send(&messages.to_le_bytes(), LIMIT).unwrap();
        assert_eq!(back.recv(LIMIT), Ok(Some(&messages.to_le_bytes()[..])));
        messages += 1;
        while let Some(event) = friend.next_event(Duration::ZERO).unwrap() {
            assert_eq!(event.kind, EventKind::Joined, "{event:?}");
        }
    }
    assert!(answers.iter().all(|&answers| answers > 100), "{answers:?}");
    assert!(messages > 10, "{messages}");
}

#[test]
fn one_too_many_is_not_answered_and_who_does_not_want_to_answers_nobody() {
    let (_directory, server) = server();
    let path = server.socket();
    let idle = join(path, options("idle"));
    let silent = join(path, options("silent").pings(Pings::Ignored));
    let mut pingers: Vec<_> = (0..8).map(|number| join(path, pinger(number))).collect();
    let mut connections: Vec<_> = pingers
        .iter()
        .map(|pinger| pinger.connect("idle", LIMIT).unwrap())
        .collect();
    for connection in &mut connections {
        exchange(connection, 3);
    }
    let late = join(path, pinger(8));
    let mut connection = late.connect("idle", LIMIT).unwrap();
    connection.send(b"is there room?", LIMIT).unwrap();
    exchange(&mut connections[0], 20);
    assert_eq!(connection.recv(Duration::ZERO), Ok(None));
    assert_eq!(idle.peers().unwrap().len(), 1, "it is hidden all the same");

    // Who comes when one has gone is.
    connections.pop();
    pingers.pop();
    drop(late);
    let next = join(path, pinger(9));
    exchange(&mut next.connect("idle", LIMIT).unwrap(), 3);

    let mut unheard = next.connect("silent", LIMIT).unwrap();
    unheard.send(b"anybody?", LIMIT).unwrap();
    eventually("the silent one sees pingers", || {
        let peers = silent.peers().unwrap();
        peers.iter().any(|peer| peer.name.asks_for_echo())
    });
    assert_eq!(unheard.recv(Duration::ZERO), Ok(None));
    assert!(silent.connect("ping:9", LIMIT).is_ok());
    assert!(matches!(
        idle.connect("ping:9", Duration::ZERO),
        Err(ConnectError::NobodyThere { .. })
    ));
}
