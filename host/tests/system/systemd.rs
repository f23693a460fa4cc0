// SPDX-License-Identifier: MIT OR Apache-2.0
//! The units in `dist`, judged by systemd's own tools, and a socket that systemd's tool hands down.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ivshmem_host::peer::Peer;
use libtest_mimic::Completion;
use rustix::process::{geteuid, kill_process, Signal};

use crate::common::{eventually, LIMIT};
use crate::process::{names, socket_in, Running, COMMAND};
use crate::Outcome;

/// What the units start; it is replaced by the command of this build, which is there.
const INSTALLED: &str = "/usr/bin/ivshmem";

/// The most that `systemd-analyze security` may give, in tenths: 0 is closed, 100 wide open.
const EXPOSURE: &str = "20";

fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dist")
}

/// Runs one of systemd's tools, or says why not.
fn tool(name: &str, arguments: &[&str]) -> Result<Output, String> {
    let output = Command::new(name)
        .args(arguments)
        .env("SYSTEMD_LOG_LEVEL", "warning")
        .output();
    output.map_err(|error| format!("{name}: {error}"))
}

/// Returns what a tool has said, as one text.
fn words(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

/// Copies the units into a folder, as `change` makes them.
fn units(change: impl Fn(String) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names(&dist().join("systemd")) {
        let text = fs::read_to_string(dist().join("systemd").join(&name)).unwrap();
        assert_eq!(text.contains(INSTALLED), name == "ivshmem@.service");
        let text = change(text.replace(INSTALLED, COMMAND));
        // Of an instance, which the units are for.
        let name = name.to_str().unwrap().replace('@', "@vms");
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

pub fn units_are_valid() -> Outcome {
    let verify = |folder: &Path| {
        let unit = |kind: &str| format!("{}/ivshmem@vms.{kind}", folder.display());
        let (service, socket) = (unit("service"), unit("socket"));
        tool(
            "systemd-analyze",
            &["verify", "--man=no", &service, &socket],
        )
    };
    let output = match verify(units(|text| text).path()) {
        Ok(output) => output,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    assert_eq!(words(&output), "");
    assert!(output.status.success());
    // The judge is awake.
    let wrong = units(|text| text.replace("LimitNOFILE", "LimitNOFILES"));
    let output = verify(wrong.path()).unwrap();
    assert!(
        words(&output).contains("LimitNOFILES"),
        "{}",
        words(&output)
    );
    Ok(Completion::Completed)
}

pub fn units_are_confined() -> Outcome {
    let folder = units(|text| text);
    let service = format!("{}/ivshmem@vms.service", folder.path().display());
    let threshold = format!("--threshold={EXPOSURE}");
    let arguments = [
        "security",
        "--offline=true",
        "--no-pager",
        &threshold,
        &service,
    ];
    let output = match tool("systemd-analyze", &arguments) {
        Ok(output) => output,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    if words(&output).contains("unrecognized option") {
        let reason = "this systemd-analyze does not judge units offline";
        return Ok(Completion::ignored_with(reason));
    }
    assert!(output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains("Overall exposure level"),
        "{}",
        words(&output)
    );
    Ok(Completion::Completed)
}

pub fn user_and_folder_are_made() -> Outcome {
    if !geteuid().is_root() {
        return Ok(Completion::ignored_with("only root makes users"));
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let at = format!("--root={}", root.path().display());
    let snippet = |kind: &str| dist().join(kind).join("ivshmem.conf").display().to_string();
    let output = match tool("systemd-sysusers", &[&at, &snippet("sysusers.d")]) {
        Ok(output) => output,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    assert!(output.status.success(), "{}", words(&output));
    let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let user = users
        .lines()
        .find(|line| line.starts_with("ivshmem:"))
        .unwrap();
    let id: u32 = user.split(':').nth(2).unwrap().parse().unwrap();
    let output = tool(
        "systemd-tmpfiles",
        &["--create", &at, &snippet("tmpfiles.d")],
    )
    .unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let folder = fs::metadata(root.path().join("run/ivshmem")).unwrap();
    assert_eq!((folder.uid(), folder.mode() & 0o7777), (id, 0o755));
    Ok(Completion::Completed)
}

pub fn a_socket_is_handed_down() -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let socket = socket_in(&directory);
    let mut command = Command::new("systemd-socket-activate");
    command
        .arg(format!("--listen={}", socket.display()))
        .arg("--fdname=ivshmem.sock")
        .args([
            COMMAND,
            "server",
            "--size=64K",
            "--vectors=1",
            "--socket=/nowhere/at/all",
        ]);
    if let Err(reason) = tool("systemd-socket-activate", &["--version"]) {
        return Ok(Completion::ignored_with(reason));
    }
    let mut running = Running::spawn(directory, &mut command);
    eventually("the socket is there", || socket.exists());
    // The first to connect has the server started, and is served by it.
    let peer = Peer::connect_within(&socket, LIMIT).unwrap();
    assert_eq!(peer.id().unwrap().0, 0);
    let start = format!("ivshmem: listening at {}: ", socket.display());
    let mut lines = std::iter::from_fn(|| Some(running.line()));
    lines.find(|line| line.starts_with(&start)).unwrap();
    kill_process(running.pid(), Signal::TERM).unwrap();
    assert!(running.child.wait().unwrap().success());
    assert!(socket.exists(), "systemd's socket stays");
    Ok(Completion::Completed)
}
