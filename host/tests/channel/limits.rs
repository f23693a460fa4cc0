// SPDX-License-Identifier: MIT OR Apache-2.0
//! What ends by its time, by its length, or because somebody leaves.

use std::time::{Duration, Instant};

use ivshmem::channel::{self, Broken, Evicted, Format, Name, OpenError};
use ivshmem_host::channel::{ConnectError, JoinError, Options, RecvError, SendError};
use ivshmem_host::peer;

use crate::lab::{member, message, pair, server, LIMIT, RING};

const SHORT: Duration = Duration::from_millis(30);

/// Runs something that must wait for its limit and no longer.
fn waits<T>(what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    let elapsed = start.elapsed();
    assert!((SHORT..LIMIT).contains(&elapsed), "{elapsed:?}");
    result
}

pub fn nothing_comes() {
    let (_directory, server) = server(1);
    for spin in [Duration::ZERO, Duration::from_micros(50), 2 * LIMIT] {
        let (alice, bob) = pair(&server, spin);
        let mut to_bob = alice.connect("bob", LIMIT).unwrap();
        // Whether the other has connected or not.
        assert!(waits(|| to_bob.recv(SHORT).unwrap().is_none()));
        let _to_alice = bob.connect("alice", LIMIT).unwrap();
        assert_eq!(to_bob.recv(Duration::ZERO), Ok(None));
        assert!(
            waits(|| alice.connect("bob", SHORT)).is_err(),
            "once is enough"
        );
    }
    let (alice, _bob) = pair(&server, Duration::ZERO);
    let nobody = ConnectError::NobodyThere {
        name: Name::new("x"),
    };
    assert_eq!(waits(|| alice.connect("x", SHORT)).unwrap_err(), nobody);
    assert!(alice.next_event(Duration::ZERO).unwrap().is_some(), "bob");
    assert_eq!(waits(|| alice.next_event(SHORT)), Ok(None));
}

/// What does not fit in time is not received at all, and the next message is.
pub fn no_room() {
    let (_directory, server) = server(1);
    let (alice, bob) = pair(&server, Duration::from_micros(50));
    let mut to_bob = alice.connect("bob", LIMIT).unwrap();
    let short = message(1, 100);
    let long = message(2, 3 * RING);
    to_bob.send(&short, LIMIT).unwrap();
    assert_eq!(
        waits(|| to_bob.send(&long, SHORT)),
        Err(SendError::TimedOut)
    );
    assert_eq!(to_bob.send(&long, Duration::ZERO), Err(SendError::TimedOut));

    let mut to_alice = bob.connect("alice", LIMIT).unwrap();
    assert_eq!(to_alice.recv(LIMIT).unwrap(), Some(&short[..]));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            to_bob.send(&long, LIMIT).unwrap();
            to_bob.send(&short, LIMIT).unwrap();
        });
        assert!(to_alice.recv(LIMIT).unwrap() == Some(&long[..]));
        assert_eq!(to_alice.recv(LIMIT).unwrap(), Some(&short[..]));
    });
    assert_eq!(to_alice.recv(Duration::ZERO), Ok(None));
}

/// What is longer than accepted is dropped, in one frame or in many, and the next message is received.
pub fn too_long() {
    let (_directory, server) = server(1);
    let alice = member("alice").join_server(server.socket()).unwrap();
    let bob = member("bob").longest(500).join_server(server.socket());
    let bob = bob.unwrap();
    let mut to_bob = alice.connect("bob", LIMIT).unwrap();
    let mut to_alice = bob.connect("alice", LIMIT).unwrap();
    let messages = [500, 501, 499, 3 * RING, 0, 1000, 500].map(|len| message(3, len));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for message in &messages {
                to_bob.send(message, LIMIT).unwrap();
            }
        });
        for message in &messages {
            let received = to_alice.recv(LIMIT);
            if message.len() > 500 {
                assert_eq!(received, Err(RecvError::TooLong { longest: 500 }));
            } else {
                assert!(
                    received == Ok(Some(&message[..])),
                    "{} bytes",
                    message.len()
                );
            }
        }
    });
    assert_eq!(to_alice.recv(Duration::ZERO), Ok(None));
}

/// Who leaves is gone at once, after what it had sent; and its own connections know.
pub fn leaving() {
    let (_directory, server) = server(1);
    let (alice, bob) = pair(&server, Duration::from_micros(50));
    let mut to_bob = alice.connect("bob", LIMIT).unwrap();
    let mut to_alice = bob.connect("alice", LIMIT).unwrap();
    to_bob.send(b"goodbye", LIMIT).unwrap();
    drop(alice);
    assert_eq!(to_alice.recv(LIMIT), Ok(Some(&b"goodbye"[..])));
    assert_eq!(
        to_alice.recv(LIMIT),
        Err(RecvError::Broken(Broken::PeerGone))
    );
    // There is room in the ring for some that nobody will receive.
    let end = (0..RING).find_map(|_| to_alice.send(b"?", LIMIT).err());
    assert_eq!(end, Some(SendError::Broken(Broken::PeerGone)));
    // The memory is there as long as anybody uses it.
    assert_eq!(to_bob.recv(LIMIT), Err(RecvError::Broken(Broken::Evicted)));

    // Formatting anew takes everybody's slot, and no wait goes on.
    let anew = Format {
        slots: 2,
        ring_log2: None,
    };
    let peer = peer::Peer::connect(server.socket()).unwrap();
    channel::Region::format_anew(peer.memory(), &anew).unwrap();
    assert_eq!(
        to_alice.recv(LIMIT),
        Err(RecvError::Broken(Broken::PeerGone)),
        "once and for all"
    );
    while bob.next_event(LIMIT).is_ok() {}
    assert_eq!(bob.peers(), Err(Evicted));
    assert_eq!(
        bob.connect("alice", LIMIT).unwrap_err(),
        ConnectError::Evicted
    );
}

/// Every reason why one cannot join.
pub fn joining() {
    let (directory, server) = server(1);
    let absent = directory.path().join("absent");
    let join = |options: Options| options.join_server(server.socket()).map(drop);
    assert!(matches!(
        member("a").join_server(&absent),
        Err(JoinError::Server(_))
    ));
    assert!(matches!(
        member("a").join_file(&absent),
        Err(JoinError::File { .. })
    ));
    let empty = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(
        member("a").join_file(empty.path()),
        Err(JoinError::Memory(_))
    ));
    assert_eq!(
        join(member("a").format(None)),
        Err(JoinError::Region(OpenError::NotFormatted))
    );
    let two = Format {
        slots: 2,
        ring_log2: None,
    };
    let limit = Duration::from_millis(300);
    let two = |name| member(name).format(Some(two)).limit(limit);
    let _both = ["a", "b"].map(|name| two(name).join_server(server.socket()).unwrap());
    assert_eq!(
        join(two("c")),
        Err(JoinError::Member(channel::JoinError::Full { slots: 2 }))
    );
}
