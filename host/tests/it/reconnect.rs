// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host peers that outlive their server and join the next one.

use std::time::Duration;

use crate::common::LIMIT;
use crate::process::Running;
use ivshmem::{PeerId, VectorIndex};
use ivshmem_host::peer::{ConnectError, Event, EventError, Peer, ReconnectError, RingError};

const ZERO: VectorIndex = VectorIndex(0);
const ONE: VectorIndex = VectorIndex(1);

/// Joins with both vectors, and knows `others`.
fn join(server: &Running, others: &[PeerId]) -> Peer {
    let mut peer = server.join();
    knows(&mut peer, others);
    peer
}

/// Waits until both vectors of a peer itself and of `others` are known.
fn knows(peer: &mut Peer, others: &[PeerId]) {
    let all = |peer: &Peer| {
        peer.vectors() == 2
            && others
                .iter()
                .all(|&other| peer.vectors_of(other) == Some(2))
    };
    assert!(peer.wait_until(LIMIT, all).unwrap());
}

/// Waits until the peer has noticed that the server is gone.
fn is_alone(peer: &mut Peer) {
    while peer.next_event(LIMIT).unwrap() != Some(Event::ServerGone) {}
}

/// Rings, and sees that it arrives.
fn rings(from: &Peer, id: PeerId, to: &Peer) {
    for vector in [ZERO, ONE] {
        from.ring(id, vector).unwrap();
        assert!(to.wait(vector, LIMIT).unwrap(), "{id:?} {vector:?}");
        from.ring(id, vector).unwrap();
        assert_eq!(to.wait_any(LIMIT).unwrap(), [vector], "{id:?}");
    }
}

#[test]
fn a_peer_joins_the_next_server_and_stays_with_those_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("memory");
    let more = ["--shm-file", file.to_str().unwrap()];
    let mut server = Running::start(":", 2, &more);
    server.line();
    let mut a = join(&server, &[]);
    let mut b = join(&server, &[a.id().unwrap()]);
    let (old_a, old_b) = (a.id().unwrap(), b.id().unwrap());
    knows(&mut a, &[old_b]);
    assert_eq!(a.reconnect(LIMIT), Ok(old_a), "nothing has ended");
    server.restart(2, &more);
    is_alone(&mut a);
    is_alone(&mut b);
    assert_eq!(a.next_event(LIMIT), Err(EventError::Disconnected));
    rings(&a, old_b, &b);

    // One joins again, the other stays as a virtual machine does.
    let new_a = a.reconnect(LIMIT).unwrap();
    assert_eq!((new_a, a.id()), (PeerId(64), Some(PeerId(64))));
    knows(&mut a, &[]);
    assert_eq!(a.peers().count(), 0, "nobody else is there");
    rings(&a, old_b, &b);
    rings(&b, old_a, &a);
    a.memory().write(0, b"still").unwrap();
    let mut read = [0; 5];
    b.memory().read(0, &mut read).unwrap();
    assert_eq!(&read, b"still");

    // Then both are in both groups, and one who comes later is in one.
    let new_b = b.reconnect(LIMIT).unwrap();
    knows(&mut b, &[new_a]);
    knows(&mut a, &[new_b]);
    for (from, id, to) in [
        (&a, old_b, &b),
        (&a, new_b, &b),
        (&b, old_a, &a),
        (&b, new_a, &a),
    ] {
        rings(from, id, to);
    }
    let late = join(&server, &[new_a]);
    rings(&late, new_a, &a);
    assert_eq!(
        late.ring(old_b, ZERO),
        Err(RingError::UnknownPeer { peer: old_b })
    );

    // And once more: the first group is not forgotten.
    server.restart(2, &more);
    is_alone(&mut a);
    let newest_a = a.reconnect(LIMIT).unwrap();
    assert_eq!(newest_a, PeerId(128));
    knows(&mut a, &[]);
    for id in [old_a, new_a] {
        rings(&b, id, &a);
    }
    for id in [old_b, new_b] {
        rings(&a, id, &b);
    }
}

#[test]
fn another_memory_is_not_joined_and_the_old_one_goes_on() {
    let mut server = Running::start(":", 2, &[]);
    server.line();
    let mut a = join(&server, &[]);
    let b = join(&server, &[a.id().unwrap()]);
    knows(&mut a, &[b.id().unwrap()]);
    server.restart(2, &[]);
    is_alone(&mut a);
    assert_eq!(a.reconnect(LIMIT), Err(ReconnectError::OtherMemory));
    assert_eq!(a.next_event(LIMIT), Err(EventError::Disconnected));
    rings(&a, b.id().unwrap(), &b);
    rings(&b, a.id().unwrap(), &a);
}

#[test]
fn without_a_server_the_time_passes_and_one_that_comes_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("memory");
    let more = ["--shm-file", file.to_str().unwrap()];
    let mut server = Running::start(":", 2, &more);
    server.line();
    let mut a = join(&server, &[]);
    server.child.kill().unwrap();
    is_alone(&mut a);
    let refused = a.reconnect(Duration::from_millis(30)).unwrap_err();
    assert!(
        matches!(refused, ReconnectError::Connect(ConnectError::Open { .. })),
        "{refused}"
    );
    let waiting = std::thread::spawn(move || a.reconnect(LIMIT).map(|id| (a, id)));
    server.restart(2, &more);
    let (mut a, id) = waiting.join().unwrap().unwrap();
    assert_eq!(id, PeerId(64));
    knows(&mut a, &[]);
    rings(&a, id, &a);

    let mut plain = Peer::open_file(&file).unwrap();
    assert_eq!(plain.reconnect(LIMIT), Err(ReconnectError::NoServer));
}
