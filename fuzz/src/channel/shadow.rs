// SPDX-License-Identifier: MIT OR Apache-2.0
//! A copy of the memory, to tell what a call has written.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use ivshmem::SharedMemory;

/// What the memory was before a call.
pub struct Shadow<'m> {
    memory: SharedMemory<'m>,
    before: Vec<u8>,
    now: Vec<u8>,
    /// Offsets of words that somebody else has written during the call.
    pub meddled: Rc<RefCell<Vec<usize>>>,
}

impl<'m> Shadow<'m> {
    pub fn new(memory: SharedMemory<'m>) -> Self {
        let mut shadow = Self {
            memory,
            before: vec![0; memory.len()],
            now: vec![0; memory.len()],
            meddled: Rc::default(),
        };
        shadow.begin();
        shadow
    }

    /// Takes a copy, before a call.
    pub fn begin(&mut self) {
        self.meddled.borrow_mut().clear();
        self.memory.read(0, &mut self.before).unwrap();
    }

    /// Returns the copy.
    pub fn before(&self) -> &[u8] {
        &self.before
    }

    /// Returns whether somebody else has written something during the call.
    pub fn is_meddled(&self) -> bool {
        !self.meddled.borrow().is_empty()
    }

    /// Checks that the call has written nothing but what it may.
    pub fn check(&mut self, may_write: &[Range<usize>]) {
        self.memory.read(0, &mut self.now).unwrap();
        let meddled = self.meddled.borrow();
        let words = meddled.iter().map(|&offset| offset..offset + 8);
        for range in may_write.iter().cloned().chain(words) {
            self.before[range.clone()].copy_from_slice(&self.now[range]);
        }
        if self.before != self.now {
            let bytes = self.before.iter().zip(&self.now);
            let first = bytes.take_while(|(before, now)| before == now).count();
            panic!("{first:#x} was written, only {may_write:x?} may be");
        }
    }
}
