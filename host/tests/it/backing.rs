// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds the shared memory: files, POSIX objects, files without a name, and what is refused.

use std::fs;
use std::os::unix::fs::{chown, symlink, MetadataExt};
use std::path::{Path, PathBuf};

use crate::process::{names, NOBODY};
use ivshmem_host::peer::Peer;
use ivshmem_host::server::{Backing, BindError, Config, ConfigError, FileAtEnd, Server};
use rustix::fs::fstat;
use rustix::process::geteuid;
use tempfile::TempDir;

const SIZE: u64 = 1 << 16;

fn place() -> (TempDir, Config) {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path().join("ivshmem.sock"), SIZE, 1);
    (directory, config)
}

/// A POSIX object of this test alone, removed at its end.
struct Object(String);

impl Object {
    fn new(name: &str) -> Self {
        Self(format!("ivshmem-test-{}-{name}", std::process::id()))
    }

    fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(&self.0)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}

#[test]
fn a_posix_object_is_created_and_stays_or_goes_as_asked_for() {
    let (_directory, mut config) = place();
    let object = Object::new("stays");
    for (name, at_end) in [
        (object.0.clone(), FileAtEnd::Keep),
        (format!("/{}", object.0), FileAtEnd::Remove),
    ] {
        config.backing = Backing::Posix(name);
        config.file_at_end = at_end;
        let server = Server::spawn(config.clone()).unwrap();
        let peer = Peer::connect(server.socket()).unwrap();
        // The object that the C library opens by that name is the very memory.
        let flags = rustix::shm::OFlags::RDWR;
        let opened = rustix::shm::open(&object.0, flags, rustix::fs::Mode::empty()).unwrap();
        let identity = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        assert_eq!(
            identity(fstat(&opened).unwrap()),
            identity(fstat(server.memory()).unwrap())
        );
        peer.memory().write(7, b"same").unwrap();
        assert_eq!(fs::read(object.path()).unwrap()[7..11], *b"same");
        assert_eq!(fs::metadata(object.path()).unwrap().mode() & 0o7777, 0o600);
        drop(server);
        assert_eq!(object.path().exists(), at_end == FileAtEnd::Keep);
    }
}

#[test]
fn names_that_shm_open_does_not_take_are_refused() {
    let (_directory, mut config) = place();
    for name in ["", "/", "a/b", ".."] {
        config.backing = Backing::Posix(name.to_owned());
        let error = Server::bind(config.clone()).unwrap_err();
        let name = name.to_owned();
        assert_eq!(error, BindError::Config(ConfigError::PosixName { name }));
    }
}

#[test]
fn a_file_to_be_removed_goes_at_the_end_but_not_one_that_took_its_place() {
    let (directory, mut config) = place();
    let file = directory.path().join("memory");
    config.backing = Backing::File(file.clone());
    config.file_at_end = FileAtEnd::Remove;
    // One that was there before goes as well: that is what was asked for.
    fs::write(&file, vec![0; SIZE as usize]).unwrap();
    drop(Server::spawn(config.clone()).unwrap());
    assert!(names(directory.path()).is_empty());

    let server = Server::spawn(config).unwrap();
    // Another inode for sure, since the first is still open.
    fs::remove_file(&file).unwrap();
    fs::write(&file, "another's").unwrap();
    drop(server);
    assert_eq!(fs::read(&file).unwrap(), b"another's");
}

#[test]
fn an_unnamed_file_leaves_no_trace() {
    let (directory, mut config) = place();
    config.backing = Backing::Unlinked(directory.path().to_owned());
    let server = Server::spawn(config.clone()).unwrap();
    assert_eq!(
        names(directory.path()),
        [
            "ivshmem.sock",
            "ivshmem.sock.admin",
            "ivshmem.sock.admin.lock",
            "ivshmem.sock.lock"
        ]
    );
    let stat = fstat(server.memory()).unwrap();
    assert_eq!((stat.st_nlink, stat.st_size as u64), (0, SIZE));
    assert_eq!(stat.st_dev, fs::metadata(directory.path()).unwrap().dev());
    let peer = Peer::connect(server.socket()).unwrap();
    drop(server);
    peer.memory().write(0, b"still there").unwrap();

    config.backing = Backing::Unlinked(directory.path().join("absent"));
    match Server::bind(config).unwrap_err() {
        BindError::Path { step, error, .. } => {
            assert_eq!(step, "create an unnamed file in");
            assert_eq!(error, rustix::io::Errno::NOENT);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_link_in_place_of_the_file_is_not_followed() {
    let (directory, mut config) = place();
    let precious = directory.path().join("precious");
    // Of the right size, so that it would be shared if the link were followed.
    fs::write(&precious, vec![1; SIZE as usize]).unwrap();
    let link = directory.path().join("memory");
    for target in [&precious, &directory.path().join("absent")] {
        symlink(target, &link).unwrap();
        config.backing = Backing::File(link.clone());
        assert_eq!(
            Server::bind(config.clone()).unwrap_err(),
            BindError::SymbolicLink { path: link.clone() }
        );
        fs::remove_file(&link).unwrap();
    }
    assert_eq!(names(directory.path()), ["precious"]);
}

#[test]
fn a_file_of_another_user_is_used_only_if_that_user_is_named() {
    if !geteuid().is_root() {
        // An ordinary user cannot make such a file; what is here belongs to root or to that user.
        return;
    }
    let (directory, mut config) = place();
    let file = directory.path().join("memory");
    fs::write(&file, vec![0; SIZE as usize]).unwrap();
    chown(&file, Some(NOBODY), None).unwrap();
    config.backing = Backing::File(file.clone());
    assert_eq!(
        Server::bind(config.clone()).unwrap_err(),
        BindError::FileOwner {
            path: file.clone(),
            owner: NOBODY
        }
    );
    let mut access = config.access.clone();
    access.owner = Some(NOBODY.to_string());
    config.memory_access = Some(access);
    drop(Server::spawn(config).unwrap());
    assert_eq!(fs::metadata(&file).unwrap().uid(), NOBODY, "as it was");
}

#[test]
fn memory_that_the_file_system_has_no_room_for_is_refused_at_the_start() {
    let (directory, mut config) = place();
    let file = directory.path().join("memory");
    config.backing = Backing::File(file.clone());
    // 4 PiB: a sparse file of that size can be made, but not filled.
    config.size_bytes = 1 << 52;
    match Server::bind(config).unwrap_err() {
        BindError::NoRoom { path, needed, free } => {
            assert_eq!((path, needed), (file, 1 << 52));
            assert!(free < needed);
        }
        // A file system that refuses files as large says so itself.
        BindError::Path { step, error, .. } => {
            assert_eq!((step, error), ("set the size of", rustix::io::Errno::FBIG));
        }
        other => panic!("{other}"),
    }
    assert!(names(directory.path()).is_empty());
}
