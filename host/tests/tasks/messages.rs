// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages between tasks: all of them, once, in order, whatever is dropped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ivshmem::channel::Format;
use ivshmem_host::channel::tasks::{Channels, Connection};
use tokio::task::{yield_now, JoinSet};

use super::lab::{lengths, member, message, server, LIMIT, RING};
use super::{connect, join, one_thread, pair, soon, threads};

/// Sends messages of all lengths there and back.
async fn to_and_fro(mut there: Connection, mut back: Connection) {
    let echo = tokio::spawn(async move {
        for _ in lengths() {
            let received = soon(back.recv()).await.unwrap().to_vec();
            soon(back.send(&received)).await.unwrap();
        }
    });
    for (number, len) in (0..).zip(lengths()) {
        let sent = message(number, len);
        soon(there.send(&sent)).await.unwrap();
        let received = soon(there.recv()).await.unwrap();
        assert!(received == &sent[..], "{len} bytes");
    }
    soon(echo).await.unwrap();
}

#[test]
fn one_thread_is_enough_for_both_sides() {
    let (_directory, server) = server(1);
    one_thread().block_on(async {
        let ((_alice, to_bob), (_bob, to_alice)) = pair(&server).await;
        to_and_fro(to_bob, to_alice).await;
    });
}

#[test]
fn without_a_server_tasks_look_by_themselves() {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    file.as_file().set_len(1 << 18).unwrap();
    one_thread().block_on(async {
        let join = |name| soon(Channels::join_file(member(name), file.path()));
        let (alice, bob) = (join("alice").await.unwrap(), join("bob").await.unwrap());
        let to_bob = connect(&alice, "bob").await;
        let to_alice = connect(&bob, "alice").await;
        to_and_fro(to_bob, to_alice).await;
    });
}

/// One member, and for each of its connections two tasks.
#[test]
fn many_tasks_use_one_member_at_once() {
    const OTHERS: usize = 8;
    const NUMBERS: u64 = 500;
    let (_directory, server) = server(2);
    let roomy = Format {
        slots: 16,
        ring_log2: Some(9),
    };
    let join = |name: String| {
        let options = member(&name).format(Some(roomy));
        let path = server.socket().to_owned();
        async { Arc::new(soon(Channels::join_server(options, path)).await.unwrap()) }
    };
    threads().block_on(async {
        let hub = join("hub".to_owned()).await;
        let mut tasks = JoinSet::new();
        for number in 0..OTHERS {
            let name = format!("other {number}");
            let other = join(name.clone()).await;
            tasks.spawn(async move {
                let mut to_hub = connect(&other, "hub").await;
                for number in 0..NUMBERS {
                    soon(to_hub.send(&number.to_le_bytes())).await.unwrap();
                    let answer = soon(to_hub.recv()).await.unwrap();
                    assert_eq!(answer, (!number).to_le_bytes());
                }
            });
            let hub = Arc::clone(&hub);
            tasks.spawn(async move {
                let (mut sender, mut receiver) = connect(&hub, &name).await.split();
                let (give, mut take) = tokio::sync::mpsc::channel(4);
                let sending = tokio::spawn(async move {
                    while let Some(number) = take.recv().await {
                        let number: u64 = number;
                        soon(sender.send(&(!number).to_le_bytes())).await.unwrap();
                    }
                });
                for number in 0..NUMBERS {
                    let received = soon(receiver.recv()).await.unwrap();
                    assert_eq!(received, number.to_le_bytes());
                    give.send(number).await.unwrap();
                }
                drop(give);
                sending.await.unwrap();
            });
        }
        while let Some(ended) = soon(tasks.join_next()).await {
            ended.unwrap();
        }
    });
}

