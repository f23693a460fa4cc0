// SPDX-License-Identifier: MIT OR Apache-2.0
//! What ends a wait: time, room, a peer that leaves, and one that dies.

use std::task::Poll;
use std::time::{Duration, Instant};

use ivshmem::channel::{Broken, EventKind, Format, Introduction, Name, Region};
use ivshmem_host::channel::tasks::Channels;
use ivshmem_host::channel::{RecvError, SendError};
use ivshmem_host::peer::Peer;
use tokio::time::timeout;

use super::lab::{member, message, server, LIMIT, RING};
use super::{connect, join, never, one_thread, pair, soon, threads};

#[test]
fn who_sends_waits_for_room_and_a_message_given_up_is_not_received() {
    let (_directory, server) = server(1);
    one_thread().block_on(async {
        let ((_alice, mut to_bob), (_bob, mut to_alice)) = pair(&server).await;
        let short = message(1, 1000);
        let mut sent = 0;
        let full = Duration::from_millis(200);
        while timeout(full, to_bob.send(&short)).await.is_ok() {
            sent += 1;
        }
        assert!((1..=RING / 1000).contains(&sent), "{sent} messages");
        // A part of it is in the ring.
        let long = message(2, 3 * RING);
        assert_eq!(soon(to_alice.recv()).await, Ok(&short[..]));
        never(to_bob.send(&long)).await;

        let last = message(3, 3 * RING);
        let sending = async {
            soon(to_bob.send(&last)).await.unwrap();
        };
        let receiving = async {
            for _ in 1..sent {
                assert_eq!(soon(to_alice.recv()).await, Ok(&short[..]));
            }
            assert!(soon(to_alice.recv()).await == Ok(&last[..]));
        };
        tokio::join!(sending, receiving);
        never(to_alice.recv()).await;
    });
}

#[test]
fn who_waits_for_one_that_leaves_is_woken() {
    let (_directory, server) = server(1);
    threads().block_on(async {
        let (alice, bob) = (join(&server, "alice").await, join(&server, "bob").await);
        let mut to_alice = connect(&bob, "alice").await;
        let mut to_bob = connect(&alice, "bob").await;
        soon(to_bob.send(b"goodbye")).await.unwrap();
        assert_eq!(soon(to_alice.recv()).await, Ok(&b"goodbye"[..]));
        let waiting = tokio::spawn(async move { to_alice.recv().await.map(<[u8]>::to_vec) });
        let event = soon(bob.next_event()).await.unwrap();
        assert_eq!(event.kind, EventKind::Joined);
        never(bob.next_event()).await;
        drop(alice);
        let ended = soon(waiting).await.unwrap();
        assert_eq!(ended, Err(RecvError::Broken(Broken::PeerGone)));
        let event = soon(bob.next_event()).await.unwrap();
        assert_eq!(
            (event.kind, event.name),
            (EventKind::Left, Name::new("alice"))
        );
    });
}

/// A process that was killed leaves this in the memory: a member whose heart stands still.
#[test]
fn a_killed_peer_ends_both_waits_within_the_limit() {
    let (_directory, server) = server(1);
    threads().block_on(async {
        let limit = Duration::from_millis(400);
        let alice = Channels::join_server(member("alice").limit(limit), server.socket());
        let alice = soon(alice).await.unwrap();
        let victim = Peer::connect_within(server.socket(), LIMIT).unwrap();
        let region = Region::open_or_format(victim.memory(), &Format::default()).unwrap();
        let joining = region.join(Introduction {
            name: Name::new("victim"),
            device: victim.id(),
            vectors: 1,
            limit: u64::MAX,
        });
        let Poll::Ready(Ok(mut dead)) = { joining }.poll(0) else {
            panic!("there are free slots");
        };
        let _to_alice = dead.connect(alice.inner().slot(), &victim).unwrap();
        let (mut sender, mut receiver) = connect(&alice, "victim").await.split();
        let start = Instant::now();
        let receiving = tokio::spawn(async move { receiver.recv().await.map(<[u8]>::to_vec) });
        let sending = tokio::spawn(async move { sender.send(&message(1, 3 * RING)).await });
        assert_eq!(soon(receiving).await.unwrap(), Err(RecvError::PeerDied));
        assert_eq!(soon(sending).await.unwrap(), Err(SendError::PeerDied));
        assert!(start.elapsed() >= limit / 2, "it was not dead before");
        let joined = soon(alice.next_event()).await.unwrap();
        let died = soon(alice.next_event()).await.unwrap();
        assert_eq!(
            (joined.kind, died.kind),
            (EventKind::Joined, EventKind::Died)
        );
    });
}

#[test]
fn one_that_nobody_waits_for_any_more_is_connected_to_later() {
    let (_directory, server) = server(1);
    one_thread().block_on(async {
        let alice = join(&server, "alice").await;
        never(alice.connect("bob")).await;
        let bob = join(&server, "bob").await;
        let mut to_bob = connect(&alice, "bob").await;
        never(alice.connect("bob")).await;
        let mut to_alice = connect(&bob, "alice").await;
        soon(to_alice.send(b"hello")).await.unwrap();
        assert_eq!(to_bob.receiver().try_recv(), Ok(Some(&b"hello"[..])));
    });
}
