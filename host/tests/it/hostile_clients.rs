// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients that mean harm: what they get, and that server and others go on (see `docs/security.md`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::common::{eventually, send, shape, RawClient, LIMIT};
use crate::process::{names, Running};
use ivshmem::VectorIndex;
use ivshmem_host::peer::Peer;
use ivshmem_host::server::{BindError, Config, Server};
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};
use rustix::io::write;

/// A server with one well-behaved client in it.
fn start(vectors: u16, more: &[&str]) -> (Running, Peer) {
    let server = Running::start(":", vectors, more);
    server.line();
    let mut good = server.join();
    let all = usize::from(vectors);
    assert!(good.wait_until(LIMIT, |p| p.vectors() == all).unwrap());
    (server, good)
}

/// Asserts that a newcomer is served whole, and can ring and be rung by `good`.
fn assert_well(server: &Running, good: &mut Peer) {
    let mut newcomer = server.join();
    let vectors = good.vectors();
    assert!(newcomer
        .wait_until(LIMIT, |p| p.vectors() == vectors
            && good
                .id()
                .is_some_and(|id| p.vectors_of(id) == Some(vectors)))
        .unwrap());
    newcomer.ring(good.id().unwrap(), VectorIndex(0)).unwrap();
    assert_eq!(good.wait_any(LIMIT).unwrap(), [VectorIndex(0)]);
}

#[test]
fn a_client_gets_the_memory_and_eventfds_and_no_other_descriptor() {
    let (server, _good) = start(
        2,
        &[
            "--shm-name",
            &format!("ivshmem-leak-{}", std::process::id()),
        ],
    );
    let object = format!("/dev/shm/ivshmem-leak-{}", std::process::id());
    let client = RawClient::connect(&server.socket);
    let messages = client.receive_many(7);
    let _ = fs::remove_file(&object);
    let kinds: Vec<String> = messages
        .iter()
        .filter_map(|(_, descriptor)| descriptor.as_ref())
        .map(|fd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap())
        .map(|path| path.to_str().unwrap().replace(" (deleted)", ""))
        .collect();
    let event = "anon_inode:[eventfd]";
    assert_eq!(kinds, [&object, event, event, event, event]);
}

/// Returns number and kind of the descriptors that a program started by process `pid` would get.
fn inheritable(pid: u32) -> BTreeMap<u64, PathBuf> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let at = |folder: &str, name: &OsString| {
        let mut path = PathBuf::from(format!("/proc/{pid}/{folder}"));
        path.push(name);
        path
    };
    let mut found = BTreeMap::new();
    for name in names(Path::new(&format!("/proc/{pid}/fd"))) {
        // One that was open for a moment only has neither.
        let (Ok(text), Ok(kind)) = (
            fs::read_to_string(at("fdinfo", &name)),
            fs::read_link(at("fd", &name)),
        ) else {
            continue;
        };
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        if flags & CLOSE_ON_EXEC == 0 {
            found.insert(name.to_str().unwrap().parse().unwrap(), kind);
        }
    }
    found
}

#[test]
fn no_descriptor_of_the_server_would_reach_a_program_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let (server, _good) = start(3, &["--pid-file", pid_file.to_str().unwrap()]);
    // Listener, lock, memory, stop, connection, three vectors, PID file, standard streams at least.
    assert!(server.descriptors().len() >= 12);
    // What the server was given itself, it does not own.
    let given = inheritable(std::process::id());
    let own: Vec<_> = inheritable(server.child.id())
        .into_iter()
        .filter(|(number, kind)| *number > 2 && given.get(number) != Some(kind))
        .collect();
    assert_eq!(own, []);
}

#[test]
fn descriptors_that_a_client_sends_are_closed_and_it_is_cut_off() {
    let (server, mut good) = start(1, &[]);
    let before = server.descriptors();
    let events: Vec<OwnedFd> = (0..40)
        .map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap())
        .collect();
    let events: Vec<_> = events.iter().map(AsFd::as_fd).collect();
    for _ in 0..20 {
        let client = RawClient::connect(&server.socket);
        client.receive_many(3);
        send(&client.stream, &[0; 8], &events);
        eventually("it is cut off", || {
            server.line().contains("cut off: it sent data")
        });
    }
    eventually("nothing is left of them", || server.descriptors() == before);
    assert_well(&server, &mut good);
}

