// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device of QEMU and a model of it, to which the same is done: [`Twin`].

mod compare;
mod pair;
mod places;

use std::ops::Range;

use ivshmem_device::Bar;
use libtest_mimic::Failed;
use xtask::qtest::{Answer, Batch};

use crate::op::{Op, COMMAND, MEMORY};
use crate::rig::{home, read, write, Width, WINDOWS};
use places::{cut_at_doorbell, parts, tame};

pub use pair::{tell_model, Booting, Pair, Send};

/// Where messages go: RAM that nothing else uses. Vectors that can be rung by one access have mailboxes of their own, as
/// nobody says which of their messages comes first.
const MAILBOXES: u64 = 0x10_0000;
const MAILBOXES_LEN: u32 = 4 * MAILBOX_LEN;
/// A message may begin at any byte but the last three.
const MAILBOX_LEN: u32 = 0x20;
/// The BARs in configuration space.
const BARS: u16 = 0x10;
/// Configuration space behind the MSI-X capability, or behind the header: storage that outlives a reset.
const STORAGE: Range<u16> = 0x40..0x100;

/// Both devices.
pub struct Twin {
    pub pair: Pair,
    ram: [Watched; 2],
    /// What QEMU has not been told yet, and what the model has answered, with the step.
    batch: Batch,
    expected: Vec<(usize, Answer)>,
    step: usize,
}

/// RAM as it is if the messages are the model's.
struct Watched {
    start: u64,
    bytes: Vec<u8>,
}

impl Twin {
    pub fn new(pair: Pair) -> Self {
        let watched = |start, len| Watched {
            start,
            bytes: vec![0; len],
        };
        Self {
            pair,
            // An entry of the table that was never written sends its message to address 0.
            ram: [watched(0, 8), watched(MAILBOXES, MAILBOXES_LEN as usize)],
            batch: Batch::default(),
            expected: Vec::new(),
            step: 0,
        }
    }

    /// Does a sequence to devices that were just reset, and compares everything there is to see.
    pub fn perform(&mut self, ops: &[Op]) -> Result<(), Failed> {
        self.step = 0;
        self.reset();
        for op in ops {
            self.step += 1;
            self.apply(op)?;
            self.react()?;
        }
        self.step += 1;
        self.compare_all()?;
        self.clean()
    }

    fn apply(&mut self, op: &Op) -> Result<(), Failed> {
        match *op {
            Op::Read { bar, at, width } => self.read(bar, at, width),
            Op::Write {
                bar,
                at,
                width,
                value,
            } => self.write(bar, at, width, value),
            Op::ReadConfig { at, width } => {
                let width = self.pair.board.config_width(at, width);
                if usize::from(at) + width.bytes() <= self.pair.board.config_len().into() {
                    self.read_config(at, width);
                }
            }
            Op::WriteConfig { at, width, value } => {
                let width = self.pair.board.config_width(at, width);
                if usize::from(at) + width.bytes() <= self.pair.board.config_len().into() {
                    self.write_config(at, width, value);
                }
            }
            Op::Move { bar, slot } => {
                let offset = BARS + 4 * bar.index() as u16;
                let start = match bar {
                    Bar::Registers | Bar::Msix => WINDOWS[0].start,
                    Bar::Memory => 0,
                };
                self.write_config(offset, Width::Long, start | u64::from(slot) << 16);
            }
            Op::Arm {
                vector,
                mailbox,
                data,
                control,
            } => {
                for (word, value) in (0..).zip([mailbox.into(), 0, data, control]) {
                    let at = 16 * i64::from(vector) + 4 * word;
                    self.write(Bar::Msix, at, Width::Long, value.into());
                }
            }
            Op::Ring { vector, count } => self.ring(vector, count)?,
            Op::Reset => self.reset(),
        }
        Ok(())
    }

    fn read(&mut self, bar: Bar, at: i64, width: Width) {
        let address = self.address(bar, at);
        if self.is_contested() {
            return;
        }
        let mut bytes = [0; 8];
        for (part, claim) in parts(&self.pair.device, address, width.bytes()) {
            if let Some((bar, offset)) = claim {
                let part = &mut bytes[part];
                let Pair { device, world, .. } = &mut self.pair;
                device.read_bar(bar, offset, part, world);
            }
        }
        read(&mut self.batch, address, width);
        self.expect(Answer::Number(u64::from_le_bytes(bytes)));
    }

