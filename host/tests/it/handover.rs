// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server that is handed over, as its clients see it: nothing happens.

use std::io::Read;
use std::os::unix::net::UnixStream;

use crate::common::{counter, ring, shape, RawClient, LIMIT};
use crate::lineage::Lineage;
use crate::receive::receive;
use crate::witness::{Attached, Heard, Witness};
use ivshmem_host::admin::Admin;
use rustix::io::Errno;
use rustix::net::RecvFlags;

/// A client that checks each message against the rules of the protocol.
struct Checked {
    stream: UnixStream,
    witness: Witness,
}

impl Checked {
    fn connect(lineage: &Lineage, vectors: u16) -> Self {
        let stream = RawClient::connect(&lineage.first.socket).stream;
        let witness = Witness::new(vectors);
        Self { stream, witness }
    }

    /// Hears what there is, but at most `most` messages.
    fn hear(&mut self, most: usize) {
        for _ in 0..most {
            match receive(&self.stream, RecvFlags::DONTWAIT) {
                Ok(Some((number, attached))) => drop(self.take(number, attached)),
                Ok(None) => panic!("the connection was closed"),
                Err(error) => {
                    assert_eq!(error, Errno::AGAIN);
                    return;
                }
            }
        }
    }

    /// Hears until this client itself has all that there is to hear for a newcomer, and returns its ID.
    fn hear_greeting(&mut self) -> u16 {
        let mut own = None;
        loop {
            match self.next() {
                Heard::OwnId(id) => own = Some(id),
                Heard::Joined(id) if own == Some(id) => return id,
                _ => {}
            }
        }
    }

    /// Hears until `last` has joined, which is the latest news, and sees that `count` are there.
    fn hear_until(&mut self, last: u16, count: usize) {
        while self.next() != Heard::Joined(last) {}
        let more = receive(&self.stream, RecvFlags::DONTWAIT);
        assert!(matches!(more, Err(Errno::AGAIN)), "{more:?}");
        let heard = (self.witness.joined(), self.witness.incomplete());
        assert_eq!(heard, (count, 0));
    }

    fn next(&mut self) -> Heard {
        let message = receive(&self.stream, RecvFlags::empty()).expect("a message in time");
        let (number, attached) = message.expect("the connection is open");
        self.take(number, attached)
    }

    fn take(&mut self, number: i64, attached: Attached) -> Heard {
        match self.witness.hear(number, attached) {
            Ok(heard) => heard,
            Err(breach) => panic!("{breach}"),
        }
    }
}

