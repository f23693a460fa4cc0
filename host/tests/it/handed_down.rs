// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server at a socket that another made, as systemd does.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::common::{eventually, RawClient};
use crate::process::names;
use ivshmem_host::peer::Peer;
use ivshmem_host::server::{BindError, Config, Event, Server};

#[test]
fn a_socket_handed_down_is_served_as_it_is_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("theirs.sock");
    // Blocking, as systemd makes them.
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    // One who connects before there is a server waits for it.
    let early = RawClient::connect(&path);
    let keeper = listener.try_clone().unwrap();
    let server = Server::bind_at(listener, Config::new("ignored", 1 << 16, 1)).unwrap();
    assert_eq!(server.config().socket, path);
    assert_eq!(
        Server::bind(Config::new(&path, 1 << 16, 1)).unwrap_err(),
        BindError::InUse {
            socket: path.clone()
        }
    );
    let stop = server.stop_handle();
    let running = thread::spawn(move || server.run(|_| {}));
    assert_eq!(early.receive().unwrap().0, 0);
    assert_eq!(Peer::connect(&path).unwrap().id().unwrap().0, 1);
    stop.stop();
    running.join().unwrap().unwrap();
    assert_eq!(
        names(directory.path()),
        ["theirs.sock"],
        "not removed, and no lock left"
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "the access is that of the maker");

    // Still listening: whoever comes while no server runs, or is about to end, is served by the next.
    let between = RawClient::connect(&path);
    let keeper_too = keeper.try_clone().unwrap();
    let server = Server::bind_at(keeper, Config::new("ignored", 1 << 16, 1)).unwrap();
    server.stop_handle().stop();
    server.run(|_| {}).unwrap();
    let server = Server::bind_at(keeper_too, Config::new("ignored", 1 << 16, 1)).unwrap();
    let stop = server.stop_handle();
    let running = thread::spawn(move || server.run(|_| {}));
    assert_eq!(between.receive().unwrap().0, 0);
    stop.stop();
    running.join().unwrap().unwrap();
}

#[test]
fn what_is_no_listening_stream_socket_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |descriptor: OwnedFd| {
        let result = Server::bind_at(descriptor, Config::new("ignored", 1 << 16, 1));
        result.unwrap_err()
    };
    let datagrams = UnixDatagram::bind(directory.path().join("datagrams")).unwrap();
    assert_eq!(refused(datagrams.into()), BindError::NotAListener);
    let (connected, _other) = UnixStream::pair().unwrap();
    assert_eq!(refused(connected.into()), BindError::NotAListener);
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(refused(tcp.into()), BindError::NotAListener);
    let file = fs::File::open("/dev/null").unwrap();
    assert_eq!(
        refused(file.into()),
        BindError::System {
            step: "take over the listening socket",
            error: rustix::io::Errno::NOTSOCK
        }
    );
}

#[test]
fn the_loop_reports_that_it_lives_whether_or_not_there_is_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ivshmem.sock");
    let mut server = Server::bind(Config::new(&path, 1 << 16, 1)).unwrap();
    server.report_alive(Duration::from_millis(5));
    let stop = server.stop_handle();
    let beats = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&beats);
    let running = thread::spawn(move || {
        server.run(move |event| {
            if matches!(event, Event::Alive) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    eventually("an idle server reports", || {
        beats.load(Ordering::Relaxed) >= 3
    });
    let before = beats.load(Ordering::Relaxed);
    eventually("a busy server reports", || {
        drop(UnixStream::connect(&path).unwrap());
        beats.load(Ordering::Relaxed) >= before + 3
    });
    stop.stop();
    running.join().unwrap().unwrap();
}
