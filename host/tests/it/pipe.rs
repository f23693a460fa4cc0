// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands `ivshmem send` and `ivshmem recv`: what arrives, and how both end if not all does.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::{self, JoinHandle};

use ivshmem_host::channel::{Options, Pings};
use rustix::process::{kill_process, Pid, Signal};

use crate::common::{eventually, LIMIT};
use crate::places::{Ended, Place};

/// Bytes that do not repeat within any ring.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = vec![0; len];
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    bytes
}

fn spawn(command: &mut Command) -> Child {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Starts `ivshmem send` and writes to its stdin; what has no reader any more is not written.
fn send(place: &Place, arguments: &[&str], data: Vec<u8>) -> (Child, JoinHandle<()>) {
    let mut child = spawn(place.command(arguments).stdin(Stdio::piped()));
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        let _ = stdin.write_all(&data);
    });
    (child, writer)
}

/// Waits for the end, and returns what was written to stdout as well.
fn end(child: Child) -> (Ended, Vec<u8>) {
    let output = child.wait_with_output().unwrap();
    let ended = Ended {
        code: output.status.code(),
        stdout: String::new(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    (ended, output.stdout)
}

fn assert_well(ended: &Ended) {
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
}

fn exchange(place: &Place, len: usize) {
    let data = bytes(len);
    let (sender, writer) = send(place, &["send", "backup", "--wait", "60"], data.clone());
    let receiver = spawn(&mut place.command(&["recv", "backup"]));
    let (received, arrived) = end(receiver);
    let (sent, _) = end(sender);
    writer.join().unwrap();
    assert_well(&received);
    assert_well(&sent);
    assert!(arrived == data, "{} of {len} bytes arrived", arrived.len());
}

#[test]
fn a_hundred_mebibytes_arrive_through_a_server() {
    exchange(&Place::server(), 100 << 20);
}

#[test]
fn a_hundred_mebibytes_arrive_through_a_file() {
    exchange(&Place::file(), 100 << 20);
}

#[test]
fn streams_of_any_length_arrive() {
    for place in Place::both() {
        for len in [0, 1, 951, 952, 953, 4096, 100_000] {
            exchange(&place, len);
        }
    }
}

#[test]
fn files_go_one_after_the_other_into_a_file_and_the_receiver_may_be_first() {
    for place in Place::both() {
        let at = |name: &str| {
            place
                .directory
                .path()
                .join(name)
                .into_os_string()
                .into_string()
        };
        let (one, two, out) = (at("one").unwrap(), at("two").unwrap(), at("out").unwrap());
        let data = bytes(70_000);
        fs::write(&one, &data[..50_000]).unwrap();
        fs::write(&two, &data[50_000..]).unwrap();
        fs::write(&out, bytes(90_000)).unwrap();
        let receiver = spawn(&mut place.command(&["recv", "-o", &out, "--progress"]));
        let sent = place.run(&["send", "recv", &one, &two, "--progress"]);
        let (received, _) = end(receiver);
        assert!(fs::read(&out).unwrap() == data);
        for ended in [sent, received] {
            ended.assert_line(0, "70000 bytes in ");
        }
    }
}

/// Waits until so much is in the file, or more.
fn wait_for_bytes(path: &str, len: u64) {
    eventually("something arrives", || {
        fs::metadata(path).is_ok_and(|metadata| metadata.len() >= len)
    });
}

/// Starts a stream that does not end, and returns sender, receiver, and the sender's stdin.
fn endless(place: &Place, limit: &str) -> (Child, Child, ChildStdin, String) {
    let out = place.directory.path().join("out").into_os_string();
    let out = out.into_string().unwrap();
    // What is there of the one before would be taken for this one's.
    let _ = fs::remove_file(&out);
    let receiver = spawn(&mut place.command(&["recv", "a", "-o", &out, "--limit", limit]));
    let arguments = ["send", "a", "--wait", "60", "--limit", limit];
    let mut sender = spawn(place.command(&arguments).stdin(Stdio::piped()));
    let mut stdin = sender.stdin.take().unwrap();
    stdin.write_all(&bytes(50_000)).unwrap();
    wait_for_bytes(&out, 50_000);
    (sender, receiver, stdin, out)
}

#[test]
fn a_sender_that_is_killed_is_missed() {
    for place in Place::both() {
        let (mut sender, receiver, _stdin, _) = endless(&place, "1");
        sender.kill().unwrap();
        sender.wait().unwrap();
        let (ended, _) = end(receiver);
        ended.assert_line(
            2,
            "the stream broke off after 50000 bytes had arrived: the peer ",
        );
    }
}

#[test]
fn a_receiver_that_is_killed_is_missed() {
    for place in Place::both() {
        let (sender, mut receiver, _stdin, _) = endless(&place, "1");
        receiver.kill().unwrap();
        receiver.wait().unwrap();
        let (ended, _) = end(sender);
        ended.assert_line(
            2,
            "the stream broke off after 50000 bytes were sent: the peer ",
        );
    }
}

#[test]
fn ctrl_c_on_either_side_ends_both() {
    for (number, place) in Place::both().into_iter().enumerate() {
        let signal = [Signal::INT, Signal::TERM][number];
        let (sender, receiver, _stdin, _) = endless(&place, "20");
        kill_process(Pid::from_child(&sender), signal).unwrap();
        let told = "interrupted after 50000 bytes were sent; the other side is told";
        end(sender).0.assert_line(2, told);
        let left = "the stream broke off after 50000 bytes had arrived: the peer has left";
        end(receiver).0.assert_line(2, left);

        let (sender, receiver, _stdin, _) = endless(&place, "20");
        kill_process(Pid::from_child(&receiver), signal).unwrap();
        let told = "interrupted after 50000 bytes were received; the other side is told";
        end(receiver).0.assert_line(2, told);
        let said = "the receiver was interrupted, after 50000 bytes";
        end(sender).0.assert_line(2, said);
    }
}

#[test]
fn a_full_disk_is_told_on_both_sides() {
    for place in Place::both() {
        let (sender, writer) = send(&place, &["send", "a", "--wait", "60"], bytes(5 << 20));
        let full = File::create("/dev/full").unwrap();
        let receiver = place
            .command(&["recv", "a"])
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let line = "cannot write to stdout: No space left on device (os error 28); 0 bytes were written before";
        end(receiver).0.assert_line(2, line);
        let line = "the receiver could not write its output, after 0 bytes";
        end(sender).0.assert_line(2, line);
        writer.join().unwrap();
    }
}

#[test]
fn who_reads_no_further_ends_both_quietly() {
    for place in Place::both() {
        let data = bytes(5 << 20);
        let (sender, writer) = send(&place, &["send", "a", "--wait", "60"], data.clone());
        let mut receiver = spawn(&mut place.command(&["recv", "a"]));
        let mut head = [0; 100];
        receiver
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut head)
            .unwrap();
        assert_eq!(head[..], data[..100]);
        assert_well(&end(receiver).0);
        let line = "the receiver stopped, since nobody reads its output any more, after ";
        end(sender).0.assert_line(1, line);
        writer.join().unwrap();
    }
}

#[test]
fn nobody_there_is_exit_code_1() {
    for place in Place::both() {
        let ended = place.run(&["send", "nobody", "--wait", "0.2"]);
        let line =
            "nobody named nobody came to receive within 0.2 s; start it: ivshmem recv nobody";
        ended.assert_line(1, line);
        // Somebody of that name who is no receiver.
        let _idle = place.join("idle");
        let ended = place.run(&["send", "idle", "--wait", "0.5"]);
        ended.assert_line(1, "nobody named idle came to receive within 0.5 s");
        let ended = place.run(&["recv", "a", "--wait", "0.5"]);
        ended.assert_line(1, "nobody has sent anything to a in time");
    }
}

#[test]
fn a_stream_that_is_damaged_is_found_out_and_chatter_is_no_stream() {
    for place in Place::both() {
        let guest = place.join_as(Options::new("guest").pings(Pings::Ignored));
        let chatter = place.join("chatter");
        let receiver = spawn(&mut place.command(&["recv", "a"]));
        let mut chat = chatter.connect("a", LIMIT).unwrap();
        chat.send(b"what's new?", LIMIT).unwrap();
        let mut stream = guest.connect("a", LIMIT).unwrap();
        // As the guide has it: magic, version 1, 0, size not known.
        let mut hello = b"ivshpipe\x01\0\0\0\0\0\0\0".to_vec();
        hello.extend([0xff; 8]);
        stream.send(&hello, LIMIT).unwrap();
        let accepted = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(stream.recv(LIMIT), Ok(Some(&accepted[..])));
        stream.send(b"123456789", LIMIT).unwrap();
        stream.send(b"", LIMIT).unwrap();
        // The length is right, the checksum 0xcbf43926 would be.
        stream
            .send(
                &[0x26, 0x39, 0xf4, 0xca, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0],
                LIMIT,
            )
            .unwrap();
        let damaged = [3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(stream.recv(LIMIT), Ok(Some(&damaged[..])));
        let (ended, arrived) = end(receiver);
        ended.assert_line(
            2,
            "the stream is damaged: 9 bytes arrived, which length or checksum",
        );
        assert_eq!(arrived, b"123456789");
    }
}

#[test]
fn lines_are_messages_of_anybody() {
    for place in Place::both() {
        let receiver = spawn(&mut place.command(&["recv", "console", "--lines"]));
        let long = "x".repeat(30_000);
        let text = format!("one\n\nthree {long}\nfour");
        let (sender, writer) = send(&place, &["send", "console", "--lines"], text.clone().into());
        assert_well(&end(sender).0);
        writer.join().unwrap();
        let (ended, lines) = end(receiver);
        assert_well(&ended);
        assert!(String::from_utf8(lines).unwrap() == text + "\n");

        // A member that knows nothing of these commands.
        let guest = place.join("guest");
        let (sender, writer) = send(
            &place,
            &["send", "guest", "--lines", "--name", "me"],
            b"hi\n".to_vec(),
        );
        let mut connection = guest.connect("me", LIMIT).unwrap();
        assert_eq!(connection.recv(LIMIT), Ok(Some(&b"hi"[..])));
        assert_eq!(
            connection.recv(std::time::Duration::ZERO).unwrap_or(None),
            None
        );
        assert_well(&end(sender).0);
        writer.join().unwrap();
        let receiver = spawn(
            &mut place.command(&["recv", "log", "--lines", "--from", "guest", "--count", "2"]),
        );
        let mut connection = guest.connect("log", LIMIT).unwrap();
        for line in [&b"a"[..], b"", b"c"] {
            connection.send(line, LIMIT).unwrap();
        }
        let (ended, lines) = end(receiver);
        assert_well(&ended);
        assert_eq!(lines, b"a\n\n");
    }
}

#[test]
fn a_file_keeps_what_is_in_it_until_somebody_sends() {
    let place = Place::server();
    let out = place.directory.path().join("out");
    std::fs::write(&out, "something longer than what comes").unwrap();
    let path = out.to_str().unwrap();
    let ended = place.run(&["recv", "a", "-o", path, "--wait", "0.1"]);
    ended.assert_line(
        1,
        "nobody has sent anything to a in time; send it something: ivshmem send a",
    );
    assert_eq!(
        std::fs::read(&out).unwrap(),
        b"something longer than what comes"
    );
    let receiver = spawn(&mut place.command(&["recv", "a", "-o", path]));
    let mut sender = place.command(&["send", "a", "--wait", "20", "-"]);
    assert_eq!(Ended::of(sender.output().unwrap()).code, Some(0));
    assert_eq!(
        Ended::of(receiver.wait_with_output().unwrap()).code,
        Some(0)
    );
    assert_eq!(std::fs::read(&out).unwrap(), b"");
}

#[test]
fn wrong_input_is_one_line_and_exit_code_2() {
    let place = Place::server();
    let folder = place.directory.path().to_str().unwrap();
    let absent = format!("{folder}/absent");
    let inside = format!("{absent}/out");
    for (arguments, line) in [
        (
            &["send"][..],
            "the following required arguments were not provided: <NAME>".to_owned(),
        ),
        (
            &["send", "a", &absent],
            format!("cannot read {absent}: No such file or directory"),
        ),
        (
            &["send", "a", folder],
            format!("cannot read {folder}: it is a directory; pack it: "),
        ),
        (
            &["send", "a", "--wait", "no"],
            "invalid value 'no' for '--wait <SECONDS>': ".to_owned(),
        ),
        (
            &["recv", "-o", &inside],
            format!("cannot write to {inside}: No such file or directory"),
        ),
        (
            &["recv", "--count", "1"],
            "the following required arguments were not provided: --lines".to_owned(),
        ),
    ] {
        place.run(arguments).assert_line(2, &line);
    }
    let long = "n".repeat(33);
    for (arguments, argument) in [
        (&["send", &long][..], "<NAME>"),
        (&["send", "a", "--name", ""], "--name <NAME>"),
        (&["recv", &long], "[NAME]"),
        (&["recv", "--from", &long], "--from <NAME>"),
        (&["ping", &long], "<NAME|ID>"),
    ] {
        let ended = place.run(arguments);
        ended.assert_line(2, "");
        let end = format!("for '{argument}': a name has 1 to 32 bytes (try --help)");
        assert!(
            ended.stderr.contains(&end) || ended.stderr.contains("a value is required"),
            "{ended:?}"
        );
    }
    let nowhere = Command::new(crate::process::COMMAND)
        .args(["recv", "--socket", &absent])
        .output()
        .unwrap();
    Ended::of(nowhere).assert_line(2, &format!("no server listens at {absent}: "));
}
