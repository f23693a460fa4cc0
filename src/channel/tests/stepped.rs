// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory whose users can be stopped at every operation: [`Stepped`].

extern crate std;

use core::cell::{Cell, RefCell};
use core::sync::atomic::Ordering;
use std::boxed::Box;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use crate::channel::words::doubles::{At, Turning};
use crate::channel::words::{Loads, Words};

/// Bytes of the region of these tests.
pub(in crate::channel) const LEN: usize = 0x4000;

/// What happens before the operation of some number.
#[derive(Default)]
enum Plan {
    #[default]
    Nothing,
    /// The side stops for ever.
    Die,
    /// Others do something.
    Pause(Box<dyn FnOnce()>),
}

/// One side's access to a memory that sides share.
#[derive(Clone)]
pub(in crate::channel) struct Stepped {
    memory: Rc<RefCell<Vec<u64>>>,
    side: Rc<Side>,
}

#[derive(Default)]
struct Side {
    done: Cell<usize>,
    at: Cell<usize>,
    plan: Cell<Plan>,
}

/// The unwinding of a side that stops for ever.
struct Stopped;

impl Stepped {
    /// Returns the only side so far of a new memory.
    pub(in crate::channel) fn new() -> Self {
        Self {
            memory: Rc::new(RefCell::new(vec![0; LEN / 8])),
            side: Rc::default(),
        }
    }

    /// Returns another side.
    pub(in crate::channel) fn side(&self) -> Self {
        Self {
            memory: Rc::clone(&self.memory),
            side: Rc::default(),
        }
    }

    /// Runs what this side does, which ends for ever before its operation number `at`. Returns whether it came so far.
    pub(in crate::channel) fn dies_at(&self, at: usize, does: impl FnOnce()) -> bool {
        self.side.at.set(self.side.done.get() + at);
        self.side.plan.set(Plan::Die);
        match catch_unwind(AssertUnwindSafe(does)) {
            Ok(()) => false,
            Err(reason) if reason.is::<Stopped>() => true,
            Err(reason) => resume_unwind(reason),
        }
    }

    /// Lets others do something before operation number `at` from now.
    pub(in crate::channel) fn pauses_at(&self, at: usize, meanwhile: impl FnOnce() + 'static) {
        self.side.at.set(self.side.done.get() + at);
        self.side.plan.set(Plan::Pause(Box::new(meanwhile)));
    }

    /// Returns whether a pause has not come to pass.
    pub(in crate::channel) fn is_planned(&self) -> bool {
        let plan = self.side.plan.take();
        !matches!(plan, Plan::Nothing)
    }

    fn step(&self) {
        if self.side.done.get() == self.side.at.get() {
            match self.side.plan.take() {
                Plan::Nothing => {}
                Plan::Die => resume_unwind(Box::new(Stopped)),
                Plan::Pause(meanwhile) => meanwhile(),
            }
        }
        self.side.done.set(self.side.done.get() + 1);
    }
}

impl Loads for Stepped {
    fn load(&self, offset: usize, _: Ordering) -> u64 {
        self.step();
        self.memory.borrow()[offset / 8]
    }
}

impl Words for Stepped {
    type Word = At<Self>;
    type Circle = Turning<Self>;

    fn circle(&self, offset: usize, len_bytes: usize) -> Option<Turning<Self>> {
        Some(Turning::new(self, offset, len_bytes))
    }

    fn word(&self, offset: usize) -> At<Self> {
        At::new(self, offset)
    }

    fn store(&self, offset: usize, value: u64, _: Ordering) {
        self.step();
        self.memory.borrow_mut()[offset / 8] = value;
    }

    fn compare_exchange(&self, offset: usize, current: u64, new: u64) -> Result<(), u64> {
        self.step();
        let word = &mut self.memory.borrow_mut()[offset / 8];
        if *word != current {
            return Err(*word);
        }
        *word = new;
        Ok(())
    }

    fn fence(&self, _: Ordering) {}
}
