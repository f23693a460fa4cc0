// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices attached to servers and to memory, as a VMM has them.

use std::os::fd::AsFd;

use ivshmem_device::adapters::{
    Attachment, Delivery, Fd, Mapping, MemoryError, OpenError, Protocol, Wiring,
};
use ivshmem_device::{
    Bar, Descriptor, Generation, Ioeventfd, Level, Memory, MsiMessage, Notice, Properties,
    ServerError,
};

use crate::support::{
    assert_silent, counter, event, is_readable, memory, ring, Client, Server, LIMIT,
};

/// A machine that keeps what it is told.
#[derive(Debug, Default)]
pub struct Machine {
    pub messages: Vec<MsiMessage>,
    pub levels: Vec<Level>,
    pub notices: Vec<Notice>,
    pub ioeventfds: Vec<(u32, i32)>,
    /// What was said of memory and vectors, in order.
    pub told: Vec<Told>,
    pub takes_over: bool,
}

/// What a wiring is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Memory of so many bytes, or none.
    Memory(Option<u64>),
    /// A vector's eventfd.
    TakeOver(u16),
    /// A vector's message, by its data.
    Route(u16, Option<u32>),
}

impl Wiring for Machine {
    fn message(&mut self, message: MsiMessage) {
        self.messages.push(message);
    }

    fn line(&mut self, level: Level) {
        self.levels.push(level);
    }

    fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    fn memory(&mut self, mapping: Option<&Mapping>) {
        let len = mapping.map(Memory::len_bytes);
        self.told.push(Told::Memory(len));
    }

    fn take_over(&mut self, vector: u16, _event: &Fd) -> Delivery {
        self.told.push(Told::TakeOver(vector));
        if self.takes_over {
            Delivery::Program
        } else {
            Delivery::Device
        }
    }

    fn route(&mut self, vector: u16, message: Option<MsiMessage>) {
        let data = message.map(|message| message.data);
        self.told.push(Told::Route(vector, data));
    }

    fn attach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &Fd) {
        self.ioeventfds.push((ioeventfd.value, event.number()));
    }

    fn detach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &Fd) {
        let offered = (ioeventfd.value, event.number());
        let index = self.ioeventfds.iter().position(|&known| known == offered);
        self.ioeventfds.remove(index.expect("it was offered"));
    }
}

/// Attaches a device to a new server; `{}` in `text` stands for its path.
pub fn attach(
    generation: Generation,
    text: &str,
    machine: Machine,
) -> (Attachment<Machine>, Client) {
    let server = Server::new();
    let text = text.replace("{}", &server.path().display().to_string());
    let properties = Properties::parse(generation, &text).unwrap();
    let attachment = Attachment::open(&properties, Protocol::Version0, machine).unwrap();
    (attachment, server.accept())
}

/// Deals with all that has come.
pub fn settle(attachment: &mut Attachment<Machine>) {
    while is_readable(&*attachment, std::time::Duration::ZERO) {
        attachment.handle().unwrap();
    }
}

fn position(attachment: &mut Attachment<Machine>) -> u32 {
    let mut bytes = [0; 4];
    attachment.read_bar(Bar::Registers, 0x08, &mut bytes);
    u32::from_le_bytes(bytes)
}

/// Programs and unmasks vector 0, and turns MSI-X on.
pub fn enable_msix(attachment: &mut Attachment<Machine>) {
    for (offset, word) in [(0, 0xfee0_0000_u32), (4, 0), (8, 0x41), (12, 0)] {
        attachment.write_bar(Bar::Msix, offset, &word.to_le_bytes());
    }
    attachment.write_config(0x42, &0x8000_u16.to_le_bytes());
    attachment.write_config(0x04, &0x0006_u16.to_le_bytes());
}

#[test]
fn a_modern_device_is_realized_by_its_server() {
    let text = "ivshmem-doorbell,chardev={},vectors=1";
    let (mut device, server) = attach(Generation::Modern, text, Machine::default());
    let memory = memory(1 << 20);
    let (own, peers) = (event(), event());
    assert!(!is_readable(&device, std::time::Duration::ZERO));
    server.greet(5, &memory);
    assert!(is_readable(&device, LIMIT));
    settle(&mut device);
    assert!(device.device().is_realized() && position(&mut device) == 5);
    server.send(9, Some(peers.as_fd()));
    server.send(5, Some(own.as_fd()));
    settle(&mut device);

    device.write_bar(Bar::Registers, 0x0c, &0x0009_0000_u32.to_le_bytes());
    assert_eq!(counter(&peers), 1);
    enable_msix(&mut device);
    ring(&own, 1);
    settle(&mut device);
    let message = MsiMessage {
        address: 0xfee0_0000,
        data: 0x41,
    };
    assert_eq!(device.wiring().messages, [message]);
    assert_silent(&own);
    assert_eq!(device.wiring().notices, []);
}

