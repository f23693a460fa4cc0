// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem dump` as a process: what it shows, what it finds, and that it does not find what is not so.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::LIMIT;
use crate::process::{copy_command, Running, COMMAND};
use crate::region::{failure, json, look, text, Place};
use ivshmem_host::peer::Peer;

/// Where things are in the memory that [`Place`] makes.
const SLOT: usize = 0x80;
const RING: usize = 0x200;
const DATA: usize = RING + 0x180;

/// How often live members are looked at.
const LOOKS: usize = 1000;

#[test]
fn members_that_talk_are_dumped_a_thousand_times_without_a_finding() {
    let place = Place::new();
    let (_one, _other, mut here, mut there) = place.pair();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let message = [7; 3000];
            for len in (0..message.len()).cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                here.send(&message[..len], LIMIT).unwrap();
                here.recv(LIMIT).unwrap().unwrap();
            }
        });
        scope.spawn(|| {
            while let Ok(Some(message)) = there.receiver().recv(LIMIT) {
                let copy = message.to_vec();
                // The other one has left when this fails.
                if there.send(&copy, LIMIT).is_err() || done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let result = std::panic::catch_unwind(|| {
            for _ in 0..LOOKS {
                let output = place.look("dump", &["--frames"]);
                let text = text(&output, 0);
                assert!(text.ends_with("\nnothing is wrong\n"), "{text}");
                assert!(text.contains("connected"), "{text}");
            }
        });
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn header_slots_rings_and_frames_are_shown() {
    let place = Place::new();
    let (_one, _other, mut here, _there) = place.pair();
    here.send(b"hello, world", LIMIT).unwrap();
    let output = place.look("dump", &["--hex", "--all"]);
    let shown = text(&output, 0);
    for part in [
        "256 KiB",
        "region  version 1, epoch 1, 3 slots at 0x80, 6 rings of 8 KiB at 0x200 to 0xcb00",
        "member  one",
        "free",
        " 0:1  connected",
        " 2:1  blank",
        "0x380: position 0, message of 12 bytes",
        "0000  68 65 6c 6c 6f 2c 20 77 6f 72 6c 64              hello, world",
        "nothing is wrong",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains('\x1b'), "no colours where nobody sees them");

    let document = json(
        &place.look("dump", &["--json", "--hex", "--ring", "0:1"]),
        0,
    );
    assert_eq!(document["format"], 1);
    assert_eq!(document["contents"], "region");
    assert_eq!(document["region"]["ring_bytes"], 8192);
    assert_eq!(document["slots"].as_array().unwrap().len(), 2);
    assert_eq!(document["slots"][1]["name"], "other");
    assert_eq!(document["slots"][1]["id"], serde_json::Value::Null);
    let rings = document["rings"].as_array().unwrap();
    assert_eq!(rings.len(), 1);
    assert_eq!(rings[0]["state"], "connected");
    assert_eq!(rings[0]["frame_count"], 1);
    assert_eq!(rings[0]["head"], 24);
    assert_eq!(rings[0]["producer"]["standing"], "current");
    assert_eq!(rings[0]["frames"][0]["payload"], "68656c6c6f2c20776f726c64");
    assert_eq!(document["findings"].as_array().unwrap().len(), 0);
}

#[test]
fn what_is_wrong_is_marked_and_named() {
    let place = Place::new();
    let (_one, _other, mut here, _there) = place.pair();
    here.send(b"hello, world", LIMIT).unwrap();
    let good = place.copy();
    // Offset, bits that are turned over, part and problem.
    let cases = [
        (0x00, 1, "header", "ForeignRegion"),
        (0x08, 1 << 40, "header", "UnsoundGeometry"),
        (SLOT, 4, "slot 0", "BadState"),
        (SLOT + 0x18, 1 << 40, "slot 0", "StrangeWord"),
        (RING, 1, "ring 0:1", "WrongSession"),
        (RING + 0x48, 2, "ring 0:1", "BadPromise"),
        (RING + 0x80, 1 << 60, "ring 0:1", "KeyOfAnotherSession"),
        (RING + 0x80, 1 << 20, "ring 0:1", "HeadBeyondRing"),
        (RING + 0x100, 1 << 20, "ring 0:1", "TailAheadOfHead"),
        (DATA, 1 << 40, "ring 0:1", "WrongMark"),
        (DATA, 1 << 20, "ring 0:1", "BadFrameHeader"),
    ];
    for (offset, bits, part, problem) in cases {
        let mut bytes = good.clone();
        let word = u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
        bytes[offset..offset + 8].copy_from_slice(&(word ^ bits).to_le_bytes());
        let path = place.beside("damaged", &bytes);
        let document = json(&look("dump", "--shm-file", &path, &["--json"]), 1);
        let findings = document["findings"].as_array().unwrap();
        assert_eq!(findings.len(), 1, "{document}");
        assert_eq!(findings[0]["part"], part, "{document}");
        assert_eq!(findings[0]["offset"], offset, "{document}");
        assert_eq!(findings[0]["problem"], problem, "{document}");
        let shown = text(&look("dump", "--shm-file", &path, &[]), 1);
        let mark = format!("\n!! {part} at {offset:#x}: {problem}: ");
        assert!(shown.contains(&mark), "{mark} in {shown}");
        assert!(shown.ends_with("\n1 thing is wrong\n"), "{shown}");
    }
}

#[test]
fn a_corrupt_ring_of_live_members_is_found() {
    let place = Place::new();
    let (_one, _other, mut here, _there) = place.pair();
    here.send(b"hello, world", LIMIT).unwrap();
    let file = File::options().write(true).open(&place.path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 8], DATA as u64).unwrap();
    let shown = text(&place.look("dump", &[]), 1);
    assert!(shown.contains("!! ring 0:1 at 0x380: WrongMark"), "{shown}");
}

#[test]
fn what_is_no_region_is_said_and_what_cannot_be_looked_at_refused() {
    let place = Place::new();
    assert!(text(&place.look("dump", &[]), 0).contains("region  none yet"));
    let document = json(&place.look("dump", &["--json"]), 0);
    assert_eq!(document["contents"], "blank");

    for (bytes, problem) in [
        (vec![7; 8192], "ForeignRegion"),
        (vec![0; 5000], "BadSize"),
        (vec![], "BadSize"),
    ] {
        let path = place.beside("other", &bytes);
        let document = json(&look("dump", "--shm-file", &path, &["--json"]), 1);
        assert_eq!(document["findings"][0]["problem"], problem);
    }
    drop(place.pair());
    let mut bytes = place.copy();
    bytes.truncate(0x5000);
    let path = place.beside("truncated", &bytes);
    let document = json(&look("dump", "--shm-file", &path, &["--json"]), 1);
    assert_eq!(document["findings"][0]["problem"], "SizeMismatch");
    assert_eq!(document["findings"].as_array().unwrap().len(), 1);
    assert_eq!(document["contents"], "region");

    let at = |name: &str| place.directory.path().join(name);
    let line = failure(&look("dump", "--shm-file", place.directory.path(), &[]));
    assert!(line.contains("it is no file; give the path"), "{line}");
    let line = failure(&look("dump", "--shm-file", at("absent"), &[]));
    assert!(line.contains("No such file"), "{line}");
    let line = failure(&look("dump", "--socket", at("absent"), &[]));
    assert!(line.contains("no server listens at"), "{line}");
    let line = failure(&place.look("dump", &["--ring", "1:9"]));
    assert!(line.contains("the memory has 3 slots"), "{line}");
    let line = failure(&place.look("dump", &["--follow"]));
    assert!(line.contains("--pcap"), "{line}");
}

#[test]
fn somebody_else_may_not_look() {
    let place = Place::new();
    fs::set_permissions(place.directory.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&place.path, Permissions::from_mode(0o600)).unwrap();
    // The command itself may lie where only its owner comes.
    let program = File::open(COMMAND).unwrap();
    let copy = place.directory.path().join("ivshmem");
    copy_command(&copy);
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    drop(program);
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["dump", "--shm-file"])
        .arg(&place.path)
        .output()
        .unwrap();
    let line = failure(&output);
    assert!(line.contains("Permission denied"), "{line}");
    assert!(line.ends_with("be its owner or of its group"), "{line}");
}

#[test]
fn a_copy_comes_by_stdin_as_well_and_a_reader_may_go() {
    let place = Place::new();
    let (_one, _other, _here, _there) = place.pair();
    let mut child = Command::new(COMMAND)
        .args(["dump", "--shm-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&place.copy())
        .unwrap();
    let shown = text(&child.wait_with_output().unwrap(), 0);
    assert!(
        shown.starts_with("memory  what was on stdin, 256 KiB\n"),
        "{shown}"
    );
    assert!(shown.contains("nothing is wrong"), "{shown}");

    let mut child = Command::new(COMMAND)
        .args(["dump", "--all", "--shm-file"])
        .arg(&place.path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn the_memory_of_a_server_is_looked_at_without_joining_and_without_its_leave_by_joining() {
    for (more, by) in [(&[][..], "this"), (&["--no-admin"][..], "dump")] {
        let server = Running::start(":", 1, more);
        server.line();
        let output = look("dump", "--socket", &server.socket, &[]);
        let shown = text(&output, 0);
        let start = format!(
            "memory  the memory of the server at {}, 64 KiB\n",
            server.socket.display()
        );
        assert!(shown.starts_with(&start), "{shown}");
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            log.contains("joining it for a moment"),
            by == "dump",
            "{log}"
        );
        let _peer = Peer::connect(&server.socket).unwrap();
        // The first one that the server has seen.
        let line = server.line();
        let own = format!("(process {})", std::process::id());
        assert!(line.contains("peer 0 joined"), "{line}");
        assert_eq!(line.contains(&own), by == "this", "{line}");
    }
}

#[test]
fn looking_changes_nothing() {
    let place = Place::new();
    let pair = place.pair();
    drop(pair);
    let before = place.copy();
    fs::set_permissions(&place.path, Permissions::from_mode(0o400)).unwrap();
    let modified = || fs::metadata(&place.path).unwrap().modified().unwrap();
    let time = modified();
    text(&place.look("dump", &["--all", "--hex"]), 0);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(place.copy(), before);
    assert_eq!(modified(), time);
}
