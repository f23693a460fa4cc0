// SPDX-License-Identifier: MIT OR Apache-2.0
//! The peer with an honest server: rings, waits, events, and life without the server.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::common::{counter, ring, RawClient, LIMIT};
use ivshmem::{PeerId, VectorIndex};
use ivshmem_host::mapping::{MapError, Mapping};
use ivshmem_host::peer::{ConnectError, Event, EventError, OpenError, Peer, RingError};
use ivshmem_host::server::{Config, RunningServer, Server};
use rustix::io::Errno;
use tempfile::TempDir;

const ZERO: VectorIndex = VectorIndex(0);
const ONE: VectorIndex = VectorIndex(1);

fn start() -> (TempDir, RunningServer) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ivshmem.sock");
    let server = Server::spawn(Config::new(path, 1 << 16, 2)).unwrap();
    (directory, server)
}

fn join(server: &RunningServer) -> Peer {
    let mut peer = Peer::connect_within(server.socket(), LIMIT).unwrap();
    assert!(peer.wait_until(LIMIT, |p| p.vectors() == 2).unwrap());
    peer
}

#[test]
fn a_ring_wakes_the_vector_rung_and_no_other() {
    let (_directory, server) = start();
    let (a, b) = (join(&server), join(&server));
    b.ring(a.id().unwrap(), ONE).unwrap();
    assert!(!a.wait(ZERO, Duration::ZERO).unwrap());
    assert!(a.wait(ONE, LIMIT).unwrap());
    assert!(!a.wait(ONE, Duration::ZERO).unwrap(), "used up");
    assert!(b.wait_any(Duration::ZERO).unwrap().is_empty());

    b.ring(a.id().unwrap(), ONE).unwrap();
    b.ring(a.id().unwrap(), ZERO).unwrap();
    b.ring(a.id().unwrap(), ZERO).unwrap();
    assert_eq!(a.wait_any(LIMIT).unwrap(), [ZERO, ONE], "rings coalesce");
    assert!(a.wait_any(Duration::ZERO).unwrap().is_empty());

    a.ring(a.id().unwrap(), ZERO).unwrap();
    assert!(a.wait(ZERO, LIMIT).unwrap(), "a peer can ring itself");
}

#[test]
fn a_wait_ends_with_the_ring_or_with_its_time() {
    let (_directory, server) = start();
    let (mut a, b) = (join(&server), join(&server));
    assert!(a
        .wait_until(LIMIT, |p| p.vectors_of(b.id().unwrap()) == Some(2))
        .unwrap());
    let start = Instant::now();
    assert!(!a.wait(ZERO, Duration::from_millis(30)).unwrap());
    assert!(a.wait_any(Duration::from_millis(30)).unwrap().is_empty());
    assert_eq!(a.next_event(Duration::from_millis(30)), Ok(None));
    assert_eq!(
        a.wait_until(Duration::from_millis(30), |p| p.vectors() == 3),
        Ok(false)
    );
    assert!(start.elapsed() >= Duration::from_millis(120));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| a.wait(ONE, Duration::MAX));
        b.ring(a.id().unwrap(), ONE).unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(true));
    });
}

#[test]
fn ringing_who_or_what_is_not_there_is_an_error() {
    let (_directory, server) = start();
    let mut a = join(&server);
    let nobody = PeerId(9);
    assert_eq!(
        a.ring(nobody, ZERO),
        Err(RingError::UnknownPeer { peer: nobody })
    );
    let third = VectorIndex(2);
    let unknown = RingError::UnknownVector {
        peer: a.id().unwrap(),
        vector: third,
        vectors: 2,
    };
    assert_eq!(a.ring(a.id().unwrap(), third), Err(unknown));
    let none = RingError::NoVector {
        vector: third,
        vectors: 2,
    };
    assert_eq!(a.wait(third, LIMIT), Err(none));
    assert!(a.vector_fd(third).is_none());

    let b = join(&server);
    let id = b.id().unwrap();
    assert!(a.wait_until(LIMIT, |p| p.vectors_of(id).is_some()).unwrap());
    drop(b);
    assert!(a.wait_until(LIMIT, |p| p.vectors_of(id).is_none()).unwrap());
    assert_eq!(a.ring(id, ZERO), Err(RingError::UnknownPeer { peer: id }));
}

