// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands that are given together, which saves most of what their way to QEMU and back takes: [`Batch`].

use std::io::Write;

use super::{broken, from_hex, to_hex, unexpected, Number, PortNumber, Qtest, QtestError};

/// How much may be on its way, in either direction, before the other end has to read. Less than what a Unix socket
/// holds by default, so that nobody waits for somebody who waits as well.
const IN_FLIGHT: usize = 32 << 10;

/// Commands to be given together. QEMU carries them out in their order, and as a rule does nothing else in between.
#[derive(Debug, Default)]
pub struct Batch {
    commands: Vec<Command>,
}

#[derive(Debug)]
struct Command {
    line: String,
    kind: Kind,
}

/// What a command is answered with.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Done,
    Number,
    Bytes(usize),
}

/// The answer to one command of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The number that was read.
    Number(u64),
    /// The bytes that were read.
    Bytes(Vec<u8>),
}

impl Batch {
    /// Adds [`Qtest::read_port`].
    pub fn read_port<N: PortNumber>(&mut self, port: u16) {
        self.add(format!("in{} {port:#x}", N::LETTER), Kind::Number);
    }

    /// Adds [`Qtest::write_port`].
    pub fn write_port<N: PortNumber>(&mut self, port: u16, value: N) {
        self.add(format!("out{} {port:#x} {value:#x}", N::LETTER), Kind::Done);
    }

    /// Adds [`Qtest::read_number`].
    pub fn read_number<N: Number>(&mut self, address: u64) {
        self.add(format!("read{} {address:#x}", N::LETTER), Kind::Number);
    }

    /// Adds [`Qtest::write_number`].
    pub fn write_number<N: Number>(&mut self, address: u64, value: N) {
        self.add(
            format!("write{} {address:#x} {value:#x}", N::LETTER),
            Kind::Done,
        );
    }

    /// Adds [`Qtest::read`] of 1 to 16384 bytes.
    pub fn read(&mut self, address: u64, len: usize) {
        self.add(format!("read {address:#x} {len:#x}"), Kind::Bytes(len));
    }

    /// Adds [`Qtest::write`] of 1 to 8192 bytes.
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        let (len, digits) = (bytes.len(), to_hex(bytes));
        self.add(
            format!("write {address:#x} {len:#x} 0x{digits}"),
            Kind::Done,
        );
    }

    /// Returns the number of commands.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Returns whether there are no commands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    fn add(&mut self, line: String, kind: Kind) {
        self.commands.push(Command { line, kind });
    }
}

impl Command {
    /// Returns the length of the command and its answer at most.
    fn weight(&self) -> usize {
        let answer = match self.kind {
            Kind::Done | Kind::Number => "OK 0x0123456789abcdef\n".len(),
            Kind::Bytes(len) => "OK 0x\n".len() + 2 * len,
        };
        self.line.len() + 1 + answer
    }

    fn parse(&self, answer: &str) -> Option<Answer> {
        if let Kind::Done = self.kind {
            return (answer == "OK").then_some(Answer::Done);
        }
        let digits = answer.strip_prefix("OK 0x")?;
        let Kind::Bytes(len) = self.kind else {
            return u64::from_str_radix(digits, 16).ok().map(Answer::Number);
        };
        let mut bytes = vec![0; len];
        from_hex(digits, &mut bytes).then_some(Answer::Bytes(bytes))
    }
}

impl Qtest {
    /// Gives all commands of a batch, and returns their answers in the same order.
    ///
    /// # Errors
    ///
    /// - As [`read_port`](Self::read_port), for any of them.
    pub fn run(&mut self, batch: &Batch) -> Result<Vec<Answer>, QtestError> {
        let mut answers = Vec::with_capacity(batch.len());
        let mut rest = &batch.commands[..];
        while !rest.is_empty() {
            let mut weight = 0;
            let fits = rest.iter().take_while(|command| {
                weight += command.weight();
                weight <= IN_FLIGHT
            });
            // One alone goes in any case: QEMU reads all of a command before it answers.
            let (now, later) = rest.split_at(fits.count().max(1));
            let mut lines = String::new();
            for command in now {
                lines.push_str(&command.line);
                lines.push('\n');
            }
            let written = self.stream.get_mut().write_all(lines.as_bytes());
            written.map_err(|error| broken(error, &now[0].line))?;
            for command in now {
                let answer = self.answer(&command.line)?;
                let parsed = command.parse(&answer);
                answers.push(parsed.ok_or_else(|| unexpected(&command.line, &answer))?);
            }
            rest = later;
        }
        Ok(answers)
    }
}
