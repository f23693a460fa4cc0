// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a server hands out: [`Eventfd`]s that are counters, and [`Shared`] memory in a file without a name.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use ivshmem::SharedMemory;
use ivshmem_device::{Descriptor, Memory};
use ivshmem_host::mapping::Mapping;
use libtest_mimic::Failed;

/// The counter behind an eventfd; clones are duplicates of the descriptor.
#[derive(Clone, Debug, Default)]
pub struct Eventfd(Rc<Cell<u64>>);

impl Eventfd {
    pub fn ring(&self) {
        self.0.set(self.0.get().saturating_add(1));
    }

    /// Reads the counter, which sets it to 0.
    pub fn take(&self) -> u64 {
        self.0.take()
    }

    pub fn is_rung(&self) -> bool {
        self.0.get() != 0
    }

    /// Returns how many duplicates there are.
    pub fn holders(&self) -> usize {
        Rc::strong_count(&self.0)
    }
}

/// Shared memory: the device reaches it as a file, the driver as a mapping, so that neither can do the other's work.
#[derive(Debug)]
pub struct Shared {
    file: File,
    mapping: Mapping,
    len_bytes: u64,
}

impl Shared {
    /// Makes memory that stays until the process ends, as the memory of a machine does for its kernel.
    pub fn new(len_bytes: u64) -> Result<&'static Self, Failed> {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let file = File::from(rustix::fs::memfd_create("ivshmem", flags)?);
        file.set_len(len_bytes)?;
        let mapping = Mapping::of(&file)?;
        Ok(Box::leak(Box::new(Self {
            file,
            mapping,
            len_bytes,
        })))
    }

    /// Returns the driver's view.
    pub fn view(&'static self) -> SharedMemory<'static> {
        self.mapping.memory()
    }
}

impl Memory for &'static Shared {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        self.file
            .read_exact_at(bytes, offset)
            .expect("the device reads inside its memory");
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        self.file
            .write_all_at(bytes, offset)
            .expect("the device writes inside its memory");
    }
}

/// An open file on a server's connection.
#[derive(Clone, Debug)]
pub enum Passed {
    Event(Eventfd),
    Memory(&'static Shared),
}

impl Descriptor for Passed {
    fn len_bytes(&self) -> Option<u64> {
        match self {
            Self::Event(_) => None,
            Self::Memory(memory) => Some(memory.len_bytes),
        }
    }

    fn number(&self) -> i32 {
        // Any but 0, which is a trap of QEMU 2.3 that is tested elsewhere.
        3
    }
}
