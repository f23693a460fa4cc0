// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem run`, with a program that passes for QEMU.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use ivshmem_host::peer::Peer;
use rustix::process::{kill_process, Pid, Signal};
use tempfile::TempDir;

use crate::common::{eventually, LIMIT};
use crate::process::{Running, COMMAND};

/// A directory with a program that passes for QEMU. `$2` is the name of the guest.
struct Place {
    directory: TempDir,
    qemu: PathBuf,
}

impl Place {
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let qemu = directory.path().join("qemu-system-fake");
        fs::write(&qemu, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory, qemu }
    }

    fn at(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(COMMAND);
        command
            .arg("run")
            .args(arguments)
            .env("IVSHMEM_QEMU", &self.qemu)
            .env("IVSHMEM_ACCEL", "tcg")
            .env_remove("IVSHMEM_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn printed_lines_are_whole_and_nothing_is_started() {
    let place = Place::new("echo started");
    let file = place.at("memory");
    let output = place.run(&[
        "--print",
        "--kernel",
        "my kernel",
        "--append",
        "n={N}",
        "--plain",
        &file,
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let line = |number| {
        format!(
            "{} -name guest-{number} -machine pc -accel tcg -m 128M -display none -monitor none -serial stdio \
             -object memory-backend-file,id=ivshmem,share=on,size=4194304,mem-path={file} \
             -device ivshmem-plain,memdev=ivshmem -nodefaults -no-user-config -no-reboot \
             -kernel 'my kernel' -append n={number}\n",
            place.qemu.display()
        )
    };
    // A shell that is not ours may quote more; the words are what counts.
    let plain = |text: &str| text.replace('\'', "");
    assert_eq!(plain(text(&output.stdout)), plain(&(line(1) + &line(2))));
    assert!(text(&output.stdout).contains("'my kernel'"));
    assert!(output.stderr.is_empty(), "{output:?}");
    assert!(!fs::exists(&file).unwrap());
}

/// To clap `{n}` is the end of a line.
#[test]
fn help_says_how_to_write_the_number_of_the_guest() {
    for option in ["-h", "--help"] {
        let output = Place::new("").run(&[option]);
        let help = text(&output.stdout);
        for line in [
            "--append 'name=guest-{N}'",
            "{N} is the number of the guest",
        ] {
            assert!(help.contains(line), "{help}");
        }
    }
}

#[test]
fn a_printed_line_says_which_server_is_missing_and_takes_the_vectors_of_one_that_is_there() {
    let place = Place::new("");
    let socket = place.at("socket");
    let output = place.run(&[
        "--print",
        "--kernel",
        "k",
        "--socket",
        &socket,
        "--guests",
        "1",
        "--vectors",
        "3",
    ]);
    assert_eq!(
        text(&output.stderr),
        format!("ivshmem: start a server first: ivshmem server --socket {socket} --size 4194304 --vectors 3\n")
    );
    assert!(text(&output.stdout).contains("ivshmem-doorbell,chardev=ivshmem,vectors=3' "));
    let server = Running::start(":", 5, &[]);
    server.line();
    let there = server.socket.to_str().unwrap();
    let output = place.run(&["--print", "--kernel", "k", "--socket", there]);
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(text(&output.stdout).matches("vectors=5' ").count(), 2);
}

#[test]
fn each_guests_words_have_its_name_and_the_worst_status_counts() {
    let place =
        Place::new("echo hello; echo \"$2 speaks\"; echo oops >&2; [ $2 != guest-2 ] || exit 33");
    let file = place.at("memory");
    let output = place.run(&[
        "--kernel", "k", "--plain", &file, "--size", "64K", "--guests", "3",
    ]);
    assert_eq!(output.status.code(), Some(33), "{output:?}");
    let mut lines: Vec<_> = text(&output.stdout).lines().collect();
    lines.sort_unstable();
    let expected = (1..=3).flat_map(|n| {
        [
            format!("guest-{n}| guest-{n} speaks"),
            format!("guest-{n}| hello"),
        ]
    });
    assert_eq!(lines, expected.collect::<Vec<_>>());
    let stderr = text(&output.stderr);
    assert!(stderr.contains("guest-1| oops\n"), "{stderr}");
    assert!(
        stderr.contains("ivshmem: guest-2 has ended: exit status: 33\n"),
        "{stderr}"
    );
    assert_eq!(fs::metadata(&file).unwrap().len(), 65536);
}

/// Starts guests that run until the file `end` is there.
fn start(place: &Place, arguments: &[&str]) -> Child {
    place.command(arguments).spawn().unwrap()
}

fn until_end(place: &Place) -> String {
    format!(
        "echo up; while [ ! -e {} ]; do sleep 0.02; done",
        place.at("end")
    )
}

fn write_script(place: &Place, script: &str) {
    fs::write(&place.qemu, format!("#!/bin/sh\n{script}\n")).unwrap();
}

#[test]
fn a_server_is_there_as_long_as_the_guests_run() {
    let place = Place::new("");
    write_script(&place, &until_end(&place));
    let socket = place.at("socket");
    let mut child = start(
        &place,
        &[
            "--kernel",
            "k",
            "--socket",
            &socket,
            "--size",
            "64K",
            "--vectors",
            "3",
        ],
    );
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().ends_with("| up"));
    let mut peer = Peer::connect_within(&socket, LIMIT).unwrap();
    assert!(peer.wait_until(LIMIT, |peer| peer.vectors() == 3).unwrap());
    assert_eq!(peer.memory().len(), 65536);
    drop(peer);
    fs::write(place.at("end"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!fs::exists(&socket).unwrap());
}

#[test]
fn without_a_word_a_server_of_its_own_is_used_and_leaves_nothing() {
    let place = Place::new("for word in \"$@\"; do case $word in socket,*) p=${word##*path=}; test -S \"$p\" && echo $p;; esac; done");
    let output = place.run(&["--kernel", "k", "--guests", "1"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let path = text(&output.stdout)
        .trim()
        .strip_prefix("guest-1| ")
        .unwrap();
    assert!(!fs::exists(path).unwrap(), "{path}");
    let folder = PathBuf::from(path).parent().unwrap().to_owned();
    assert!(
        !folder.starts_with("/run/ivshmem") && !folder.exists(),
        "{folder:?}"
    );
}

#[test]
fn ctrl_c_ends_all_guests_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = Place::new("trap 'exit 7' TERM; echo up; while :; do sleep 0.02; done");
        let file = place.at("memory");
        let mut child = start(&place, &["--kernel", "k", "--plain", &file]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..2 {
            assert!(lines.next().unwrap().unwrap().ends_with("| up"));
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7));
        // Whatever still had our stdout would keep it open.
        assert!(lines.next().is_none());
    }
}

#[test]
fn a_guest_that_does_not_end_is_killed() {
    let place = Place::new("trap '' TERM; echo up; while :; do sleep 0.02; done");
    let file = place.at("memory");
    let mut child = start(
        &place,
        &["--kernel", "k", "--plain", &file, "--guests", "1"],
    );
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "guest-1| up");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 9));
}

