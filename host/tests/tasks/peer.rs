// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the server says and what peers ring, awaited.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;

use ivshmem::{PeerId, VectorIndex};
use ivshmem_host::peer::tasks::Peer;
use ivshmem_host::peer::{self, Event, EventError, RingError};
use rustix::event::EventfdFlags;

use super::common::send;
use super::lab::server;
use super::{never, one_thread, soon, threads};

const ZERO: VectorIndex = VectorIndex(0);
const ONE: VectorIndex = VectorIndex(1);

#[test]
fn events_come_in_order_and_none_is_lost_by_a_wait_that_was_dropped() {
    let (_directory, server) = server(2);
    one_thread().block_on(async {
        let mut alice = soon(Peer::connect(server.socket())).await.unwrap();
        let added = |id| Event::VectorAdded {
            peer: PeerId(id),
            vector: ONE,
        };
        assert_eq!(soon(alice.next_event()).await, Ok(added(0)));
        never(alice.next_event()).await;
        let bob = soon(Peer::connect(server.socket())).await.unwrap();
        let id = PeerId(1);
        assert_eq!(bob.inner().id(), Some(id));
        assert_eq!(soon(alice.next_event()).await, Ok(Event::Joined(id)));
        assert_eq!(soon(alice.next_event()).await, Ok(added(1)));
        let leaving = async {
            tokio::task::yield_now().await;
            drop(bob);
        };
        let (event, ()) = tokio::join!(soon(alice.next_event()), leaving);
        assert_eq!(event, Ok(Event::Left(id)));
        server.stop().unwrap();
        assert_eq!(soon(alice.next_event()).await, Ok(Event::ServerGone));
        assert_eq!(
            soon(alice.next_event()).await,
            Err(EventError::Disconnected)
        );
    });
}

/// A server may say that one has left who was never announced. What comes behind that in the same breath is heard.
#[test]
fn a_message_without_meaning_hides_none_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ivshmem.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let vector = rustix::event::eventfd(0, EventfdFlags::empty()).unwrap();
    let memory = tempfile::tempfile().unwrap();
    memory.set_len(1 << 16).unwrap();
    threads().block_on(async {
        let connecting = tokio::spawn(Peer::connect(path));
        let (stream, _) = listener.accept().unwrap();
        let say = |number: i64, fds: &[BorrowedFd<'_>]| send(&stream, &number.to_le_bytes(), fds);
        say(0, &[]);
        say(3, &[]);
        say(-1, &[memory.as_fd()]);
        say(3, &[vector.as_fd()]);
        let mut peer = soon(connecting).await.unwrap().unwrap();
        never(peer.next_event()).await;
        let waiting = tokio::spawn(async move {
            let event = peer.next_event().await;
            (peer, event)
        });
        tokio::task::yield_now().await;
        for nobody in [7, 8, 9] {
            say(nobody, &[]);
        }
        say(5, &[vector.as_fd()]);
        let (_peer, event) = soon(waiting).await.unwrap();
        assert_eq!(event, Ok(Event::Joined(PeerId(5))));
    });
}

#[test]
fn each_vector_wakes_the_task_that_waits_for_it() {
    let (_directory, server) = server(2);
    threads().block_on(async {
        let mut alice = peer::Peer::connect(server.socket()).unwrap();
        assert!(alice
            .wait_until(super::LIMIT, |p| p.vectors() == 2)
            .unwrap());
        let own = alice.id().unwrap();
        let alice = Peer::new(alice).unwrap();
        let (zero, one) = (alice.vector(ZERO).unwrap(), alice.vector(ONE).unwrap());
        never(zero.rung()).await;
        alice.inner().ring(own, ONE).unwrap();
        never(zero.rung()).await;
        soon(one.rung()).await.unwrap();
        never(one.rung()).await;
        // Two rings before anybody looks are one.
        alice.inner().ring(own, ZERO).unwrap();
        alice.inner().ring(own, ZERO).unwrap();
        soon(zero.rung()).await.unwrap();
        never(zero.rung()).await;
        let waiting = tokio::spawn(async move { zero.rung().await });
        alice.inner().ring(own, ZERO).unwrap();
        assert_eq!(soon(waiting).await.unwrap(), Ok(()));
        let none = RingError::NoVector {
            vector: VectorIndex(2),
            vectors: 2,
        };
        assert_eq!(alice.vector(VectorIndex(2)).unwrap_err(), none);
    });
}

#[test]
fn memory_alone_tells_of_nothing() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 16).unwrap();
    one_thread().block_on(async {
        let plain = peer::Peer::open_memory(&file).unwrap();
        let mut plain = Peer::new(plain).unwrap();
        assert_eq!(soon(plain.next_event()).await, Err(EventError::NoServer));
        let none = RingError::NoVector {
            vector: ZERO,
            vectors: 0,
        };
        assert_eq!(plain.vector(ZERO).unwrap_err(), none);
    });
}
