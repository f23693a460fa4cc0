// SPDX-License-Identifier: MIT OR Apache-2.0
//! Members of both kinds that come, go, die and return.

use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::{Broken, EventKind, Format, Introduction, Member, Name, Region};
use ivshmem_host::channel::RecvError;
use ivshmem_host::mapping::Mapping;

use crate::exchange::{check_echo, end, join, region, PATIENT};
use crate::lab::{member, message, LIMIT, RING_LOG2};
use crate::program::Program;

/// The program is killed and started again: it has its slot back, and this side is told.
pub fn killed(program: &Program) {
    let file = region(1 << 18);
    let limit = Duration::from_millis(300);
    let alice = member("alice").limit(limit).join_file(file.path()).unwrap();
    let start = || program.start(&["-l", "300"], file.path(), "carl");
    let mut running = start();
    for life in 1..=2 {
        assert_eq!(running.line(), format!("member 1 {life}"));
        let mut connection = alice.connect("carl", LIMIT).unwrap();
        check_echo(&mut connection, [message(1, 10_000)]);
        connection.send(&message(2, 100_000), LIMIT).unwrap();
        running.kill();
        // What it had sent is received, in part, and then there is an error.
        let start_of_wait = Instant::now();
        while connection.recv(LIMIT) != Err(RecvError::PeerDied) {
            assert!(start_of_wait.elapsed() < LIMIT);
        }
        running = start();
        while connection.recv(LIMIT) != Err(RecvError::Broken(Broken::PeerRestarted)) {
            assert!(start_of_wait.elapsed() < LIMIT);
            thread::sleep(Duration::from_millis(1));
        }
    }
    let mut connection = alice.connect("carl", LIMIT).unwrap();
    check_echo(&mut connection, [message(3, 10_000)]);
    end(&mut connection, &mut running);
    let event = || alice.next_event(LIMIT).unwrap().expect("news");
    while event().kind != EventKind::Left {}
}

/// A member that beats only when it is told to.
fn puppet<'m>(region: Region<'m>, name: &str) -> Member<'m> {
    let start = Instant::now();
    let mut joining = region.join(Introduction {
        name: Name::new(name),
        device: None,
        vectors: 0,
        limit: 100,
    });
    loop {
        if let Poll::Ready(member) = joining.poll(start.elapsed().as_millis() as u64) {
            return member.unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The program sees every kind of event.
pub fn events(program: &Program) {
    let file = region(1 << 18);
    let format = format!("4:{RING_LOG2}");
    let arguments = ["-l", "400", "-f", &format];
    let running = program.start(&arguments, file.path(), "carl");
    assert_eq!(running.line(), "member 0 1");
    let mapping = Mapping::of(file.as_file()).unwrap();
    let region = Region::open(mapping.memory()).unwrap();

    let mut first = puppet(region, "puppet");
    assert_eq!(running.line(), "joined 1 1 puppet");
    assert_eq!(running.line(), "died 1 1 puppet");
    first.poll_event(0).unwrap();
    assert_eq!(running.line(), "joined 1 1 puppet");
    assert_eq!(running.line(), "died 1 1 puppet");
    let _second = puppet(region, "puppet");
    // The connection to the first is found broken, before or after.
    let of_others = |name: &str| loop {
        let line = running.line();
        if !line.starts_with("broken") && !line.ends_with(name) {
            break line;
        }
    };
    assert_eq!(of_others("nobody"), "restarted 1 2 puppet");
    // Of the puppet nothing matters from now on.
    let limit = Duration::from_millis(400);
    let lena = member("lena").limit(limit).join_file(file.path());
    assert_eq!(of_others("puppet"), "joined 2 1 lena");
    drop(lena);
    assert_eq!(of_others("puppet"), "left 2 1 lena");
}

/// A region that is formatted anew evicts the program, which joins again.
pub fn evicted(program: &Program) {
    let file = region(1 << 18);
    let alice = join(file.path(), "alice");
    let mut running = program.start(&PATIENT, file.path(), "carl");
    let mut connection = alice.connect("carl", LIMIT).unwrap();
    check_echo(&mut connection, [message(1, 100)]);
    let mapping = Mapping::of(file.as_file()).unwrap();
    let format = Format {
        slots: 3,
        ring_log2: Some(RING_LOG2),
    };
    Region::format_anew(mapping.memory(), &format).unwrap();
    drop((alice, connection));
    let alice = join(file.path(), "alice");
    let mut connection = alice.connect("carl", LIMIT).unwrap();
    check_echo(&mut connection, [message(1, 100)]);
    end(&mut connection, &mut running);
}