#[test]
fn one_that_reads_a_byte_at_a_time_delays_nobody() {
    let (server, mut good) = start(4, &[]);
    let mut slow = RawClient::connect(&server.socket);
    let mut greeting = Vec::new();
    for _ in 0..40 {
        let mut byte = [0];
        slow.stream.read_exact(&mut byte).unwrap();
        greeting.extend(byte);
        assert_well(&server, &mut good);
    }
    // What it gets is none the less exact: version 0, ID 1, the memory, the good one's vectors.
    assert_eq!(greeting[..8], 0_i64.to_le_bytes());
    assert_eq!(greeting[8..16], 1_i64.to_le_bytes());
    assert_eq!(greeting[16..24], (-1_i64).to_le_bytes());
    assert_eq!(greeting[24..32], 0_i64.to_le_bytes());
}

#[test]
fn a_thousand_connections_of_one_who_reads_nothing_shut_out_nobody_for_longer_than_they_last() {
    let (server, mut good) = start(1, &["--max-peers", "100"]);
    let before = server.descriptors();
    let crowd: Vec<UnixStream> = (0..1000)
        .filter_map(|_| UnixStream::connect(&server.socket).ok())
        .collect();
    // Those beyond the limit are told so at once, however many they are.
    let late = RawClient::connect(&server.socket);
    assert_eq!(shape(&late.receive_many(1)), [(-1, false)]);
    drop(crowd);
    eventually("nothing is left of them", || server.descriptors() == before);
    assert_well(&server, &mut good);
}

#[test]
fn connections_that_are_closed_in_one_direction_are_ended() {
    let (server, mut good) = start(1, &[]);
    let before = server.descriptors();
    for how in [Shutdown::Write, Shutdown::Both] {
        let client = RawClient::connect(&server.socket);
        client.receive_many(3);
        client.stream.shutdown(how).unwrap();
        eventually("the server lets go of it", || {
            server.descriptors() == before
        });
    }
    // It can still be sent to, but takes nothing: found out when there is something to send.
    let deaf = RawClient::connect(&server.socket);
    deaf.stream.shutdown(Shutdown::Read).unwrap();
    assert_well(&server, &mut good);
    eventually("the server lets go of it", || {
        server.descriptors() == before
    });
    assert_well(&server, &mut good);
}

#[test]
fn a_single_byte_at_any_moment_costs_only_its_sender() {
    let (server, mut good) = start(2, &[]);
    let before = server.descriptors();
    for step in 0..8 {
        let mut client = RawClient::connect(&server.socket);
        client.receive_many(step.min(7));
        // Its connection may be gone already if the byte before was seen.
        let _ = client.stream.write_all(b"x");
        eventually("it is cut off", || server.descriptors() == before);
    }
    assert_well(&server, &mut good);
}

#[test]
fn counters_filled_and_modes_flipped_stop_neither_server_nor_newcomers() {
    let (server, good) = start(1, &[]);
    let hostile = RawClient::connect(&server.socket);
    let messages = hostile.receive_many(5);
    for eventfd in messages
        .iter()
        .filter_map(|(_, descriptor)| descriptor.as_ref())
        .skip(1)
    {
        write(eventfd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        let flags = fcntl_getfl(eventfd).unwrap();
        fcntl_setfl(eventfd, flags - OFlags::NONBLOCK).unwrap();
    }
    // The server rings nobody and reads no counter, so nothing of it can wait.
    let start = Instant::now();
    let newcomer = server.join();
    assert!(start.elapsed() < LIMIT);
    // The victim has an interrupt that it did not expect, and takes it without waiting.
    assert_eq!(good.wait_any(LIMIT).unwrap(), [VectorIndex(0)]);
    newcomer.ring(good.id().unwrap(), VectorIndex(0)).unwrap();
    assert_eq!(good.wait_any(LIMIT).unwrap(), [VectorIndex(0)]);
}

#[test]
fn a_link_in_place_of_the_lock_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ivshmem.sock");
    let lock = directory.path().join("ivshmem.sock.lock");
    let precious = directory.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    for target in [&precious, &directory.path().join("absent")] {
        symlink(target, &lock).unwrap();
        match Server::bind(Config::new(&socket, 1 << 16, 1)).unwrap_err() {
            BindError::Path { path, error, .. } => {
                assert_eq!((path, error), (lock.clone(), rustix::io::Errno::LOOP));
            }
            other => panic!("{other}"),
        }
        fs::remove_file(&lock).unwrap();
    }
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert_eq!(names(directory.path()), ["precious"]);
}
