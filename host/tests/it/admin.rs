// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asking a server: what it says, and how it fails to.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::{counter, eventually, ring, RawClient, LIMIT};
use ivshmem::channel::Format;
use ivshmem::{PeerId, VectorIndex};
use ivshmem_host::admin::{socket_beside, Admin, AdminError, Peer as PeerStatus, Status};
use ivshmem_host::channel::Options;
use ivshmem_host::mapping::Mapping;
use ivshmem_host::peer::Peer;
use ivshmem_host::server::{
    AdminSocket, Backing, BindError, Config, ConfigError, RunningServer, Server,
};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use tempfile::TempDir;

const SIZE: u64 = 1 << 16;

fn start(vectors: u16) -> (TempDir, RunningServer) {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path().join("ivshmem.sock"), SIZE, vectors);
    (directory, Server::spawn(config).unwrap())
}

fn admin(server: &RunningServer) -> Admin {
    Admin::of(server.socket()).within(LIMIT)
}

fn status(server: &RunningServer) -> Status {
    admin(server).status().unwrap()
}

fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs()
}

/// Returns the status of the peer `id`.
fn peer(status: &Status, id: u16) -> &PeerStatus {
    let mut peers = status.peers.iter();
    peers.find(|peer| peer.id == id).expect("it is connected")
}

#[test]
fn a_status_says_all_about_a_server_without_clients() {
    let before = seconds_now();
    let (_directory, server) = start(3);
    let status = status(&server);
    assert_eq!(status.format, ivshmem_host::admin::FORMAT);
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(status.pid, std::process::id());
    assert!((before..=seconds_now()).contains(&status.started_unix_seconds));
    assert!(status.uptime_seconds <= LIMIT.as_secs());
    assert_eq!(status.socket, server.socket().to_str().unwrap());
    assert_eq!(status.memory.bytes, SIZE);
    assert_eq!(status.memory.backing, "memfd");
    assert_eq!(status.memory.path, None);
    assert_eq!(status.vectors_per_client, 3);
    assert_eq!(status.clients.connected, 0);
    assert_eq!(status.clients.limit, server.client_limit().clients);
    assert_eq!((status.ids.next, status.ids.remaining), (Some(0), 32768));
    assert_eq!(status.peers, []);
    assert_eq!(status.counters, Default::default());
}

#[test]
fn peers_come_and_go_in_the_status_as_they_do() {
    let (_directory, server) = start(2);
    let before = seconds_now();
    let first = Peer::connect_within(server.socket(), LIMIT).unwrap();
    let second = Peer::connect_within(server.socket(), LIMIT).unwrap();
    let both = status(&server);
    assert_eq!(both.clients.connected, 2);
    assert_eq!((both.ids.next, both.ids.remaining), (Some(2), 32766));
    assert_eq!(both.counters.joined, 2);
    let name = fs::read_to_string("/proc/self/comm").unwrap();
    for (index, id) in [(0, first.id()), (1, second.id())] {
        let peer = &both.peers[index];
        assert_eq!((peer.id, peer.vectors), (id.unwrap().0, 2));
        assert!((before..=seconds_now()).contains(&peer.connected_unix_seconds));
        assert_eq!(peer.pid, i32::try_from(std::process::id()).ok());
        assert_eq!(peer.uid, Some(rustix::process::getuid().as_raw()));
        assert_eq!(peer.process.as_deref(), Some(name.trim_end()));
        let doorbells = peer.doorbells.as_ref().unwrap();
        assert_eq!((doorbells.pending, doorbells.untaken_seconds), (0, None));
        assert_eq!(doorbells.vectors, [0, 0]);
    }
    drop(first);
    assert!(server.wait_for_clients(1, LIMIT));
    // Speaking is a fault.
    let faulty = RawClient::connect(server.socket());
    assert!(server.wait_for_clients(2, LIMIT));
    (&faulty.stream).write_all(b"x").unwrap();
    assert!(server.wait_for_clients(1, LIMIT));
    let later = status(&server);
    assert_eq!(later.peers.len(), 1);
    assert_eq!(later.peers[0].id, second.id().unwrap().0);
    assert_eq!(later.ids.next, Some(3));
    assert_eq!((later.counters.joined, later.counters.left), (3, 1));
    assert_eq!(later.counters.cut_off.spoke, 1);
    assert_eq!(later.counters.cut_off.total(), 1);
    assert!(later.counters.messages_sent >= both.counters.messages_sent);
}

