// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem bench`: what it measures where, what it tells, how it ends. Never how fast anything is.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ivshmem_host::admin::Admin;
use ivshmem_host::channel::{Options, Pings};
use rustix::process::Signal;
use rustix::thread::{sched_getaffinity, CpuSet};
use serde_json::Value;

use crate::common::LIMIT;
use crate::ping::connect_to_pinger;
use crate::places::{Ended, Place};
use crate::process::COMMAND;

/// Long enough to measure a few slices.
const SHORT: &str = "--seconds=0.1";

/// Runs it without saying where.
fn run(arguments: &[&str]) -> Ended {
    let mut command = Command::new(COMMAND);
    command.arg("bench").args(arguments).stdin(Stdio::null());
    Ended::of(command.env_remove("IVSHMEM_SOCKET").output().unwrap())
}

fn json(ended: &Ended) -> Value {
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 1);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Returns the lengths and manners of the round trips, after a look at their figures.
fn round_trips(report: &Value) -> Vec<(u64, &str)> {
    let lines = report["round_trips"].as_array().unwrap();
    for line in lines {
        for times in [&line["times"], &line["bare_times"]] {
            if times.is_null() {
                continue;
            }
            let names = ["min_us", "p50_us", "p90_us", "p99_us", "max_us"];
            let figures = names.map(|name| times[name].as_f64().unwrap());
            assert!(figures[0] > 0.0, "{line}");
            assert!(figures.is_sorted(), "{line}");
        }
        assert!(line["count"].as_u64() > Some(0), "{line}");
        assert!(line["times"].is_object(), "{line}");
    }
    let bytes = |line: &Value| line["bytes"].as_u64().unwrap();
    lines
        .iter()
        .map(|line| (bytes(line), line["manner"].as_str().unwrap()))
        .collect()
}

/// Returns the CPUs that this process may use.
fn cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU)
        .filter(|&cpu| allowed.is_set(cpu))
        .collect()
}

