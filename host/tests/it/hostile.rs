// SPDX-License-Identifier: MIT OR Apache-2.0
//! The peer with servers that break the protocol, stop half-way or never end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use crate::common::{send, LIMIT};
use ivshmem::{PeerId, VectorIndex};
use ivshmem_host::mapping::MapError;
use ivshmem_host::peer::{ConnectError, Event, EventError, Peer, ReceiveError, Step};
use ivshmem_host::protocol::ProtocolError;
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};

/// Joins a server that does `script` with its first connection.
fn connect<T: Send + 'static>(
    limit: Duration,
    script: impl FnOnce(UnixStream) -> T + Send + 'static,
) -> (Result<Peer, ConnectError>, thread::JoinHandle<T>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || script(listener.accept().unwrap().0));
    (Peer::connect_within(&path, limit), server)
}

fn memory(bytes: u64) -> OwnedFd {
    let memory = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&memory, bytes).unwrap();
    memory
}

fn event() -> OwnedFd {
    // Blocking, unlike those of our server: the peer has to see to that itself.
    eventfd(0, EventfdFlags::CLOEXEC).unwrap()
}

/// Sends `number` with as many eventfds.
fn number(stream: &UnixStream, number: i64, eventfds: usize) {
    let descriptors: Vec<OwnedFd> = (0..eventfds).map(|_| event()).collect();
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    send(stream, &number.to_le_bytes(), &borrowed);
}

/// Sends the handshake of peer 3 with one vector and no others.
fn handshake(stream: &UnixStream) {
    number(stream, 0, 0);
    number(stream, 3, 0);
    send(stream, &(-1_i64).to_le_bytes(), &[memory(8192).as_fd()]);
    number(stream, 3, 1);
}

/// A message: its number, and how many eventfds come with it.
type Sent = (i64, usize);

/// Joins a server that sends `messages` and then waits.
fn connect_to(messages: &'static [Sent]) -> ConnectError {
    let (peer, server) = connect(LIMIT, move |stream| {
        for &(n, eventfds) in messages {
            number(&stream, n, eventfds);
        }
        stream
    });
    let error = peer.unwrap_err();
    drop(server.join().unwrap());
    error
}

#[test]
fn each_breach_in_the_handshake_is_an_error_that_names_it() {
    let breach = |error| ConnectError::Receive(ReceiveError::Protocol(error));
    let cases: [(&'static [Sent], ConnectError); 13] = [
        (&[(1, 0)], breach(ProtocolError::Version { found: 1 })),
        (
            &[(i64::MIN, 0)],
            breach(ProtocolError::Version { found: i64::MIN }),
        ),
        (&[(-1, 0)], breach(ProtocolError::Refused)),
        (
            &[(0, 1)],
            breach(ProtocolError::UnexpectedDescriptor { number: 0 }),
        ),
        (
            &[(0, 0), (-1, 0)],
            breach(ProtocolError::OwnId { found: -1 }),
        ),
        (
            &[(0, 0), (65536, 0)],
            breach(ProtocolError::OwnId { found: 65536 }),
        ),
        (
            &[(0, 0), (3, 1)],
            breach(ProtocolError::UnexpectedDescriptor { number: 3 }),
        ),
        (
            &[(0, 0), (3, 0), (-1, 0)],
            breach(ProtocolError::MemoryMissing),
        ),
        (
            &[(0, 0), (3, 0), (-7, 1)],
            breach(ProtocolError::Number { found: -7 }),
        ),
        (
            &[(0, 0), (3, 0), (3, 0)],
            breach(ProtocolError::LeftSelf { id: PeerId(3) }),
        ),
        (
            &[(0, 0), (3, 0), (4, 2)],
            breach(ProtocolError::TooManyDescriptors),
        ),
        // More than there is room to receive: the kernel drops some.
        (
            &[(0, 0), (3, 0), (4, 40)],
            ConnectError::Receive(ReceiveError::DescriptorLost),
        ),
        // An eventfd in place of the memory has no size.
        (
            &[(0, 0), (3, 0), (-1, 1)],
            ConnectError::Memory(MapError::TooSmall { bytes: 0 }),
        ),
    ];
    for (messages, error) in cases {
        assert_eq!(connect_to(messages), error, "{messages:?}");
    }
}

#[test]
fn memory_smaller_than_a_page_is_refused() {
    let (peer, server) = connect(LIMIT, |stream| {
        number(&stream, 0, 0);
        number(&stream, 3, 0);
        send(&stream, &(-1_i64).to_le_bytes(), &[memory(100).as_fd()]);
    });
    server.join().unwrap();
    assert_eq!(
        peer.unwrap_err(),
        ConnectError::Memory(MapError::TooSmall { bytes: 100 })
    );
}

#[test]
fn a_server_that_stops_half_way_is_left_in_time() {
    let steps = [
        Step::Identity,
        Step::Identity,
        Step::Memory,
        Step::OwnVector,
    ];
    for (sent, &step) in steps.iter().enumerate() {
        let start = move |stream: &UnixStream| {
            for n in [0, 3].iter().take(sent) {
                number(stream, *n, 0);
            }
            if sent > 2 {
                send(stream, &(-1_i64).to_le_bytes(), &[memory(4096).as_fd()]);
            }
            // Half of the next message.
            send(stream, &[0; 4], &[]);
        };
        let (peer, server) = connect(LIMIT, move |stream| start(&stream));
        server.join().unwrap();
        assert_eq!(peer.unwrap_err(), ConnectError::Closed(step));

        let (peer, server) = connect(Duration::from_secs(1), move |stream| {
            start(&stream);
            stream
        });
        assert_eq!(peer.unwrap_err(), ConnectError::Timeout(step));
        drop(server.join().unwrap());
    }
}

#[test]
fn a_server_whose_queue_of_connections_is_full_is_left_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let error = Peer::connect_within(&path, Duration::from_millis(50)).unwrap_err();
    assert_eq!(error, ConnectError::Timeout(Step::Connection));
}

