// SPDX-License-Identifier: MIT OR Apache-2.0
//! Channels of host processes whose server is killed or ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{eventually, LIMIT};
use crate::process::Running;
use ivshmem::channel::{Broken, Format};
use ivshmem::PeerId;
use ivshmem_host::channel::{Attachment, Channels, Connection, Options, RecvError};
use rustix::process::{kill_process, Signal};
use tempfile::TempDir;

/// Nobody counts as dead within it, and a lost doorbell costs an eighth of it: then a test fails by its own time.
const PATIENT: Duration = Duration::from_secs(240);

/// A server whose memory is a file.
struct Lab {
    server: Running,
    more: [String; 2],
    _folder: TempDir,
}

impl Lab {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory");
        let more = ["--shm-file".to_owned(), file.to_str().unwrap().to_owned()];
        let server = Running::start(":", 2, &[&more[0], &more[1]]);
        server.line();
        Self {
            server,
            more,
            _folder: folder,
        }
    }

    fn restart(&mut self) {
        self.server.restart(2, &[&self.more[0], &self.more[1]]);
    }

    /// A member that never polls: nothing but doorbells wakes it in time.
    fn member(&self, name: &str) -> Channels {
        options(name)
            .limit(PATIENT)
            .spin(Duration::ZERO)
            .join_server(&self.server.socket)
            .unwrap()
    }
}

/// A member of a region that fits into the server's memory.
fn options(name: &str) -> Options {
    Options::new(name).format(Some(Format {
        slots: 4,
        ring_log2: None,
    }))
}

/// Sends messages there and back, each of which wakes the other.
fn ping_pong(here: &mut Connection, there: &mut Connection, rounds: u32) {
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..rounds {
                let message = there.recv(LIMIT).unwrap().unwrap().to_vec();
                there.send(&message, LIMIT).unwrap();
            }
        });
        for round in 0..rounds {
            let message = round.to_le_bytes();
            here.send(&message, LIMIT).unwrap();
            assert_eq!(here.recv(LIMIT).unwrap(), Some(&message[..]));
        }
    });
    assert!(
        start.elapsed() < LIMIT,
        "{:?}: not by doorbells",
        start.elapsed()
    );
}

/// Waits until a member is in the group of a server, as a peer that `wanted` accepts.
fn joined(member: &Channels, wanted: impl Fn(PeerId) -> bool) {
    eventually(
        "the member joins the next server",
        || matches!(member.attachment(), Attachment::Joined(id) if wanted(id)),
    );
}

#[test]
fn channels_outlive_a_killed_server_and_ring_those_who_come_later() {
    let mut lab = Lab::start();
    let (alice, bob) = (lab.member("alice"), lab.member("bob"));
    let mut to_bob = alice.connect("bob", LIMIT).unwrap();
    let mut to_alice = bob.connect("alice", LIMIT).unwrap();
    ping_pong(&mut to_bob, &mut to_alice, 200);
    let slots = [&alice, &bob].map(|member| (member.slot(), member.incarnation()));
    for first_id in [64, 128] {
        lab.server.child.kill().unwrap();
        for member in [&alice, &bob] {
            eventually("the server's end is noticed", || {
                member.attachment() == Attachment::Orphaned
            });
        }
        ping_pong(&mut to_bob, &mut to_alice, 200);
        lab.restart();
        for member in [&alice, &bob] {
            joined(member, |id| id.0 >= first_id);
        }
        ping_pong(&mut to_bob, &mut to_alice, 200);
        ping_pong(&mut to_alice, &mut to_bob, 200);
    }
    assert_eq!(
        [&alice, &bob].map(|member| (member.slot(), member.incarnation())),
        slots
    );

    let carol = lab.member("carol");
    for (member, name) in [(&alice, "alice"), (&bob, "bob")] {
        let mut there = carol.connect(name, LIMIT).unwrap();
        let mut back = member.connect("carol", LIMIT).unwrap();
        ping_pong(&mut there, &mut back, 200);
        ping_pong(&mut back, &mut there, 200);
    }
    ping_pong(&mut to_bob, &mut to_alice, 200);
}

#[test]
fn nothing_is_lost_of_a_stream_while_the_server_is_killed() {
    const MESSAGES: u64 = 200_000;
    let mut lab = Lab::start();
    let (alice, bob) = (lab.member("alice"), lab.member("bob"));
    let mut to_bob = alice.connect("bob", LIMIT).unwrap();
    let mut to_alice = bob.connect("alice", LIMIT).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // At least so many, and until the servers have all been killed.
            let mut number = 0_u64;
            while number < MESSAGES || !over.load(Ordering::Relaxed) {
                to_bob.send(&number.to_le_bytes(), LIMIT).unwrap();
                number += 1;
            }
            to_bob.send(&[], LIMIT).unwrap();
        });
        scope.spawn(|| {
            let mut number = 0_u64;
            loop {
                let message = to_alice.recv(LIMIT).unwrap().expect("the next message");
                if message.is_empty() {
                    break;
                }
                assert_eq!(message, number.to_le_bytes());
                number += 1;
            }
            assert!(number >= MESSAGES);
        });
        for first_id in [64, 128, 192] {
            lab.restart();
            joined(&alice, |id| id.0 >= first_id);
            joined(&bob, |id| id.0 >= first_id);
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn channels_outlive_a_server_that_is_ended_and_whose_ids_begin_anew() {
    let mut lab = Lab::start();
    let (alice, bob) = (lab.member("alice"), lab.member("bob"));
    let mut to_bob = alice.connect("bob", LIMIT).unwrap();
    let mut to_alice = bob.connect("alice", LIMIT).unwrap();
    for _ in 0..5 {
        kill_process(lab.server.pid(), Signal::TERM).unwrap();
        for member in [&alice, &bob] {
            eventually("the server's end is noticed", || {
                member.attachment() == Attachment::Orphaned
            });
        }
        lab.restart();
        joined(&alice, |_| true);
        joined(&bob, |_| true);
        ping_pong(&mut to_bob, &mut to_alice, 200);
        ping_pong(&mut to_alice, &mut to_bob, 200);
    }
}

#[test]
fn other_memory_ends_a_member_and_it_says_why() {
    let mut server = Running::start(":", 2, &[]);
    server.line();
    let join = |name: &str, server: &Running| options(name).join_server(&server.socket).unwrap();
    let (alice, bob) = (join("alice", &server), join("bob", &server));
    let mut to_bob = alice.connect("bob", LIMIT).unwrap();
    let waiting = thread::spawn(move || {
        to_bob
            .recv(LIMIT)
            .map(|message| message.map(<[u8]>::to_vec))
    });
    server.restart(2, &[]);
    for member in [&alice, &bob] {
        eventually("the other memory is noticed", || {
            member.attachment() == Attachment::Superseded
        });
    }
    assert!(alice.attachment().to_string().ends_with("join again"));
    let end = waiting.join().unwrap();
    assert!(
        matches!(
            end,
            Err(RecvError::Broken(Broken::Evicted | Broken::PeerGone))
        ),
        "{end:?}"
    );
    assert!(alice.peers().is_err());

    let (alice, bob) = (join("alice", &server), join("bob", &server));
    let mut to_bob = alice.connect("bob", LIMIT).unwrap();
    let mut to_alice = bob.connect("alice", LIMIT).unwrap();
    ping_pong(&mut to_bob, &mut to_alice, 200);
}