#[test]
fn a_full_counter_counts_as_rung() {
    let (_directory, server) = start();
    let (a, b) = (join(&server), join(&server));
    let eventfd = a.vector_fd(ZERO).unwrap();
    rustix::io::write(eventfd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    b.ring(a.id().unwrap(), ZERO).unwrap();
    assert!(a.wait(ZERO, LIMIT).unwrap());
}

#[test]
fn events_tell_of_each_change_in_order() {
    let (_directory, server) = start();
    let mut a = join(&server);
    let b = join(&server);
    let id = b.id().unwrap();
    assert_eq!(a.next_event(LIMIT), Ok(Some(Event::Joined(id))));
    assert_eq!(a.vectors_of(id), Some(1));
    let added = Event::VectorAdded {
        peer: id,
        vector: ONE,
    };
    assert_eq!(a.next_event(LIMIT), Ok(Some(added)));
    assert!(a.peers().eq([id]));
    assert!(b.peers().eq([a.id().unwrap()]), "known from the start");
    drop(b);
    assert_eq!(a.next_event(LIMIT), Ok(Some(Event::Left(id))));
    assert_eq!(a.peers().count(), 0);
    assert_eq!(a.next_event(Duration::ZERO), Ok(None));
}

#[test]
fn descriptors_can_be_polled_by_a_foreign_loop() {
    use rustix::event::{poll, PollFd, PollFlags};
    let (_directory, server) = start();
    let mut a = join(&server);
    let ready = |a: &Peer| {
        let mut fds = [
            PollFd::from_borrowed_fd(a.server_fd().unwrap(), PollFlags::IN),
            PollFd::from_borrowed_fd(a.vector_fd(ZERO).unwrap(), PollFlags::IN),
        ];
        poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap();
        fds.map(|fd| fd.revents().contains(PollFlags::IN))
    };
    assert_eq!(ready(&a), [false, false]);
    a.ring(a.id().unwrap(), ZERO).unwrap();
    assert_eq!(ready(&a), [false, true]);
    assert!(a.wait(ZERO, Duration::ZERO).unwrap());
    let b = join(&server);
    crate::common::eventually("news of the other peer", || ready(&a)[0]);
    assert_eq!(
        a.next_event(Duration::ZERO),
        Ok(Some(Event::Joined(b.id().unwrap())))
    );
}

#[test]
fn peers_talk_on_when_the_server_has_died() {
    let (_directory, server) = start();
    let (mut a, b) = (join(&server), join(&server));
    let raw = RawClient::connect(server.socket());
    let messages = raw.receive_many(9);
    assert!(a
        .wait_until(LIMIT, |p| p.vectors_of(PeerId(2)) == Some(2))
        .unwrap());
    // A clean end says that all have left; only the raw client, who does not listen, keeps the others.
    server.stop().unwrap();
    assert_eq!(a.next_event(LIMIT), Ok(Some(Event::Left(b.id().unwrap()))));
    assert_eq!(a.next_event(LIMIT), Ok(Some(Event::Left(PeerId(2)))));
    assert_eq!(a.next_event(LIMIT), Ok(Some(Event::ServerGone)));
    assert_eq!(a.next_event(LIMIT), Err(EventError::Disconnected));
    assert!(a.server_fd().is_none());

    b.ring(a.id().unwrap(), ZERO).unwrap();
    assert!(
        a.wait(ZERO, LIMIT).unwrap(),
        "b has not looked, and rings on"
    );
    ring(messages[3].1.as_ref().unwrap());
    assert!(a.wait(ZERO, LIMIT).unwrap());
    a.ring(a.id().unwrap(), ONE).unwrap();
    assert_eq!(counter(messages[4].1.as_ref().unwrap()), 1);
    a.memory().write(5, b"still here").unwrap();
    let mut bytes = [0; 10];
    b.memory().read(5, &mut bytes).unwrap();
    assert_eq!(&bytes, b"still here");
}

#[test]
fn the_servers_memory_is_the_peers_memory() {
    let (_directory, server) = start();
    let mapping = Mapping::of(server.memory()).unwrap();
    let peer = join(&server);
    peer.memory().write(0xfff8, b"the end.").unwrap();
    let mut bytes = [0; 8];
    mapping.memory().read(0xfff8, &mut bytes).unwrap();
    assert_eq!(&bytes, b"the end.");
    assert_eq!(mapping.memory().len(), 1 << 16);
}

#[test]
fn a_plain_region_is_memory_and_nothing_else() {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    file.as_file().set_len(1 << 16).unwrap();
    let mut peer = Peer::open_file(file.path()).unwrap();
    let other = Peer::open_memory(file.as_file()).unwrap();
    peer.memory().write(0xfff8, b"the end.").unwrap();
    let mut bytes = [0; 8];
    other.memory().read(0xfff8, &mut bytes).unwrap();
    assert_eq!(&bytes, b"the end.");

    assert_eq!((peer.id(), peer.vectors()), (None, 0));
    assert_eq!(peer.peers().count(), 0);
    let nobody = PeerId(0);
    assert_eq!(
        peer.ring(nobody, ZERO),
        Err(RingError::UnknownPeer { peer: nobody })
    );
    let none = RingError::NoVector {
        vector: ZERO,
        vectors: 0,
    };
    assert_eq!(peer.wait(ZERO, LIMIT), Err(none));
    assert_eq!(peer.wait_any(Duration::ZERO), Ok(Vec::new()));
    assert!(peer.server_fd().is_none() && peer.vector_fd(ZERO).is_none());
    assert_eq!(peer.next_event(LIMIT), Err(EventError::NoServer));
}

#[test]
fn what_is_no_region_cannot_be_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent");
    let error = ErrorKind::NotFound;
    assert_eq!(
        Peer::open_file(&path).unwrap_err(),
        OpenError::File { path, error }
    );
    let empty = tempfile::NamedTempFile::new().unwrap();
    let too_small = OpenError::Memory(MapError::TooSmall { bytes: 0 });
    assert_eq!(Peer::open_file(empty.path()).unwrap_err(), too_small);
}

#[test]
fn where_no_server_is_connecting_fails_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent");
    assert_eq!(
        Peer::connect(&path).unwrap_err(),
        ConnectError::Open {
            path,
            error: Errno::NOENT
        }
    );
}