#[test]
fn messages_that_wait_for_a_client_are_counted_and_so_are_those_sent() {
    let (_directory, server) = start(300);
    let sleeper = RawClient::connect(server.socket());
    assert!(server.wait_for_clients(1, LIMIT));
    eventually("it has more to come than fits on the way", || {
        let status = status(&server);
        let sleeper = peer(&status, 0);
        assert_eq!(status.counters.messages_sent, sleeper.messages_sent);
        sleeper.messages_queued > 0
            && u64::try_from(sleeper.messages_queued).unwrap() + sleeper.messages_sent == 303
    });
    sleeper.receive_many(303);
    eventually("all have gone", || {
        let status = status(&server);
        let sleeper = peer(&status, 0);
        (sleeper.messages_queued, sleeper.messages_sent) == (0, 303)
    });
    drop(sleeper);
    assert!(server.wait_for_clients(0, LIMIT));
    assert_eq!(status(&server).counters.messages_sent, 303);
}

/// A member of a region hears rings without taking them; if it never did, its counters would say that nobody hears.
#[test]
fn doorbells_of_members_are_taken_with_the_next_heartbeat() {
    let (_directory, server) = start(2);
    let format = Format {
        slots: 4,
        ..Format::default()
    };
    let options = Options::new("member").format(Some(format));
    let _member = options.join_server(server.socket()).unwrap();
    let mut ringer = Peer::connect(server.socket()).unwrap();
    let member = PeerId(0);
    let is_known = |ringer: &Peer| ringer.vectors_of(member) == Some(2);
    assert!(ringer.wait_until(LIMIT, is_known).unwrap());
    for _ in 0..3 {
        ringer.ring(member, VectorIndex(1)).unwrap();
        eventually("they are taken", || {
            let status = status(&server);
            peer(&status, 0).doorbells.as_ref().unwrap().pending == 0
        });
    }
}