#[test]
fn clients_before_during_and_after_see_one_server() {
    let mut lineage = Lineage::start(2, &[]);
    let socket = lineage.first.socket.clone();
    let reader = RawClient::connect(&socket);
    let reader_told = reader.receive_many(5);
    let sleeper = RawClient::connect(&socket);
    // Half a greeting is delivered: the version and half of the ID.
    let mut half = RawClient::connect(&socket);
    let mut start = [0; 12];
    half.stream.read_exact(&mut start).unwrap();
    assert_eq!(start, [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
    // News enough to fill the buffer of the one that sleeps.
    let told = [(1, true), (1, true), (2, true), (2, true)];
    assert_eq!(shape(&reader.receive_many(4)), told);
    for id in 3..40 {
        let mut guest = Checked::connect(&lineage, 2);
        assert_eq!(guest.hear_greeting(), id);
        drop(guest);
        // One that reads all along hears everything.
        let id = i64::from(id);
        let told = [(id, true), (id, true), (id, false)];
        assert_eq!(shape(&reader.receive_many(3)), told);
        lineage.line_with(&format!("peer {id} left"));
    }
    let before = Admin::of(&socket).status().unwrap();
    assert_eq!((before.peers.len(), before.counters.joined), (3, 40));

    let line = lineage.hand_over();
    assert!(line.contains(", 3 connected, nobody served for "), "{line}");

    let status = Admin::of(&socket).status().unwrap();
    assert_eq!(
        status.pid,
        lineage.pid.as_raw_nonzero().get().unsigned_abs()
    );
    assert_eq!(status.started_unix_seconds, before.started_unix_seconds);
    assert_eq!((status.peers.len(), status.counters.joined), (3, 40));
    assert_eq!(
        status.peers[0].connected_unix_seconds,
        before.peers[0].connected_unix_seconds
    );
    let late = RawClient::connect(&socket);
    let late_told = late.receive_many(3 + 2 * 4);
    let mut expected = vec![(0, false), (40, false), (-1, true)];
    expected.extend([0, 0, 1, 1, 2, 2, 40, 40].map(|id| (id, true)));
    assert_eq!(shape(&late_told), expected);

    assert_eq!(shape(&reader.receive_many(2)), [(40, true), (40, true)]);

    // The rest of the half, and everything that the sleeper has missed.
    let mut rest = [0; 4];
    half.stream.read_exact(&mut rest).unwrap();
    assert_eq!(rest, [0; 4]);
    let mut half = Checked {
        stream: half.stream,
        witness: Witness::new(2),
    };
    half.take(0, Attached::Nothing);
    half.take(2, Attached::Nothing);
    half.hear_until(40, 4);
    let mut sleeper = Checked {
        stream: sleeper.stream,
        witness: Witness::new(2),
    };
    sleeper.hear_until(40, 4);

    // Eventfds and memory of before and of now are the same.
    ring(late_told[3].1.as_ref().unwrap());
    assert_eq!(counter(reader_told[3].1.as_ref().unwrap()), 1);
    let stat = |message: &crate::common::Raw| {
        let stat = rustix::fs::fstat(message.1.as_ref().unwrap()).unwrap();
        (stat.st_dev, stat.st_ino)
    };
    assert_eq!(stat(&late_told[2]), stat(&reader_told[2]));

    drop(late);
    assert_eq!(shape(&reader.receive_many(1)), [(40, false)]);
    lineage.line_with("peer 40 left");
    drop((reader, half, sleeper));
    lineage.line_with("left, 0 connected");
    lineage.end();
}

#[test]
fn two_hundred_handovers_are_as_none() {
    const VECTORS: u16 = 3;
    let mut lineage = Lineage::start(VECTORS, &[]);
    let empty = lineage.descriptors().len();
    let mut random = 1_u32;
    let mut below = move |limit: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as usize % limit
    };
    let mut clients: Vec<Checked> = Vec::new();
    for _ in 0..200 {
        for _ in 0..below(4) {
            clients.push(Checked::connect(&lineage, VECTORS));
        }
        for _ in 0..below(4) {
            if clients.len() > 1 {
                clients.swap_remove(below(clients.len()));
            }
        }
        // Some read, some do not, and some only a little.
        for client in &mut clients {
            client.hear([0, 0, 1, 5, usize::MAX][below(5)]);
        }
        lineage.hand_over();
    }
    let socket = lineage.first.socket.clone();
    let connected = || Admin::of(&socket).status().unwrap().peers.len();
    crate::common::eventually("those who have left are gone", || {
        connected() == clients.len()
    });
    let mut last = Checked::connect(&lineage, VECTORS);
    let last_id = last.hear_greeting();
    let count = clients.len() + 1;
    for client in &mut clients {
        client.hear_until(last_id, count);
    }
    clients.push(last);
    let each = 1 + usize::from(VECTORS);
    assert_eq!(lineage.descriptors().len(), empty + count * each);
    drop(clients);
    crate::common::eventually("the descriptors are back", || {
        lineage.descriptors().len() == empty
    });
    lineage.end();
}

#[test]
fn rings_and_channels_go_on_across_a_handover() {
    let mut lineage = Lineage::start(2, &[]);
    let mut a = lineage.first.join();
    let b = lineage.first.join();
    let (id_a, id_b) = (a.id().unwrap(), b.id().unwrap());
    assert!(a
        .wait_until(LIMIT, |a| a.vectors_of(id_b) == Some(2) && a.vectors() == 2)
        .unwrap());
    let zero = ivshmem::VectorIndex(0);
    for round in 0_u16..5 {
        b.ring(id_a, zero).unwrap();
        lineage.hand_over();
        assert!(a.wait(zero, LIMIT).unwrap());
        a.ring(id_b, zero).unwrap();
        assert!(b.wait(zero, LIMIT).unwrap());
        let late = lineage.first.join();
        let id = late.id().unwrap();
        assert_eq!(id.0, round + 2, "no ID is used again");
        assert!(a
            .wait_until(LIMIT, |a| a.vectors_of(id) == Some(2))
            .unwrap());
        drop(late);
        assert!(a.wait_until(LIMIT, |a| a.vectors_of(id).is_none()).unwrap());
    }
}
