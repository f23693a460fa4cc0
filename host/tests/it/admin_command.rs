// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem status` as a process: table, JSON, errors.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use crate::common::{ring, RawClient};
use crate::process::{Running, COMMAND};
use ivshmem_host::admin::Status;

fn status(socket: impl AsRef<OsStr>, more: &[&str]) -> Output {
    Command::new(COMMAND)
        .args(["status", "--socket"])
        .arg(socket)
        .args(more)
        .env_remove("IVSHMEM_SOCKET")
        .output()
        .unwrap()
}

/// Returns what the command has printed, after success.
fn text(output: Output) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((stderr.as_str(), output.status.code()), ("", Some(0)));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the one line of a failure, after exit code 2.
fn failure(output: Output) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
    stderr.trim_end().to_owned()
}

#[test]
fn the_table_shows_the_server_and_each_peer_in_100_columns() {
    let server = Running::start(":", 2, &[]);
    server.line();
    let client = RawClient::connect(&server.socket);
    server.line();
    let own = client.receive_own(2);
    ring(&own[1]);
    ring(&own[1]);
    let table = text(status(&server.socket, &[]));
    for line in table.lines().filter(|line| !line.starts_with("socket")) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let lines: Vec<&str> = table.lines().collect();
    let socket = server.socket.to_str().unwrap();
    assert_eq!(lines[0], format!("socket   {socket}"));
    let start = format!("server   process {}, version ", server.child.id());
    assert!(lines[1].starts_with(&start), "{table}");
    assert_eq!(lines[2], "memory   64 KiB, a sealed memfd");
    assert!(lines[3].starts_with("clients  1 of at most "), "{table}");
    assert_eq!(lines[4], "IDs      next 1, 32767 left");
    assert_eq!(
        lines[5..8],
        [
            "so far   1 joined, 0 left, 0 cut off, 0 refused",
            "         5 messages sent, 0 failures to accept a connection",
            ""
        ]
    );
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(lines[8]),
        [
            "ID",
            "CONNECTED",
            "PID",
            "USER",
            "PROCESS",
            "QUEUED",
            "PENDING"
        ]
    );
    let row = words(lines[9]);
    assert_eq!(row[0], "0");
    assert!(row.contains(&std::process::id().to_string()), "{table}");
    assert!(lines[9].contains("0  2 at vector 1"), "{table}");
    assert_eq!(lines.len(), 10);
}

#[test]
fn json_is_the_document_on_one_line() {
    let server = Running::start(":", 2, &[]);
    server.line();
    let _client = server.join();
    let json = text(status(&server.socket, &["--json"]));
    assert_eq!(json.lines().count(), 1);
    let status: Status = serde_json::from_str(&json).unwrap();
    assert_eq!((status.peers.len(), status.pid), (1, server.child.id()));
}

#[test]
fn the_socket_comes_from_the_environment_or_the_usual_place() {
    let server = Running::start(":", 1, &[]);
    server.line();
    let output = Command::new(COMMAND)
        .arg("status")
        .env("IVSHMEM_SOCKET", &server.socket)
        .output()
        .unwrap();
    assert!(text(output).starts_with("socket "));
    let help = text(
        Command::new(COMMAND)
            .args(["status", "--help"])
            .output()
            .unwrap(),
    );
    for part in [
        "[env: IVSHMEM_SOCKET]",
        "[default: /run/ivshmem/ivshmem.sock]",
        "Exit status: 0 if the server answered, 2 if not.",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
}

#[test]
fn an_admin_socket_elsewhere_is_asked_there() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("admin");
    let server = Running::start(":", 1, &["--admin", path.to_str().unwrap()]);
    server.line();
    let line = failure(status(&server.socket, &[]));
    assert!(line.contains("has no admin socket beside it"), "{line}");
    let table = text(status("unused", &["--admin", path.to_str().unwrap()]));
    assert!(table.contains("64 KiB"), "{table}");
}

#[test]
fn a_server_without_an_admin_socket_answers_nobody() {
    let server = Running::start(":", 1, &["--no-admin"]);
    server.line();
    let line = failure(status(&server.socket, &[]));
    assert!(line.contains("has no admin socket beside it"), "{line}");
    assert_eq!(server.join().id(), Some(ivshmem::PeerId(0)));
}

#[test]
fn errors_are_one_line_and_exit_code_2() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none");
    let line = failure(status(&socket, &[]));
    assert_eq!(
        line,
        format!(
            "ivshmem: no server listens at {}: start one with `ivshmem server`, or name its socket",
            socket.display()
        )
    );
    for (more, message) in [
        (
            &["--watch", "0"][..],
            "not a number of seconds from 0.1 to 86400",
        ),
        (
            &["--watch", "-1"],
            "invalid value '-1' for '--watch <SECONDS>'",
        ),
        (&["extra"], "unexpected argument 'extra'"),
    ] {
        let line = failure(status(&socket, more));
        assert!(line.contains(message), "{line}");
    }
    let both = [
        "server",
        "--size=4K",
        "--vectors=1",
        "--admin=x",
        "--no-admin",
    ];
    let line = failure(Command::new(COMMAND).args(both).output().unwrap());
    assert!(line.contains("cannot be used with"), "{line}");
}

#[test]
fn watching_repeats_until_nobody_reads() {
    let server = Running::start(":", 1, &[]);
    server.line();
    let mut watch = Command::new(COMMAND)
        .args(["status", "--json", "--watch=1", "--socket"])
        .arg(&server.socket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        assert!(serde_json::from_str::<Status>(&line).is_ok(), "{line}");
    }
    drop(lines);
    assert_eq!(watch.wait().unwrap().code(), Some(0), "it ends quietly");
}

#[test]
fn a_full_disk_is_an_error() {
    let server = Running::start(":", 1, &[]);
    server.line();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = Command::new(COMMAND)
        .args(["status", "--socket"])
        .arg(&server.socket)
        .stdout(full)
        .output()
        .unwrap();
    let line = failure(output);
    assert!(
        line.starts_with("ivshmem: cannot write to stdout: "),
        "{line}"
    );
}

#[test]
fn whoever_may_not_connect_is_told_what_to_do() {
    let server = Running::start(":", 1, &["--mode=0"]);
    server.line();
    fs::set_permissions(server.directory.path(), Permissions::from_mode(0o755)).unwrap();
    // Root may connect to everything, so it becomes somebody else.
    let mut command = if rustix::process::getuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", COMMAND]);
        command
    } else {
        Command::new(COMMAND)
    };
    let output = command
        .args(["status", "--socket"])
        .arg(&server.socket)
        .output()
        .unwrap();
    assert_eq!(
        failure(output),
        format!(
            "ivshmem: may not connect to {}.admin: be its owner or of its group, or have the server started with \
             another mode or group",
            server.socket.display()
        )
    );
}
