// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log of `ivshmem server`: as JSON, and with only what is wrong.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::{RawClient, LIMIT};
use crate::process::Running;
use ivshmem_host::peer::Peer;
use rustix::process::{kill_process, Signal};
use serde_json::{json, Value};

/// Returns a line of the log, which must be an object, without its time, which must be now.
fn entry(command: &Running) -> Value {
    let mut entry: Value = serde_json::from_str(&command.line()).unwrap();
    let time = entry.as_object_mut().unwrap().remove("time").unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!((now.as_secs_f64() - time.as_f64().unwrap()).abs() < LIMIT.as_secs_f64());
    entry
}

#[test]
fn every_line_is_one_object_with_the_fields_that_are_documented() {
    let options = ["--log-format", "json", "--max-peers", "2"];
    let mut command = Running::start(":", 1, &options);
    let socket = command.socket.to_str().unwrap().to_owned();
    assert_eq!(
        entry(&command),
        json!({
            "event": "listening",
            "socket": socket,
            "shm_bytes": 65536,
            "shm": "a sealed memfd",
            "vectors": 1,
            "max_peers": 2,
            "message": format!(
                "listening at {socket}: 65536 bytes of shared memory in a sealed memfd, \
                 1 vector per client, at most 2 clients (as asked for)"
            ),
        })
    );
    let pid = std::process::id();
    let first = command.join();
    assert_eq!(
        entry(&command),
        json!({"event": "joined", "peer": 0, "pid": pid, "connected": 1,
            "message": format!("peer 0 joined (process {pid}), 1 connected")})
    );
    let mut loud = RawClient::connect(&command.socket);
    assert_eq!(entry(&command)["event"], "joined");
    assert!(Peer::connect_within(&command.socket, LIMIT).is_err());
    assert_eq!(
        entry(&command),
        json!({"event": "refused", "pid": pid, "reason": "full",
            "message": format!("refused a client (process {pid}): 2 are connected, which is the limit")})
    );
    loud.stream.write_all(b"!").unwrap();
    assert_eq!(
        entry(&command),
        json!({"event": "cut-off", "peer": 1, "reason": "spoke", "connected": 1,
            "message": "peer 1 cut off: it sent data, but clients only listen, 1 connected"})
    );
    drop(first);
    assert_eq!(
        entry(&command),
        json!({"event": "left", "peer": 0, "connected": 0, "message": "peer 0 left, 0 connected"})
    );
    kill_process(command.pid(), Signal::TERM).unwrap();
    assert_eq!(
        entry(&command),
        json!({"event": "stopping", "connected": 0, "message": "stopping, 0 connected"})
    );
    assert!(command.child.wait().unwrap().success());
}

#[test]
fn a_failed_start_is_an_object_as_well() {
    let options = ["--log-format=json", "--group=no-such-group"];
    let mut command = Running::start(":", 1, &options);
    assert_eq!(
        entry(&command),
        json!({"event": "failed", "message": "there is no group 'no-such-group'"})
    );
    assert_eq!(command.child.wait().unwrap().code(), Some(2));
}

#[test]
fn a_quiet_server_says_only_what_is_wrong() {
    let mut command = Running::start(":", 1, &["--quiet"]);
    // There is no first line to wait for, so the socket is.
    crate::common::eventually("the server listens", || {
        std::os::unix::net::UnixStream::connect(&command.socket).is_ok()
    });
    drop(command.join());
    let mut loud = RawClient::connect(&command.socket);
    loud.stream.write_all(b"!").unwrap();
    assert!(loud.receive_many(1).len() == 1);
    let line = command.line();
    assert!(line.contains("cut off: it sent data"), "{line}");
    kill_process(command.pid(), Signal::TERM).unwrap();
    assert!(command.child.wait().unwrap().success());
    assert!(
        command.log.recv_timeout(LIMIT).is_err(),
        "the end of the log"
    );
}