#[test]
fn the_admin_socket_is_not_where_the_clients_connect() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ivshmem.sock");
    let mut config = Config::new(&path, SIZE, 1);
    config.admin = AdminSocket::At(path.clone());
    let error = Server::bind(config).unwrap_err();
    assert_eq!(
        error,
        BindError::Config(ConfigError::AdminSocket { path: path.clone() })
    );
    assert!(
        error.to_string().contains("give it another path"),
        "{error}"
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn doorbells_are_seen_until_they_are_taken() {
    let (_directory, server) = start(3);
    let ringer = RawClient::connect(server.socket());
    let vectors = ringer.receive_own(3);
    for _ in 0..20 {
        ring(&vectors[0]);
    }
    ring(&vectors[2]);
    for _ in 0..2 {
        let status = status(&server);
        let doorbells = peer(&status, 0).doorbells.as_ref().unwrap();
        assert_eq!(doorbells.pending, 21, "looking takes nothing");
        assert_eq!(doorbells.vectors, [20, 0, 1]);
        assert!(doorbells.untaken_seconds.is_some());
    }
    eventually("they are seen to stay", || {
        let status = status(&server);
        let doorbells = peer(&status, 0).doorbells.as_ref().unwrap();
        doorbells.untaken_seconds >= Some(1)
    });
    assert_eq!(counter(&vectors[0]), 20);
    let status_after = status(&server);
    let doorbells = peer(&status_after, 0).doorbells.as_ref().unwrap();
    assert_eq!(
        (doorbells.pending, &doorbells.vectors[..]),
        (1, &[0, 0, 1][..])
    );
    assert_eq!(counter(&vectors[2]), 1);
    let status_after = status(&server);
    let doorbells = peer(&status_after, 0).doorbells.as_ref().unwrap();
    assert_eq!((doorbells.pending, doorbells.untaken_seconds), (0, None));
}

/// A look at more vectors than fit into one pass of the loop.
#[test]
fn doorbells_of_many_vectors_are_seen_one_by_one() {
    let (_directory, server) = start(300);
    let clients: Vec<RawClient> = (0..3)
        .map(|_| RawClient::connect(server.socket()))
        .collect();
    assert!(server.wait_for_clients(3, LIMIT));
    // The last one's own vectors come after those of the others.
    let own: Vec<OwnedFd> = clients[2]
        .receive_many(3 + 3 * 300)
        .into_iter()
        .filter_map(|(id, vector)| vector.filter(|_| id == 2))
        .collect();
    assert_eq!(own.len(), 300);
    for index in [0, 127, 128, 255, 256, 299] {
        ring(&own[index]);
    }
    let status = status(&server);
    let doorbells = peer(&status, 2).doorbells.as_ref().unwrap();
    let rung: Vec<usize> = (0..300).filter(|&i| doorbells.vectors[i] > 0).collect();
    assert_eq!(rung, [0, 127, 128, 255, 256, 299]);
    assert_eq!(doorbells.pending, 6);
    for id in [0, 1] {
        let doorbells = peer(&status, id).doorbells.as_ref().unwrap();
        assert_eq!((doorbells.pending, doorbells.vectors.len()), (0, 300));
    }
}

#[test]
fn the_memory_is_given_without_joining() {
    let (_directory, server) = start(1);
    let member = Peer::connect_within(server.socket(), LIMIT).unwrap();
    member.memory().write(100, b"hello").unwrap();
    let memory = admin(&server).memory().unwrap();
    let flags = rustix::io::fcntl_getfd(&memory).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    let mapping = Mapping::of(memory).unwrap();
    let mut bytes = [0; 5];
    mapping.memory().read(100, &mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    mapping.memory().write(100, b"again").unwrap();
    member.memory().read(100, &mut bytes).unwrap();
    assert_eq!(&bytes, b"again");
    let status = status(&server);
    assert_eq!(status.ids.next, Some(1), "no ID was used up");
    assert_eq!(status.counters.joined, 1);
}

#[test]
fn the_document_has_the_names_that_were_promised() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("memory");
    let mut config = Config::new(directory.path().join("ivshmem.sock"), SIZE, 2);
    config.backing = Backing::File(file.clone());
    let server = Server::spawn(config).unwrap();
    let _member = Peer::connect_within(server.socket(), LIMIT).unwrap();
    let text = ask(&socket_beside(server.socket()), b"status\n");
    assert!(text.ends_with("}\n") && text.lines().count() == 1, "{text}");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    for pointer in [
        "/format",
        "/version",
        "/pid",
        "/started_unix_seconds",
        "/uptime_seconds",
        "/socket",
        "/memory/bytes",
        "/memory/description",
        "/vectors_per_client",
        "/clients/connected",
        "/clients/limit",
        "/clients/limited_by",
        "/clients/open_files_limit",
        "/ids/next",
        "/ids/remaining",
        "/peers/0/id",
        "/peers/0/vectors",
        "/peers/0/connected_unix_seconds",
        "/peers/0/pid",
        "/peers/0/uid",
        "/peers/0/process",
        "/peers/0/messages_queued",
        "/peers/0/messages_sent",
        "/peers/0/doorbells/pending",
        "/peers/0/doorbells/vectors",
        "/peers/0/doorbells/untaken_seconds",
        "/counters/joined",
        "/counters/left",
        "/counters/cut_off/spoke",
        "/counters/cut_off/connection",
        "/counters/refused/full",
        "/counters/refused/no_id_left",
        "/counters/refused/system",
        "/counters/messages_sent",
        "/counters/accept_failures",
    ] {
        assert!(document.pointer(pointer).is_some(), "{pointer} in {text}");
    }
    assert_eq!(document["format"], 1);
    assert_eq!(document["memory"]["backing"], "file");
    assert_eq!(document["memory"]["path"], file.to_str().unwrap());
}

/// Sends `request` as it is, and returns all that comes back.
fn ask(path: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_wrong_request_is_told_what_there_is() {
    let (_directory, server) = start(1);
    let path = socket_beside(server.socket());
    assert_eq!(
        ask(&path, b"staus\n"),
        "{\"error\":\"'staus' is no request; there are handover, memory, metrics and status\"}\n"
    );
    assert_eq!(
        ask(&path, &[b'x'; 256]),
        "{\"error\":\"a request has at most 256 bytes\"}\n"
    );
    // In pieces.
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    for byte in b"memory\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "{\"bytes\":65536}\n");
}

#[test]
fn there_may_be_no_admin_socket_or_one_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ivshmem.sock");
    let mut config = Config::new(&socket, SIZE, 1);
    config.admin = AdminSocket::Off;
    let server = Server::spawn(config.clone()).unwrap();
    assert!(!socket_beside(&socket).exists());
    let without = Admin::of(&socket).status().unwrap_err();
    assert_eq!(
        without,
        AdminError::NoAdminSocket {
            socket: socket.clone()
        }
    );
    drop(server);

    let elsewhere = directory.path().join("elsewhere");
    config.admin = AdminSocket::At(elsewhere.clone());
    let server = Server::spawn(config).unwrap();
    assert!(!socket_beside(&socket).exists());
    let status = Admin::at(&elsewhere).within(LIMIT).status().unwrap();
    assert_eq!(status.socket, socket.to_str().unwrap());

    let mut second = Config::new(directory.path().join("second"), SIZE, 1);
    second.admin = AdminSocket::At(elsewhere.clone());
    assert_eq!(
        Server::bind(second).unwrap_err(),
        BindError::InUse { socket: elsewhere }
    );
    drop(server);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn the_admin_socket_has_the_mode_of_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::new(directory.path().join("ivshmem.sock"), SIZE, 1);
    config.access.mode = 0o620;
    let server = Server::spawn(config).unwrap();
    for path in [server.socket(), &socket_beside(server.socket())] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o620, "{}", path.display());
    }
}

