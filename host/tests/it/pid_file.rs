// SPDX-License-Identifier: MIT OR Apache-2.0
//! PID files: what they replace, what they leave alone, and when they go.

use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::net::UnixListener;

use crate::process::{names, Running};
use ivshmem_host::server::{PidFile, PidFileError};
use rustix::process::{kill_process, Signal};

#[test]
fn it_is_there_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let mut command = Running::start("umask 0", 1, &["--pid-file", path.to_str().unwrap()]);
    command.line();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{}\n", command.child.id()));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o644
    );
    kill_process(command.pid(), Signal::TERM).unwrap();
    assert!(command.child.wait().unwrap().success());
    assert!(names(folder.path()).is_empty());
}

#[test]
fn one_that_was_left_is_replaced_and_anything_else_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    fs::write(&path, "4194304\n").unwrap();
    let file = PidFile::create(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.trim().parse(), Ok(std::process::id()));
    // Another process's, meanwhile.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "7\n").unwrap();
    drop(file);
    assert_eq!(fs::read_to_string(&path).unwrap(), "7\n");
    fs::remove_file(&path).unwrap();

    let refused = || {
        let error = PidFile::create(&path).unwrap_err();
        assert!(matches!(error, PidFileError::NotAPidFile { .. }), "{error}");
    };
    for text in ["precious", "", "12 34", "-1", &"1".repeat(40)] {
        fs::write(&path, text).unwrap();
        refused();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let target = folder.path().join("target");
    fs::rename(&path, &target).unwrap();
    fs::write(&target, "1\n").unwrap();
    symlink(&target, &path).unwrap();
    refused();
    assert_eq!(fs::read_to_string(&target).unwrap(), "1\n");
    fs::remove_file(&path).unwrap();
    let _socket = UnixListener::bind(&path).unwrap();
    refused();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused();
    let absent = PidFile::create(folder.path().join("absent/pid")).unwrap_err();
    assert!(matches!(absent, PidFileError::System { .. }), "{absent}");
}

#[test]
fn a_server_that_cannot_write_it_does_not_run() {
    let mut command = Running::start(":", 1, &["--pid-file", "/proc/pid"]);
    let line = command.line();
    let start = "ivshmem: cannot create the PID file /proc/pid: ";
    assert!(line.starts_with(start), "{line}");
    assert_eq!(command.child.wait().unwrap().code(), Some(2));
    assert!(names(command.directory.path()).is_empty());
}
