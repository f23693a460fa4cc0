// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of `cargo xtask conformance` as a hypervisor developer runs it: on QEMU, and on what is no hypervisor.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use tempfile::TempDir;
use xtask::guests::TestServer;
use xtask::kernel::{self, Profile};
use xtask::qemu::option_value;
use xtask::tools::Tools;
use xtask::trials::{self, same, Need};

/// What the trials share.
struct Lab {
    tools: Tools,
    kernel: PathBuf,
}

fn main() -> ExitCode {
    let open = || {
        let tools = Tools::find().map_err(|missing| missing.to_string())?;
        let built = kernel::build(&tools, Profile::Release);
        let kernel = built.map_err(|error| error.to_string())?;
        Ok(Lab { tools, kernel })
    };
    let needs = [
        Need::new("conformance::qemus_plain_conforms", plain),
        Need::new("conformance::qemus_doorbell_conforms", doorbell),
        Need::new("conformance::the_marker_decides_without_an_exit", no_exit),
        Need::new("conformance::a_machine_without_device_fails", no_device),
        Need::new("conformance::a_silent_command_is_ended_in_time", silent),
        Need::new("conformance::a_command_that_is_not_there_is_said", absent),
        Need::new("conformance::a_missing_placeholder_is_said", placeholder),
    ];
    trials::main(open, needs)
}

const EXIT: [&str; 2] = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"];

fn plain(lab: &Lab) -> Result<(), Failed> {
    let output = conform(lab, &qemu(lab, &EXIT, &PLAIN), 60)?;
    let text = said(&output, 0)?;
    same(
        "first lines",
        text.starts_with("TAP version 13\n1..11\n"),
        true,
    )?;
    results(
        &text,
        Kind::Ok,
        &["boot", "discover", "registers", "plain", "memory-ends"],
    )?;
    results(
        &text,
        Kind::Skip,
        &[
            "detach",
            "msix-deliver",
            "msix-mask",
            "msix-retarget",
            "doorbell-absent",
            "intx-status",
        ],
    )?;
    contains(&text, "# SKIP the device has no MSI-X")?;
    contains(&text, "# 5 passed, 0 failed, 6 do not apply\n")
}

fn doorbell(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, 2)?;
    let path = option_value(server.server.socket());
    let chardev = format!("socket,id=s,path={path}");
    let device = [
        "-chardev",
        &chardev,
        "-device",
        "ivshmem-doorbell,chardev=s,vectors=2",
    ];
    let output = conform(lab, &qemu(lab, &EXIT, &device), 60)?;
    let text = said(&output, 0)?;
    results(&text, Kind::Skip, &["plain", "intx-status"])?;
    // Only the server knows which ID it gave.
    contains(&text, "# not checked: position=")?;
    contains(&text, "# 9 passed, 0 failed, 2 do not apply\n")
}

fn no_exit(lab: &Lab) -> Result<(), Failed> {
    let output = conform(lab, &qemu(lab, &[], &PLAIN), 60)?;
    contains(&said(&output, 0)?, "# 5 passed, 0 failed, 6 do not apply\n")
}

fn no_device(lab: &Lab) -> Result<(), Failed> {
    let output = conform(lab, &qemu(lab, &EXIT, &[]), 60)?;
    let text = said(&output, 1)?;
    results(&text, Kind::NotOk, &["discover"])?;
    contains(&text, "# the guest says: no ivshmem device")?;
    contains(&text, "# 1 passed, 1 failed, 9 do not apply\n")
}

/// A shell, so that what the command has started must be ended too.
fn silent(lab: &Lab) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let pid = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let start = Instant::now();
    let command = ["sh", "-c", &script, "sh", "{kernel}", "{append}"];
    let output = conform(lab, &command.map(Into::into), 1)?;
    same("in time", start.elapsed() < Duration::from_secs(20), true)?;
    let text = said(&output, 1)?;
    results(&text, Kind::NotOk, &["boot"])?;
    contains(
        &text,
        "nothing on stdout within 1 s; does the command send COM1 there?",
    )?;
    contains(&text, "# 0 passed, 1 failed, 10 do not apply\n")?;
    let sleeper = fs::read_to_string(pid)?;
    let state = fs::read_to_string(format!("/proc/{}/stat", sleeper.trim()));
    // Whoever adopted it may not have noticed its end yet.
    let running = state.is_ok_and(|state| !state.contains(") Z "));
    same("the sleeper still runs", running, false)
}

fn absent(lab: &Lab) -> Result<(), Failed> {
    let command = ["/no/such/hypervisor", "{kernel}", "{append}"];
    unusable(
        &conform(lab, &command.map(Into::into), 1)?,
        "the command does not start: No such file",
    )
}

fn placeholder(lab: &Lab) -> Result<(), Failed> {
    let command = ["true", "{kernel}"];
    unusable(&conform(lab, &command.map(Into::into), 1)?, "{append}")
}

const PLAIN: [&str; 4] = [
    "-object",
    "memory-backend-ram,id=m,size=1M",
    "-device",
    "ivshmem-plain,memdev=m",
];

/// A command line as the page for hypervisor developers has it.
fn qemu(lab: &Lab, exit: &[&str], device: &[&str]) -> Vec<String> {
    let program = lab.tools.qemu.path.display().to_string();
    let fixed = "-accel tcg -nodefaults -display none -no-reboot -serial stdio";
    let boot = ["-kernel", "{kernel}", "-append", "{append}"];
    let words = [program.as_str()].into_iter().chain(fixed.split(' '));
    let words = words.chain(exit.iter().chain(device).copied()).chain(boot);
    words.map(Into::into).collect()
}

fn conform(lab: &Lab, command: &[String], limit_s: u32) -> Result<Output, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["conformance", "--limit", &limit_s.to_string(), "--kernel"])
        .arg(&lab.kernel)
        .arg("--")
        .args(command)
        .output()?;
    Ok(output)
}

/// Returns what a run wrote, which must have ended with `code`.
fn said(output: &Output, code: i32) -> Result<String, Failed> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    same(
        &format!("exit code\n{text}{errors}"),
        output.status.code(),
        Some(code),
    )?;
    Ok(text)
}

/// Fails unless a run wrote no result, and one error that contains `part`.
fn unusable(output: &Output, part: &str) -> Result<(), Failed> {
    same("results", said(output, 2)?, String::new())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    same("errors", errors.matches("error: ").count(), 1)?;
    contains(&errors, part)
}

/// The three kinds of result lines.
#[derive(Debug, PartialEq)]
enum Kind {
    Ok,
    NotOk,
    Skip,
}

/// Fails unless just these cases have such a result.
fn results(text: &str, kind: Kind, expected: &[&str]) -> Result<(), Failed> {
    let names = text.lines().filter_map(|line| {
        let (verdict, rest) = line.split_once(" - ")?;
        let found = match (verdict.split_once(' ')?.0, rest.contains(" # SKIP ")) {
            ("ok", false) => Kind::Ok,
            ("ok", true) => Kind::Skip,
            _ => Kind::NotOk,
        };
        (found == kind).then(|| rest.split([':', ' ']).next())?
    });
    same(
        &format!("cases {kind:?}"),
        &*names.collect::<Vec<_>>(),
        expected,
    )
}

fn contains(text: &str, part: &str) -> Result<(), Failed> {
    if text.contains(part) {
        return Ok(());
    }
    Err(format!("`{part}` is not in: {text}").into())
}
