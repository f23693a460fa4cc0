// SPDX-License-Identifier: MIT OR Apache-2.0
//! The socket of a server in the file system, and the lock beside it.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::finding::{Code, Finding};
use super::world::World;

/// Why a socket is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// It was named.
    Named,
    /// It is where a server would be by default.
    Usual,
}

/// Returns what keeps `path` from being a socket; nothing if it is one. Nobody is connected to.
pub(super) fn look(path: &Path, interest: Interest) -> Result<(), Finding> {
    let finding = |code, what: String, cure: &str| Finding::new(code, path.display(), what, cure);
    let start = format!(
        "start one: ivshmem server --socket {} --size 4M --vectors 2",
        path.display()
    );
    let metadata = fs::symlink_metadata(path).map_err(|error| match (error.kind(), interest) {
        (ErrorKind::NotFound, Interest::Usual) => finding(
            Code::ServerAbsent,
            "no server is here, where one would usually be".to_owned(),
            &format!("{start}; or name another with --socket"),
        ),
        (ErrorKind::NotFound, Interest::Named) => finding(
            Code::SocketMissing,
            "no server is here: there is no such file".to_owned(),
            &start,
        ),
        _ => finding(
            Code::SocketDenied,
            format!("it cannot be looked at: {error}"),
            "run this as a user who may",
        ),
    })?;
    // What a link leads to counts, except that one to nothing is no socket.
    if fs::metadata(path).is_ok_and(|target| target.file_type().is_socket()) {
        return Ok(());
    }
    let what = if metadata.is_dir() {
        "a directory"
    } else {
        "no socket"
    };
    Err(finding(
        Code::SocketNotOne,
        format!("it is {what}"),
        "remove it, or name the socket of a server",
    ))
}

/// Returns what it means that the socket at `path` could not be connected to.
pub(super) fn unconnected(path: &Path, error: Errno) -> Finding {
    let (code, what, cure) = match error {
        Errno::CONNREFUSED => (
            Code::SocketStale,
            "nobody listens at this socket any more: its server was killed".to_owned(),
            format!(
                "start the server again, which replaces it: ivshmem server --socket {} ...",
                path.display()
            ),
        ),
        Errno::ACCESS | Errno::PERM => (
            Code::SocketDenied,
            format!("this process may not connect: {error}"),
            "run this as a user who may; AppArmor and SELinux can forbid it as well".to_owned(),
        ),
        _ => (
            Code::SocketNotOne,
            format!("it cannot be connected to: {error}"),
            "name the stream socket of a server".to_owned(),
        ),
    };
    Finding::new(code, path.display(), what, cure)
}

/// Whether somebody listens at the socket whose lock is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listening {
    /// Somebody does.
    Yes,
    /// Nobody does.
    No,
}

/// Checks the lock file beside the socket at `path`.
pub(super) fn check_lock(world: &World, path: &Path, listening: Listening) -> Vec<Finding> {
    let mut lock = OsString::from(path);
    lock.push(".lock");
    let lock = PathBuf::from(lock);
    let Ok(metadata) = fs::symlink_metadata(&lock) else {
        return Vec::new();
    };
    match (holder(world, metadata.ino()), listening) {
        // Our own server, or another that has replaced the socket, which then says so itself.
        (_, Listening::Yes) => Vec::new(),
        (Some(pid), Listening::No) => vec![Finding::new(
            Code::LockHeld,
            lock.display(),
            format!("the process {pid} holds this lock, but nobody listens at the socket: it is starting, or its socket was removed"),
            format!("if it does not listen soon, end it (kill {pid}) and start the server again"),
        )],
        (None, Listening::No) => vec![Finding::new(
            Code::LockStale,
            lock.display(),
            "this lock is left over; nobody holds it",
            "nothing: the next server takes it",
        )],
    }
}

/// Returns the process that holds a lock on the file with this inode: `/proc/locks`, such as
/// `1: FLOCK ADVISORY WRITE 1234 08:01:5678 0 EOF`.
fn holder(world: &World, inode: u64) -> Option<i32> {
    let locks = world.text("/proc/locks")?;
    let end = format!(":{inode}");
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(4);
        let pid = words.next()?.parse().ok()?;
        words.next()?.ends_with(&end).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::super::world::plant;
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_stands_at_the_path_is_told() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let code_of = |name, interest| {
            let result = look(&at(name), interest);
            result.err().map(|finding| finding.code)
        };
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("nothing", at("link")).unwrap();
        let _live = UnixListener::bind(at("live")).unwrap();
        std::os::unix::fs::symlink("live", at("link to it")).unwrap();
        for (name, code) in [
            ("live", None),
            ("link to it", None),
            ("absent", Some(Code::SocketMissing)),
            ("file", Some(Code::SocketNotOne)),
            ("", Some(Code::SocketNotOne)),
            ("link", Some(Code::SocketNotOne)),
            ("file/socket", Some(Code::SocketDenied)),
        ] {
            assert_eq!(code_of(name, Interest::Named), code, "{name}");
        }
        assert_eq!(code_of("absent", Interest::Usual), Some(Code::ServerAbsent));
    }

    #[test]
    fn why_it_cannot_be_connected_to_is_told() {
        for (error, code) in [
            (Errno::CONNREFUSED, Code::SocketStale),
            (Errno::ACCESS, Code::SocketDenied),
            (Errno::PROTOTYPE, Code::SocketNotOne),
        ] {
            assert_eq!(unconnected(Path::new("/s"), error).code, code);
        }
    }

    #[test]
    fn a_lock_is_only_a_matter_where_nobody_listens() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        assert_eq!(check_lock(&World::real(), &path, Listening::No), []);
        let lock = place.path().join("socket.lock");
        fs::write(&lock, "").unwrap();
        let inode = fs::metadata(&lock).unwrap().ino();
        let held = format!("1: FLOCK  ADVISORY  WRITE 77 08:01:{inode} 0 EOF\n");
        let other = format!("1: POSIX  ADVISORY  WRITE 78 08:01:1{inode} 0 EOF\n2: ->\n");
        for (locks, listening, code) in [
            (&held, Listening::No, Some(Code::LockHeld)),
            (&held, Listening::Yes, None),
            (&other, Listening::No, Some(Code::LockStale)),
            (&other, Listening::Yes, None),
        ] {
            let machine = tempfile::tempdir().unwrap();
            let world = plant(machine.path(), &[("/proc/locks", locks)]);
            let findings = check_lock(&world, &path, listening);
            assert_eq!(
                findings.first().map(|finding| finding.code),
                code,
                "{locks}"
            );
        }
    }
}