#[test]
fn where_nobody_answers_the_error_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let no_server = |socket: PathBuf| AdminError::NoServer { socket };
    let none = Admin::of(at("none")).status().unwrap_err();
    assert_eq!(none, no_server(at("none")));
    assert_eq!(
        none.to_string(),
        format!(
            "no server listens at {}: start one with `ivshmem server`, or name its socket",
            at("none").display()
        )
    );
    // As a killed server leaves them.
    for name in ["stale", "stale.admin"] {
        drop(UnixListener::bind(at(name)).unwrap());
    }
    let stale = Admin::of(at("stale")).memory().unwrap_err();
    assert_eq!(stale, no_server(at("stale")));

    let silent = UnixListener::bind(at("silent")).unwrap();
    let limit = Duration::from_millis(50);
    let timeout = Admin::at(at("silent")).within(limit).status().unwrap_err();
    let path = at("silent");
    assert_eq!(timeout, AdminError::Timeout { path, limit });
    drop(silent);
}

/// Asks one that answers `answer`, whatever it is asked.
fn answered(answer: &'static [u8]) -> AdminError {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 7];
        stream.read_exact(&mut request).unwrap();
        assert_eq!(&request, b"status\n");
        stream.write_all(answer).unwrap();
    });
    let error = Admin::at(&path).within(LIMIT).status().unwrap_err();
    server.join().unwrap();
    error
}

#[test]
fn what_another_program_answers_is_not_believed() {
    assert!(matches!(answered(b""), AdminError::Closed { .. }));
    assert_eq!(
        answered(b"{\"format\":2,\"other\":[]}\n"),
        AdminError::Format { found: 2 }
    );
    let message = "not today".to_owned();
    assert_eq!(
        answered(b"{\"error\":\"not today\"}\n"),
        AdminError::Refused { message }
    );
    for nonsense in [
        &b"hello"[..],
        b"\xff\xff",
        b"{\"format\":1}\n",
        b"{\"format\":1,\"ver",
        b"{\"error\":1}",
        b"[]",
    ] {
        let error = answered(nonsense);
        assert!(matches!(error, AdminError::Answer { .. }), "{error:?}");
    }
}

#[test]
fn descriptors_sent_to_the_admin_socket_are_not_kept() {
    let (_directory, server) = start(1);
    let stream = UnixStream::connect(socket_beside(server.socket())).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    crate::common::send(&stream, b"stat", &[writer.as_fd()]);
    drop(writer);
    // Hung up when nobody has the other end any more.
    let mut fds = [PollFd::new(&reader, PollFlags::IN)];
    let limit = Timespec::try_from(LIMIT).unwrap();
    assert_eq!(poll(&mut fds, Some(&limit)), Ok(1));
    assert_eq!(fds[0].revents(), PollFlags::HUP);
    drop(stream);
}
