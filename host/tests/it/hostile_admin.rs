// SPDX-License-Identifier: MIT OR Apache-2.0
//! Servers whose admin socket answers what none should, and the commands that ask them.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use crate::common::{send, LIMIT};
use crate::process::COMMAND;
use ivshmem_host::admin::{socket_beside, Admin, AdminError};
use ivshmem_host::peer::Peer;
use ivshmem_host::server::{Config, Server};
use serde_json::{json, Value};
use tempfile::TempDir;

/// Ends a line, sets a title, clears a screen, turns the direction of writing.
const RUDE: &str = "x\n\u{1b}]0;y\u{7}\u{1b}[2J\u{9b}2J\u{202e}\r";

/// One that lets nobody join, and answers everybody who asks the same.
struct Liar {
    directory: TempDir,
}

impl Liar {
    fn new(answer: impl Into<Vec<u8>>, descriptor: Option<OwnedFd>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let liar = Self { directory };
        let clients = UnixListener::bind(liar.socket()).unwrap();
        let callers = UnixListener::bind(socket_beside(&liar.socket())).unwrap();
        let answer = answer.into();
        // Both end with the process; nobody waits for them.
        thread::spawn(move || clients.incoming().for_each(drop));
        thread::spawn(move || {
            for caller in callers.incoming() {
                answer_one(&caller.unwrap(), &answer, descriptor.as_ref());
            }
        });
        liar
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(COMMAND)
            .args(arguments)
            .arg("--socket")
            .arg(self.socket())
            .output()
            .unwrap()
    }
}

fn answer_one(mut caller: &UnixStream, answer: &[u8], descriptor: Option<&OwnedFd>) {
    let mut request = [0; 64];
    let _ = caller.read(&mut request);
    let Some((first, rest)) = answer.split_first() else {
        return;
    };
    let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
    send(caller, &[*first], &descriptors);
    // The caller may have heard enough.
    let _ = std::io::Write::write_all(&mut caller, rest);
}

/// Returns a status with a client, as a server tells it.
fn honest() -> Value {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::spawn(Config::new(directory.path().join("socket"), 1 << 16, 1)).unwrap();
    let _peer = Peer::connect_within(server.socket(), LIMIT).unwrap();
    let status = Admin::of(server.socket()).within(LIMIT).status().unwrap();
    serde_json::to_value(status).unwrap()
}

/// Puts `text` in place of all texts, and the largest number of its kind in place of each number but the format.
fn exaggerate(value: &mut Value, text: &str) {
    match value {
        Value::String(old) => text.clone_into(old),
        Value::Array(values) => values.iter_mut().for_each(|value| exaggerate(value, text)),
        Value::Object(values) => {
            for (name, value) in values {
                match name.as_str() {
                    "format" => {}
                    "id" | "next" | "remaining" | "vectors_per_client" => *value = u16::MAX.into(),
                    "pid" => *value = i32::MAX.into(),
                    "uid" => *value = u32::MAX.into(),
                    "vectors" if value.is_number() => *value = u16::MAX.into(),
                    "vectors" => *value = vec![u64::MAX; 70_000].into(),
                    _ => exaggerate(value, text),
                }
            }
        }
        Value::Number(_) => *value = u64::MAX.into(),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Asserts that the command has ended by itself, and has said nothing that moves a cursor.
fn assert_polite(output: &Output, codes: &[i32]) {
    let code = output.status.code();
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(
        code.is_some_and(|code| codes.contains(&code)),
        "{code:?}: {says}"
    );
    for words in [&output.stdout, &output.stderr] {
        let text = String::from_utf8(words.clone()).unwrap();
        let is_rude = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        let start: String = text.chars().take(400).collect();
        assert!(!text.contains(is_rude), "{start:?}");
    }
    assert!(says.lines().count() <= 1, "one line: {says}");
}

const COMMANDS: [&[&str]; 4] = [&["status"], &["peers"], &["dump"], &["top", "--once"]];

#[test]
fn texts_and_numbers_of_a_server_are_shown_without_harm() {
    let mut status = honest();
    exaggerate(&mut status, RUDE);
    let liar = Liar::new(format!("{status}\n"), None);
    let shown = liar.run(&["status"]);
    assert_polite(&shown, &[0]);
    let table = String::from_utf8(shown.stdout).unwrap();
    assert!(
        table.contains(r"socket   x\n\u{1b}]0;y\u{7}\u{1b}[2J\u{9b}2J\u{202e}\r"),
        "{table}"
    );
    assert!(table.contains("18446744073709551615 cut off"), "{table}");
    for more in [
        &["status", "--json"][..],
        &["doctor"],
        &["doctor", "--json"],
    ] {
        assert_polite(&liar.run(more), &[0, 1]);
    }
    for command in COMMANDS.iter().skip(1) {
        let output = liar.run(command);
        assert_polite(&output, &[2]);
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(line.contains("no memory came along"), "{line}");
    }
}

#[test]
fn what_a_server_complains_of_is_one_line() {
    let complaint = format!("{}\n", json!({ "error": RUDE }));
    let liar = Liar::new(complaint, None);
    for command in COMMANDS {
        let output = liar.run(command);
        assert_polite(&output, &[2]);
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(
            line.starts_with(r"ivshmem: the server refused: x\n\u{1b}]0;y"),
            "{line}"
        );
    }
}

#[test]
fn answers_that_are_none_are_told_as_such() {
    let deep = [b"{\"format\":1,\"x\":".to_vec(), vec![b'['; 200_000]].concat();
    let nonsense = format!("{{\"format\":{}}}\n", json!(RUDE));
    for answer in [
        &b""[..],
        b"\0",
        b"\xff\n",
        b"[]\n",
        b"{}\n",
        &deep,
        nonsense.as_bytes(),
    ] {
        let liar = Liar::new(answer, None);
        for command in COMMANDS {
            assert_polite(&liar.run(command), &[2]);
        }
    }
}

#[test]
fn what_comes_in_place_of_the_memory_is_not_used() {
    let open = |path: &Path| OwnedFd::from(File::open(path).unwrap());
    let empty = tempfile::tempfile().unwrap();
    for descriptor in [
        open(Path::new("/")),
        open(Path::new("/dev/zero")),
        UnixStream::pair().unwrap().0.into(),
        std::io::pipe().unwrap().0.into(),
        empty.into(),
    ] {
        let liar = Liar::new("{\"bytes\":4096}\n", Some(descriptor));
        let error = Admin::of(liar.socket()).within(LIMIT).memory().unwrap_err();
        assert!(matches!(error, AdminError::Answer { .. }), "{error:?}");
        assert_polite(&liar.run(&["dump"]), &[2]);
    }
}
