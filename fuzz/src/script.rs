// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers that read what a script says, and watch what is written.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use ivshmem::registers::{DOORBELL, IV_POSITION};
use ivshmem::Registers;

use crate::input::Input;

const ENTRY_LEN: usize = 16;
const VECTOR_CONTROL: usize = 12;

/// The blocks of registers of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Block {
    Registers,
    Table,
    Pending,
}

/// What all blocks of a device read.
pub struct Script<'d> {
    values: RefCell<Input<'d>>,
    /// What is read behind the end.
    last: u32,
    /// Whether the MSI-X table keeps what is written to it.
    keeps_table: bool,
    /// What each register was last known to hold, read or written.
    known: RefCell<BTreeMap<(Block, usize), u32>>,
    /// What was last written to each register.
    written: RefCell<BTreeMap<(Block, usize), u32>>,
    doorbells: RefCell<Vec<u32>>,
    accesses: Cell<usize>,
}

impl<'d> Script<'d> {
    pub fn new(values: Input<'d>, last: u32, keeps_table: bool) -> Self {
        Self {
            values: RefCell::new(values),
            last,
            keeps_table,
            known: RefCell::default(),
            written: RefCell::default(),
            doorbells: RefCell::default(),
            accesses: Cell::new(0),
        }
    }

    /// Returns the block with registers for `len` bytes.
    pub const fn block(&self, block: Block, len: usize) -> Scripted<'_, 'd> {
        Scripted {
            script: self,
            block,
            len,
        }
    }

    /// Returns the number of accesses since the last call of this.
    pub fn take_accesses(&self) -> usize {
        self.accesses.take()
    }

    /// Returns what was written to the doorbell since the last call of this.
    pub fn take_doorbells(&self) -> Vec<u32> {
        self.doorbells.take()
    }

    /// Returns what a register of the device's own block was last known to hold.
    pub fn known(&self, offset: usize) -> Option<u32> {
        let known = self.known.borrow();
        known.get(&(Block::Registers, offset)).copied()
    }

    /// Returns what was last written to a register.
    pub fn written(&self, block: Block, offset: usize) -> Option<u32> {
        self.written.borrow().get(&(block, offset)).copied()
    }

    fn next(&self) -> u32 {
        let mut values = self.values.borrow_mut();
        if values.is_empty() {
            self.last
        } else {
            values.take()
        }
    }

    /// Checks a write of `value` to the table before it is noted.
    fn check_table(&self, offset: usize, value: u32) {
        let known = self.known.borrow();
        let entry = offset - offset % ENTRY_LEN;
        let word = |offset| known.get(&(Block::Table, entry + offset)).copied();
        if offset % ENTRY_LEN == VECTOR_CONTROL {
            if value & 1 == 0 {
                let address = (word(0), word(4));
                let none = matches!(address, (None, _) | (_, None) | (Some(0), Some(0)));
                assert!(!none, "entry {entry:#x} is unmasked without a message");
                let gone = address == (Some(!0), Some(!0));
                assert!(
                    !gone,
                    "entry {entry:#x} is unmasked on a device that is gone"
                );
            }
        } else {
            let control = self.written(Block::Table, entry + VECTOR_CONTROL);
            let masked = control.is_some_and(|control| control & 1 != 0);
            assert!(masked, "entry {entry:#x} is written while it is not masked");
        }
    }
}

/// A block of registers that are in a [`Script`].
#[derive(Clone, Copy)]
pub struct Scripted<'s, 'd> {
    script: &'s Script<'d>,
    block: Block,
    len: usize,
}

impl Scripted<'_, '_> {
    fn enter(&self, offset: usize) -> (Block, usize) {
        assert!(
            offset.is_multiple_of(4) && offset + 4 <= self.len,
            "access at {offset:#x} of {:?}",
            self.block
        );
        let accesses = &self.script.accesses;
        accesses.set(accesses.get() + 1);
        (self.block, offset)
    }
}

impl Registers for Scripted<'_, '_> {
    fn read(&self, offset: usize) -> u32 {
        let place = self.enter(offset);
        let script = self.script;
        let kept = script.keeps_table && self.block == Block::Table;
        let old = script.written(self.block, offset).filter(|_| kept);
        let value = old.unwrap_or_else(|| script.next());
        script.known.borrow_mut().insert(place, value);
        value
    }

    fn write(&self, offset: usize, value: u32) {
        let place = self.enter(offset);
        let script = self.script;
        match (self.block, offset) {
            (Block::Registers, DOORBELL) => script.doorbells.borrow_mut().push(value),
            (Block::Registers, IV_POSITION) => panic!("a write to IVPosition"),
            (Block::Registers, _) => {}
            (Block::Table, _) => script.check_table(offset, value),
            (Block::Pending, _) => panic!("a write to the pending bits"),
        }
        script.known.borrow_mut().insert(place, value);
        script.written.borrow_mut().insert(place, value);
    }
}
