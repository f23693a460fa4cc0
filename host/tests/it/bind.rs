// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting a server: sockets in the way, files in the way, modes, and what a failure leaves.

use std::fs;
use std::os::unix::fs::{symlink, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Barrier;
use std::thread;

use crate::common::{counter, ring, RawClient};
use ivshmem::PeerId;
use ivshmem_host::peer::Peer;
use ivshmem_host::server::{raise_descriptor_limit, Backing, BindError, Config, Server};
use rustix::io::Errno;
use tempfile::TempDir;

const SIZE: u64 = 1 << 16;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ivshmem.sock");
    (directory, socket)
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Leaves a socket at `path` that nobody listens at, as a killed server does.
fn make_stale(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    assert!(fs::symlink_metadata(path).unwrap().file_type().is_socket());
}

#[test]
fn a_stale_socket_is_replaced() {
    let (_directory, socket) = place();
    make_stale(&socket);
    let server = Server::spawn(Config::new(&socket, SIZE, 1)).unwrap();
    assert_eq!(
        Peer::connect(server.socket()).unwrap().id(),
        Some(PeerId(0))
    );
}

#[test]
fn a_live_socket_of_our_own_or_of_others_is_left_alone() {
    let (directory, socket) = place();
    let in_use = BindError::InUse {
        socket: socket.clone(),
    };
    let server = Server::spawn(Config::new(&socket, SIZE, 1)).unwrap();
    let second = Server::bind(Config::new(&socket, SIZE, 1));
    assert_eq!(second.unwrap_err(), in_use);
    assert!(Peer::connect(&socket).is_ok(), "the first one goes on");
    drop(server);

    let stranger = UnixListener::bind(&socket).unwrap();
    let second = Server::bind(Config::new(&socket, SIZE, 1));
    assert_eq!(second.unwrap_err(), in_use);
    drop(stranger);
    fs::remove_file(&socket).unwrap();

    let _datagrams = UnixDatagram::bind(&socket).unwrap();
    let second = Server::bind(Config::new(&socket, SIZE, 1));
    assert_eq!(second.unwrap_err(), in_use);
    assert_eq!(names(directory.path()), ["ivshmem.sock"]);
}

#[test]
fn of_many_servers_at_one_stale_socket_exactly_one_starts() {
    for _ in 0..20 {
        let (directory, socket) = place();
        make_stale(&socket);
        let barrier = Barrier::new(8);
        let started: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        Server::spawn(Config::new(&socket, SIZE, 1))
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        for error in lost {
            assert!(matches!(error.unwrap_err(), BindError::InUse { .. }));
        }
        assert!(Peer::connect(&socket).is_ok(), "the winner can be reached");
        drop(won);
        assert!(names(directory.path()).is_empty());
    }
}

#[test]
fn servers_that_come_and_go_at_one_path_never_overlap() {
    let (directory, socket) = place();
    let running = AtomicUsize::new(0);
    let started = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    match Server::bind(Config::new(&socket, SIZE, 1)) {
                        Ok(server) => {
                            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                            started.fetch_add(1, Ordering::SeqCst);
                            assert!(UnixStream::connect(&socket).is_ok());
                            running.fetch_sub(1, Ordering::SeqCst);
                            drop(server);
                        }
                        Err(error) => assert!(matches!(error, BindError::InUse { .. }), "{error}"),
                    }
                }
            });
        }
    });
    assert!(started.into_inner() > 0);
    assert!(names(directory.path()).is_empty());
}

#[test]
fn what_is_not_a_socket_is_never_removed() {
    let (directory, socket) = place();
    let not_a_socket = |path: &Path| {
        let error = Server::bind(Config::new(path, SIZE, 1)).unwrap_err();
        assert_eq!(error, BindError::NotASocket { path: path.into() });
    };
    fs::write(&socket, "precious").unwrap();
    not_a_socket(&socket);
    assert_eq!(fs::read(&socket).unwrap(), b"precious");
    let folder = directory.path().join("folder");
    fs::create_dir(&folder).unwrap();
    not_a_socket(&folder);
    let link = directory.path().join("link");
    symlink(&socket, &link).unwrap();
    not_a_socket(&link);
    assert_eq!(names(directory.path()), ["folder", "ivshmem.sock", "link"]);
}

#[test]
fn a_socket_that_another_put_in_place_of_ours_is_not_removed() {
    let (directory, socket) = place();
    let server = Server::spawn(Config::new(&socket, SIZE, 1)).unwrap();
    fs::remove_file(&socket).unwrap();
    let _usurper = UnixListener::bind(&socket).unwrap();
    drop(server);
    assert_eq!(names(directory.path()), ["ivshmem.sock"]);
}

