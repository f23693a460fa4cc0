// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device on a bench: everything that it does is written down.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ivshmem_device::{
    Bar, Descriptor, Device, Generation, Host, HostError, Ioeventfd, Level, Memory, MsiMessage,
    Notice, Properties, ServerError, Source,
};

/// Size of the shared memory: the least that the historic `size` can say.
pub const SIZE: u64 = 1 << 20;

/// A descriptor that counts itself.
#[derive(Debug)]
pub struct TestFd {
    pub name: u32,
    pub len: Option<u64>,
    pub number: i32,
    live: Rc<Cell<usize>>,
}

impl Drop for TestFd {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

impl Descriptor for TestFd {
    fn len_bytes(&self) -> Option<u64> {
        self.len
    }

    fn number(&self) -> i32 {
        self.number
    }
}

/// Shared memory, of which `name` tells whose it is.
#[derive(Debug)]
pub struct TestMemory {
    pub name: u32,
    pub bytes: RefCell<Vec<u8>>,
}

impl TestMemory {
    pub fn new(name: u32, len: u64) -> Self {
        Self {
            name,
            bytes: RefCell::new(vec![0; len as usize]),
        }
    }
}

impl Memory for TestMemory {
    fn len_bytes(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        let start = offset as usize;
        bytes.copy_from_slice(&self.bytes.borrow()[start..start + bytes.len()]);
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let start = offset as usize;
        self.bytes.borrow_mut()[start..start + bytes.len()].copy_from_slice(bytes);
    }
}

/// Something that the device did; eventfds by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Map(u32),
    Listen(u16, u32),
    Ring(u32),
    Message(MsiMessage),
    Line(Level),
    Notice(Notice),
    Attach(u32, u32),
    Detach(u32, u32),
    Route(u16, Option<MsiMessage>),
}

/// What the device has done, and what it is refused.
#[derive(Debug, Default)]
pub struct Diary {
    pub acts: Vec<Act>,
    pub refuse: Option<HostError>,
}

impl Host for Diary {
    type Descriptor = TestFd;
    type Memory = TestMemory;

    fn map(&mut self, descriptor: TestFd, len_bytes: u64) -> Result<TestMemory, HostError> {
        if let Some(error) = self.refuse {
            return Err(error);
        }
        self.acts.push(Act::Map(descriptor.name));
        Ok(TestMemory::new(descriptor.name, len_bytes))
    }

    fn listen(&mut self, vector: u16, event: &TestFd) -> Result<(), HostError> {
        if let Some(error) = self.refuse {
            return Err(error);
        }
        self.acts.push(Act::Listen(vector, event.name));
        Ok(())
    }

    fn ring(&mut self, event: &TestFd) {
        self.acts.push(Act::Ring(event.name));
    }

    fn message(&mut self, message: MsiMessage) {
        self.acts.push(Act::Message(message));
    }

    fn line(&mut self, level: Level) {
        self.acts.push(Act::Line(level));
    }

    fn notice(&mut self, notice: Notice) {
        self.acts.push(Act::Notice(notice));
    }

    fn attach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &TestFd) {
        self.acts.push(Act::Attach(ioeventfd.value, event.name));
    }

    fn detach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &TestFd) {
        self.acts.push(Act::Detach(ioeventfd.value, event.name));
    }

    fn route(&mut self, vector: u16, message: Option<MsiMessage>) {
        self.acts.push(Act::Route(vector, message));
    }
}

/// A device and its diary.
#[derive(Debug)]
pub struct Bench {
    pub device: Device<Diary>,
    pub diary: Diary,
    /// How many descriptors are open.
    pub live: Rc<Cell<usize>>,
    generation: Generation,
}

/// The historic device with a server, or `ivshmem-doorbell`; both without ioeventfds.
pub fn with_server(generation: Generation) -> Properties {
    let chardev = "server";
    match generation {
        Generation::Modern => Properties {
            ioeventfd: false,
            ..Properties::doorbell(chardev)
        },
        _ => Properties {
            size_bytes: SIZE,
            ..Properties::legacy(generation, Source::Chardev(chardev.into()))
        },
    }
}

impl Bench {
    /// A device to which the server has said nothing yet.
    pub fn new(properties: &Properties) -> Self {
        Self {
            device: Device::new(properties).unwrap(),
            diary: Diary::default(),
            live: Rc::default(),
            generation: properties.generation,
        }
    }

    /// A device that has its ID and memory: what the server calls 1000.
    pub fn member(properties: &Properties, id: u16) -> Self {
        let mut bench = Self::new(properties);
        bench.start(id);
        bench.memory(1000, SIZE);
        bench.acts();
        bench
    }

    /// A device on memory of its own, with the name 1000.
    pub fn alone(properties: &Properties) -> Self {
        Self::on(properties, TestMemory::new(1000, SIZE))
    }

    /// A device on `memory`.
    pub fn on(properties: &Properties, memory: TestMemory) -> Self {
        Self {
            device: Device::with_memory(properties, memory).unwrap(),
            diary: Diary::default(),
            live: Rc::default(),
            generation: properties.generation,
        }
    }

    /// A descriptor of no size.
    pub fn event_fd(&self, name: u32) -> TestFd {
        self.fd(name, None, 100)
    }

    pub fn fd(&self, name: u32, len: Option<u64>, number: i32) -> TestFd {
        self.live.set(self.live.get() + 1);
        TestFd {
            name,
            len,
            number,
            live: Rc::clone(&self.live),
        }
    }

    /// Sends what comes before the memory.
    pub fn start(&mut self, id: u16) {
        if self.generation == Generation::Modern {
            self.send(0, None).unwrap();
        }
        self.send(id.into(), None).unwrap();
    }

    /// Sends the shared memory.
    pub fn memory(&mut self, name: u32, len: u64) {
        let fd = self.fd(name, Some(len), 3);
        self.send(-1, Some(fd)).unwrap();
    }

    /// Sends a vector of a peer, whose eventfd is `10 * peer + vector` in what the diary says.
    pub fn vectors(&mut self, peer: u16, count: u32) {
        for vector in 0..count {
            let fd = self.event_fd(10 * u32::from(peer) + vector);
            self.send(peer.into(), Some(fd)).unwrap();
        }
    }

    pub fn send(&mut self, number: i64, fd: Option<TestFd>) -> Result<(), ServerError> {
        self.device
            .receive(&number.to_le_bytes(), fd, &mut self.diary)
    }

    /// Returns what the device has done since the last look.
    pub fn acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.diary.acts)
    }

    pub fn read<const N: usize>(&mut self, bar: Bar, offset: u64) -> [u8; N] {
        let mut bytes = [0xaa; N];
        self.device
            .read_bar(bar, offset, &mut bytes, &mut self.diary);
        bytes
    }

    pub fn write(&mut self, bar: Bar, offset: u64, bytes: &[u8]) {
        self.device.write_bar(bar, offset, bytes, &mut self.diary);
    }

    /// Reads a register.
    pub fn register(&mut self, offset: u64) -> u32 {
        u32::from_le_bytes(self.read(Bar::Registers, offset))
    }

    pub fn set_register(&mut self, offset: u64, value: u32) {
        self.write(Bar::Registers, offset, &value.to_le_bytes());
    }

    pub fn event(&mut self, vector: u16, counter: u64) {
        self.device.event(vector, counter, &mut self.diary);
    }

    pub fn config(&self, offset: u16) -> u32 {
        let mut bytes = [0; 4];
        self.device.read_config(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub fn set_config(&mut self, offset: u16, bytes: &[u8]) {
        self.device.write_config(offset, bytes, &mut self.diary);
    }
}
