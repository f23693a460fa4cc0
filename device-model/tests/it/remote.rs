// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lent device, as QEMU and its guest meet it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{channel, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ivshmem_device::adapters::Protocol;
use ivshmem_device::proxy::{LinkError, Remote, Report, RequestError, Status};
use ivshmem_device::{Generation, Properties};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::pipe::pipe;

use crate::support::{
    assert_silent, counter, event, is_readable, memory, request, ring, wait_for, Client, Qemu,
    Server, LIMIT,
};

const REGISTERS: u64 = 0xfebf_f000;
const MEMORY: u64 = 0xfea0_0000;
const MASK: u64 = REGISTERS;
const STATUS: u64 = REGISTERS + 0x04;
const POSITION: u64 = REGISTERS + 0x08;
const DOORBELL: u64 = REGISTERS + 0x0c;
const SIZE: u64 = 1 << 20;

/// A device lent to a QEMU, with a server.
struct Setup {
    qemu: Qemu,
    server: Client,
    thread: JoinHandle<Result<Status, LinkError>>,
    reports: Receiver<Report>,
}

impl Setup {
    fn new(protocol: Protocol) -> Self {
        let server = Server::new();
        let text = format!(
            "ivshmem,chardev={},size=1M,msi=off,use64=0,vectors=2",
            server.path().display()
        );
        let properties = Properties::parse(Generation::V2_5, &text).unwrap();
        let (qemu, socket) = Qemu::pair();
        let (sender, reports) = channel();
        let report = move |what| sender.send(what).unwrap();
        let mut remote = Remote::open(&properties, protocol, socket, report).unwrap();
        let thread = thread::spawn(move || loop {
            poll(&mut [PollFd::new(&remote, PollFlags::IN)], None).unwrap();
            match remote.handle() {
                Ok(Status::Plugged) => {}
                end => return end,
            }
        });
        Self {
            qemu,
            server: server.accept(),
            thread,
            reports,
        }
    }

    /// With memory, ID 3, and BARs that decode.
    fn running() -> (Self, OwnedFd) {
        let mut setup = Self::new(Protocol::Version0);
        let memory = memory(SIZE);
        setup.server.greet(3, &memory);
        setup.qemu.reset();
        setup.assign();
        setup.wait_for_position(3);
        (setup, memory)
    }

    /// What firmware does.
    fn assign(&mut self) {
        self.qemu.write_config(0x10, REGISTERS as u32, 4);
        self.qemu.write_config(0x18, MEMORY as u32, 4);
        self.qemu.write_config(0x04, 0x0103, 2);
    }

    fn wait_for_position(&mut self, id: u64) {
        wait_for("IVPosition", || {
            (self.qemu.read(POSITION, 4) == id).then_some(())
        });
    }

    /// Ends an interrupt as the guest does, and waits until the device has dealt with it.
    fn end_interrupt(&mut self, resample: &OwnedFd) {
        ring(resample, 1);
        wait_for("the end of the interrupt to be taken", || {
            (!is_readable(resample, Duration::ZERO)).then_some(())
        });
        // What is answered now is dealt with after it.
        self.qemu.read_config(0, 4);
    }

    /// Ends QEMU, and returns how the device ended.
    fn end(mut self) -> Result<Status, LinkError> {
        drop(self.qemu);
        let end = self.thread.join().unwrap();
        assert!(self.server.is_closed(), "the server is told");
        end
    }
}

#[test]
fn qemu_realizes_the_device() {
    let mut setup = Setup::new(Protocol::Version0);
    let qemu = &mut setup.qemu;
    let (file, other) = (memory(4096), memory(4096));
    qemu.sync_memory(&[file.as_fd(), other.as_fd()]);
    let (interrupt, _resample) = qemu.set_irqfd();
    for (offset, value) in [
        (0x00, 0x1af4),
        (0x02, 0x1110),
        (0x0a, 0x0500),
        (0x2e, 0x1100),
    ] {
        assert_eq!(qemu.read_config(offset, 2), value);
    }
    // The seventh is not the expansion ROM, and QEMU makes a region of whatever is not 0 there.
    for (offset, flags, mask) in [
        (0x10, 0, 0xffff_ff00),
        (0x14, 0, 0),
        (0x18, 8, 0xfff0_0008),
        (0x1c, 0, 0),
        (0x20, 0, 0),
        (0x24, 0, 0),
        (0x28, 0, 0),
    ] {
        let original = qemu.read_config(offset, 4);
        assert_eq!(original, flags, "{offset:#x}");
        qemu.write_config(offset, 0xffff_ffff, 4);
        assert_eq!(qemu.read_config(offset, 4), mask, "{offset:#x}");
        qemu.write_config(offset, original as u32, 4);
        assert_eq!(qemu.read_config(offset, 4), original, "{offset:#x}");
    }
    qemu.sync_memory(&[file.as_fd()]);
    qemu.reset();
    assert_eq!(qemu.read_config(0x3d, 1), 1, "INTA");
    assert_eq!(qemu.read_config(0x04, 2), 0);
    qemu.write_config(0x3c, 0x0a, 1);
    assert_eq!(qemu.read_config(0x3c, 1), 0x0a);
    assert_silent(interrupt);
    assert_eq!(setup.end(), Ok(Status::Unplugged));
}