#[test]
fn socket_and_new_file_get_the_mode_whatever_the_umask() {
    let (directory, socket) = place();
    let file = directory.path().join("memory");
    for mode in [0o600, 0o660, 0o666, 0o777] {
        let mut config = Config::new(&socket, SIZE, 1);
        config.access.mode = mode;
        config.backing = Backing::File(file.clone());
        // Any group of our own will do; its number serves as well as its name.
        config.access.group = Some(rustix::process::getegid().as_raw().to_string());
        let server = Server::spawn(config).unwrap();
        for path in [&socket, &file] {
            let metadata = fs::metadata(path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, mode);
            assert_eq!(metadata.gid(), rustix::process::getegid().as_raw());
        }
        drop(server);
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_memory_file_outlives_the_server_and_is_used_again() {
    let (directory, socket) = place();
    let file = directory.path().join("memory");
    let mut config = Config::new(&socket, SIZE, 1);
    config.backing = Backing::File(file.clone());
    for round in 0_u8..3 {
        let server = Server::spawn(config.clone()).unwrap();
        let peer = Peer::connect(server.socket()).unwrap();
        assert_eq!(peer.memory().len() as u64, SIZE);
        let mut byte = [0xff];
        peer.memory().read(100, &mut byte).unwrap();
        assert_eq!(byte, [round], "what the round before has left");
        peer.memory().write(100, &[round + 1]).unwrap();
    }
    assert_eq!(fs::read(&file).unwrap()[100], 3);
    assert_eq!(names(directory.path()), ["memory"]);
}

#[test]
fn a_file_that_does_not_fit_is_refused_untouched() {
    let (directory, socket) = place();
    let file = directory.path().join("memory");
    let mut config = Config::new(&socket, SIZE, 1);
    config.backing = Backing::File(file.clone());

    fs::write(&file, [7; 5000]).unwrap();
    assert_eq!(
        Server::bind(config.clone()).unwrap_err(),
        BindError::FileSize {
            path: file.clone(),
            found: 5000,
            wanted: SIZE
        }
    );
    assert_eq!(fs::read(&file).unwrap(), [7; 5000]);
    fs::remove_file(&file).unwrap();

    let not_a_file = BindError::NotAFile { path: file.clone() };
    fs::create_dir(&file).unwrap();
    assert_eq!(Server::bind(config.clone()).unwrap_err(), not_a_file);
    fs::remove_dir(&file).unwrap();

    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &file, mode).unwrap();
    assert_eq!(Server::bind(config.clone()).unwrap_err(), not_a_file);
    fs::remove_file(&file).unwrap();

    let _socket = UnixListener::bind(&file).unwrap();
    assert_eq!(Server::bind(config).unwrap_err(), not_a_file);
    assert_eq!(names(directory.path()), ["memory"]);
}

#[test]
fn a_failed_start_removes_the_new_file_but_no_old_one() {
    let (directory, socket) = place();
    fs::write(&socket, "in the way").unwrap();
    let file = directory.path().join("memory");
    let mut config = Config::new(&socket, SIZE, 1);
    config.backing = Backing::File(file.clone());
    assert!(Server::bind(config.clone()).is_err());
    assert_eq!(names(directory.path()), ["ivshmem.sock"]);
    fs::write(&file, vec![1; SIZE as usize]).unwrap();
    assert!(Server::bind(config).is_err());
    assert_eq!(names(directory.path()), ["ivshmem.sock", "memory"]);
}

#[test]
fn paths_that_cannot_be_are_named() {
    let (directory, socket) = place();
    fs::write(&socket, "").unwrap();
    for (path, error) in [
        (directory.path().join("absent/sock"), Errno::NOENT),
        (socket.join("below/a/file"), Errno::NOTDIR),
        (directory.path().join("x".repeat(120)), Errno::NAMETOOLONG),
    ] {
        match Server::bind(Config::new(&path, SIZE, 1)).unwrap_err() {
            BindError::Path { error: found, .. } => assert_eq!(found, error, "{path:?}"),
            other => panic!("{other}"),
        }
    }
    let mut config = Config::new(directory.path().join("s"), SIZE, 1);
    config.access.group = Some("no such group".to_owned());
    assert_eq!(
        Server::bind(config).unwrap_err(),
        BindError::UnknownGroup {
            name: "no such group".to_owned()
        }
    );
    assert_eq!(names(directory.path()), ["ivshmem.sock"]);
}

#[test]
fn the_largest_number_of_vectors_is_served_whole_and_in_order() {
    let (_directory, socket) = place();
    raise_descriptor_limit().unwrap();
    let server = Server::spawn(Config::new(&socket, SIZE, 2048)).unwrap();
    let client = RawClient::connect(server.socket());
    client.receive_many(3);
    let eventfds: Vec<_> = client
        .receive_many(2048)
        .into_iter()
        .map(|(number, descriptor)| {
            assert_eq!(number, 0);
            descriptor.unwrap()
        })
        .collect();
    ring(&eventfds[2047]);
    assert_eq!(counter(&eventfds[2046]), 0);
    assert_eq!(counter(&eventfds[2047]), 1);
}
