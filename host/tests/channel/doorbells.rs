// SPDX-License-Identifier: MIT OR Apache-2.0
//! When doorbells are rung, and what becomes of those that nobody should have rung.

use std::os::fd::OwnedFd;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::{Format, Introduction, Joining, Name, Region, Wait};
use ivshmem::VectorIndex;
use ivshmem_host::channel::{Channels, Connection};
use ivshmem_host::peer::Peer;
use ivshmem_host::server::RunningServer;
use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};

use crate::common::{counter, RawClient};
use crate::lab::{member, pair, server, LIMIT};

/// Joins as a third, who sees all vectors: those of the first two.
fn spy(server: &RunningServer) -> (RawClient, [OwnedFd; 2]) {
    let client = RawClient::connect(server.socket());
    let messages = client.receive_many(6);
    let mut vectors = messages.into_iter().skip(3).filter_map(|(_, fd)| fd);
    let mut next = || vectors.next().expect("a vector");
    let vectors = [next(), next()];
    (client, vectors)
}

fn connect(alice: &Channels, bob: &Channels) -> (Connection, Connection) {
    let to_bob = alice.connect("bob", LIMIT).unwrap();
    let to_alice = bob.connect("alice", LIMIT).unwrap();
    (to_bob, to_alice)
}

/// Sends messages there and back.
fn ping_pong(there: &mut Connection, back: &mut Connection, rounds: u32) {
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                let message = back.recv(LIMIT).unwrap().expect("a message").to_vec();
                assert_eq!(message, round.to_le_bytes());
                back.send(&message, LIMIT).unwrap();
            }
        });
        for round in 0..rounds {
            there.send(&round.to_le_bytes(), LIMIT).unwrap();
            let message = there.recv(LIMIT).unwrap().expect("an answer");
            assert_eq!(message, round.to_le_bytes());
        }
    });
}

fn joining<'p>(peer: &'p Peer, name: &str) -> Joining<'p> {
    let region = Region::open_or_format(peer.memory(), &Format::default()).unwrap();
    region.join(Introduction {
        name: Name::new(name),
        device: peer.id(),
        vectors: 1,
        limit: 1,
    })
}

/// A peer is a doorbell for the guest crate's own channels, as long as these borrow it.
pub fn borrowed() {
    let (_directory, server) = server(1);
    let connect = || Peer::connect_within(server.socket(), LIMIT).unwrap();
    let (mut alice, mut bob) = (connect(), connect());
    for peer in [&mut alice, &mut bob] {
        assert!(peer
            .wait_until(LIMIT, |peer| peer.peers().count() == 1)
            .unwrap());
    }
    let (mut first, mut second) = (joining(&alice, "alice"), joining(&bob, "bob"));
    let (Poll::Ready(Ok(mut first)), Poll::Ready(Ok(mut second))) = (first.poll(0), second.poll(0))
    else {
        panic!("the region is new");
    };
    let mut to_bob = first.connect(second.slot(), &alice).unwrap();
    let mut to_alice = second.connect(first.slot(), &bob).unwrap();
    assert_eq!(to_alice.receiver().arm(), Ok(Wait::UntilRung));
    assert_eq!(bob.wait(VectorIndex(0), Duration::ZERO), Ok(false));
    to_bob.sender().try_send(b"hello").unwrap();
    assert_eq!(bob.wait(VectorIndex(0), LIMIT), Ok(true));
}

/// Who polls is never rung; who sleeps is, which shows that this counts.
pub fn polling() {
    const ROUNDS: u32 = 500;
    let (_directory, server) = server(1);
    let (alice, bob) = pair(&server, LIMIT);
    let (_client, vectors) = spy(&server);
    let (mut to_bob, mut to_alice) = connect(&alice, &bob);
    ping_pong(&mut to_bob, &mut to_alice, ROUNDS);
    assert_eq!(vectors.each_ref().map(counter), [0, 0], "nobody was rung");
    // The same connection, from then on asleep: each is rung, and each ring is counted.
    let before = [&alice, &bob].map(|member| member.doorbells().rung());
    for connection in [&mut to_bob, &mut to_alice] {
        connection.set_spin(Duration::ZERO);
    }
    ping_pong(&mut to_bob, &mut to_alice, ROUNDS);
    // The spy's vectors are in the order of the IDs, and who rings is not who is rung.
    let rung = vectors.each_ref().map(counter);
    let after = [&bob, &alice].map(|member| member.doorbells().rung());
    assert_eq!([after[0] - before[1], after[1] - before[0]], rung);
    assert!(rung.iter().all(|&count| count > 0), "{rung:?}");

    let join = |name| {
        member(name)
            .spin(Duration::ZERO)
            .join_server(server.socket())
    };
    let (carol, dave) = (join("carol").unwrap(), join("dave").unwrap());
    let mut to_dave = carol.connect("dave", LIMIT).unwrap();
    let mut to_carol = dave.connect("carol", LIMIT).unwrap();
    let spied = RawClient::connect(server.socket()).receive_many(8);
    let vectors = [&spied[6], &spied[7]].map(|(_, fd)| fd.as_ref().expect("a vector"));
    ping_pong(&mut to_dave, &mut to_carol, ROUNDS);
    for count in vectors.map(counter) {
        assert!(
            (1..=u64::from(ROUNDS)).contains(&count),
            "at most one ring for each message: {count}"
        );
    }
}

/// A third one fills the counters and makes them block: rings and waits keep their time all the same.
pub fn full_counter() {
    let (_directory, server) = server(1);
    let limit = Duration::from_millis(400);
    let join = |name| {
        let options = member(name).spin(Duration::ZERO).limit(limit);
        options.join_server(server.socket()).unwrap()
    };
    let (alice, bob) = (join("alice"), join("bob"));
    let (_client, vectors) = spy(&server);
    let (mut to_bob, mut to_alice) = connect(&alice, &bob);
    for vector in &vectors {
        let flags = fcntl_getfl(vector).unwrap();
        fcntl_setfl(vector, flags - OFlags::NONBLOCK).unwrap();
        rustix::io::write(vector, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    }
    ping_pong(&mut to_bob, &mut to_alice, 50);
    let start = Instant::now();
    assert_eq!(to_bob.recv(Duration::from_millis(100)), Ok(None));
    assert!(start.elapsed() < LIMIT, "blocking descriptors block nobody");
}

/// Several threads of a process wait for one vector, and none takes another's ring: a lost one would cost as much
/// as a heartbeat here, which is longer than the limit.
pub fn shared_vector() {
    const ROUNDS: u32 = 300;
    let (_directory, server) = server(1);
    let heartbeat = 8 * 2 * LIMIT;
    let join = |name| {
        let options = member(name).spin(Duration::ZERO).limit(heartbeat);
        options.join_server(server.socket()).unwrap()
    };
    let (alice, bob, carol) = (join("alice"), join("bob"), join("carol"));
    let mut pairs = [&bob, &carol].map(|other| {
        let name = if other.slot() == bob.slot() {
            "bob"
        } else {
            "carol"
        };
        let there = alice.connect(name, LIMIT).unwrap();
        (there, other.connect("alice", LIMIT).unwrap())
    });
    thread::scope(|scope| {
        for (there, back) in &mut pairs {
            scope.spawn(|| ping_pong(there, back, ROUNDS));
        }
    });
}