#[test]
fn two_members_are_measured_beside_what_the_machine_can_do() {
    let report = json(&run(&[SHORT, "--size", "64,4K", "--json"]));
    let has_two = cpus().len() > 1;
    let manners = |bytes| {
        let awake = has_two.then_some((bytes, "awake"));
        [Some((bytes, "asleep")), awake].into_iter().flatten()
    };
    let expected: Vec<_> = manners(64).chain(manners(4096)).collect();
    assert_eq!(round_trips(&report), expected);
    for line in report["round_trips"].as_array().unwrap() {
        assert!(line["ratio"].as_f64() > Some(0.0), "{line}");
    }
    let streams = report["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 2);
    for (line, bytes) in streams.iter().zip([64.0, 4096.0]) {
        assert_eq!(line["bytes"].as_f64(), Some(bytes));
        assert!(line["messages"].as_u64() > Some(0));
        // Nobody is rung more often than once for a message, or for room for one.
        assert!(line["doorbells_rung"].as_u64() <= line["messages"].as_u64().map(|n| 2 * n));
        let positive = |name: &str| {
            let value = line[name].as_f64().unwrap();
            assert!(value > 0.0, "{name}: {line}");
            value
        };
        let rate = positive("messages_per_s");
        assert!(
            (positive("bytes_per_s") / rate - bytes).abs() < 0.01,
            "{line}"
        );
        if has_two {
            let rate = positive("bare_messages_per_s");
            assert!((positive("bare_bytes_per_s") / rate - bytes).abs() < 0.01);
            positive("ratio");
        }
    }
    assert_eq!(report["has_doorbells"], true);
    assert_eq!(report["member"], Value::Null);
    assert_eq!(report["format"], 1);
    assert!(report["seconds"].as_f64() > Some(0.0));
}

#[test]
fn the_table_has_every_size_and_fits_a_terminal() {
    let ended = run(&[SHORT]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    let start = "BENCH two members of this process, by doorbell, in memory of their own, ";
    assert!(ended.stdout.starts_with(start), "{ended:?}");
    for line in ended.stdout.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    for heading in ["ROUND TRIP  MANNER ", "    STREAM  MESSAGES/S "] {
        let heading = heading.trim_start();
        let mut lines = ended.stdout.lines().map(str::trim_start);
        assert!(lines.any(|line| line.starts_with(heading)), "{ended:?}");
        for size in ["64 bytes ", "1 KiB ", "64 KiB "] {
            assert!(
                lines.any(|line| line.starts_with(size)),
                "{size}: {ended:?}"
            );
        }
    }
}

#[test]
fn a_server_that_was_not_asked_for_is_left_alone() {
    let place = Place::server();
    let mut command = Command::new(COMMAND);
    command.args(["bench", SHORT, "--size", "8"]);
    let ended = Ended::of(command.env("IVSHMEM_SOCKET", &place.path).output().unwrap());
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    let status = Admin::of(&place.path).status().unwrap();
    assert_eq!(status.counters.joined, 0);
    // With a name it is the one that is meant.
    let _idle = place.join("guest-a");
    let mut command = Command::new(COMMAND);
    command.args(["bench", "guest-a", SHORT, "--limit", "20"]);
    let ended = Ended::of(command.env("IVSHMEM_SOCKET", &place.path).output().unwrap());
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
}

#[test]
fn members_of_a_given_region_are_measured_and_gone_afterwards() {
    for place in Place::both() {
        // Longer than its rings.
        let report = json(&place.run(&["bench", SHORT, "--size", "16,10000", "--json"]));
        round_trips(&report);
        assert_eq!(report["has_doorbells"], place.is_server());
        assert_eq!(report["streams"].as_array().unwrap().len(), 2);
        let path = place.path.to_str().unwrap();
        assert!(
            report["setting"].as_str().unwrap().contains(path),
            "{report}"
        );
        assert_eq!(place.join("other").peers().unwrap(), []);
    }
}

#[test]
fn a_member_that_answers_pings_is_measured() {
    for place in Place::both() {
        let _idle = place.join("guest-a");
        for target in ["guest-a", "0"] {
            if target == "0" && !place.is_server() {
                continue;
            }
            let report = json(&place.run(&["bench", target, SHORT, "--json"]));
            // Of the usual ones the rings have room for the shortest alone.
            let found = round_trips(&report);
            assert_eq!(found[0], (64, "asleep"));
            assert!(found.iter().all(|(bytes, _)| *bytes == 64), "{found:?}");
            assert_eq!(report["streams"], Value::Array(Vec::new()));
            assert_eq!(report["member"]["name"], "guest-a");
            assert_eq!(report["member"]["slot"], 0);
            assert_eq!(report["has_doorbells"], place.is_server());
        }
        let ended = place.run(&["bench", "guest-a", SHORT, "--size", "8,900"]);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
        assert!(ended.stdout.starts_with("BENCH guest-a ("), "{ended:?}");
        assert!(ended.stdout.contains("\n 900 bytes  asleep "), "{ended:?}");
        place
            .run(&["bench", "guest-a", "--size", "8,1000"])
            .assert_line(
                2,
                "pings of 1000 bytes are too long for this region: --size 952 at most",
            );
    }
}

#[test]
fn nobody_there_or_nobody_who_answers_is_exit_code_1() {
    for place in Place::both() {
        let blank = "nobody has made this memory a region yet, so nobody can answer";
        place.run(&["bench", "guest-a"]).assert_line(1, blank);
        let _silent = place.join_as(Options::new("silent").pings(Pings::Ignored));
        let nobody = "nobody named guest-a is a member of the region; ivshmem peers lists who is";
        place.run(&["bench", "guest-a"]).assert_line(1, nobody);
        let ended = place.run(&["bench", "silent", "--limit", "0.4"]);
        ended.assert_line(1, "silent (");
        assert!(
            ended.stderr.contains(" did not answer within 0.4 s; "),
            "{ended:?}"
        );
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_member_that_sends_back_something_else_is_told() {
    let place = Place::server();
    let strange = place.join_as(Options::new("strange").pings(Pings::Ignored));
    let answering = thread::spawn(move || {
        let mut connection = connect_to_pinger(&strange);
        while let Ok(Some(message)) = connection.recv(LIMIT) {
            let mut message = message.to_vec();
            *message.last_mut().unwrap() ^= 1;
            connection.send(&message, LIMIT).unwrap();
        }
    });
    let ended = place.run(&["bench", "strange"]);
    answering.join().unwrap();
    let line = "strange (peer 0, slot 0) sent back something else than it was sent; ivshmem dump ";
    ended.assert_line(1, line);
}

#[test]
fn a_member_that_leaves_ends_it_with_what_was_measured() {
    let place = Place::server();
    let idle = place.join("guest-a");
    let mut bench = place.start(&["bench", "guest-a", "--seconds", "1000"]);
    assert!(bench
        .line()
        .starts_with("BENCH guest-a (peer 0, slot 0), by doorbell, "));
    drop(idle);
    let lines = bench.lines();
    assert!(
        lines.iter().any(|line| line.starts_with("ROUND TRIP")),
        "{lines:?}"
    );
    assert_eq!(bench.code(), Some(1));
    let mut stderr = String::new();
    bench
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert!(
        stderr.starts_with("ivshmem: guest-a (peer 0, slot 0): "),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn ctrl_c_ends_it_with_what_was_measured() {
    let place = Place::server();
    let (start, mut pause) = (Instant::now(), Duration::from_millis(50));
    // Until it comes after the first figures.
    loop {
        let mut bench = place.start(&["bench", "--seconds", "1000", "--size", "64"]);
        assert!(bench
            .line()
            .starts_with("BENCH two members of this process"));
        thread::sleep(pause);
        bench.signal(Signal::INT);
        let lines = bench.lines();
        let row = lines
            .iter()
            .find(|line| line.starts_with("  64 bytes  asleep "));
        let has_figures = row.unwrap().contains('.');
        assert_eq!(bench.code(), Some(i32::from(!has_figures)), "{lines:?}");
        if has_figures {
            break;
        }
        assert!(start.elapsed() < LIMIT, "{lines:?}");
        pause *= 2;
    }
    assert_eq!(place.join("other").peers().unwrap(), []);
}

#[test]
fn on_one_cpu_only_those_are_measured_that_sleep() {
    let cpu = cpus()[0];
    let both = format!("{cpu},{cpu}");
    let report = json(&run(&[SHORT, "--size", "64", "--json", "--cpus", &both]));
    assert_eq!(round_trips(&report), [(64, "asleep")]);
    let stream = &report["streams"][0];
    assert!(stream["messages_per_s"].as_f64() > Some(0.0), "{report}");
    assert_eq!(
        (&stream["ratio"], &stream["bare_bytes_per_s"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(report["cpus"], serde_json::json!([cpu, cpu]));
    let words = format!("both on CPU {cpu}, so nothing that has to be awake is measured");
    assert!(
        report["setting"].as_str().unwrap().ends_with(&words),
        "{report}"
    );
}

#[test]
fn a_closed_stdout_ends_it_quietly() {
    let mut command = Command::new(COMMAND);
    command.args(["bench", "--seconds", "1000"]);
    let ended = Ended::without_reader(&mut command);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
}

#[test]
fn wrong_input_is_one_line_and_exit_code_2() {
    let size = "invalid value '7' for '--size <LIST>': a message has 8 bytes to 1M (try --help)";
    let cpus = "not two numbers of CPUs, such as 0,2 (try --help)";
    for (arguments, line) in [
        (
            &["--seconds", "0"][..],
            "invalid value '0' for '--seconds <SECONDS>': not a number",
        ),
        (&["--size", "64,7"], size),
        (
            &["--size", "2M"],
            "invalid value '2M' for '--size <LIST>': a message has 8 bytes",
        ),
        (&["--size", "64,,8"], "invalid value '' for '--size <LIST>'"),
        (
            &["--size", "some"],
            "invalid value 'some' for '--size <LIST>'",
        ),
        (
            &["--cpus", "1"],
            &format!("invalid value '1' for '--cpus <A,B>': {cpus}"),
        ),
        (&["--cpus", "0,99999"], "cannot run on CPU 99999: "),
        (
            &["guest-a", "--cpus", "0,1"],
            "the argument '[NAME|ID]' cannot be used with '--cpus <A,B>'",
        ),
        (
            &["--socket", "a", "--shm-file", "b"],
            "the argument '--socket <PATH>' cannot be used with '--shm-file <PATH>'",
        ),
        (
            &["--socket", "/absent/socket"],
            "no server listens at /absent/socket: ",
        ),
        (
            &["--shm-file", "/absent/file"],
            "cannot open /absent/file: ",
        ),
        (
            &["guest-a", "--socket", "/absent/socket"],
            "no server listens at /absent/socket: ",
        ),
        (
            &["guest-a", "--shm-file", "/absent/file"],
            "cannot open /absent/file: ",
        ),
    ] {
        run(arguments).assert_line(2, line);
    }
}