#[test]
fn the_guest_s_memory_is_closed_at_once() {
    let mut setup = Setup::new(Protocol::Version0);
    let (reader, writer) = pipe().unwrap();
    setup.qemu.sync_memory(&[writer.as_fd(); 8]);
    drop(writer);
    assert!(is_readable(&reader, LIMIT), "the end of the pipe");
    assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
    assert_eq!(setup.end(), Ok(Status::Unplugged));
}

#[test]
fn the_memory_comes_late_and_is_shared() {
    let mut setup = Setup::new(Protocol::Version0);
    setup.assign();
    assert_eq!(setup.qemu.read(POSITION, 4), 0xffff_ffff);
    setup.qemu.write(MEMORY, 0x55, 1);
    assert_eq!(setup.qemu.read(MEMORY, 1), 0, "nothing is there");
    let memory = memory(SIZE);
    setup.server.greet(3, &memory);
    setup.wait_for_position(3);
    setup.qemu.write(MEMORY + SIZE - 4, 0x1234_5678, 4);
    let mut there = [0; 4];
    rustix::io::pread(&memory, &mut there, SIZE - 4).unwrap();
    assert_eq!(u32::from_le_bytes(there), 0x1234_5678);
    rustix::io::pwrite(&memory, b"host", 8).unwrap();
    assert_eq!(
        setup.qemu.read(MEMORY + 8, 4) as u32,
        u32::from_le_bytes(*b"host")
    );
    assert_eq!(setup.end(), Ok(Status::Unplugged));
}

#[test]
fn a_server_without_versions_is_understood() {
    let mut setup = Setup::new(Protocol::Unversioned);
    setup.assign();
    setup.server.send(0, None);
    setup.server.send(-1, Some(memory(SIZE).as_fd()));
    setup.wait_for_position(0);
    assert_eq!(setup.end(), Ok(Status::Unplugged));
}

#[test]
fn a_doorbell_rings_the_peer() {
    let (mut setup, _memory) = Setup::running();
    let vectors = [event(), event()];
    for vector in &vectors {
        setup.server.send(7, Some(vector.as_fd()));
    }
    wait_for("the ring", || {
        setup.qemu.write(DOORBELL, 0x0007_0001, 4);
        is_readable(&vectors[1], Duration::ZERO).then_some(())
    });
    assert!(counter(&vectors[1]) >= 1);
    assert_silent(&vectors[0]);
    // Two bytes are the whole register: peer 0, which is not there.
    setup.qemu.write(DOORBELL, 0x0001, 2);
    setup.qemu.write(DOORBELL, 0x0007_0000, 4);
    assert_eq!(counter(&vectors[0]), 1);
    assert_silent(&vectors[1]);
    assert_eq!(setup.end(), Ok(Status::Unplugged));
}

#[test]
fn the_line_is_a_level() {
    let (mut setup, _memory) = Setup::running();
    let own = event();
    setup.server.send(3, Some(own.as_fd()));
    let (interrupt, resample) = setup.qemu.set_irqfd();
    setup.qemu.write(MASK, 0xffff_ffff, 4);
    assert_silent(&interrupt);

    ring(&own, 2);
    assert_eq!(counter(&interrupt), 1, "the line rises");
    assert_eq!(setup.qemu.read_config(0x06, 2) & 8, 8, "Interrupt Status");
    // The guest ends the interrupt and has not looked at the device: it is still there.
    ring(&resample, 1);
    assert_eq!(counter(&interrupt), 1, "the line is high still");
    assert_eq!(setup.qemu.read(STATUS, 4), 2, "rings that coalesced");
    assert_eq!(setup.qemu.read(STATUS, 4), 0, "cleared by the read");
    assert_eq!(setup.qemu.read_config(0x06, 2) & 8, 0);
    setup.end_interrupt(&resample);
    assert_silent(&interrupt);

    setup.qemu.write(STATUS, 1, 4);
    assert_eq!(counter(&interrupt), 1, "by hand");
    setup.qemu.write_config(0x04, 0x0503, 2);
    setup.end_interrupt(&resample);
    assert_silent(&interrupt);
    setup.qemu.write_config(0x04, 0x0103, 2);
    assert_eq!(counter(&interrupt), 1, "no longer disabled");
    assert_eq!(setup.end(), Ok(Status::Unplugged));
}

