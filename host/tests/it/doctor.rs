// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem doctor`, with and without a server, for oneself and for others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{copy_command, Running, COMMAND};

/// A user and group that own nothing.
const NOBODY: u32 = 65_534;

fn doctor(arguments: &[&str]) -> Output {
    Command::new(COMMAND)
        .arg("doctor")
        .args(arguments)
        .stdin(Stdio::null())
        .env_remove("IVSHMEM_SOCKET")
        .env_remove("IVSHMEM_QEMU")
        .output()
        .unwrap()
}

/// Returns the codes of the findings that are not fine, in order.
fn codes(output: &Output) -> Vec<String> {
    document(output)["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["level"] != "ok")
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        // Of the machine that the test runs on.
        .filter(|code| !["D204", "D207", "D401", "D402", "D501", "D504"].contains(&&code[..]))
        .collect()
}

fn document(output: &Output) -> Value {
    assert!(output.stderr.is_empty(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A directory with a program that passes for QEMU.
struct Place {
    directory: TempDir,
    qemu: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let qemu = directory.path().join("qemu-system-fake");
        let script = "#!/bin/sh\necho 'QEMU emulator version 9.9.9'\n\
                      echo 'name \"ivshmem-plain\"'; echo 'name \"ivshmem-doorbell\"'\n";
        fs::write(&qemu, script).unwrap();
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory, qemu }
    }

    /// Has a command line looked at.
    fn line(&self, options: &str) -> Output {
        let mut arguments = vec!["--json", "--", self.qemu.to_str().unwrap()];
        arguments.extend(options.split_whitespace());
        doctor(&arguments)
    }
}

#[test]
fn a_server_is_looked_at() {
    let server = Running::start(":", 2, &[]);
    server.line();
    let socket = server.socket.to_str().unwrap();
    let output = doctor(&["--json", "--socket", socket]);
    assert_eq!(codes(&output), [""; 0]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let found = document(&output).to_string();
    assert!(found.contains("65536 bytes, 2 vectors"), "{found}");
}

#[test]
fn a_killed_server_a_missing_one_and_another_program_are_told_apart() {
    let mut server = Running::start(":", 2, &[]);
    server.line();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let at = |name: &str| {
        server
            .directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    };
    fs::write(at("file"), "").unwrap();
    for (path, expected) in [
        (
            server.socket.to_str().unwrap().to_owned(),
            &["D103", "D104"][..],
        ),
        (at("absent"), &["D101"]),
        (at("file"), &["D102"]),
    ] {
        let output = doctor(&["--json", "--socket", &path]);
        assert_eq!(codes(&output), expected, "{path}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn without_a_word_nothing_need_be_there() {
    let output = Command::new(COMMAND)
        .args(["doctor", "--json"])
        .env("IVSHMEM_SOCKET", "/no/such/socket")
        .env_remove("IVSHMEM_QEMU")
        .output()
        .unwrap();
    assert_eq!(codes(&output), ["D101"]);
    let output = Command::new(COMMAND)
        .args(["doctor", "--json", "--shm-file", "/dev/null"])
        .env("IVSHMEM_QEMU", "/no/such/qemu")
        .output()
        .unwrap();
    assert_eq!(codes(&output), ["D202", "D506"]);
}

#[test]
fn a_command_line_is_compared_with_its_server_and_its_file() {
    let place = Place::new();
    let server = Running::start(":", 2, &[]);
    server.line();
    let file = place.directory.path().join("memory");
    fs::File::create(&file).unwrap().set_len(65536).unwrap();
    let chardev = format!("-chardev socket,id=c,path={}", server.socket.display());
    let device = "-device ivshmem-doorbell,chardev=c";
    let backend = format!(
        "-object memory-backend-file,id=m,share=on,mem-path={}",
        file.display()
    );
    let plain = "-device ivshmem-plain,memdev=m";
    for (line, expected) in [
        (format!("{chardev} {device},vectors=2"), &[][..]),
        (format!("{chardev} {device},vectors=3"), &["D626"]),
        (format!("{chardev} {device}"), &["D628"]),
        (
            format!("{chardev},reconnect=1 {device},vectors=2"),
            &["D623"],
        ),
        (format!("{chardev}x {device},vectors=2"), &["D101"]),
        (format!("{backend},size=64K {plain}"), &[]),
        (format!("{backend},size=128K {plain}"), &["D611"]),
        (format!("{backend},size=4K {plain}"), &["D612"]),
        ("-device ivshmem,shm=x".to_owned(), &["D602"]),
        ("-m 1G".to_owned(), &["D639"]),
    ] {
        let output = place.line(&line);
        assert_eq!(codes(&output), expected, "{line}");
        let code = output.status.code();
        assert_eq!(
            code == Some(0),
            expected.is_empty() || expected == ["D628"],
            "{line}"
        );
    }
}

#[test]
fn people_get_lines_and_can_leave_some_out() {
    let place = Place::new();
    let qemu = place.qemu.to_str().unwrap();
    let line = [
        "-device",
        "ivshmem-doorbell,chardev=c",
        "-chardev",
        "null,id=c",
    ];
    let run = |options: &[&str]| {
        let output = doctor(&[options, &["--", qemu], &line].concat());
        let code = output.status.code();
        (String::from_utf8(output.stdout).unwrap(), code)
    };
    let (text, code) = run(&["--quiet"]);
    assert_eq!(code, Some(1));
    assert!(
        text.ends_with(
            "error   D622  -chardev null,id=c: only a socket can bring the memory and the interrupts: \
             QEMU will not start, or not end\n              \
             -> write -chardev socket,id=ivshmem,path=/run/ivshmem/ivshmem.sock\n\
             1 error, 0 warnings, 1 hint\n"
        ) || text.contains("1 error, 0 warnings, 0 hints"),
        "{text}"
    );
    assert!(!text.contains("\nok "), "{text}");
    let (text, code) = run(&["--ignore", "d622", "--ignore", "D207"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("ok      D500") && !text.contains("D622"),
        "{text}"
    );
}

#[test]
fn another_users_rights_are_reckoned() {
    // The temporary directory of a server is its user's alone.
    let server = Running::start(":", 2, &["--mode", "0666"]);
    server.line();
    let socket = server.socket.to_str().unwrap();
    let mode = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(server.directory.path(), mode).unwrap();
    };
    for (bits, expected) in [(0o700, &["D302", "D305"][..]), (0o755, &["D305"])] {
        mode(bits);
        let output = doctor(&["--json", "--socket", socket, "--user", "nobody"]);
        assert_eq!(codes(&output), expected, "{bits:o}");
    }
    fs::set_permissions(&server.socket, fs::Permissions::from_mode(0o600)).unwrap();
    let output = doctor(&["--json", "--socket", socket, "--user", "nobody"]);
    assert_eq!(codes(&output), ["D301"]);
}

#[test]
fn who_may_not_is_told_so() {
    let server = Running::start(":", 2, &["--mode", "0000"]);
    server.line();
    let directory = server.directory.path();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    // Where nobody finds it, whatever the way to the build's directory is.
    let program = directory.join("ivshmem");
    copy_command(&program);
    let mut command = Command::new(&program);
    // Not even the owner may, but root always may.
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command
        .args(["doctor", "--json", "--socket"])
        .arg(&server.socket)
        .current_dir("/")
        .output()
        .unwrap();
    assert_eq!(codes(&output), ["D301"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn wrong_arguments_are_one_line_and_exit_code_2() {
    for (arguments, start) in [
        (
            &["--user", "no-such-user"][..],
            "there is no user 'no-such-user'",
        ),
        (
            &["--ignore", "D1"],
            "invalid value 'D1' for '--ignore <CODE>'",
        ),
        (
            &["--socket", "a", "--shm-file", "b"],
            "the argument '--socket <PATH>' cannot be used with",
        ),
        (
            &["--json", "--quiet"],
            "the argument '--json' cannot be used with",
        ),
        (
            &["qemu-system-x86_64"],
            "unexpected argument 'qemu-system-x86_64'",
        ),
    ] {
        let output = doctor(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(&format!("ivshmem: {start}")), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_look_leaves_nothing() {
    let server = Running::start(":", 2, &[]);
    server.line();
    let before = server.descriptors();
    let names = crate::process::names(server.directory.path());
    let output = doctor(&["--socket", server.socket.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    crate::common::eventually("the look is over", || server.descriptors() == before);
    assert_eq!(crate::process::names(server.directory.path()), names);
}