/// Messages longer than the ring are dropped half-way too: by the receiver nothing is lost, by the sender nothing comes twice.
#[test]
fn what_select_drops_is_neither_lost_nor_doubled() {
    const NUMBERS: u64 = 3000;
    let (_directory, server) = server(1);
    threads().block_on(async {
        let ((_alice, to_bob), (_bob, to_alice)) = pair(&server).await;
        let (mut sender, mut receiver) = (to_bob.split().0, to_alice.split().1);
        let len = |number: u64| {
            if number.is_multiple_of(16) {
                3 * RING
            } else {
                100
            }
        };
        let sending = tokio::spawn(async move {
            let mut dropped = 0;
            for number in 0..NUMBERS {
                let message = message(number, len(number));
                loop {
                    tokio::select! {
                        sent = sender.send(&message) => break sent.unwrap(),
                        // A long one needs the receiver in between, so not every try may be dropped.
                        () = yield_now(), if len(number) < RING || dropped % 4 != 0 => {}
                    }
                    dropped += 1;
                }
            }
            dropped
        });
        let receiving = tokio::spawn(async move {
            let (mut number, mut dropped) = (0, 0);
            while number < NUMBERS {
                tokio::select! {
                    received = receiver.recv() => {
                        let expected = message(number, len(number));
                        assert!(received.unwrap() == &expected[..], "message {number}");
                        number += 1;
                    }
                    () = yield_now() => dropped += 1,
                }
            }
            dropped
        });
        assert!(soon(receiving).await.unwrap() > 0);
        assert!(soon(sending).await.unwrap() > 0);
    });
}

/// Nobody waits when the ring comes. Each one that is lost would cost the time until the next heartbeat.
#[test]
fn a_ring_for_a_future_that_was_dropped_wakes_the_next() {
    let (_directory, server) = server(1);
    one_thread().block_on(async {
        let ((_alice, mut to_bob), (_bob, mut to_alice)) = pair(&server).await;
        const ROUNDS: u32 = 100;
        const SLOW: Duration = Duration::from_millis(100);
        let mut slow = 0;
        for number in 0..ROUNDS {
            // It begins to wait, and is dropped.
            tokio::select! {
                biased;
                received = to_alice.recv() => panic!("{received:?}"),
                () = yield_now() => {}
            }
            soon(to_bob.send(&number.to_le_bytes())).await.unwrap();
            // Both that it waits already, and that it comes later.
            let received = soon(to_alice.recv()).await.unwrap();
            assert_eq!(received, number.to_le_bytes());
            let start = Instant::now();
            let (sent, received) = tokio::join!(
                async {
                    yield_now().await;
                    to_bob.send(b"again").await
                },
                soon(to_alice.recv())
            );
            assert_eq!((sent, received), (Ok(()), Ok(&b"again"[..])));
            slow += u32::from(start.elapsed() > SLOW);
        }
        // More than half would be, since beats are 250 ms apart.
        assert!(slow < ROUNDS / 4, "{slow} rings were lost");
    });
}

/// Who always finds a message lets the other tasks of its thread run all the same.
#[test]
fn a_flood_of_messages_leaves_time_for_other_tasks() {
    const NUMBERS: u64 = 20_000;
    let (_directory, server) = server(1);
    let flooding = member("flooding").join_server(server.socket()).unwrap();
    std::thread::scope(|scope| {
        let runtime = one_thread();
        let bob = runtime.block_on(join(&server, "bob"));
        scope.spawn(|| {
            let mut to_bob = flooding.connect("bob", LIMIT).unwrap();
            for number in 0..NUMBERS {
                to_bob.send(&number.to_le_bytes(), LIMIT).unwrap();
            }
        });
        runtime.block_on(async {
            let turns = Arc::new(AtomicU64::new(0));
            let other = tokio::spawn({
                let turns = Arc::clone(&turns);
                async move {
                    loop {
                        turns.fetch_add(1, Ordering::Relaxed);
                        yield_now().await;
                    }
                }
            });
            let mut connection = connect(&bob, "flooding").await;
            // Nothing is waited for but messages, so only what gives its turn away lets the other run.
            turns.store(0, Ordering::Relaxed);
            for number in 0..NUMBERS {
                let received = connection.recv().await.unwrap();
                assert_eq!(received, number.to_le_bytes());
            }
            let turns = turns.load(Ordering::Relaxed);
            assert!(turns >= NUMBERS / 1000, "only {turns} turns");
            other.abort();
        });
    });
}
