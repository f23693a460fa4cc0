// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of `cargo xtask demo` as a user runs it: to the end, interrupted, and with a guest that fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;
use xtask::kernel::{self, Profile};
use xtask::tools::{Tools, QEMU_VARIABLE};
use xtask::trials::{self, Need};

/// The limit for a demo whose kernel is built.
const DEMO_LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let open = || {
        let tools = Tools::find().map_err(|missing| missing.to_string())?;
        kernel::build(&tools, Profile::Release).map_err(|error| error.to_string())?;
        Ok(tools)
    };
    let needs = [
        Need::new("demo::says_who_is_who_and_writes_its_figures", whole),
        Need::new("demo::interrupted_it_leaves_nothing_running", interrupted),
        Need::new("demo::a_failing_guest_is_shown_with_its_log", failing),
        Need::new("demo::an_unwritable_json_is_said_at_once", unwritable),
    ];
    trials::main(open, needs)
}

fn whole(_: &Tools) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let json = folder.path().join("figures.json");
    let start = Instant::now();
    let output = demo(folder.path()).arg("--json").arg(&json).output()?;
    if start.elapsed() > DEMO_LIMIT {
        return Err(format!("it took {:?}", start.elapsed()).into());
    }
    let text = said(&output);
    if !output.status.success() {
        return Err(text.into());
    }
    for part in [
        "A       guest, peer 0",
        "B       guest, peer 1",
        "host    this process, peer 2",
        "A -> B: hello",
        "B -> A: hello",
        "host -> A: hello",
        "A -> host: hello",
        "now I kill guest B",
        "host: B has died",
        "A: B has died",
        "host: B is back, as incarnation 2",
        "A: B is back, as incarnation 2",
        "A's file is here, 16 MiB",
    ] {
        contains(&text, part)?;
    }
    let report: Value = serde_json::from_str(&fs::read_to_string(&json)?)?;
    let file = &report["file"];
    let digest = file["sha256"].as_str().ok_or("no SHA-256")?;
    // A and the host have hashed it, each for itself.
    contains(&text, &format!("A: my file has 16 MiB, SHA-256 {digest}"))?;
    if file["bytes"] != 16 << 20 || file["pieces_before_the_kill"] != 8 {
        return Err(format!("a file that makes no sense: {file}").into());
    }
    let series = report["round_trips"].as_array().ok_or("no round_trips")?;
    let mut seen = Vec::new();
    for one in series {
        let number = |key: &str| one[key].as_u64().ok_or_else(|| format!("no {key}: {one}"));
        let (p50, p99, max) = (number("p50_ns")?, number("p99_ns")?, number("max_ns")?);
        if number("count")? != 10_000 || p50 == 0 || p50 > p99 || p99 > max {
            return Err(format!("figures make no sense: {one}").into());
        }
        let by_doorbell = one["wait"] == "doorbell";
        // Doorbells coalesce, but waiting for them must not have turned into looking now and then.
        if by_doorbell != (number("doorbells")? > 1_000) {
            return Err(format!("doorbells do not fit the way of waiting: {one}").into());
        }
        seen.push(format!("{}-{} {}", one["from"], one["to"], one["wait"]).replace('"', ""));
    }
    let expected = [
        "a-b doorbell",
        "a-b polling",
        "host-a doorbell",
        "host-a polling",
    ];
    if seen != expected {
        return Err(format!("measured {seen:?}, not {expected:?}").into());
    }
    nothing_left(folder.path())
}

fn interrupted(_: &Tools) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let mut child = demo(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // As soon as there are guests to be left behind.
    let deadline = Instant::now() + DEMO_LIMIT;
    while entries(folder.path(), "ivshmem-vm-")? < 2 {
        if Instant::now() > deadline || child.try_wait()?.is_some() {
            return Err(said(&child.wait_with_output()?).into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    kill_process(pid(&child)?, Signal::INT)?;
    let output = child.wait_with_output()?;
    let text = said(&output);
    if output.status.code() != Some(130) {
        return Err(format!("{:?}: {text}", output.status).into());
    }
    contains(&text, "interrupted")?;
    nothing_left(folder.path())
}

fn failing(tools: &Tools) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    // A QEMU whose guest B is told to play a role that does not exist.
    let wrapper = folder.path().join("qemu");
    let script = format!(
        "#!/bin/sh\nfor word; do shift\n[ \"$word\" = 'mode=demo role=b' ] && word='mode=demo role=nobody'\n\
         set -- \"$@\" \"$word\"\ndone\nexec '{}' \"$@\"\n",
        tools.qemu.path.display()
    );
    fs::write(&wrapper, script)?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    let output = demo(folder.path()).env(QEMU_VARIABLE, &wrapper).output()?;
    let text = said(&output);
    if output.status.code() != Some(1) {
        return Err(format!("{:?}: {text}", output.status).into());
    }
    contains(&text, "== FAIL mode=demo wants role=a or role=b")?;
    contains(&text, "serial log")?;
    fs::remove_file(wrapper)?;
    nothing_left(folder.path())
}

fn unwritable(_: &Tools) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let json = folder.path().join("no/such/folder.json");
    let output = demo(folder.path()).arg("--json").arg(&json).output()?;
    let text = said(&output);
    contains(&text, &json.display().to_string())?;
    if output.status.code() != Some(1) || text.contains("booting") {
        return Err(text.into());
    }
    nothing_left(folder.path())
}

/// The demo, with its temporary files in `folder`, so that what it leaves can be seen.
fn demo(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["demo", "--no-install"])
        .env("TMPDIR", folder)
        .stdin(Stdio::null());
    command
}

/// Fails if a folder of the demo is left in `folder`, or a process that works in one.
fn nothing_left(folder: &Path) -> Result<(), Failed> {
    if entries(folder, "ivshmem-")? > 0 {
        return Err("a temporary folder is left".into());
    }
    let folder = folder.display().to_string();
    for process in fs::read_dir("/proc")? {
        // Processes end while they are looked at.
        let line = fs::read(process?.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains("qemu-system") && line.contains(&folder) {
            return Err(format!("a machine is left: {line}").into());
        }
    }
    Ok(())
}

/// Returns how many entries of `folder` have names that start with `start`.
fn entries(folder: &Path, start: &str) -> Result<usize, Failed> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        count += usize::from(entry?.file_name().to_string_lossy().starts_with(start));
    }
    Ok(count)
}

fn pid(child: &Child) -> Result<Pid, Failed> {
    let id = i32::try_from(child.id())?;
    Pid::from_raw(id).ok_or_else(|| "a process without an ID".into())
}

fn said(output: &Output) -> String {
    let part = |bytes| String::from_utf8_lossy(bytes).into_owned();
    part(&output.stdout) + &part(&output.stderr)
}

fn contains(text: &str, part: &str) -> Result<(), Failed> {
    if text.contains(part) {
        return Ok(());
    }
    Err(format!("`{part}` is not in: {text}").into())
}
