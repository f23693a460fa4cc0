// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handovers that fail: the server that runs goes on, and says why.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::common::{eventually, shape, RawClient, LIMIT};
use crate::lineage::{is_there, program, Lineage};
use crate::process::{Running, COMMAND};
use ivshmem_host::admin::socket_beside;
use ivshmem_host::server::{Server, TakeOverError};
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{geteuid, kill_process, Pid, Signal};

/// Answers of a new server, as bytes.
const NEXT: u8 = 0;
const TAKEN: u8 = 1;
const WRONG_FORMAT: u8 = 0x10;

/// A new server that knows the protocol, and when to misbehave.
struct Fake {
    stream: UnixStream,
}

impl Fake {
    fn ask(lineage: &Lineage) -> Self {
        let mut stream = UnixStream::connect(socket_beside(&lineage.first.socket)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(b"handover\n").unwrap();
        Self { stream }
    }

    /// Reads the state.
    fn state(&mut self) -> serde_json::Value {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head).unwrap();
        let (magic, len) = head.split_at(8);
        assert_eq!(magic, b"IVSHMHO1");
        let len = u64::from_le_bytes(len.try_into().unwrap());
        let mut text = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn answer(&mut self, byte: u8) {
        self.stream.write_all(&[byte]).unwrap();
    }

    /// Receives a batch of descriptors.
    fn batch(&mut self) -> Vec<OwnedFd> {
        let mut byte = [0];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [std::io::IoSliceMut::new(&mut byte)];
        let received = recvmsg(
            &self.stream,
            &mut buffers,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
        .unwrap();
        assert_eq!(received.bytes, 1);
        let descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        descriptors.flatten().collect()
    }

    /// Takes everything, and returns it.
    fn everything(&mut self) -> Vec<OwnedFd> {
        let state = self.state();
        self.answer(NEXT);
        let vectors = state["config"]["vectors"].as_u64().unwrap() as usize;
        let clients = state["registry"]["clients"].as_array().unwrap().len();
        // Token, memory, and twice a listener with its lock.
        let count = 2 + 4 + clients * (1 + vectors);
        let mut descriptors = self.batch();
        while descriptors.len() < count {
            self.answer(NEXT);
            descriptors.extend(self.batch());
        }
        assert_eq!(descriptors.len(), count);
        descriptors
    }
}

/// Takes the token that decides who serves; it is the first descriptor.
fn take_token(descriptors: &[OwnedFd]) -> bool {
    crate::common::counter(&descriptors[0]) == 1
}

/// A server with clients enough for several batches, and one that checks that it goes on.
struct Scene {
    lineage: Lineage,
    watcher: RawClient,
    _others: Vec<RawClient>,
    next_id: i64,
}

impl Scene {
    const VECTORS: u16 = 20;

    fn set() -> Self {
        let lineage = Lineage::start(Self::VECTORS, &[]);
        let socket = lineage.first.socket.clone();
        let vectors = usize::from(Self::VECTORS);
        let watcher = RawClient::connect(&socket);
        watcher.receive_many(3 + vectors);
        let others: Vec<_> = (0..30).map(|_| RawClient::connect(&socket)).collect();
        watcher.receive_many(30 * vectors);
        Self {
            lineage,
            watcher,
            _others: others,
            next_id: 31,
        }
    }

    /// Checks that somebody can join and leave, and that the watcher hears of it and of nothing else.
    fn goes_on(&mut self) {
        let guest = RawClient::connect(&self.lineage.first.socket);
        assert_eq!(
            shape(&guest.receive_many(2)),
            [(0, false), (self.next_id, false)]
        );
        let told = self.watcher.receive_many(Self::VECTORS.into());
        assert!(told.iter().all(|message| message.0 == self.next_id));
        drop(guest);
        assert_eq!(
            shape(&self.watcher.receive_many(1)),
            [(self.next_id, false)]
        );
        self.next_id += 1;
    }

    /// Checks that the server says that it goes on, and why, and does.
    fn fails_for(&mut self, reason: &str) {
        let line = self.lineage.line_with("not handed over, going on: ");
        assert!(line.contains(reason), "{line}");
        self.goes_on();
    }
}

#[test]
fn new_servers_that_end_or_refuse_at_any_step_change_nothing() {
    let mut scene = Scene::set();
    let ended = "ended before it had everything";
    drop(Fake::ask(&scene.lineage));
    scene.fails_for(ended);

    let mut fake = Fake::ask(&scene.lineage);
    fake.stream.read_exact(&mut [0; 100]).unwrap();
    drop(fake);
    scene.fails_for(ended);

    let mut fake = Fake::ask(&scene.lineage);
    fake.state();
    fake.answer(WRONG_FORMAT);
    scene.fails_for("is of a version that cannot go on from this one");
    // Nonsense.
    let mut fake = Fake::ask(&scene.lineage);
    fake.state();
    fake.answer(99);
    scene.fails_for("did not get what was announced");

    let mut fake = Fake::ask(&scene.lineage);
    fake.state();
    fake.answer(NEXT);
    assert_eq!(fake.batch().len(), 253);
    drop(fake);
    scene.fails_for(ended);

    let mut fake = Fake::ask(&scene.lineage);
    drop(fake.everything());
    drop(fake);
    scene.fails_for(ended);

    // It has the token, and dies before it says so, and after.
    let mut fake = Fake::ask(&scene.lineage);
    assert!(take_token(&fake.everything()));
    drop(fake);
    scene.fails_for(ended);
    let mut fake = Fake::ask(&scene.lineage);
    let everything = fake.everything();
    assert!(take_token(&everything));
    fake.answer(TAKEN);
    drop(fake);
    drop(everything);
    // Unless the server has looked already whether it is there, and is gone.
    let line = scene.lineage.line_with("handed over");
    if line.contains("going on") {
        scene.goes_on();
    }
}

#[test]
fn new_servers_that_hang_are_not_waited_for() {
    let mut scene = Scene::set();
    let mut hanging = Fake::ask(&scene.lineage);
    hanging.state();
    hanging.answer(NEXT);
    scene.fails_for("did not take everything in time");
    // What it does from now on is in vain.
    let mut late = Vec::new();
    let _ = hanging.stream.read_to_end(&mut late);
    scene.goes_on();

    // With all it needs but the token, which is gone.
    let mut hanging = Fake::ask(&scene.lineage);
    let everything = hanging.everything();
    scene.fails_for("did not take everything in time");
    assert!(!take_token(&everything));

    // With the token it is the server, however long it takes, unless it ends.
    let mut hanging = Fake::ask(&scene.lineage);
    let everything = hanging.everything();
    assert!(take_token(&everything));
    thread::sleep(Duration::from_secs(6));
    let guest = RawClient::connect(&scene.lineage.first.socket);
    drop(hanging);
    scene
        .lineage
        .line_with("not handed over, going on: the new server did not take everything in time");
    assert_eq!(guest.receive_many(2)[1].0, scene.next_id);
}

#[test]
fn one_that_lives_goes_on_wherever_the_other_is_killed() {
    for round in 0..40_u64 {
        let mut scene = Scene::set();
        let mut successor = scene.lineage.successor(&[]);
        // Somewhere from before it asks to after it serves.
        thread::sleep(Duration::from_micros(round * 400));
        let old = scene.lineage.pid;
        if round % 2 == 0 {
            successor.kill().unwrap();
            successor.wait().unwrap();
            eventually("the server ends or says that it goes on", || {
                !is_there(old)
                    || scene
                        .lineage
                        .first
                        .log
                        .try_iter()
                        .any(|l| l.contains("going on"))
                    || answers(&scene.lineage)
            });
            if is_there(old) {
                scene.goes_on();
            }
        } else {
            kill_process(old, Signal::KILL).unwrap();
            scene.lineage.first.child.wait().unwrap();
            eventually("the new server ends or serves", || {
                successor.try_wait().unwrap().is_some() || answers(&scene.lineage)
            });
            if successor.try_wait().unwrap().is_none() {
                scene.goes_on();
            }
        }
        let _ = successor.kill();
        successor.wait().unwrap();
    }
}

/// Returns whether a server answers.
fn answers(lineage: &Lineage) -> bool {
    let admin = ivshmem_host::admin::Admin::of(&lineage.first.socket);
    admin.status().is_ok()
}

#[test]
fn what_cannot_be_changed_is_an_error_on_both_sides() {
    let mut scene = Scene::set();
    for (more, error) in [
        (
            &["--size", "128K"][..],
            "the running server's size is 65536 bytes and a handover cannot make it 131072 bytes",
        ),
        (
            &["--vectors", "3"],
            "number of vectors is 20 and a handover cannot make it 3",
        ),
        (
            &["--shm-file", "/dev/shm/x"],
            "back end is a sealed memfd and a handover cannot make it /dev/shm/x",
        ),
        (&["--mode", "0666"], "access is "),
    ] {
        let output = scene.lineage.successor(more).wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(error), "{text}");
        assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1));
        scene.fails_for(
            "the new server was asked for settings that a running server cannot change to",
        );
    }
    // The same, and what can be changed.
    let mut successor =
        scene
            .lineage
            .successor(&["--size", "64K", "--vectors", "20", "--max-peers", "40"]);
    scene.lineage.note_handover();
    scene.goes_on();
    let status = ivshmem_host::admin::Admin::of(&scene.lineage.first.socket)
        .status()
        .unwrap();
    assert_eq!(status.clients.limit, 40);
    successor.kill().unwrap();
    successor.wait().unwrap();
}

