// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of the command `ivshmem` with real machines: guests that it starts, and what its doctor says of command lines
//! against what QEMU does with them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use xtask::qemu::process;

use crate::lab::{same, Lab, Need, PATIENCE};
use crate::program;

/// What QEMU's exit device makes of the test kernel's success.
const SUCCESS: i32 = 33;

/// How often QEMU is asked whether it has ended; nothing tells on its own.
const POLL: Duration = Duration::from_millis(2);

pub fn trials() -> Vec<Need> {
    vec![
        Need::new("operator::run_has_two_guests_talk_by_a_server", |lab| {
            talk(lab, &["--vectors", "2"])
        }),
        Need::new("operator::run_has_two_guests_talk_by_a_file", |lab| {
            let place = tempfile::tempdir()?;
            let file = place.path().join("memory");
            talk(
                lab,
                &["--machine", "q35", "--plain", &file.to_string_lossy()],
            )
        }),
        Need::new("operator::doctor_agrees_with_qemu", agree),
    ]
}

/// Runs a guest that sends and one that receives, which check what comes.
fn talk(lab: &Lab, sharing: &[&str]) -> Result<(), Failed> {
    let mut command = Command::new(program()?);
    command
        .args(["run", "--size", "1M", "--accel", "tcg", "--kernel"])
        .arg(lab.kernel())
        .args([
            "--append",
            "mode=channel what=send name=guest-{N} to=guest-2 messages=200",
        ])
        .args([
            "--append",
            "mode=channel what=receive name=guest-{N} to=guest-1 messages=200",
        ])
        .args(sharing)
        .args(["--", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
        .env("IVSHMEM_QEMU", &lab.tools.qemu.path);
    let output = command.stdin(Stdio::null()).output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let all = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    if output.status.code() != Some(SUCCESS) {
        return Err(format!("{}: {all}", output.status).into());
    }
    for name in ["guest-1| @ joined", "guest-2| @ joined"] {
        same(
            &format!("`{name}` is in {stdout}"),
            stdout.contains(name),
            true,
        )?;
    }
    Ok(())
}

/// Whether a machine starts, and what the doctor has to say.
struct Case {
    line: &'static str,
    code: &'static str,
    starts: bool,
}

const fn refused(code: &'static str, line: &'static str) -> Case {
    Case {
        line,
        code,
        starts: false,
    }
}

const fn started(code: &'static str, line: &'static str) -> Case {
    Case {
        line,
        code,
        starts: true,
    }
}

/// DIR is a directory with the files `memory` and `three` of 1 and 3 MiB.
const CASES: [Case; 18] = [
    started("D600", "-object memory-backend-file,id=m,share=on,size=1M,mem-path=DIR/memory -device ivshmem-plain,memdev=m"),
    started("D600", "-object {\"qom-type\":\"memory-backend-file\",\"id\":\"m\",\"share\":true,\"size\":1048576,\"mem-path\":\"DIR/memory\"} -device {\"driver\":\"ivshmem-plain\",\"memdev\":\"m\"}"),
    started("D607", "-object memory-backend-file,id=m,size=1M,mem-path=DIR/memory -device ivshmem-plain,memdev=m"),
    started("D612", "-object memory-backend-file,id=m,share=on,size=1M,mem-path=DIR/three -device ivshmem-plain,memdev=m"),
    started("D613", "-object memory-backend-file,id=m,share=on,readonly=on,size=1M,mem-path=DIR/memory -device ivshmem-plain,memdev=m"),
    refused("D602", "-device ivshmem,shm=x"),
    refused("D603", "-object memory-backend-ram,id=m,size=1M -device ivshmem-plain,memdev=m,role=peer"),
    refused("D604", "-device ivshmem-plain"),
    refused("D605", "-device ivshmem-plain,memdev=m"),
    refused("D609", "-object memory-backend-ram,id=m,size=3M -device ivshmem-plain,memdev=m"),
    refused("D609", "-object memory-backend-ram,id=m,size=1MB -device ivshmem-plain,memdev=m"),
    refused("D610", "-object memory-backend-file,id=m,share=on,mem-path=DIR/memory -device ivshmem-plain,memdev=m"),
    refused("D611", "-object memory-backend-file,id=m,share=on,size=2M,mem-path=DIR/memory -device ivshmem-plain,memdev=m"),
    refused("D614", "-object memory-backend-ram,id=m,size=1M -device ivshmem-plain,memdev=m -device ivshmem-plain,memdev=m"),
    refused("D620", "-device ivshmem-doorbell"),
    refused("D621", "-device ivshmem-doorbell,chardev=c"),
    refused("D631", "-machine microvm -object memory-backend-ram,id=m,size=1M -device ivshmem-plain,memdev=m"),
    refused("D640", "-object memory-backend-ram,id=m,size=1M -object memory-backend-ram,id=m,size=1M -device ivshmem-plain,memdev=m"),
];

/// Gives each command line to the doctor and to QEMU.
fn agree(lab: &Lab) -> Result<(), Failed> {
    let place = tempfile::tempdir()?;
    for (name, mib) in [("memory", 1), ("three", 3)] {
        std::fs::File::create(place.path().join(name))?.set_len(mib << 20)?;
    }
    for case in &CASES {
        let line = case.line.replace("DIR", &place.path().to_string_lossy());
        let mut words = vec!["-nodefaults", "-display", "none", "-accel", "tcg"];
        words.extend(line.split(' '));
        let said = doctor(&lab.tools.qemu.path, &words)?;
        same(
            &format!("{} is in {said}", case.code),
            said.contains(&format!("\"{}\"", case.code)),
            true,
        )?;
        same(
            &format!("QEMU starts with {line}"),
            starts(&lab.tools.qemu.path, &words)?,
            case.starts,
        )?;
    }
    Ok(())
}

fn doctor(qemu: &Path, words: &[&str]) -> Result<String, Failed> {
    let mut command = Command::new(program()?);
    command
        .args(["doctor", "--json", "--"])
        .arg(qemu)
        .args(words);
    let Output { stdout, .. } = command.output()?;
    Ok(String::from_utf8(stdout)?)
}

/// Returns whether QEMU takes a command line: then it does what it is told to, which is to end.
fn starts(qemu: &Path, words: &[&str]) -> Result<bool, Failed> {
    let mut command = Command::new(qemu);
    command.args(words).args(["-S", "-qmp", "stdio"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = process::spawn(command)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Fails if it has refused already.
        let _ = stdin.write_all(b"{\"execute\": \"qmp_capabilities\"}{\"execute\": \"quit\"}");
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status.success()),
            None if Instant::now() > deadline => {
                child.kill()?;
                child.wait()?;
                return Err(format!("QEMU neither starts nor ends with {words:?}").into());
            }
            None => thread::sleep(POLL),
        }
    }
}

/// Returns the path of the command.
fn program() -> Result<PathBuf, Failed> {
    program::build("ivshmem-host", "ivshmem")
}
