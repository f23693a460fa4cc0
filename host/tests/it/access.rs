// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who owns the socket and the memory file, and what an ordinary user can do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::process::{names, Running, NOBODY};
use rustix::process::{getegid, geteuid};

/// Returns owner, group and permission bits.
fn access(path: &Path) -> (u32, u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (
        metadata.uid(),
        metadata.gid(),
        metadata.permissions().mode() & 0o7777,
    )
}

#[test]
fn socket_and_file_have_the_access_asked_for_and_the_file_that_of_the_socket_otherwise() {
    // Ordinary users can only name what they have already.
    let (owner, group) = if geteuid().is_root() {
        (NOBODY, NOBODY - 1)
    } else {
        (geteuid().as_raw(), getegid().as_raw())
    };
    let (owner_text, group_text) = (owner.to_string(), group.to_string());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("memory");
    let mut arguments = vec!["--owner", &owner_text, "--group", &group_text];
    arguments.extend([
        "--socket-mode",
        "0660",
        "--shm-file",
        file.to_str().unwrap(),
    ]);
    let command = Running::start("umask 077", 1, &arguments);
    command.line();
    assert_eq!(access(&command.socket), (owner, group, 0o660));
    assert_eq!(access(&file), (owner, group, 0o660));
    drop(command);

    fs::remove_file(&file).unwrap();
    let own_group = getegid().as_raw().to_string();
    arguments.extend(["--shm-mode", "0640", "--shm-group", &own_group]);
    let command = Running::start("umask 077", 1, &arguments);
    command.line();
    assert_eq!(access(&command.socket), (owner, group, 0o660));
    assert_eq!(access(&file), (owner, getegid().as_raw(), 0o640));
}

#[test]
fn an_ordinary_user_serves_but_gives_nothing_away() {
    let command = Running::start_unprivileged(":", 2, &[]);
    assert!(command.line().starts_with("ivshmem: listening at "));
    let (first, second) = (command.join(), command.join());
    first.memory().write(0, b"hello").unwrap();
    let mut bytes = [0; 5];
    second.memory().read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    drop(command);

    let mut command = Running::start_unprivileged(":", 2, &["--owner", "root"]);
    assert_eq!(
        command.line(),
        format!(
            "ivshmem: cannot set owner and group of {}: Operation not permitted (os error 1); \
             only root gives files to other users, or to groups that one is not in",
            command.socket.display()
        )
    );
    assert_eq!(command.child.wait().unwrap().code(), Some(2));
    let left = names(command.directory.path());
    assert!(left.iter().all(|name| name == "ivshmem"), "{left:?}");
}
