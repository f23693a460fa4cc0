// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server as its clients see it: order, membership, and clients that misbehave.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::common::{counter, ring, shape, Raw, RawClient, LIMIT};
use ivshmem::{PeerId, VectorIndex};
use ivshmem_host::peer::{Event, Peer};
use ivshmem_host::server::{raise_descriptor_limit, Config, RunningServer, Server};
use rustix::fs::{fcntl_get_seals, fstat, SealFlags};
use tempfile::TempDir;

const SIZE: u64 = 1 << 20;

/// A server in a directory of its own.
fn start(vectors: u16) -> (TempDir, RunningServer) {
    // Sixty-four peers in one process hold more than 8,000 eventfds.
    raise_descriptor_limit().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ivshmem.sock");
    let server = Server::spawn(Config::new(path, SIZE, vectors)).unwrap();
    (directory, server)
}

fn members(server: &RunningServer, count: usize) {
    assert!(
        server.wait_for_clients(count, LIMIT),
        "{} clients instead of {count}",
        server.clients()
    );
}

/// Joins with all of `vectors`.
fn join(server: &RunningServer, vectors: usize) -> Peer {
    let mut peer = Peer::connect_within(server.socket(), LIMIT).unwrap();
    assert!(peer.wait_until(LIMIT, |p| p.vectors() == vectors).unwrap());
    peer
}

#[test]
fn the_handshake_is_exact_to_the_byte_and_the_descriptor() {
    let (_directory, server) = start(2);
    let first = RawClient::connect(server.socket());
    let own = first.receive_many(5);
    assert_eq!(
        shape(&own),
        [(0, false), (0, false), (-1, true), (0, true), (0, true)]
    );
    let second = RawClient::connect(server.socket());
    let seen_by_second = second.receive_many(7);
    assert_eq!(
        shape(&seen_by_second),
        [
            (0, false),
            (1, false),
            (-1, true),
            (0, true),
            (0, true),
            (1, true),
            (1, true)
        ]
    );
    let seen_by_first = first.receive_many(2);
    assert_eq!(shape(&seen_by_first), [(1, true), (1, true)]);

    let memory = |messages: &[Raw]| fstat(messages[2].1.as_ref().unwrap()).unwrap();
    let (one, other) = (memory(&own), memory(&seen_by_second));
    assert_eq!((one.st_dev, one.st_ino), (other.st_dev, other.st_ino));
    assert_eq!(one.st_size as u64, SIZE);

    // The n-th descriptor of a peer is vector n - 1, at both ends.
    let vectors = |messages: &mut Vec<Raw>, from| -> Vec<_> {
        messages
            .drain(from..)
            .map(|(_, descriptor)| descriptor.unwrap())
            .collect()
    };
    let (mut own, mut seen_by_second, mut seen_by_first) = (own, seen_by_second, seen_by_first);
    let second_own = vectors(&mut seen_by_second, 5);
    let first_from_second = vectors(&mut seen_by_second, 3);
    let first_own = vectors(&mut own, 3);
    let second_from_first = vectors(&mut seen_by_first, 0);
    for (rung, heard) in [
        (&first_from_second, &first_own),
        (&second_from_first, &second_own),
    ] {
        for vector in 0..2 {
            ring(&rung[vector]);
            assert_eq!(counter(&heard[vector]), 1);
            assert_eq!(counter(&heard[1 - vector]), 0, "the other vector");
        }
    }

    drop(second);
    assert_eq!(shape(&first.receive_many(1)), [(1, false)]);
}

#[test]
fn no_client_can_change_the_size_of_the_memory() {
    let (_directory, server) = start(1);
    let client = RawClient::connect(server.socket());
    let memory = client.receive_many(3).remove(2).1.unwrap();
    let seals = fcntl_get_seals(&memory).unwrap();
    assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL));
    for size in [0, SIZE / 2, SIZE * 2] {
        let error = rustix::fs::ftruncate(&memory, size).unwrap_err();
        assert_eq!(error, rustix::io::Errno::PERM);
    }
}