#[test]
fn a_line_that_is_high_already_reaches_a_new_irqfd() {
    let (mut setup, _memory) = Setup::running();
    setup.qemu.write(MASK, 1, 4);
    setup.qemu.write(STATUS, 1, 4);
    let (first, first_resample) = setup.qemu.set_irqfd();
    assert_eq!(counter(&first), 1);
    let (second, second_resample) = setup.qemu.set_irqfd();
    assert_eq!(counter(&second), 1);
    ring(&first_resample, 1);
    ring(&second_resample, 1);
    assert_eq!(counter(&second), 1);
    assert_silent(&first);
    assert_eq!(setup.end(), Ok(Status::Unplugged));
}

#[test]
fn a_reset_is_that_of_pci() {
    let (mut setup, _memory) = Setup::running();
    setup.qemu.write(MASK, 0xff, 4);
    setup.qemu.reset();
    for offset in [0x04, 0x10] {
        assert_eq!(setup.qemu.read_config(offset, 4), 0, "{offset:#x}");
    }
    assert_eq!(setup.qemu.read(POSITION, 4), u64::MAX, "nothing decodes");
    setup.assign();
    assert_eq!(setup.qemu.read(POSITION, 4), 3);
    assert_eq!(
        setup.qemu.read(MASK, 4),
        0xff,
        "the historic device keeps it"
    );
    assert_eq!(setup.end(), Ok(Status::Unplugged));
}

#[test]
fn accesses_that_cannot_be_read_ones() {
    let (mut setup, _memory) = Setup::running();
    let qemu = &mut setup.qemu;
    for (offset, len) in [
        (0xfe, 4),
        (0x100, 1),
        (u32::MAX, 4),
        (0, 3),
        (0, 8),
        (0, 0),
        (0, -1),
    ] {
        qemu.write_config(offset, 0, len);
        assert_eq!(qemu.read_config(offset, len), u64::MAX, "{offset:#x} {len}");
    }
    for (address, len) in [
        (REGISTERS - 1, 1),
        (REGISTERS + 256, 4),
        (u64::MAX, 4),
        (POSITION, 3),
        (POSITION, 0),
        (POSITION, u32::MAX),
    ] {
        qemu.write(address, 0, len);
        assert_eq!(qemu.read(address, len), u64::MAX, "{address:#x} {len}");
    }
    assert_eq!(qemu.read_port(POSITION, 4), u64::MAX);
    assert_eq!(qemu.read(POSITION, 4), 3);
    assert_eq!(setup.end(), Ok(Status::Unplugged));
}

#[test]
fn the_device_outlives_its_server() {
    let (mut setup, _memory) = Setup::running();
    setup.server.send(1 << 40, None);
    let report = setup.reports.recv_timeout(LIMIT).unwrap();
    assert!(matches!(report, Report::Notice(_)), "{report}");
    // Descriptors that are neither memory nor events.
    let (reader, _writer) = pipe().unwrap();
    setup.server.send(3, Some(reader.as_fd()));
    let report = setup.reports.recv_timeout(LIMIT).unwrap();
    assert!(matches!(report, Report::ServerLost(_)), "{report}");
    assert!(setup.server.is_closed());
    assert_eq!(setup.qemu.read(POSITION, 4), 3);
    assert_eq!(setup.end(), Ok(Status::Unplugged));
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let cases: [(&[u8], RequestError); 2] = [
        (&request(8, &[]), RequestError::Command { command: 8 }),
        (
            &request(3, &[0; 11]),
            RequestError::Size {
                command: 3,
                found: 11,
                expected: 12,
            },
        ),
    ];
    for (bytes, error) in cases {
        use std::io::Write;
        let mut setup = Setup::new(Protocol::Version0);
        setup.qemu.0.write_all(&bytes[..16]).unwrap();
        assert_eq!(setup.thread.join().unwrap(), Err(LinkError::Request(error)));
        // For QEMU, reads are ones from now on; it does not wait.
        assert!(setup.qemu.is_closed());
    }
}

#[test]
fn a_qemu_that_does_not_read_is_not_waited_for() {
    use std::io::Write;
    let (mut setup, _memory) = Setup::running();
    let message = request(3, &[0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
    setup.qemu.0.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let mut partial = 0;
    // Until both directions are full and stay so: the device's own vector is served all the same.
    let own = event();
    setup.server.send(3, Some(own.as_fd()));
    while partial == 0 {
        match setup.qemu.0.write(&message) {
            Ok(len) if len == message.len() => sent += 1,
            Ok(len) => partial = len,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                ring(&own, 1);
                wait_for("the event to be taken", || {
                    (!is_readable(&own, Duration::ZERO)).then_some(())
                });
                break;
            }
        }
    }
    setup.qemu.0.set_nonblocking(false).unwrap();
    for _ in 0..sent {
        assert_eq!(setup.qemu.answer(), 0x1110_1af4_u64.to_le_bytes());
    }
    if partial > 0 {
        setup.qemu.0.write_all(&message[partial..]).unwrap();
        setup.qemu.answer();
    }
    assert_eq!(setup.qemu.read(POSITION, 4), 3, "as if nothing had been");
    assert_eq!(setup.end(), Ok(Status::Unplugged));
}
