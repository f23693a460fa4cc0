// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting in an event loop, and waiting for long.

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use ivshmem::channel::{EventKind, Wait};
use ivshmem_host::channel::Receiver;
use rustix::event::{poll, PollFd, PollFlags, Timespec};

use crate::lab::{lengths, member, message, pair, server, LIMIT};

fn is_readable(receiver: &Receiver, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).unwrap();
    let mut fds = [PollFd::from_borrowed_fd(receiver.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&limit)).unwrap() > 0
}

/// The descriptor is readable when there is something, and not any more when it has been taken.
pub fn event_loop() {
    let (_directory, server) = server(1);
    let (alice, bob) = pair(&server, Duration::ZERO);
    let mut to_bob = alice.connect("bob", LIMIT).unwrap();
    let mut to_alice = bob.connect("alice", LIMIT).unwrap();
    let receiver = to_alice.receiver();
    assert_eq!(receiver.try_recv(), Ok(None));
    assert_eq!(receiver.arm(), Ok(Wait::UntilRung));
    assert!(!is_readable(receiver, Duration::from_millis(20)));
    to_bob.send(b"one", LIMIT).unwrap();
    assert!(is_readable(receiver, LIMIT));
    assert_eq!(receiver.try_recv(), Ok(Some(&b"one"[..])));
    assert_eq!(receiver.try_recv(), Ok(None));
    assert_eq!(receiver.arm(), Ok(Wait::UntilRung));
    assert!(!is_readable(receiver, Duration::ZERO), "the ring is taken");
    to_bob.send(b"two", LIMIT).unwrap();
    assert_eq!(receiver.arm(), Ok(Wait::Ready), "it has come before");
    assert_eq!(receiver.try_recv(), Ok(Some(&b"two"[..])));

    // Messages of all lengths, with nothing but the loop.
    let messages: Vec<_> = lengths().map(|len| message(7, len)).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for message in &messages {
                to_bob.send(message, LIMIT).unwrap();
            }
        });
        let mut expected = messages.iter();
        let mut next = expected.next();
        while let Some(message) = next {
            if let Some(received) = receiver.try_recv().unwrap() {
                assert!(received == &message[..]);
                next = expected.next();
                continue;
            }
            match receiver.arm().unwrap() {
                Wait::Ready => {}
                Wait::UntilRung => assert!(is_readable(receiver, LIMIT)),
                Wait::Briefly => drop(is_readable(receiver, Duration::from_millis(1))),
            }
        }
    });
}

/// A program that waits for longer than the others' limit in one call lives.
pub fn long() {
    let (_directory, server) = server(1);
    let limit = Duration::from_millis(500);
    let join = |name| {
        member(name)
            .limit(limit)
            .join_server(server.socket())
            .unwrap()
    };
    let (alice, bob) = (join("alice"), join("bob"));
    let mut to_alice = bob.connect("alice", LIMIT).unwrap();
    let joined = bob.next_event(LIMIT).unwrap().expect("alice");
    assert_eq!(joined.kind, EventKind::Joined);
    let mut to_bob = alice.connect("bob", LIMIT).unwrap();
    assert_eq!(to_bob.recv(3 * limit), Ok(None));
    assert_eq!(bob.next_event(Duration::ZERO), Ok(None), "she lives");
    to_bob.send(b"still here", LIMIT).unwrap();
    assert_eq!(to_alice.recv(LIMIT), Ok(Some(&b"still here"[..])));
}