#[test]
fn sixty_four_peers_see_and_ring_each_other_and_share_the_memory() {
    const PEERS: u16 = 64;
    let (_directory, server) = start(2);
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| join(&server, 2)).collect();
    members(&server, usize::from(PEERS));
    for peer in &mut peers {
        let everybody_else = |p: &Peer| {
            p.peers().count() == usize::from(PEERS) - 1
                && p.peers().all(|other| p.vectors_of(other) == Some(2))
        };
        assert!(peer.wait_until(LIMIT, everybody_else).unwrap());
    }
    let ids: BTreeSet<PeerId> = peers.iter().filter_map(Peer::id).collect();
    assert_eq!(ids, (0..PEERS).map(PeerId).collect());

    for from in &peers {
        for to in &peers {
            let vector = VectorIndex((from.id().unwrap().0 + to.id().unwrap().0) % 2);
            from.ring(to.id().unwrap(), vector).unwrap();
            assert_eq!(to.wait_any(LIMIT).unwrap(), [vector]);
        }
    }
    for (index, peer) in peers.iter().enumerate() {
        peer.memory().write(index * 8, &[index as u8; 8]).unwrap();
    }
    for (index, peer) in peers.iter().rev().enumerate() {
        let mut bytes = [0; 8];
        peer.memory().read(index * 8, &mut bytes).unwrap();
        assert_eq!(bytes, [index as u8; 8]);
    }
}

#[test]
fn a_client_that_never_reads_delays_nobody_and_is_told_the_truth_when_it_does() {
    const VECTORS: usize = 4;
    let (_directory, server) = start(VECTORS as u16);
    let sleeper = RawClient::connect(server.socket());
    members(&server, 1);
    let mut watcher = join(&server, VECTORS);
    for _ in 0..100 {
        let visitors: Vec<Peer> = (0..3).map(|_| join(&server, VECTORS)).collect();
        let there = |p: &Peer| {
            visitors
                .iter()
                .all(|v| p.vectors_of(v.id().unwrap()) == Some(VECTORS))
        };
        assert!(watcher.wait_until(LIMIT, there).unwrap());
        drop(visitors);
        assert!(watcher
            .wait_until(LIMIT, |p| p.peers().eq([PeerId(0)]))
            .unwrap());
    }
    members(&server, 2);
    let last = join(&server, VECTORS);

    // Reading at last, it must learn of the watcher and the last one, and of nothing else that stays.
    assert_eq!(
        shape(&sleeper.receive_many(3 + VECTORS)),
        [
            vec![(0, false), (0, false), (-1, true)],
            vec![(0, true); VECTORS]
        ]
        .concat()
    );
    let mut present = std::collections::BTreeMap::<i64, usize>::new();
    let expected = [watcher.id().unwrap(), last.id().unwrap()].map(|id| (i64::from(id.0), VECTORS));
    let mut messages = 0;
    while !present.iter().map(|(&id, &n)| (id, n)).eq(expected) {
        let (number, descriptor) = sleeper.receive().unwrap();
        messages += 1;
        if descriptor.is_some() {
            *present.entry(number).or_default() += 1;
        } else {
            assert!(present.remove(&number).is_some(), "{number} left twice");
        }
    }
    assert!(
        messages < 300 * VECTORS,
        "most visitors are not worth mentioning any more, but {messages} messages came"
    );
}

#[test]
fn clients_dying_at_each_step_leave_once_and_no_id_is_used_twice() {
    const ROUNDS: usize = 1000;
    let (_directory, server) = start(2);
    let mut watcher = join(&server, 2);
    let mut present = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut left = 0;
    let mut watch = |watcher: &mut Peer, limit| {
        let event = watcher.next_event(limit).unwrap();
        match event {
            Some(Event::Joined(id)) => {
                assert!(seen.insert(id), "{id} used twice");
                assert!(present.insert(id));
            }
            Some(Event::Left(id)) => {
                assert!(
                    present.remove(&id),
                    "{id} left without having joined, or twice"
                );
                left += 1;
            }
            _ => {}
        }
        (event, present.len(), seen.len(), left)
    };
    for round in 0..ROUNDS {
        // 0 to 2 messages: within the greeting; 3 to 7: within the vectors.
        let client = RawClient::connect(server.socket());
        client.receive_many(round % 8);
        drop(client);
        while watch(&mut watcher, Duration::ZERO).0.is_some() {}
    }
    members(&server, 1);
    // One more marks the end: what it is told comes after everything else.
    let marker = join(&server, 2);
    loop {
        let (event, present, seen, left) = watch(&mut watcher, LIMIT);
        match event {
            Some(Event::Joined(id)) if id == marker.id().unwrap() => {
                assert_eq!(present, 1, "everybody else has left");
                assert_eq!(seen - 1, left);
                assert!(left > 0);
                break;
            }
            Some(_) => {}
            None => panic!("the marker was not announced"),
        }
    }
    assert_eq!(marker.id().unwrap().0 as usize, ROUNDS + 1);
}

