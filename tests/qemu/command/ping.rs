// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of `ivshmem ping`, and of what looks at members, with guests.

use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;
use xtask::qemu::Vm;

use super::place::{argument, Place, Running};
use crate::lab::{field, hear, number, same, Lab, Need, PATIENCE};
use crate::program;

pub fn trials() -> Vec<Need> {
    vec![
        Need::new("command::a_guest_with_a_doorbell_answers_pings", |lab| {
            answers(
                lab,
                &Place::server()?,
                &[["bare", "doorbell"], ["0", "polling"]],
            )
        }),
        Need::new("command::a_guest_without_a_doorbell_answers_pings", |lab| {
            answers(
                lab,
                &Place::file()?,
                &[["bare", "doorbell"], ["bare", "polling"]],
            )
        }),
        Need::new("command::a_guest_in_traffic_answers_pings", in_traffic),
        Need::new(
            "command::a_guest_that_is_killed_while_it_is_pinged_is_missed",
            killed,
        ),
        Need::new("command::guests_that_run_starts_answer_pings", newcomer),
    ]
}

const PINGS: u64 = 5;

/// Returns the lines of a ping to its end, as JSON.
fn ping(place: &Place, arguments: &[&str]) -> Result<Vec<Value>, Failed> {
    let mut all = vec!["ping", "--json", "-i", "0.02", "-w", "20"];
    all.extend(arguments);
    let lines = place.run(&all)?.expect(0, "")?;
    lines.iter().map(|line| json(line)).collect()
}

fn json(text: &str) -> Result<Value, Failed> {
    serde_json::from_str(text).map_err(|error| format!("`{text}`: {error}").into())
}

/// Pings a guest that does nothing else, and looks at it, as members and as bytes.
fn answers(lab: &Lab, place: &Place, targets: &[[&str; 2]]) -> Result<(), Failed> {
    let vm = place.boot(lab, "bare", "echo")?;
    let id = match place {
        Place::Server(_) => Value::from(0),
        Place::File(_) => Value::Null,
    };
    for &[target, manner] in targets {
        let count = PINGS.to_string();
        let mut arguments = vec![target, "-c", &count];
        if manner == "polling" {
            arguments.push("--poll");
        }
        all_answered(&ping(place, &arguments)?, &id)?;
    }
    let flood = ping_flood(place)?;
    same("answers to a flood", &flood["received"], &Value::from(500))?;
    looks_well(place, &id)?;
    vm.send_line("leave")?;
    let line = hear(&vm, "answered")?;
    let answered = number(field(&line, "pings")?)?;
    let sent = PINGS * targets.len() as u64 + 500;
    same(
        &format!("{answered} of {sent} answered"),
        answered >= sent,
        true,
    )?;
    vm.finish(PATIENCE)?;
    Ok(())
}

fn ping_flood(place: &Place) -> Result<Value, Failed> {
    let arguments = ["ping", "bare", "--json", "--flood", "-c", "500", "-w", "20"];
    let lines = place.run(&arguments)?.expect(0, "")?;
    let [summary] = &lines[..] else {
        return Err(format!("one line was expected: {lines:?}").into());
    };
    Ok(json(summary)?["summary"].take())
}

/// Demands that each ping has its answer, and the summary says so.
fn all_answered(lines: &[Value], id: &Value) -> Result<(), Failed> {
    let Some((summary, answers)) = lines.split_last() else {
        return Err("ping has said nothing".into());
    };
    same("answers", answers.len() as u64, PINGS)?;
    for (answer, seq) in answers.iter().zip(1_u64..) {
        same("sequence number", &answer["seq"], &Value::from(seq))?;
        same("name", &answer["name"], &Value::from("bare"))?;
        same("ID", &answer["peer"], id)?;
        same("slot", &answer["slot"], &Value::from(0))?;
    }
    let summary = &summary["summary"];
    for (key, expected) in [
        ("sent", PINGS),
        ("received", PINGS),
        ("wrong", 0),
        ("duplicates", 0),
    ] {
        same(key, &summary[key], &Value::from(expected))?;
    }
    Ok(())
}

/// Demands that the guest is seen as a member that lives, and that nothing in the memory is wrong after its pings.
fn looks_well(place: &Place, id: &Value) -> Result<(), Failed> {
    let document = |verb| -> Result<Value, Failed> {
        json(&place.run(&[verb, "--json"])?.expect(0, "")?.concat())
    };
    let peers = document("peers")?;
    let members = peers["members"].as_array().ok_or("no members")?;
    same(&format!("members in {peers}"), members.len(), 1)?;
    same("name", &members[0]["name"], &Value::from("bare"))?;
    same("lives", &members[0]["lives"], &Value::from(true))?;
    same("ID", &members[0]["id"], id)?;
    let dump = document("dump")?;
    same(
        "findings",
        &dump["findings"],
        &Value::from(Vec::<Value>::new()),
    )
}

