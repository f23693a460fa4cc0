// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command when file descriptors are short, and what it does with those it has.

use std::fs;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use crate::common::{eventually, shape, RawClient, LIMIT};
use crate::process::Running;
use ivshmem_host::peer::{ConnectError, Peer, ReceiveError};
use ivshmem_host::protocol::ProtocolError;

#[test]
fn too_few_descriptors_are_refused_at_the_start() {
    let mut command = Running::start("ulimit -n 60", 16, &[]);
    assert_eq!(
        command.line(),
        "ivshmem: too few file descriptors: 2 clients with 16 vectors need 61, \
         the limit is 60 (raise it with ulimit -n)"
    );
    assert_eq!(command.child.wait().unwrap().code(), Some(2));
    assert_eq!(fs::read_dir(command.directory.path()).unwrap().count(), 0);
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let command = Running::start("ulimit -Sn 30; ulimit -Hn 111", 9, &[]);
    let line = command.line();
    assert!(
        line.ends_with("at most 8 clients (by the limit of 111 open files)"),
        "{line}"
    );
}

#[test]
fn the_most_clients_asked_for_are_admitted_or_refused_at_the_start_with_the_numbers() {
    let command = Running::start("ulimit -n 100", 9, &["--max-peers", "3"]);
    let line = command.line();
    assert!(line.ends_with("at most 3 clients (as asked for)"), "{line}");
    let _clients: Vec<Peer> = (0..3).map(|_| command.join()).collect();
    assert!(Peer::connect_within(&command.socket, LIMIT).is_err());

    let mut command = Running::start("ulimit -n 100", 9, &["--max-peers", "9"]);
    assert_eq!(
        command.line(),
        "ivshmem: too few file descriptors: 9 clients with 9 vectors need 117, \
         the limit is 100 (raise it with ulimit -n)"
    );
    assert_eq!(command.child.wait().unwrap().code(), Some(2));
}

#[test]
fn one_client_too_many_is_refused_and_let_in_when_there_is_room() {
    let command = Running::start("ulimit -n 43", 2, &[]);
    assert!(command.line().contains(", at most 2 clients ("));
    let first = command.join();
    let _second = command.join();
    command.line();
    command.line();
    let third = RawClient::connect(&command.socket);
    // Not a version: QEMU ends with an error, where an end without a word would make it spin.
    assert_eq!(shape(&third.receive_many(1)), [(-1, false)]);
    assert!(third.receive().is_none());
    let refused = "2 are connected, which is the limit";
    assert!(command.line().ends_with(refused));
    assert_eq!(
        Peer::connect_within(&command.socket, LIMIT).unwrap_err(),
        ConnectError::Receive(ReceiveError::Protocol(ProtocolError::Refused))
    );
    assert!(command.line().ends_with(refused));
    drop(first);
    assert_eq!(command.line(), "ivshmem: peer 0 left, 1 connected");
    assert_eq!(command.join().id().unwrap().0, 2);
}

#[test]
fn without_descriptors_clients_wait_and_nothing_breaks() {
    let command = Running::start(":", 2, &[]);
    command.line();
    let mut first = command.join();
    command.line();
    // The system gives out the lowest number that is free, if it is below the limit.
    let open = command.descriptors();
    let mut free = (0..).filter(|number| !open.contains(number));
    let (none, one) = (free.next().unwrap(), free.next().unwrap());
    let usual = command.limit_descriptors(none);
    let waiting = RawClient::connect(&command.socket);
    let line =
        "ivshmem: cannot accept a connection, will try again: Too many open files (os error 24)";
    assert_eq!(command.line(), line);
    let again = command.log.recv_timeout(Duration::from_millis(100));
    assert_eq!(
        again,
        Err(RecvTimeoutError::Timeout),
        "said once, not at each attempt"
    );

    // Room for the connection but not for the eventfds.
    command.limit_descriptors(one);
    assert_eq!(shape(&waiting.receive_many(1)), [(-1, false)]);
    let refused = command.line();
    assert!(
        refused.contains("no eventfd for it: Too many open files"),
        "{refused}"
    );

    command.limit_descriptors(none);
    let path = command.socket.clone();
    let late = thread::spawn(move || Peer::connect_within(path, LIMIT).unwrap());
    assert_eq!(command.line(), line);
    command.limit_descriptors(usual);
    let late = late.join().unwrap();
    assert!(first
        .wait_until(LIMIT, |p| p.vectors_of(late.id().unwrap()).is_some())
        .unwrap());
    assert_eq!(late.id().unwrap().0, 1, "a refused client uses up no ID");
}

#[test]
fn no_descriptor_is_left_of_clients_that_are_gone() {
    let command = Running::start(":", 2, &[]);
    command.line();
    let _watcher = command.join();
    command.line();
    let before = command.descriptors();
    let sleeper = RawClient::connect(&command.socket);
    for round in 0..200 {
        let client = RawClient::connect(&command.socket);
        client.receive_many(round % 6);
    }
    drop(sleeper);
    eventually("the descriptors are back", || {
        command.descriptors() == before
    });
}