#[test]
fn a_client_that_speaks_is_cut_off_and_its_id_is_never_used_again() {
    let (_directory, server) = start(1);
    let mut watcher = join(&server, 1);
    let talker = RawClient::connect(server.socket());
    talker.receive_many(5);
    (&talker.stream).write_all(b"x").unwrap();
    assert_eq!(
        watcher.next_event(LIMIT),
        Ok(Some(Event::Joined(PeerId(1))))
    );
    assert_eq!(watcher.next_event(LIMIT), Ok(Some(Event::Left(PeerId(1)))));
    // With its byte unread the connection may also end in a reset.
    let mut byte = [0];
    let end = rustix::net::recv(
        &talker.stream,
        &mut byte[..],
        rustix::net::RecvFlags::empty(),
    );
    assert!(
        matches!(end, Ok((0, _)) | Err(rustix::io::Errno::CONNRESET)),
        "{end:?}"
    );
    drop(watcher);
    members(&server, 0);
    // The talker may still live with ID 1.
    assert_eq!(join(&server, 1).id().unwrap(), PeerId(2));
}

#[test]
fn ids_start_again_only_when_everybody_has_left() {
    let (_directory, server) = start(1);
    let first = join(&server, 1);
    let second = join(&server, 1);
    assert_eq!(
        (first.id().unwrap(), second.id().unwrap()),
        (PeerId(0), PeerId(1))
    );
    drop(first);
    members(&server, 1);
    let third = join(&server, 1);
    assert_eq!(third.id().unwrap(), PeerId(2));
    drop(second);
    drop(third);
    members(&server, 0);
    assert_eq!(join(&server, 1).id().unwrap(), PeerId(0));
}

#[test]
fn a_server_that_stops_tells_everybody_that_all_others_left() {
    let (_directory, server) = start(1);
    let mut peers: Vec<Peer> = (0..3).map(|_| join(&server, 1)).collect();
    let silent = RawClient::connect(server.socket());
    members(&server, 4);
    let socket = server.socket().to_owned();
    server.stop().unwrap();
    assert!(!socket.exists());
    assert_eq!(
        std::fs::read_dir(socket.parent().unwrap()).unwrap().count(),
        0,
        "nothing is left behind"
    );
    for peer in &mut peers {
        let mut left = Vec::new();
        loop {
            match peer.next_event(LIMIT).unwrap() {
                Some(Event::Left(id)) => left.push(id.0),
                Some(Event::ServerGone) => break,
                Some(_) => {}
                None => panic!("the end of the server was not told"),
            }
        }
        let expected: Vec<u16> = (0..4).filter(|&id| id != peer.id().unwrap().0).collect();
        assert_eq!(left, expected);
    }
    // The greeting is complete even for one that has not read any of it.
    assert_eq!(
        shape(&silent.receive_many(3)),
        [(0, false), (3, false), (-1, true)]
    );
}

#[test]
fn a_server_dropped_before_it_runs_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("ivshmem.sock");
    let server = Server::bind(Config::new(&path, SIZE, 1)).unwrap();
    assert!(path.exists());
    assert_eq!(fstat(server.memory().as_fd()).unwrap().st_size as u64, SIZE);
    drop(server);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn those_who_wait_to_be_let_in_when_the_server_stops_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ivshmem.sock");
    let server = Server::bind(Config::new(&path, SIZE, 1)).unwrap();
    let waiting = [RawClient::connect(&path), RawClient::connect(&path)];
    server.stop_handle().stop();
    server.run(|_| {}).unwrap();
    for client in waiting {
        assert_eq!(shape(&client.receive_many(1)), [(-1, false)]);
        assert!(client.receive().is_none());
    }
}
