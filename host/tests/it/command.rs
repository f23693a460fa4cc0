// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem server` as a process: its log, its exit codes, what it leaves.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Output, Stdio};

use crate::common::LIMIT;
use crate::process::{names, Running, COMMAND};
use ivshmem_host::peer::Event;
use rustix::process::{kill_process, Signal};

#[test]
fn sigterm_and_sigint_end_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = Running::start(":", 2, &[]);
        let line = command.line();
        let start = format!(
            "ivshmem: listening at {}: 65536 bytes of shared memory in a sealed memfd, 2 vectors per client, at most ",
            command.socket.display()
        );
        assert!(line.starts_with(&start), "{line}");
        let mut first = command.join();
        let pid = std::process::id();
        assert_eq!(
            command.line(),
            format!("ivshmem: peer 0 joined (process {pid}), 1 connected")
        );
        drop(command.join());
        assert_eq!(
            command.line(),
            format!("ivshmem: peer 1 joined (process {pid}), 2 connected")
        );
        assert_eq!(command.line(), "ivshmem: peer 1 left, 1 connected");
        let third = command.join();
        assert!(first
            .wait_until(LIMIT, |p| p.vectors_of(third.id().unwrap()).is_some())
            .unwrap());
        kill_process(command.pid(), signal).unwrap();
        assert_eq!(command.child.wait().unwrap().code(), Some(0));
        assert_eq!(fs::read_dir(command.directory.path()).unwrap().count(), 0);
        loop {
            match first.next_event(LIMIT).unwrap() {
                Some(Event::Left(id)) => assert_eq!(id, third.id().unwrap()),
                Some(Event::ServerGone) => break,
                Some(_) => {}
                None => panic!("the end was not told"),
            }
        }
        assert_eq!(first.peers().count(), 0);
    }
}

#[test]
fn a_server_that_was_killed_is_replaced_by_the_next() {
    let mut command = Running::start(":", 1, &[]);
    command.line();
    command.child.kill().unwrap();
    command.child.wait().unwrap();
    assert!(command.socket.exists());
    let output = run(&[
        OsStr::new("server"),
        "--socket".as_ref(),
        command.socket.as_os_str(),
        "--size=3M".as_ref(),
        "--vectors=1".as_ref(),
    ]);
    assert_eq!(output.status.code(), Some(2));
    let config = ivshmem_host::server::Config::new(&command.socket, 4096, 1);
    drop(ivshmem_host::server::Server::spawn(config).unwrap());
    assert_eq!(fs::read_dir(command.directory.path()).unwrap().count(), 0);
}

fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Output {
    Command::new(COMMAND)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Asserts that the command fails with the one line `message` and exit code 2.
fn assert_refused(output: &Output, message: &str) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(stderr, format!("ivshmem: {message}\n"));
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(output.stdout.is_empty());
}

