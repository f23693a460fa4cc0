// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem ping`: whom it finds, what it tells, how it ends.

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::VectorIndex;
use ivshmem_host::channel::{Channels, Connection, Options, Pings};
use rustix::process::Signal;
use serde_json::Value;

use crate::common::LIMIT;
use crate::places::{Ended, Place};
use crate::process::COMMAND;

/// Demands that all of so many pings have been answered.
fn assert_answered(ended: &Ended, target: &str, pings: u64) {
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    let sum = format!("--- {target}: {pings} sent, {pings} received, 0 % lost, in ");
    let lines: Vec<_> = ended.stdout.lines().collect();
    let [.., summary, times] = lines[..] else {
        panic!("{ended:?}")
    };
    assert!(summary.starts_with(&sum), "{ended:?}");
    assert!(times.starts_with("round trip min/avg/max = "), "{ended:?}");
    assert!(times.contains(" us, p50/p90/p99 = "), "{ended:?}");
}

#[test]
fn a_member_answers_by_name_and_by_id() {
    let place = Place::server();
    let idle = place.join("guest-a");
    let ended = place.run(&["ping", "guest-a", "-c3", "-i0.01"]);
    assert_answered(&ended, "guest-a", 3);
    let lines: Vec<_> = ended.stdout.lines().collect();
    let who = "guest-a (peer 0, slot 0): ";
    assert_eq!(lines[0], format!("PING {who}64 bytes, by doorbell"));
    for (line, number) in lines[1..4].iter().zip(1..) {
        let start = format!("64 bytes from {who}seq={number} time=");
        assert!(line.starts_with(&start) && line.ends_with(" us"), "{line}");
    }
    assert_eq!(lines.len(), 6);
    assert_answered(&place.run(&["ping", "0", "-c2", "-i.01"]), "peer 0", 2);
    let ended = place.run(&[
        "ping", "guest-a", "-c9", "-i.01", "-q", "-s", "900", "--poll",
    ]);
    assert_answered(&ended, "guest-a", 9);
    assert_eq!(ended.stdout.lines().count(), 3);
    assert_eq!(idle.peers().unwrap(), []);
}

#[test]
fn what_there_is_no_room_for_yet_is_sent_later() {
    let place = Place::server();
    let _idle = place.join("guest-a");
    // A ring has room for two of these, and they come faster than any answer.
    let ended = place.run(&["ping", "guest-a", "-c50", "-i.00001", "-q", "-s", "900"]);
    assert_answered(&ended, "guest-a", 50);
}

#[test]
fn a_member_of_a_file_answers() {
    let place = Place::file();
    let _idle = place.join("3");
    let ended = place.run(&["ping", "3", "-c3", "-i0.01"]);
    assert_answered(&ended, "peer 3", 3);
    let first = "PING 3 (slot 0): 64 bytes, without doorbells\n";
    assert!(ended.stdout.starts_with(first), "{ended:?}");
    let ended = place.run(&["ping", "3", "-c100", "--flood"]);
    assert_answered(&ended, "peer 3", 100);
}

#[test]
fn a_flood_is_answered_and_summed_up() {
    let place = Place::server();
    let _idle = place.join("guest-a");
    let ended = place.run(&["ping", "guest-a", "-c2000", "--flood"]);
    assert_answered(&ended, "guest-a", 2000);
    assert_eq!(ended.stdout.lines().count(), 3);
}

