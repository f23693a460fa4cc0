// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other process is killed in the middle, or stopped; this one is told, goes on, and meets the next.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use ivshmem::channel::{Broken, Event, EventKind, Name};
use ivshmem_host::channel::{Channels, Connection, RecvError, SendError};
use rustix::process::{kill_process, Pid, Signal};

use crate::child::{spawn, Join, END, NAME, PARENT};
use crate::exchange::check_echo;
use crate::lab::{member, message, server, LIMIT, RING};

const KILLS: u64 = 3;
const DEAD_AFTER: Duration = Duration::from_millis(400);

/// Exchanges messages, kills the child in the middle, and returns why the connection has ended.
fn end_of(connection: &mut Connection, child: &mut Child) -> RecvError {
    let start = Instant::now();
    for number in 0.. {
        if number == 20 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // On a busy machine the child may be taken for dead before it is.
        let is_slow = |error| error == RecvError::PeerDied && number < 20;
        let sent = message(number, 3 * RING);
        loop {
            assert!(start.elapsed() < LIMIT, "the connection goes on");
            let error = match connection.send(&sent, LIMIT) {
                Ok(()) => break,
                Err(SendError::PeerDied) => RecvError::PeerDied,
                Err(SendError::Broken(broken)) => RecvError::Broken(broken),
                Err(error) => panic!("{error}"),
            };
            if !is_slow(error) {
                return error;
            }
        }
        loop {
            match connection.recv(LIMIT) {
                Ok(Some(received)) => break assert!(received == &sent[..]),
                Ok(None) => panic!("neither an answer nor an error"),
                Err(error) if is_slow(error) => assert!(start.elapsed() < LIMIT),
                Err(error) => return error,
            }
        }
    }
    unreachable!("the numbers do not end")
}

/// Returns what has happened to the child until it is there again.
fn fate(parent: &Channels, incarnation: u32) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let event = parent.next_event(LIMIT).unwrap().expect("news");
        assert_eq!(event.name, Name::new(NAME));
        events.push(event);
        if event.kind != EventKind::Died && event.incarnation == incarnation {
            return events;
        }
    }
}

fn kill_again_and_again(parent: &Channels, join: Join, place: &Path) {
    let start = || spawn(join, place, Duration::from_micros(50), DEAD_AFTER);
    let mut child = start();
    for kill in 1..=KILLS {
        let mut connection = parent.connect(NAME, LIMIT).unwrap();
        let joined = fate(parent, kill as u32).pop().expect("an event");
        assert!(matches!(
            joined.kind,
            EventKind::Joined | EventKind::Restarted
        ));

        let error = end_of(&mut connection, &mut child);
        assert_eq!(error, RecvError::PeerDied, "nobody is in its slot yet");
        let peers = parent.peers().unwrap();
        assert_eq!(
            peers.iter().map(|peer| peer.lives).collect::<Vec<_>>(),
            [false]
        );

        // The next one takes over the slot, and the old connection says so.
        child = start();
        let start = Instant::now();
        loop {
            match connection.recv(LIMIT) {
                Err(RecvError::PeerDied) => assert!(start.elapsed() < LIMIT),
                Err(RecvError::Broken(broken)) => {
                    assert_eq!(broken, Broken::PeerRestarted);
                    break;
                }
                other => panic!("{other:?}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let mut connection = parent.connect(NAME, LIMIT).unwrap();
    check_echo(&mut connection, 1);
    connection.send(END, LIMIT).unwrap();
    assert!(child.wait().unwrap().success());
    fate(parent, KILLS as u32 + 1);
    while parent.next_event(LIMIT).unwrap().expect("it has left").kind != EventKind::Left {}
}

pub fn in_the_middle() {
    let (_directory, server) = server(1);
    let options = member(PARENT).limit(DEAD_AFTER);
    let parent = options.join_server(server.socket()).unwrap();
    kill_again_and_again(&parent, Join::Server, server.socket());
}

pub fn in_a_file() {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    file.as_file().set_len(1 << 18).unwrap();
    let parent = member(PARENT).limit(DEAD_AFTER).join_file(file.path());
    kill_again_and_again(&parent.unwrap(), Join::File, file.path());
}

/// One that stands still is taken for dead, and its connection goes on when it does.
pub fn stopped() {
    let (_directory, server) = server(1);
    let options = member(PARENT).limit(DEAD_AFTER);
    let parent = options.join_server(server.socket()).unwrap();
    let spin = Duration::from_micros(50);
    let mut child = spawn(Join::Server, server.socket(), spin, DEAD_AFTER);
    let pid = Pid::from_child(&child);
    let mut connection = parent.connect(NAME, LIMIT).unwrap();
    check_echo(&mut connection, 1);

    kill_process(pid, Signal::STOP).unwrap();
    assert_eq!(connection.recv(LIMIT), Err(RecvError::PeerDied));
    // Into the ring, as long as there is room.
    connection.send(b"are you there?", LIMIT).unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    let start = Instant::now();
    let answer = loop {
        match connection.recv(LIMIT) {
            Err(RecvError::PeerDied) => assert!(start.elapsed() < LIMIT),
            other => break other,
        }
    };
    assert_eq!(answer, Ok(Some(&b"are you there?"[..])));
    connection.send(END, LIMIT).unwrap();
    assert!(child.wait().unwrap().success());
}