#[test]
fn too_few_descriptors_are_found_before_anything_is_taken() {
    let mut scene = Scene::set();
    let mut command = std::process::Command::new("sh");
    let output = command
        .args([
            "-c",
            r#"ulimit -n 600; exec "$0" "$@""#,
            COMMAND,
            "server",
            "--handover",
            "--socket",
        ])
        .arg(&scene.lineage.first.socket)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("too few file descriptors: taking over needs "),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(2));
    scene.fails_for("the new server may not open enough files");
}

#[test]
fn without_a_server_there_is_nothing_to_take_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none");
    let error = Server::take_over(&path, |_| {}).unwrap_err();
    assert!(matches!(error, TakeOverError::Connect { .. }), "{error}");
    let output = std::process::Command::new(COMMAND)
        .args(["server", "--handover", "--socket"])
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("start without --handover if none runs"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(crate::process::names(folder.path()).is_empty());

    // Without --handover, size and vectors have to be said.
    let output = std::process::Command::new(COMMAND)
        .args(["server", "--socket"])
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("--size") && text.contains("--vectors"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn another_program_is_not_taken_over_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    for (answer, reason) in [
        (
            &b"220 mail.example.org ready\r\n"[..],
            "it is another program",
        ),
        (b"{\"error\":\"no\"}\n", "does not hand over: no"),
        (b"", "it closed the connection"),
        (b"IVSH", "it closed the connection"),
    ] {
        let server = thread::spawn({
            let listener = listener.try_clone().unwrap();
            move || listener.accept().unwrap().0.write_all(answer).unwrap()
        });
        let error = Server::take_over(&path, |_| {}).unwrap_err().to_string();
        server.join().unwrap();
        assert!(error.contains(reason), "{error}");
    }
    for state in [
        &b"{\"format\":2}"[..],
        b"{\"format\":1}",
        b"[]",
        b"{\"format\":1,\"config\":",
    ] {
        let server = thread::spawn({
            let listener = listener.try_clone().unwrap();
            move || {
                let mut stream = listener.accept().unwrap().0;
                stream.write_all(b"IVSHMHO1").unwrap();
                stream
                    .write_all(&(state.len() as u64).to_le_bytes())
                    .unwrap();
                stream.write_all(state).unwrap();
                let mut said = Vec::new();
                stream.read_to_end(&mut said).unwrap();
                said
            }
        });
        let error = Server::take_over(&path, |_| {}).unwrap_err();
        let said = server.join().unwrap();
        match error {
            TakeOverError::Format { found: 2 } => assert!(said.ends_with(&[WRONG_FORMAT])),
            TakeOverError::Contents => assert_eq!(said.last(), Some(&0x13)),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn another_user_may_not_ask() {
    if !geteuid().is_root() {
        // Nothing but root can be another user.
        return;
    }
    let mut lineage = Lineage::start(2, &["--mode", "0666"]);
    fs::set_permissions(
        lineage.first.directory.path(),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let program = lineage.first.directory.path().join("copy");
    let copied = std::process::Command::new("cp")
        .arg(COMMAND)
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let output = std::process::Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&program)
        .args(["server", "--handover", "--socket"])
        .arg(&lineage.first.socket)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let reason = "user 65534 asked for it; only the server's own user and root may";
    assert!(text.contains(reason), "{text}");
    assert_eq!(output.status.code(), Some(2));
    lineage.line_with(reason);
    lineage.hand_over();
}

#[test]
fn the_signal_starts_the_program_that_is_installed_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let installed = folder.path().join("ivshmem");
    let install = |from: &str| {
        let new = folder.path().join("new");
        let copied = std::process::Command::new("cp")
            .arg(from)
            .arg(&new)
            .status();
        assert!(copied.unwrap().success());
        fs::rename(&new, &installed).unwrap();
    };
    install(COMMAND);
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ivshmem.sock");
    let mut command = std::process::Command::new(&installed);
    command
        .args(["server", "--size", "64K", "--vectors", "2", "--socket"])
        .arg(&socket);
    let mut lineage = Lineage::of(Running::spawn(directory, &mut command));
    let client = RawClient::connect(&socket);
    client.receive_many(5);

    // An upgrade.
    install(COMMAND);
    assert!(program(lineage.pid)
        .to_str()
        .unwrap()
        .ends_with(" (deleted)"));
    lineage.hand_over();
    assert_eq!(program(lineage.pid), installed);

    // One that does not work.
    let broken = folder.path().join("broken");
    fs::write(&broken, "#!/bin/sh\nexit 3\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    install(broken.to_str().unwrap());
    kill_process(lineage.pid, Signal::USR2).unwrap();
    let line = lineage.line_with("going on");
    assert!(
        line.contains("the new server ended (exit status: 3)"),
        "{line}"
    );

    // None at all: the same as before.
    fs::remove_file(&installed).unwrap();
    lineage.hand_over();
    let late = RawClient::connect(&socket);
    assert_eq!(late.receive_many(2)[1].0, 1);
    assert_eq!(shape(&client.receive_many(2)), [(1, true), (1, true)]);
}

#[test]
fn files_go_with_the_server_that_serves() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (pid_file, memory) = (path("pid"), path("memory"));
    let mut lineage = Lineage::start(
        2,
        &[
            "--pid-file",
            &pid_file,
            "--shm-file",
            &memory,
            "--shm-unlink",
        ],
    );
    let number = || fs::read_to_string(&pid_file).unwrap();
    assert_eq!(number(), format!("{}\n", lineage.pid.as_raw_nonzero()));
    for _ in 0..2 {
        lineage.hand_over();
        let pid: Pid = lineage.pid;
        eventually("the new number is written", || {
            fs::read_to_string(&pid_file).is_ok_and(|n| n == format!("{}\n", pid.as_raw_nonzero()))
        });
        assert!(fs::exists(&memory).unwrap());
    }
    // Killed, it leaves what it has said of itself.
    let client = RawClient::connect(&lineage.first.socket);
    client.receive_many(5);
    let killed = lineage.pid;
    kill_process(killed, Signal::KILL).unwrap();
    eventually("it is dead", || !is_there(killed));
    let next = lineage.first.log.try_iter().count();
    assert!(next > 0);
    let mut running = lineage;
    running.first.restart(2, &[]);
    running.first.line();
    let line = running.first.line();
    assert!(
        line.contains(&format!("(process {})", killed.as_raw_nonzero())),
        "{line}"
    );
    assert!(line.contains("IDs start at 64"), "{line}");
}