#[test]
fn each_wrong_input_is_one_line_and_exit_code_2_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        directory
            .path()
            .join(name)
            .into_os_string()
            .into_string()
            .unwrap()
    };
    fs::write(at("file"), [0; 8192]).unwrap();
    let _live = std::os::unix::net::UnixListener::bind(at("live")).unwrap();
    let before = names(directory.path());
    let socket = at("socket");
    let range = "is not in 1..=2048 (try --help)";
    let octal = "not an octal number from 0 to 0777 (try --help)";
    let cases = [
        ("size", "3M", "invalid value '3M' for '--size <SIZE>': a size of 3145728 bytes is not a power of two, as a PCI BAR has to be (try --help)".to_owned()),
        ("size", "2048", "invalid value '2048' for '--size <SIZE>': a size of 2048 bytes is too small: the least is 4096 (try --help)".to_owned()),
        ("size", "big", "invalid value 'big' for '--size <SIZE>': 'big' is not a size: write bytes, or a number with K, M, G or T, such as 4M (try --help)".to_owned()),
        ("vectors", "0", format!("invalid value '0' for '--vectors <N>': 0 {range}")),
        ("vectors", "2049", format!("invalid value '2049' for '--vectors <N>': 2049 {range}")),
        ("vectors", "two", "invalid value 'two' for '--vectors <N>': invalid digit found in string (try --help)".to_owned()),
        ("mode", "888", format!("invalid value '888' for '--mode <MODE>': {octal}")),
        ("mode", "7777", format!("invalid value '7777' for '--mode <MODE>': {octal}")),
        ("max-peers", "0", "invalid value '0' for '--max-peers <N>': 0 is not in 1..=1024 (try --help)".to_owned()),
        ("max-peers", "1025", "invalid value '1025' for '--max-peers <N>': 1025 is not in 1..=1024 (try --help)".to_owned()),
        ("owner", "no-such-user", "there is no user 'no-such-user'".to_owned()),
        ("group", "4294967295", "there is no group '4294967295'".to_owned()),
        ("shm-name", "a/b", "'a/b' cannot name a POSIX shared memory object: write one component of a path, such as ivshmem".to_owned()),
        ("huge-pages", "3M", "invalid value '3M' for '--huge-pages[=<2M|1G>]' [possible values: default, 2M, 1G] (try --help)".to_owned()),
        ("huge-pages", "2M", "a size of 65536 bytes is not a multiple of the huge pages of 2097152".to_owned()),
        ("shm-mode", "0660", "the following required arguments were not provided: <--shm-file <PATH>|--shm-name <NAME>> (try --help)".to_owned()),
        ("group", "no-such-group", "there is no group 'no-such-group'".to_owned()),
        ("socket", &at("file"), format!("{} exists and is not a socket; remove it or choose another path", at("file"))),
        ("socket", &at("live"), format!("another server is using {}; end it, or choose another path", at("live"))),
        ("socket", &at("absent/socket"), format!("cannot create the lock file {}: No such file or directory (os error 2); create the folder, or choose another path", at("absent/socket.lock"))),
        ("socket", &at("file/socket"), format!("cannot create the lock file {}: Not a directory (os error 20); create the folder, or choose another path", at("file/socket.lock"))),
        ("shm-file", &at("file"), format!("{} exists with 8192 bytes, not 65536; remove it or ask for its size", at("file"))),
        ("shm-file", &at("absent/memory"), format!("cannot create the shared memory file {}: No such file or directory (os error 2); create the folder, or choose another path", at("absent/memory"))),
        ("shm-file", "/", "/ exists and is not a regular file; choose another path".to_owned()),
    ];
    for (option, value, message) in cases {
        let mut arguments = vec!["server".to_owned()];
        for (name, usual) in [("socket", &socket[..]), ("size", "64K"), ("vectors", "2")] {
            let value = if name == option { value } else { usual };
            arguments.push(format!("--{name}={value}"));
        }
        if !["socket", "size", "vectors"].contains(&option) {
            arguments.push(format!("--{option}={value}"));
        }
        assert_refused(&run(&arguments), &message);
        assert_eq!(names(directory.path()), before, "{message}");
    }
}

#[test]
fn incomplete_or_unknown_arguments_are_one_line_too() {
    assert_refused(
        &run(&["server", "--size=4M"]),
        "the following required arguments were not provided: --vectors <N> (try --help)",
    );
    for (arguments, start) in [
        (&[][..], "ivshmem: 'ivshmem' requires a subcommand"),
        (&["serve"][..], "ivshmem: unrecognized subcommand 'serve'"),
        (
            &["server", "--sockt=x"],
            "ivshmem: unexpected argument '--sockt' found",
        ),
        (
            &["server", "--socket"],
            "ivshmem: a value is required for '--socket <PATH>'",
        ),
    ] {
        let output = run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(start), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn help_shows_every_option_and_how_to_start_qemu() {
    let output = run(&["server", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for part in [
        "--socket",
        "--size",
        "--vectors",
        "--mode",
        "[default: 0600]",
        "--group",
        "--shm-file",
        "--shm-name",
        "--shm-unlink",
        "--huge-pages",
        "--pid-file",
        "--quiet",
        "--log-format",
        "--max-peers",
        "--owner",
        "-device ivshmem-doorbell,chardev=ivshmem,vectors=2",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
}

#[test]
fn mode_and_file_reach_the_server() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("memory");
    let command = Running::start(
        "umask 077",
        1,
        &["--mode", "0660", "--shm-file", file.to_str().unwrap()],
    );
    command.line();
    for path in [&command.socket, &file] {
        let metadata = fs::metadata(path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o660);
    }
    assert_eq!(fs::metadata(&file).unwrap().len(), 65536);
}
