// SPDX-License-Identifier: MIT OR Apache-2.0
//! Servers and peers that do what they can to a device.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ivshmem_device::adapters::{Attachment, ConnectionError, FdError, Protocol, ReceiveError};
use ivshmem_device::proxy::{Remote, Report, Status};
use ivshmem_device::{Bar, Generation, Level, Notice, Properties, ServerError};
use rustix::pipe::pipe;

use crate::attachment::{attach, settle, Machine};
use crate::support::{
    event, is_readable, memory, request, ring, send, wait_for, Client, Qemu, Server, LIMIT,
};

const LEGACY: &str = "ivshmem,chardev={},size=1M,msi=off";
const INTX: u32 = 0xffff_ffff;

type Device = Attachment<Machine>;

/// A device that is up, with one own vector and its interrupt unmasked.
fn running() -> (Device, Client, OwnedFd) {
    let (mut device, server) = attach(Generation::V2_5, LEGACY, Machine::default());
    let own = event();
    server.greet(1, memory(1 << 20));
    server.send(1, Some(own.as_fd()));
    settle(&mut device);
    device.write_bar(Bar::Registers, 0, &INTX.to_le_bytes());
    (device, server, own)
}

/// Handles until the connection is given up.
fn failure(device: &mut Device) -> ConnectionError {
    let error = wait_for("the failure", || {
        is_readable(&*device, Duration::ZERO)
            .then(|| device.handle().err())
            .flatten()
    });
    assert!(!device.is_connected());
    // It is not ready for ever after.
    assert!(!is_readable(&*device, Duration::ZERO));
    assert_eq!(device.device().id(), device.device().memory().map(|_| 1));
    error
}

#[test]
fn a_flood_of_messages_does_not_hold_up_events() {
    let (mut device, mut server, own) = running();
    server.0.set_nonblocking(true).unwrap();
    while server.0.write(&70_000_i64.to_le_bytes()).is_ok() {}
    ring(&own, 1);
    device.handle().unwrap();
    assert_eq!(device.wiring().levels, [Level::High]);
    assert!(
        device.wiring().notices.len() <= 16,
        "a bounded part of the flood"
    );
}

#[test]
fn a_storm_of_events_does_not_hold_up_the_server() {
    let (mut device, server, own) = running();
    let peers = event();
    server.send(8, Some(peers.as_fd()));
    for _ in 0..4 {
        ring(&own, 1);
        device.handle().unwrap();
    }
    device.write_bar(Bar::Registers, 0x0c, &0x0008_0000_u32.to_le_bytes());
    assert!(is_readable(&peers, Duration::ZERO));
}

#[test]
fn too_many_descriptors_at_once_end_the_connection() {
    let (mut device, server, _own) = running();
    let file = event();
    send(&server.0, &[0; 8], &[file.as_fd(); 32]);
    let error = ConnectionError::Socket(ReceiveError::DescriptorsLost);
    assert_eq!(failure(&mut device), error);
}

#[test]
fn a_connection_that_is_given_up_is_not_watched_any_more() {
    let (ours, servers) = UnixStream::pair().unwrap();
    // The program keeps it open, so that closing alone does not take it out of what is watched.
    let kept = ours.try_clone().unwrap();
    let properties = Properties::parse(Generation::V2_5, "ivshmem,chardev=c,msi=off").unwrap();
    let connection = OwnedFd::from(ours).into();
    let mut device = Attachment::connect(
        &properties,
        connection,
        Protocol::Version0,
        Machine::default(),
    )
    .unwrap();
    Client(servers).send(9, None);
    let error = ConnectionError::Version { found: 9 };
    assert_eq!(failure(&mut device), error);
    assert!(is_readable(&kept, LIMIT), "the server has closed it");
    assert!(!is_readable(&device, Duration::ZERO));
}

#[test]
fn a_pipe_is_no_eventfd() {
    let (mut device, server, _own) = running();
    let (reader, _writer) = pipe().unwrap();
    server.send(2, Some(reader.as_fd()));
    let error = ConnectionError::Descriptor(FdError::Kind);
    assert_eq!(failure(&mut device), error);
}

#[test]
fn a_server_of_another_protocol_is_named() {
    for (messages, error) in [
        (&[(7, false)][..], ConnectionError::Version { found: 7 }),
        (&[(-1, false)], ConnectionError::Version { found: -1 }),
        (&[(0, false), (-1, true)], ConnectionError::Unversioned),
    ] {
        let (mut device, server) = attach(Generation::V2_5, LEGACY, Machine::default());
        let memory = memory(1 << 20);
        for &(number, has_memory) in messages {
            server.send(number, has_memory.then_some(memory.as_fd()));
        }
        assert_eq!(failure(&mut device), error);
    }
}

#[test]
fn a_modern_device_without_memory_is_given_up_with_its_server() {
    let text = "ivshmem-doorbell,chardev={}";
    let (mut device, server) = attach(Generation::Modern, text, Machine::default());
    server.send(0, None);
    drop(server);
    assert_eq!(
        failure(&mut device),
        ConnectionError::Server(ServerError::Gone)
    );
    assert!(!device.device().is_realized());
}

