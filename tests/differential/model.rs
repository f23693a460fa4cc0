// SPDX-License-Identifier: MIT OR Apache-2.0
//! The world around a model: [`World`] keeps what the device does to it, for comparison.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ivshmem_device::{Descriptor, Host, HostError, Level, Memory, MsiMessage, Notice};

/// What stands for an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its number among the [`Files`](crate::files::Files) of the trial.
    pub number: usize,
    /// Its size in bytes, if it is memory.
    pub len: Option<u64>,
}

impl Descriptor for File {
    fn len_bytes(&self) -> Option<u64> {
        self.len
    }

    fn number(&self) -> i32 {
        // No modern device asks.
        3
    }
}

/// Shared memory of this process alone.
#[derive(Clone, Debug, Default)]
pub struct Ram(pub Rc<RefCell<Vec<u8>>>);

impl Ram {
    pub fn new(len: usize) -> Self {
        Self(Rc::new(RefCell::new(vec![0; len])))
    }
}

impl Memory for Ram {
    fn len_bytes(&self) -> u64 {
        self.0.borrow().len() as u64
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        let start = offset as usize;
        bytes.copy_from_slice(&self.0.borrow()[start..start + bytes.len()]);
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let start = offset as usize;
        self.0.borrow_mut()[start..start + bytes.len()].copy_from_slice(bytes);
    }
}

/// What a model has done.
#[derive(Debug, Default)]
pub struct World {
    /// The counters of the eventfds it has rung.
    pub rings: BTreeMap<usize, u64>,
    /// The messages it has sent, the oldest first.
    pub messages: Vec<MsiMessage>,
    /// The eventfds of its own vectors.
    pub own: Vec<usize>,
    /// The memory that it has mapped.
    pub mapped: Option<usize>,
    /// What it was surprised at.
    pub notices: Vec<Notice>,
}

impl Host for World {
    type Descriptor = File;
    type Memory = Ram;

    fn map(&mut self, memory: File, len_bytes: u64) -> Result<Ram, HostError> {
        self.mapped = Some(memory.number);
        Ok(Ram::new(len_bytes as usize))
    }

    fn listen(&mut self, vector: u16, event: &File) -> Result<(), HostError> {
        if self.own.len() != usize::from(vector) {
            return Err(HostError { errno: 22 });
        }
        self.own.push(event.number);
        Ok(())
    }

    fn ring(&mut self, event: &File) {
        *self.rings.entry(event.number).or_default() += 1;
    }

    fn message(&mut self, message: MsiMessage) {
        self.messages.push(message);
    }

    /// There is none: modern devices have no line.
    fn line(&mut self, level: Level) {
        unreachable!("a modern device sets its line {level:?}");
    }

    fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }
}