#[test]
fn a_server_that_chatters_for_ever_is_left_in_time() {
    let (peer, server) = connect(Duration::from_millis(200), |stream| {
        number(&stream, 0, 0);
        number(&stream, 3, 0);
        // Departures of peers that never came, until the peer hangs up.
        let chatter = [9_u8, 0, 0, 0, 0, 0, 0, 0].repeat(1000);
        let mut written = 0_usize;
        while let Ok(n) = std::io::Write::write(&mut &stream, &chatter) {
            written += n;
        }
        written
    });
    assert_eq!(peer.unwrap_err(), ConnectError::Timeout(Step::Memory));
    assert!(server.join().unwrap() > 8000);
}

#[test]
fn messages_in_single_bytes_with_the_descriptor_on_any_are_understood() {
    for carrier in 0..8 {
        let (peer, server) = connect(LIMIT, move |stream| {
            let memory = memory(4096);
            let vector = event();
            let messages = [
                (0_i64, None),
                (3, None),
                (5, Some(&vector)),
                (-1, Some(&memory)),
                (3, Some(&vector)),
            ];
            for (number, descriptor) in messages {
                for (index, byte) in number.to_le_bytes().into_iter().enumerate() {
                    let descriptor = descriptor.filter(|_| index == carrier);
                    let borrowed: Vec<_> = descriptor.map(AsFd::as_fd).into_iter().collect();
                    send(&stream, &[byte], &borrowed);
                }
            }
        });
        let peer = peer.unwrap();
        server.join().unwrap();
        assert_eq!((peer.id(), peer.vectors()), (Some(PeerId(3)), 1));
        assert_eq!(peer.vectors_of(PeerId(5)), Some(1));
        assert_eq!(peer.memory().len(), 4096);
    }
}

#[test]
fn several_messages_in_one_piece_are_told_apart() {
    let (peer, server) = connect(LIMIT, |stream| {
        let start = [0_i64, 3].map(i64::to_le_bytes).concat();
        send(&stream, &start, &[]);
        // Two messages, and the descriptor belongs to the first.
        let memory_and_news = [-1_i64, 77].map(i64::to_le_bytes).concat();
        send(&stream, &memory_and_news, &[memory(4096).as_fd()]);
        number(&stream, 3, 1);
    });
    server.join().unwrap();
    assert_eq!(peer.unwrap().peers().count(), 0);
}

#[test]
fn after_a_breach_the_connection_is_over_but_vectors_and_memory_are_not() {
    let (peer, server) = connect(LIMIT, |stream| {
        handshake(&stream);
        number(&stream, 4, 1);
        number(&stream, 70000, 0);
        stream
    });
    let mut peer = peer.unwrap();
    assert_eq!(peer.next_event(LIMIT), Ok(Some(Event::Joined(PeerId(4)))));
    let breach = ReceiveError::Protocol(ProtocolError::Number { found: 70000 });
    assert_eq!(peer.next_event(LIMIT), Err(EventError::Receive(breach)));
    assert_eq!(peer.next_event(LIMIT), Err(EventError::Disconnected));
    peer.ring(PeerId(4), VectorIndex(0)).unwrap();
    peer.ring(peer.id().unwrap(), VectorIndex(0)).unwrap();
    assert!(peer.wait(VectorIndex(0), LIMIT).unwrap());
    peer.memory().write(0, &[1]).unwrap();
    drop(server.join().unwrap());
}

#[test]
fn eventfds_that_block_do_not_block_the_peer() {
    let (peer, server) = connect(LIMIT, |stream| {
        handshake(&stream);
        stream
    });
    let peer = peer.unwrap();
    let eventfd = peer.vector_fd(VectorIndex(0)).unwrap();
    rustix::io::write(eventfd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    peer.ring(peer.id().unwrap(), VectorIndex(0)).unwrap();
    assert!(peer.wait(VectorIndex(0), LIMIT).unwrap());
    let mut counter = [0; 8];
    let empty = rustix::io::read(eventfd, &mut counter[..]);
    assert_eq!(empty, Err(rustix::io::Errno::AGAIN));
    drop(server.join().unwrap());
}