#[test]
fn memory_in_place_of_an_own_vector_is_a_dead_vector() {
    let (mut device, server) = attach(Generation::V2_5, LEGACY, Machine::default());
    server.greet(1, memory(1 << 20));
    server.send(1, Some(memory(4096).as_fd()));
    settle(&mut device);
    let notices = &device.wiring().notices;
    assert!(
        matches!(
            notices[..],
            [Notice::Server(ServerError::Listen { vector: 0, .. })]
        ),
        "{notices:?}"
    );
    assert!(device.is_connected());
}

#[test]
fn an_own_vector_that_cannot_be_read_is_left_alone() {
    // Nameless like an eventfd and always readable, but nothing to read a counter from.
    let queue = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
    let ready = event();
    ring(&ready, 1);
    let data = rustix::event::epoll::EventData::new_u64(0);
    rustix::event::epoll::add(&queue, &ready, data, rustix::event::epoll::EventFlags::IN).unwrap();
    let (mut device, server) = attach(Generation::V2_5, LEGACY, Machine::default());
    server.greet(1, memory(1 << 20));
    server.send(1, Some(queue.as_fd()));
    settle(&mut device);
    let notices = &device.wiring().notices;
    assert!(
        matches!(
            notices[..],
            [Notice::Server(ServerError::Listen { vector: 0, .. })]
        ),
        "{notices:?}"
    );
    assert!(!is_readable(&device, Duration::ZERO), "no busy loop");
}

#[test]
fn a_peer_whose_counter_is_full_is_not_waited_for() {
    let (mut device, server, _own) = running();
    let full = event();
    ring(&full, u64::MAX - 1);
    server.send(8, Some(full.as_fd()));
    settle(&mut device);
    device.write_bar(Bar::Registers, 0x0c, &0x0008_0000_u32.to_le_bytes());
    assert!(is_readable(&full, Duration::ZERO));
}

#[test]
fn an_event_that_another_takes_is_not_waited_for() {
    // In one handle both vectors are ready; the second reads what is no longer there.
    let (mut device, server) = attach(
        Generation::V2_5,
        "ivshmem,chardev={},size=1M,msi=off,vectors=2",
        Machine::default(),
    );
    let own = event();
    server.greet(1, memory(1 << 20));
    for _ in 0..2 {
        server.send(1, Some(own.as_fd()));
    }
    settle(&mut device);
    device.write_bar(Bar::Registers, 0, &INTX.to_le_bytes());
    ring(&own, 1);
    device.handle().unwrap();
    assert_eq!(device.wiring().levels, [Level::High]);
}

/// A device lent to a QEMU, for the test to handle.
type Lent = Remote<fn(Report)>;

fn lent() -> (Lent, Qemu, Server) {
    let server = Server::new();
    let path = server.path();
    let text = format!("ivshmem,chardev={},size=1M,msi=off,use64=0", path.display());
    let properties = Properties::parse(Generation::V2_5, &text).unwrap();
    let (qemu, socket) = Qemu::pair();
    let report: fn(Report) = |what| panic!("{what}");
    let remote = Remote::open(&properties, Protocol::Version0, socket, report).unwrap();
    (remote, qemu, server)
}

/// Handles what is ready; the test fails by its time limit if that never ends.
fn settle_remote(remote: &mut Lent) {
    wait_for("that nothing is ready", || {
        let is_ready = is_readable(&*remote, Duration::ZERO);
        if is_ready {
            assert_eq!(remote.handle(), Ok(Status::Plugged));
        }
        (!is_ready).then_some(())
    });
}

#[test]
fn a_qemu_that_does_not_read_makes_no_busy_loop() {
    let (mut remote, mut qemu, _server) = lent();
    let message = request(7, &[]);
    qemu.0.set_nonblocking(true).unwrap();
    let mut sent = 0;
    // Whole messages: what does not fit is not sent.
    wait_for("that no more fits", || {
        settle_remote(&mut remote);
        match qemu.0.write(&message) {
            Ok(len) => {
                assert_eq!(len, message.len());
                sent += 1;
                None
            }
            Err(_) => Some(()),
        }
    });
    qemu.0.set_nonblocking(false).unwrap();
    for _ in 0..sent {
        settle_remote(&mut remote);
        assert_eq!(qemu.answer(), [0; 0]);
    }
}

#[test]
fn a_line_that_was_replaced_makes_no_busy_loop() {
    let (mut remote, mut qemu, _server) = lent();
    let (_first, first_resample) = qemu.set_irqfd();
    settle_remote(&mut remote);
    let (_second, second_resample) = qemu.set_irqfd();
    settle_remote(&mut remote);
    ring(&first_resample, 1);
    settle_remote(&mut remote);
    ring(&second_resample, 1);
    settle_remote(&mut remote);
    assert!(is_readable(&first_resample, Duration::ZERO), "nobody's");
    assert!(!is_readable(&second_resample, Duration::ZERO));
}