#[test]
fn when_nobody_reads_the_guests_end() {
    let place = Place::new("while :; do echo x; sleep 0.02; done");
    let file = place.at("memory");
    let mut child = start(&place, &["--kernel", "k", "--plain", &file]);
    drop(child.stdout.take());
    eventually("the end", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn what_cannot_work_is_not_started() {
    let place = Place::new("echo started");
    let file = place.at("memory");
    fs::File::create(&file).unwrap().set_len(8192).unwrap();
    let server = Running::start(":", 2, &[]);
    server.line();
    let socket = server.socket.to_str().unwrap();
    for (arguments, part) in [
        (
            &["--kernel", "k", "--plain", &file, "--size", "64K"][..],
            "error D611 ",
        ),
        (
            &[
                "--kernel",
                "k",
                "--plain",
                &file,
                "--",
                "-object",
                "x,id=ivshmem",
            ],
            "error D640 ",
        ),
        (
            &["--kernel", "k", "--socket", socket, "--size", "4K"],
            "has 65536 bytes, not 4096; leave --size out",
        ),
        (
            &["--kernel", "k", "--memory", "much", "--plain", &file],
            "--memory much: not a size",
        ),
        (
            &["--plain", &file],
            "required arguments were not provided: --kernel <IMAGE>",
        ),
        (&["--kernel", "k", "--guests", "0"], "0 is not in 1..=64"),
        (
            &["--kernel", "k", "--plain", &file, "--vectors", "2"],
            "cannot be used with",
        ),
        (
            &["--kernel", "k", "--machine", "none"],
            "[possible values: pc, q35, microvm]",
        ),
        (
            &["--kernel", "k", "--plain", "/no/such/file"],
            "cannot create /no/such/file",
        ),
    ] {
        let output = place.run(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{part} in {stderr}");
        assert!(
            stderr.lines().all(|line| line.starts_with("ivshmem: ")),
            "{stderr}"
        );
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn a_missing_qemu_and_an_unknown_accelerator_are_one_line() {
    let place = Place::new("");
    let file = place.at("memory");
    let run = |variable, value| {
        let arguments = ["--kernel", "k", "--plain", &file];
        place
            .command(&arguments)
            .env(variable, value)
            .output()
            .unwrap()
    };
    for (variable, value, start) in [
        (
            "IVSHMEM_QEMU",
            "/no/such/qemu",
            "ivshmem: cannot start /no/such/qemu: ",
        ),
        (
            "IVSHMEM_ACCEL",
            "fast",
            "ivshmem: IVSHMEM_ACCEL=fast: must be tcg or kvm",
        ),
    ] {
        let output = run(variable, value);
        assert_eq!(output.status.code(), Some(2));
        let stderr = text(&output.stderr);
        assert!(
            stderr.starts_with(start) && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
}