#[test]
fn json_is_an_object_for_each_line() {
    let place = Place::server();
    let _idle = place.join("guest-a");
    let ended = place.run(&["ping", "guest-a", "-c2", "-i0.01", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let parse = |line| serde_json::from_str::<Value>(line).unwrap();
    let lines: Vec<_> = ended.stdout.lines().map(parse).collect();
    assert_eq!(lines.len(), 3, "{ended:?}");
    for (line, number) in lines.iter().zip(1..=2) {
        assert_eq!(line["seq"], number);
        assert_eq!(line["name"], "guest-a");
        assert_eq!((&line["peer"], &line["slot"]), (&0.into(), &0.into()));
        assert!(line["time_us"].as_f64() > Some(0.0));
    }
    let summary = &lines[2]["summary"];
    assert_eq!(
        (&summary["sent"], &summary["received"]),
        (&2.into(), &2.into())
    );
    assert!(summary["round_trip"]["p99_us"].as_f64() > Some(0.0));
}

#[test]
fn nobody_there_is_exit_code_1_and_one_line_that_says_who_is_missing() {
    let place = Place::server();
    let stranger = place.peer();
    let blank = "nobody has made this memory a region yet, so nobody can answer";
    place.run(&["ping", "guest-a"]).assert_line(1, blank);
    let no_member = format!(
        "peer {} is connected but is no member of the region: nobody can answer; its doorbell can be rung: --ring",
        stranger.id().unwrap()
    );
    let id = stranger.id().unwrap().to_string();
    place.run(&["ping", &id]).assert_line(1, &no_member);
    let _other = place.join("other");
    place.run(&["ping", &id]).assert_line(1, &no_member);
    let nobody = "nobody named guest-a is a member of the region; ivshmem peers lists who is";
    place.run(&["ping", "guest-a"]).assert_line(1, nobody);
    let nowhere = "peer 77 is neither connected to the server nor a member of the region; ivshmem peers lists who is";
    place.run(&["ping", "77"]).assert_line(1, nowhere);
    let file = Place::file();
    file.run(&["ping", "guest-a"]).assert_line(1, blank);
}

#[test]
fn a_member_that_comes_later_and_makes_the_region_is_waited_for() {
    for place in Place::both() {
        let mut ping = place.start(&["ping", "guest-a", "-c1", "-w60"]);
        // Most likely it has looked by then.
        thread::sleep(Duration::from_millis(300));
        assert_eq!(ping.child.try_wait().unwrap(), None);
        let _idle = place.join("guest-a");
        assert!(ping.line().starts_with("PING guest-a"));
        assert_eq!(ping.code(), Some(0));
    }
}

#[test]
fn ring_rings_any_peer_and_nothing_more() {
    let place = Place::server();
    let peer = place.peer();
    let id = peer.id().unwrap().to_string();
    for (option, vector) in [("--ring", 0), ("--ring=1", 1)] {
        let ended = place.run(&["ping", &id, option]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stdout, format!("rang vector {vector} of peer {id}\n"));
        assert_eq!(peer.wait_any(LIMIT).unwrap(), [VectorIndex(vector)]);
    }
    let none = "peer 0 has no vector 2, only 2 from 0 up; ivshmem peers lists who is there";
    place.run(&["ping", &id, "--ring=2"]).assert_line(1, none);
    let absent = "peer 9 is not connected; ivshmem peers lists who is there";
    place.run(&["ping", "9", "--ring"]).assert_line(1, absent);
    let name = "--ring wants the ID of a peer; ivshmem peers lists them";
    place
        .run(&["ping", "guest-a", "--ring"])
        .assert_line(2, name);
    let file = "--ring wants a server: in a file there are no doorbells; leave --shm-file away";
    Place::file()
        .run(&["ping", "1", "--ring"])
        .assert_line(2, file);
}

#[test]
fn a_member_that_does_not_answer_is_exit_code_1() {
    for place in Place::both() {
        let _silent = place.join_as(Options::new("silent").pings(Pings::Ignored));
        let ended = place.run(&["ping", "silent", "-c2", "-i0.01"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let sum = "--- silent: 2 sent, 0 received, 100 % lost, in ";
        let last = ended.stdout.lines().last().unwrap();
        assert!(last.starts_with(sum), "{ended:?}");
        let start = Instant::now();
        let ended = place.run(&["ping", "silent", "-w0.5", "-i0.1", "-q"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(start.elapsed() >= Duration::from_millis(500));
    }
}

/// Waits for one who pings, and connects to it.
pub fn connect_to_pinger(member: &Channels) -> Connection {
    let start = Instant::now();
    loop {
        let peers = member.peers().unwrap();
        if let Some(pinger) = peers.iter().find(|peer| peer.name.asks_for_echo()) {
            return member.connect_to(pinger.slot).unwrap();
        }
        assert!(start.elapsed() < LIMIT, "nobody pings");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn answers_that_are_wrong_or_come_twice_are_told() {
    let place = Place::server();
    let strange = place.join_as(Options::new("strange").pings(Pings::Ignored));
    let answering = thread::spawn(move || {
        let mut connection = connect_to_pinger(&strange);
        for number in 0..4 {
            let mut message = connection.recv(LIMIT).unwrap().expect("a ping").to_vec();
            match number {
                2 => connection.send(&message, LIMIT).unwrap(),
                3 => *message.last_mut().unwrap() ^= 1,
                _ => {}
            }
            connection.send(&message, LIMIT).unwrap();
        }
        // Until it has gone.
        while connection.recv(LIMIT).is_ok() {}
    });
    let ended = place.run(&["ping", "strange", "-c3", "-i0.3"]);
    answering.join().unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let wrong = "ivshmem: an answer has other content than any message\n";
    assert_eq!(ended.stderr, wrong);
    let sum = "--- strange: 3 sent, 2 received, 33 % lost, 1 with wrong content, 1 twice, in ";
    assert!(
        ended.stdout.lines().any(|line| line.starts_with(sum)),
        "{ended:?}"
    );
}

#[test]
fn a_member_that_restarts_is_pinged_on() {
    for place in Place::both() {
        let idle = place.join("guest-a");
        let mut ping = place.start(&["ping", "guest-a", "-i0.05"]);
        assert!(ping.line().starts_with("PING guest-a"));
        assert!(ping.line().contains("seq=1 "));
        drop(idle);
        let _idle = place.join("guest-a");
        let start = Instant::now();
        // More than were on their way come from the new one.
        let mut answers = 0;
        while answers < 20 {
            let line = ping.line();
            answers += u64::from(line.contains(" bytes from guest-a"));
            assert!(start.elapsed() < LIMIT, "{line}");
        }
        ping.signal(Signal::INT);
        let lines = ping.lines();
        assert!(
            lines.iter().any(|line| line.starts_with("--- guest-a: ")),
            "{lines:?}"
        );
        assert_eq!(ping.code(), Some(0));
    }
}

#[test]
fn a_member_that_stands_still_is_missed_once_and_pinged_on_when_it_moves() {
    for place in Place::both() {
        let idle = place.start(&["recv", "guest-a"]);
        let mut ping = place.start(&["ping", "guest-a", "-i0.2", "-w60", "--limit", "3"]);
        let mut stderr = BufReader::new(ping.child.stderr.take().unwrap()).lines();
        assert!(ping.line().starts_with("PING guest-a"));
        assert!(ping.line().contains("seq=1 "));
        idle.signal(Signal::STOP);
        let missed = stderr.next().unwrap().unwrap();
        assert!(
            missed.starts_with("ivshmem: guest-a (") && missed.ends_with("shows no sign of life"),
            "{missed}"
        );
        idle.signal(Signal::CONT);
        while !ping.line().contains(" bytes from guest-a") {}
        ping.signal(Signal::INT);
        let rest: Vec<_> = stderr.map_while(Result::ok).collect();
        assert_eq!(rest, [] as [&str; 0]);
        assert_eq!(ping.code(), Some(0));
    }
}

#[test]
fn ctrl_c_sums_up() {
    let place = Place::server();
    let _idle = place.join("guest-a");
    for signal in [Signal::INT, Signal::TERM] {
        let mut ping = place.start(&["ping", "guest-a", "-i", "1000"]);
        assert!(ping.line().starts_with("PING"));
        assert!(ping.line().contains("seq=1 "));
        ping.signal(signal);
        let lines = ping.lines();
        assert!(
            lines[0].starts_with("--- guest-a: 1 sent, 1 received, 0 % lost"),
            "{lines:?}"
        );
        assert_eq!(ping.code(), Some(0));
    }
}

#[test]
fn a_closed_stdout_ends_it_quietly() {
    let place = Place::server();
    let _idle = place.join("guest-a");
    let mut command = place.command(&["ping", "guest-a", "-i", "0.01"]);
    let ended = Ended::without_reader(&mut command);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
}

#[test]
fn wrong_input_is_one_line_and_exit_code_2() {
    let place = Place::server();
    let _idle = place.join("guest-a");
    let seconds = "not a number of seconds above 0, such as 2 or 0.5 (try --help)";
    let bytes = "not a number of bytes from 16 up (try --help)";
    for (arguments, line) in [
        (
            &["-i", "0"][..],
            format!("invalid value '0' for '--interval <SECONDS>': {seconds}"),
        ),
        (
            &["-w", "soon"],
            format!("invalid value 'soon' for '--deadline <SECONDS>': {seconds}"),
        ),
        (
            &["-c", "0"],
            "invalid value '0' for '--count <N>': ".to_owned(),
        ),
        (
            &["-s", "15"],
            format!("invalid value '15' for '--size <BYTES>': {bytes}"),
        ),
        (
            &["--flood", "-i", "1"],
            "the argument '--flood' cannot be used with '--interval <SECONDS>'".to_owned(),
        ),
        (
            &["-s", "4000"],
            "pings of 4000 bytes are too long for this region: --size 952 at most".to_owned(),
        ),
    ] {
        let mut all = vec!["ping", "guest-a"];
        all.extend(arguments);
        place.run(&all).assert_line(2, &line);
    }
    let absent = place.directory.path().join("absent");
    let path = absent.to_str().unwrap();
    for (option, line) in [
        ("--socket", format!("no server listens at {path}: ")),
        ("--shm-file", format!("cannot open {path}: ")),
    ] {
        let mut command = Command::new(COMMAND);
        let output = command.args(["ping", "guest-a", option, path]).output();
        Ended::of(output.unwrap()).assert_line(2, &line);
    }
}
