// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the client against a made-up QEMU.

use super::*;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": []}}"#;

/// Serves one connection: the greeting, then for each line from the client the next answer.
fn serve(
    folder: &Path,
    greeting: &'static str,
    answers: &'static [&'static str],
) -> JoinHandle<()> {
    let listener = UnixListener::bind(folder.join("qmp")).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut requests = BufReader::new(stream.try_clone().unwrap()).lines();
        write!(stream, "{greeting}\r\n").unwrap();
        for answer in answers {
            if requests.next().is_none() {
                return;
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
        // Stays connected and says nothing more until the client goes.
        let _ = requests.next();
    })
}

fn connect(folder: &Path) -> Result<Qmp, QmpError> {
    Qmp::connect(
        &folder.join("qmp"),
        Instant::now() + Duration::from_secs(10),
    )
}

#[test]
fn events_between_command_and_answer_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(
        folder.path(),
        GREETING,
        &[
            "{\"return\": {}, \"id\": 0}\r\n",
            "{\"event\": \"STOP\"}\r\n{\"event\": \"RESUME\"}\r\n{\"return\": [7], \"id\": 1}\r\n",
        ],
    );
    let mut qmp = connect(folder.path()).unwrap();
    let result = qmp.execute("query-seven", &json!({})).unwrap();
    assert_eq!(result, json!([7]));
    let event = qmp.wait_event("RESUME", Duration::from_secs(10)).unwrap();
    assert_eq!(event["event"], "RESUME");
    let none = qmp.wait_event("STOP", Duration::from_millis(20));
    assert!(matches!(none, Err(QmpError::TimedOut)), "{none:?}");
    drop(qmp);
    server.join().unwrap();
}

#[test]
fn a_refusal_carries_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(
        folder.path(),
        GREETING,
        &[
            "{\"return\": {}, \"id\": 0}\n",
            "{\"id\": 1, \"error\": {\"class\": \"GenericError\", \"desc\": \"no such device\"}}\n",
        ],
    );
    let mut qmp = connect(folder.path()).unwrap();
    let error = qmp.execute("device_del", &json!({"id": "x"})).unwrap_err();
    assert_eq!(error.to_string(), "device_del was refused: no such device");
    drop(qmp);
    server.join().unwrap();
}

#[test]
fn what_is_no_qmp_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), "{\"hello\": 1}", &[]);
    let error = connect(folder.path()).unwrap_err();
    assert!(matches!(error, QmpError::Unexpected(_)), "{error}");
    server.join().unwrap();
}

#[test]
fn nobody_there_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let error = connect(folder.path()).unwrap_err();
    assert!(matches!(error, QmpError::NotListening(_)), "{error}");
}