/// Two guests exchange messages as fast as they can, and answer pings all the same.
fn in_traffic(lab: &Lab) -> Result<(), Failed> {
    let place = Place::server()?;
    let talking = [
        place.boot(lab, "bare", "crowd")?,
        place.boot(lab, "other", "crowd")?,
    ];
    for vm in &talking {
        hear(vm, "progress")?;
    }
    let count = PINGS.to_string();
    all_answered(&ping(&place, &["bare", "-c", &count])?, &Value::from(0))?;
    for vm in &talking {
        hear(vm, "progress")?;
        let about_ping = |line: &String| line.contains("ping:") || line.starts_with("@ broken");
        same(
            "lines about pings",
            vm.log().iter().find(|line| about_ping(line)),
            None,
        )?;
    }
    Ok(())
}

fn is_answer(line: &str) -> bool {
    line.contains("\"seq\":")
}

/// A guest is killed: the ping says so, goes on, and its next life is pinged.
fn killed(lab: &Lab) -> Result<(), Failed> {
    let place = Place::server()?;
    // So that the region has a member that lives on.
    let _other: Vm = place.boot(lab, "other", "echo")?;
    let vm = place.boot(lab, "bare", "echo")?;
    let arguments = ["ping", "bare", "--json", "-i", "0.1", "-w", "90"];
    let ping = place.start(&arguments, Stdio::null())?;
    for _ in 0..3 {
        ping.line(is_answer)?;
    }
    vm.kill();
    // Who is dead is found by name all the same, and does not answer.
    let other = place.run(&["ping", "bare", "-c", "2", "-i", "0.1", "-w", "20", "--json"])?;
    same("exit code", other.code, Some(1))?;
    let summary = other.lines.last().ok_or("no summary")?;
    same(
        "answers of the dead",
        &json(summary)?["summary"]["received"],
        &0.into(),
    )?;
    let vm = place.boot(lab, "bare", "echo")?;
    for _ in 0..3 {
        ping.line(is_answer)?;
    }
    ping.signal(Signal::INT)?;
    let ended = ping.end()?;
    same("exit code", ended.code, Some(0))?;
    let said: Vec<_> = ended.stderr.lines().collect();
    let [missed, restarted] = said[..] else {
        return Err(format!("two lines were expected: {said:#?}").into());
    };
    for (line, start) in [(missed, "shows no sign of life"), (restarted, "restarted")] {
        let is_said = line.starts_with("ivshmem: bare (peer 1, slot 1)") && line.contains(start);
        same(&format!("{start} is in {line}"), is_said, true)?;
    }
    let summary = json(ended.lines.last().ok_or("no summary")?)?;
    let count = |key: &str| summary["summary"][key].as_u64().unwrap_or_default();
    let some_are_lost = count("received") >= 6 && count("received") < count("sent");
    same(&format!("some are lost: {summary}"), some_are_lost, true)?;
    vm.send_line("leave")?;
    vm.finish(PATIENCE)?;
    Ok(())
}

/// What the documentation says: two commands, the second without waiting for what the first does.
fn newcomer(lab: &Lab) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let socket = argument(folder.path(), "socket");
    let command = || -> Result<Command, Failed> {
        Ok(Command::new(program::build("ivshmem-host", "ivshmem")?))
    };
    let mut run = command()?;
    run.args([
        "run", "--guests", "1", "--accel", "tcg", "--socket", &socket,
    ])
    .args([
        "--append",
        "mode=channel what=echo name=guest-{N}",
        "--kernel",
    ])
    .arg(lab.kernel())
    .env("IVSHMEM_QEMU", &lab.tools.qemu.path);
    let run = Running::start(run, Stdio::null())?;
    run.line(|line| line.starts_with("guest-1| "))?;
    let mut ping = command()?;
    ping.args([
        "ping", "guest-1", "-c", "3", "-i", "0.1", "-w", "30", "--socket", &socket,
    ]);
    let lines = Running::start(ping, Stdio::null())?.end()?.expect(0, "")?;
    let sum = "--- guest-1: 3 sent, 3 received, 0 % lost, in ";
    let is_told = lines.iter().any(|line| line.starts_with(sum));
    same(&format!("{sum} is in {lines:#?}"), is_told, true)?;
    run.signal(Signal::INT)?;
    same("exit code of run", run.end()?.code, Some(0))
}
