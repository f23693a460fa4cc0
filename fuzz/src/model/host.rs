// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host that holds nothing real: descriptors that are counted, memory of any size, and a note of all that it is told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ivshmem_device::{
    Descriptor, Host, HostError, Ioeventfd, Level, Memory, MsiMessage, Notice, ServerError,
};

/// Bytes that a memory really has; it repeats them as often as its size wants.
const STORED: usize = 64;

/// A descriptor that knows its number among all of this run.
#[derive(Debug, PartialEq, Eq)]
pub struct FuzzDescriptor {
    pub serial: u64,
    pub len_bytes: Option<u64>,
    pub number: i32,
    live: Rc<Cell<usize>>,
}

impl Drop for FuzzDescriptor {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

impl Descriptor for FuzzDescriptor {
    fn len_bytes(&self) -> Option<u64> {
        self.len_bytes
    }

    fn number(&self) -> i32 {
        self.number
    }
}

/// The descriptors of a run.
#[derive(Debug, Default)]
pub struct Descriptors {
    live: Rc<Cell<usize>>,
    opened: u64,
}

impl Descriptors {
    /// Opens one more.
    pub fn open(&mut self, len_bytes: Option<u64>, number: i32) -> FuzzDescriptor {
        self.live.set(self.live.get() + 1);
        self.opened += 1;
        FuzzDescriptor {
            serial: self.opened,
            len_bytes,
            number,
            live: self.live.clone(),
        }
    }

    /// Returns how many are open.
    pub fn live(&self) -> usize {
        self.live.get()
    }

    /// Returns how many there have been.
    pub fn opened(&self) -> u64 {
        self.opened
    }
}

/// Memory that is accessed inside its size only.
#[derive(Debug)]
pub struct FuzzMemory {
    len_bytes: u64,
    stored: RefCell<[u8; STORED]>,
}

impl FuzzMemory {
    pub fn new(len_bytes: u64) -> Self {
        Self {
            len_bytes,
            stored: RefCell::new([0; STORED]),
        }
    }

    fn check(&self, offset: u64, len: usize) -> impl Iterator<Item = usize> {
        let end = offset.checked_add(len as u64);
        let inside = end.is_some_and(|end| end <= self.len_bytes);
        assert!(
            inside,
            "{len} bytes at {offset:#x} of {:#x}",
            self.len_bytes
        );
        (0..len).map(move |index| (offset % STORED as u64) as usize + index)
    }
}

impl Memory for FuzzMemory {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        let stored = self.stored.borrow();
        for (at, byte) in self.check(offset, bytes.len()).zip(bytes) {
            *byte = stored[at % STORED];
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let mut stored = self.stored.borrow_mut();
        for (at, byte) in self.check(offset, bytes.len()).zip(bytes) {
            stored[at % STORED] = *byte;
        }
    }
}

/// What a device has done so far.
#[derive(Debug, Default)]
pub struct FuzzHost {
    /// Nothing can be mapped.
    pub refuses_memory: bool,
    /// Own vectors from here on cannot be watched.
    pub refuses_vectors_from: Option<u16>,
    pub line: Level,
    pub line_changes: usize,
    /// Messages since they were last taken.
    pub messages: Vec<MsiMessage>,
    /// The serials of eventfds that were rung since they were last taken.
    pub rung: Vec<u64>,
    pub routes: BTreeMap<u16, MsiMessage>,
    /// A vector that has just been given, and whose message, known before, has to be told again.
    pub owed: Option<u16>,
    /// The serials of eventfds by the value of the Doorbell that rings each.
    pub attached: BTreeMap<u32, u64>,
    /// Whether vectors may be given a second time: the own ID of QEMU 2.3 changes, that of 2.5 can leave.
    pub listens_again: bool,
    pub listening: BTreeMap<u16, u64>,
    pub notices: usize,
}

impl Host for FuzzHost {
    type Descriptor = FuzzDescriptor;
    type Memory = FuzzMemory;

    fn map(&mut self, descriptor: FuzzDescriptor, len_bytes: u64) -> Result<FuzzMemory, HostError> {
        let has = descriptor.len_bytes.expect("memory has a size");
        assert!(len_bytes <= has, "{len_bytes} bytes of {has} are mapped");
        if self.refuses_memory {
            return Err(HostError { errno: 12 });
        }
        Ok(FuzzMemory::new(len_bytes))
    }

    fn listen(&mut self, vector: u16, event: &FuzzDescriptor) -> Result<(), HostError> {
        if self.refuses_vectors_from.is_some_and(|from| vector >= from) {
            return Err(HostError { errno: 28 });
        }
        let before = self.listening.insert(vector, event.serial);
        assert!(
            before.is_none() || self.listens_again,
            "vector {vector} is given a second time"
        );
        assert_eq!(self.owed, None, "a route was not told");
        self.owed = self.routes.contains_key(&vector).then_some(vector);
        Ok(())
    }

    fn ring(&mut self, event: &FuzzDescriptor) {
        self.rung.push(event.serial);
    }

    fn message(&mut self, message: MsiMessage) {
        self.messages.push(message);
    }

    fn line(&mut self, level: Level) {
        assert_ne!(self.line, level, "the line does not change");
        self.line = level;
        self.line_changes += 1;
    }

    fn notice(&mut self, notice: Notice) {
        assert!(!notice.to_string().is_empty());
        if let Notice::Server(error) = notice {
            check_error(&error);
        }
        self.notices += 1;
    }

    fn attach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &FuzzDescriptor) {
        let before = self.attached.insert(ioeventfd.value, event.serial);
        assert_eq!(before, None, "{ioeventfd:?} is attached twice");
    }

    fn detach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &FuzzDescriptor) {
        let before = self.attached.remove(&ioeventfd.value);
        assert_eq!(before, Some(event.serial), "{ioeventfd:?} is detached");
    }

    fn route(&mut self, vector: u16, message: Option<MsiMessage>) {
        let before = match message {
            Some(message) => self.routes.insert(vector, message),
            None => self.routes.remove(&vector),
        };
        let again = self.owed.take().is_some_and(|owed| owed == vector);
        let same = before == message;
        assert_eq!(
            same, again,
            "the route of {vector} does not change, or does"
        );
    }
}

/// Formats an error of the server, with what it comes from.
pub fn check_error(error: &ServerError) {
    assert!(!error.to_string().is_empty());
    if let Some(source) = std::error::Error::source(error) {
        assert!(!source.to_string().is_empty());
    }
}