#[test]
fn the_memory_is_that_of_the_server() {
    let text = "ivshmem,chardev={},size=1M";
    let (mut device, server) = attach(Generation::V2_5, text, Machine::default());
    assert_eq!(position(&mut device), u32::MAX);
    let memory = memory(1 << 20);
    server.greet(2, &memory);
    settle(&mut device);
    assert_eq!(position(&mut device), 2);
    device.write_bar(Bar::Memory, 4096, b"guest");
    let mut there = [0; 5];
    rustix::io::pread(&memory, &mut there, 4096).unwrap();
    assert_eq!(&there, b"guest");
}

#[test]
fn kvm_gets_its_short_cuts() {
    let text = "ivshmem-doorbell,chardev={},vectors=2";
    let machine = Machine {
        takes_over: true,
        ..Machine::default()
    };
    let (mut device, mut server) = attach(Generation::Modern, text, machine);
    let (own, peers) = (event(), [event(), event()]);
    server.greet(1, memory(4096));
    server.send(1, Some(own.as_fd()));
    for vector in &peers {
        server.send(2, Some(vector.as_fd()));
    }
    settle(&mut device);
    let offered: Vec<u32> = device
        .wiring()
        .ioeventfds
        .iter()
        .map(|&(value, _)| value)
        .collect();
    assert_eq!(offered, [0x1_0000, 0x2_0000, 0x2_0001]);
    enable_msix(&mut device);
    assert!(device.wiring().told.contains(&Told::Route(0, Some(0x41))));
    ring(&own, 1);
    settle(&mut device);
    assert_eq!(counter(&own), 1, "left to the program");

    server.send(2, None);
    settle(&mut device);
    assert_eq!(device.wiring().ioeventfds.len(), 1);
    let machine = device.unplug();
    assert_eq!(machine.ioeventfds, [], "all taken back");
    assert!(server.is_closed());
}

#[test]
fn a_server_that_goes_leaves_a_device() {
    let (mut device, server) = attach(
        Generation::V2_5,
        "ivshmem,chardev={},size=1M",
        Machine::default(),
    );
    let peers = event();
    server.greet(2, memory(1 << 20));
    server.send(4, Some(peers.as_fd()));
    settle(&mut device);
    drop(server);
    assert!(is_readable(&device, LIMIT));
    settle(&mut device);
    assert!(!device.is_connected());
    assert_eq!(device.wiring().notices, [Notice::ServerGone]);
    assert_eq!(position(&mut device), 2);
    device.write_bar(Bar::Registers, 0x0c, &0x0004_0000_u32.to_le_bytes());
    assert_eq!(counter(&peers), 1);
}

#[test]
fn memory_that_is_too_small_is_no_fault() {
    let text = "ivshmem,chardev={},size=2M";
    let (mut device, server) = attach(Generation::V2_5, text, Machine::default());
    server.greet(2, memory(1 << 20));
    settle(&mut device);
    let error = ServerError::MemoryTooSmall {
        has: 1 << 20,
        needs: 2 << 20,
    };
    assert_eq!(device.wiring().notices, [Notice::Server(error)]);
    let mut bytes = [1; 4];
    device.read_bar(Bar::Memory, 0x18_0000, &mut bytes);
    assert_eq!(bytes, [0; 4]);
    assert_eq!(position(&mut device), u32::MAX);
}

#[test]
fn a_file_is_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory");
    std::fs::write(&path, vec![7; 8192]).unwrap();
    let open = |path: &std::path::Path| {
        let properties = Properties::plain(path.display().to_string());
        Attachment::open(&properties, Protocol::Version0, Machine::default())
    };
    let mut device = open(&path).unwrap();
    let mut bytes = [0; 8];
    device.read_bar(Bar::Memory, 8184, &mut bytes);
    assert_eq!(bytes, [7; 8]);
    assert!(!device.is_connected() && position(&mut device) == 0);

    std::fs::write(&path, vec![7; 12288]).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Properties(_))));
    let absent = folder.path().join("absent");
    assert!(matches!(
        open(&absent),
        Err(OpenError::Memory(MemoryError::System { .. }))
    ));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket").display().to_string();
    let properties = Properties::doorbell(path.clone());
    let error = Attachment::open(&properties, Protocol::Version0, Machine::default()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&path) && text.contains("start the server first"),
        "{text}"
    );
}