    fn write(&mut self, bar: Bar, at: i64, width: Width, value: u64) {
        let address = self.address(bar, at);
        if self.is_contested() {
            return;
        }
        let mut bytes = value.to_le_bytes();
        let parts = parts(&self.pair.device, address, width.bytes());
        for (part, claim) in cut_at_doorbell(parts) {
            if let Some((bar, offset)) = claim {
                let part = &mut bytes[part];
                if bar == Bar::Msix {
                    tame(part, offset);
                }
                let Pair { device, world, .. } = &mut self.pair;
                device.write_bar(bar, offset, part, world);
            }
        }
        write(&mut self.batch, address, width, u64::from_le_bytes(bytes));
        self.expect(Answer::Done);
    }

    fn read_config(&mut self, at: u16, width: Width) {
        let before = self.batch.len();
        self.pair.board.read_config(&mut self.batch, at, width);
        let mut bytes = [0; 8];
        self.pair
            .device
            .read_config(at, &mut bytes[..width.bytes()]);
        self.expect_after(before, Answer::Number(u64::from_le_bytes(bytes)));
    }

    fn write_config(&mut self, at: u16, width: Width, value: u64) {
        let before = self.batch.len();
        self.pair
            .board
            .write_config(&mut self.batch, at, width, value);
        let Pair { device, world, .. } = &mut self.pair;
        device.write_config(at, &value.to_le_bytes()[..width.bytes()], world);
        self.expect_after(before, Answer::Done);
    }

    fn reset(&mut self) {
        let before = self.batch.len();
        self.pair.board.reset_device(&mut self.batch);
        self.expect_after(before, Answer::Done);
        let Pair { device, world, .. } = &mut self.pair;
        device.reset(world);
        self.go_home();
        self.write_config(COMMAND, Width::Word, MEMORY.into());
    }

    /// Puts the BARs where they are at the beginning.
    fn go_home(&mut self) {
        for bar in Bar::ALL {
            if self.pair.device.bar_len(bar).is_none() {
                continue;
            }
            let offset = BARS + 4 * bar.index() as u16;
            self.write_config(offset, Width::Long, home(bar));
            if bar == Bar::Memory {
                self.write_config(offset + 4, Width::Long, home(bar) >> 32);
            }
        }
    }

    /// Rings an own vector from outside.
    fn ring(&mut self, vector: u16, count: u64) -> Result<(), Failed> {
        self.flush()?;
        self.pair.files.ring(self.own(vector), count)?;
        self.take_events(&[(vector, count)])
    }

    fn own(&self, vector: u16) -> usize {
        self.pair.world.own[usize::from(vector)]
    }

    /// Follows up what the model has done: messages arrive, and doorbells to itself come back as events.
    fn react(&mut self) -> Result<(), Failed> {
        self.deliver();
        let rung = (0..self.pair.world.own.len() as u16)
            .rev()
            .filter_map(|vector| {
                let count = self
                    .pair
                    .world
                    .rings
                    .remove(&self.pair.world.own[usize::from(vector)])?;
                Some((vector, count))
            });
        let rung: Vec<_> = rung.collect();
        if rung.is_empty() {
            return Ok(());
        }
        // From here to the event nothing else may happen: QEMU takes it when it comes to it.
        self.exchange()?;
        self.take_events(&rung)
    }

    /// Lets QEMU take events, and the model too: of several vectors the last first, as QEMU does.
    fn take_events(&mut self, rung: &[(u16, u64)]) -> Result<(), Failed> {
        self.pair.rig.settle()?;
        for &(vector, count) in rung {
            let left = self.pair.files.take_count(self.own(vector))?;
            self.same("the counter of the own eventfd", left, 0)?;
            let Pair { device, world, .. } = &mut self.pair;
            device.event(vector, count, world);
            self.deliver();
        }
        self.compare_ram()
    }

    fn deliver(&mut self) {
        for message in self.pair.world.messages.drain(..) {
            for watched in &mut self.ram {
                let place = message.address.checked_sub(watched.start);
                let place = place.and_then(|at| usize::try_from(at).ok());
                let bytes = place.and_then(|at| watched.bytes.get_mut(at..at + 4));
                if let Some(bytes) = bytes {
                    bytes.copy_from_slice(&message.data.to_le_bytes());
                }
            }
        }
    }

    fn expect(&mut self, answer: Answer) {
        self.expected.push((self.step, answer));
    }

    /// Notes the answer to the last of the commands that were added since there were `before`.
    fn expect_after(&mut self, before: usize, answer: Answer) {
        for _ in before + 1..self.batch.len() {
            self.expect(Answer::Done);
        }
        self.expect(answer);
    }
}
