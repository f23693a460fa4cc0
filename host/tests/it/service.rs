// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command under a service manager that is this test: sockets handed down, and what it is told.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;

use crate::common::{RawClient, LIMIT};
use crate::process::{command, names, socket_in, Running};
use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{kill_process, Signal};

/// Starts the command with `sockets` from descriptor 3 on, as systemd does.
fn hand_down(sockets: Vec<OwnedFd>, setting: &str) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let set = format!(
        "{setting}; export LISTEN_PID=$$ LISTEN_FDS={}",
        sockets.len()
    );
    let mut command = command(&socket_in(&directory), &set, 1, &[]);
    let mappings = sockets.into_iter().zip(3..);
    let mappings = mappings.map(|(parent_fd, child_fd)| FdMapping {
        parent_fd,
        child_fd,
    });
    command.fd_mappings(mappings.collect()).unwrap();
    Running::spawn(directory, &mut command)
}

#[test]
fn the_socket_that_is_handed_down_is_the_one_that_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let early = RawClient::connect(&path);
    let mut command = hand_down(vec![listener.into()], ":");
    let line = command.line();
    let start = format!("ivshmem: listening at {}: ", path.display());
    assert!(line.starts_with(&start), "{line}");
    assert_eq!(early.receive().unwrap().0, 0);
    assert!(!command.socket.exists(), "no other is made");
    kill_process(command.pid(), Signal::TERM).unwrap();
    assert!(command.child.wait().unwrap().success());
    assert_eq!(names(folder.path()), ["theirs.sock"]);
}

#[test]
fn what_cannot_be_served_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let socket = |name: &str| UnixListener::bind(folder.path().join(name)).unwrap();
    let datagrams = UnixDatagram::bind(folder.path().join("c")).unwrap();
    for (sockets, what) in [
        (
            vec![socket("a").into(), socket("b").into()],
            "2 sockets were handed down",
        ),
        (
            vec![datagrams.into()],
            "the socket that was handed down (LISTEN_FDS) cannot be served",
        ),
    ] {
        let mut command = hand_down(sockets, ":");
        let line = command.line();
        assert!(line.starts_with(&format!("ivshmem: {what}")), "{line}");
        assert_eq!(command.child.wait().unwrap().code(), Some(2));
    }
}

#[test]
fn a_socket_that_is_said_to_be_there_and_is_not_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let setting = "exec 3<&-; export LISTEN_PID=$$ LISTEN_FDS=1";
    let mut command = command(&socket_in(&directory), setting, 1, &[]);
    let mut command = Running::spawn(directory, &mut command);
    let line = command.line();
    let start = "ivshmem: the socket that was handed down (LISTEN_FDS) cannot be served: ";
    assert!(line.starts_with(start), "{line}");
    assert_eq!(command.child.wait().unwrap().code(), Some(2));
}

#[test]
fn sockets_that_are_meant_for_another_process_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let setting = "export LISTEN_PID=1 LISTEN_FDS=1";
    let mut command = command(&socket_in(&directory), setting, 1, &[]);
    let command = Running::spawn(directory, &mut command);
    command.line();
    assert_eq!(command.join().id().unwrap().0, 0);
}

/// Receives what the service manager is told next, a line each.
fn told(manager: &UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 4096];
    let length = manager.recv(&mut bytes).unwrap();
    let text = std::str::from_utf8(&bytes[..length]).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A service manager's socket, and the setting of the environment that names it.
fn manager() -> (tempfile::TempDir, UnixDatagram, String) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let setting = format!("export NOTIFY_SOCKET={}", path.display());
    (folder, socket, setting)
}

#[test]
fn readiness_status_and_the_end_are_told() {
    let (_folder, manager, setting) = manager();
    let mut command = Running::start(&setting, 1, &[]);
    assert_eq!(told(&manager), ["READY=1", "STATUS=0 clients"]);
    let client = command.join();
    assert_eq!(told(&manager), ["STATUS=1 client"]);
    // Told at most once a second, but the last word is true.
    let others: Vec<_> = (0..20).map(|_| command.join()).collect();
    while told(&manager) != ["STATUS=21 clients"] {}
    drop((client, others));
    while told(&manager) != ["STATUS=0 clients"] {}
    kill_process(command.pid(), Signal::TERM).unwrap();
    assert_eq!(told(&manager), ["STOPPING=1", "STATUS=stopping"]);
    assert!(command.child.wait().unwrap().success());
}

#[test]
fn the_watchdog_is_fed_as_often_as_it_asks_for_and_only_by_a_loop_that_runs() {
    let (_folder, manager, setting) = manager();
    let setting = format!("{setting} WATCHDOG_USEC=300000 WATCHDOG_PID=$$");
    let command = Running::start(&setting, 1, &[]);
    assert_eq!(told(&manager)[0], "READY=1");
    for _ in 0..3 {
        assert_eq!(told(&manager), ["WATCHDOG=1"]);
    }
    drop(command);

    // Not asked for by this process's manager.
    let (_folder, manager, setting) = self::manager();
    let setting = format!("{setting} WATCHDOG_USEC=1000 WATCHDOG_PID=1");
    let command = Running::start(&setting, 1, &[]);
    assert_eq!(told(&manager)[0], "READY=1");
    let _client = command.join();
    assert_eq!(told(&manager), ["STATUS=1 client"]);
}

#[test]
fn a_manager_that_does_not_listen_holds_up_nobody() {
    let (folder, manager, setting) = manager();
    let mut command = Running::start(&setting, 1, &[]);
    assert_eq!(told(&manager)[0], "READY=1");
    command.line();
    // Gone, and what takes its place is never read.
    fs::remove_file(folder.path().join("notify")).unwrap();
    for _ in 0..100 {
        command.join();
    }
    kill_process(command.pid(), Signal::TERM).unwrap();
    assert!(command.child.wait().unwrap().success());

    let mut command = Running::start("export NOTIFY_SOCKET=/nowhere/notify", 1, &[]);
    command.line();
    let line = command.line();
    assert!(
        line.starts_with("ivshmem: cannot tell the service manager (NOTIFY_SOCKET): "),
        "{line}"
    );
    assert_eq!(command.join().id().unwrap().0, 0);
    kill_process(command.pid(), Signal::TERM).unwrap();
    assert!(command.child.wait().unwrap().success());
}
