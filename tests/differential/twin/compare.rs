// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is compared, and how it is brought back.

use std::fmt::Debug;

use ivshmem_device::{Bar, Memory};
use libtest_mimic::Failed;
use xtask::qtest::Answer;

use super::{Pair, Twin, STORAGE};
use crate::model::Ram;
use crate::op::{COMMAND, MEMORY};
use crate::rig::{home, Width};

impl Twin {
    /// Has QEMU do everything that the model has done, and compares the answers.
    pub(super) fn exchange(&mut self) -> Result<(), Failed> {
        let answers = self.pair.rig.run(&std::mem::take(&mut self.batch))?;
        for ((step, expected), answer) in self.expected.drain(..).zip(answers) {
            match (&answer, &expected) {
                (Answer::Bytes(qemu), Answer::Bytes(model)) => {
                    same_bytes(step, "what a bar holds", qemu, model)?;
                }
                _ if answer == expected => {}
                _ => return Err(differ(step, "an answer", &answer, &expected)),
            }
        }
        Ok(())
    }

    /// Compares what messages have left in RAM.
    pub(super) fn compare_ram(&self) -> Result<(), Failed> {
        for watched in &self.ram {
            let mut bytes = vec![0; watched.bytes.len()];
            self.pair.rig.read_ram(watched.start, &mut bytes)?;
            same_bytes(
                self.step,
                "what messages left in ram",
                &bytes,
                &watched.bytes,
            )?;
        }
        Ok(())
    }

    /// Has QEMU do everything that the model has done, and compares.
    pub(super) fn flush(&mut self) -> Result<(), Failed> {
        self.exchange()?;
        self.compare_ram()
    }

    /// Compares everything that a guest or peer can see.
    pub(super) fn compare_all(&mut self) -> Result<(), Failed> {
        for at in (0..self.pair.board.config_len()).step_by(4) {
            self.read_config(at, Width::Long);
        }
        self.go_home();
        let mut command = [0; 2];
        self.pair.device.read_config(COMMAND, &mut command);
        let command = u16::from_le_bytes(command) | MEMORY;
        self.write_config(COMMAND, Width::Word, command.into());
        for bar in [Bar::Registers, Bar::Msix] {
            let Some(len) = self.pair.device.bar_len(bar) else {
                continue;
            };
            let mut bytes = vec![0; len as usize];
            let Pair { device, world, .. } = &mut self.pair;
            device.read_bar(bar, 0, &mut bytes, world);
            self.batch.read(home(bar), bytes.len());
            self.expect(Answer::Bytes(bytes));
        }
        self.flush()?;
        for number in self.pair.files.numbers() {
            if Some(number) == self.pair.world.mapped {
                continue;
            }
            let count = self.pair.world.rings.remove(&number).unwrap_or(0);
            let taken = self.pair.files.take_count(number)?;
            self.same(&format!("the counter of eventfd {number}"), taken, count)?;
        }
        let Some((number, memory)) = self.memory() else {
            return Ok(());
        };
        let mut expected = vec![0; memory.len_bytes() as usize];
        let mut bytes = expected.clone();
        self.pair.files.read(number, &mut bytes)?;
        memory.read(0, &mut expected);
        same_bytes(self.step, "the shared memory", &bytes, &expected)
    }

    /// Returns QEMU's shared memory and the model's.
    fn memory(&self) -> Option<(usize, &Ram)> {
        Some((self.pair.world.mapped?, self.pair.device.memory()?))
    }

    /// Takes back what a reset does not.
    pub(super) fn clean(&mut self) -> Result<(), Failed> {
        for at in STORAGE.step_by(4) {
            let mut word = [0; 4];
            self.pair.device.read_config(at, &mut word);
            if word != [0; 4] {
                self.write_config(at, Width::Long, 0);
            }
        }
        self.flush()?;
        for watched in &mut self.ram {
            watched.bytes.fill(0);
            self.pair.rig.write_ram(watched.start, &watched.bytes)?;
        }
        if let Some((number, memory)) = self.memory() {
            let zeros = vec![0; memory.len_bytes() as usize];
            self.pair.files.write(number, &zeros)?;
            memory.write(0, &zeros);
        }
        Ok(())
    }

    pub(super) fn same<T: PartialEq + Debug>(
        &self,
        what: &str,
        qemu: T,
        model: T,
    ) -> Result<(), Failed> {
        if qemu == model {
            return Ok(());
        }
        Err(differ(self.step, what, &qemu, &model))
    }
}

fn differ(step: usize, what: &str, qemu: &dyn Debug, model: &dyn Debug) -> Failed {
    format!("step {step}: {what} differs: QEMU {qemu:x?}, model {model:x?}").into()
}

/// Fails with the first difference.
fn same_bytes(step: usize, what: &str, qemu: &[u8], model: &[u8]) -> Result<(), Failed> {
    let mut both = (0..).zip(qemu.iter().zip(model));
    match both.find(|(_, (qemu, model))| qemu != model) {
        Some((at, (qemu, model))) => {
            let at: usize = at;
            Err(differ(step, &format!("{what}, byte {at:#x},"), qemu, model))
        }
        None if qemu.len() == model.len() => Ok(()),
        None => Err(differ(step, what, &qemu.len(), &model.len())),
    }
}
