// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client for QEMU's qtest protocol: ports and memory of a machine, as its processor would reach them.
//!
//! One command to a line, one answer to a line. QEMU parses commands with assertions, so
//! an odd one ends it; the methods here send none.

mod batch;

use std::fmt::{self, Write as _};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub use batch::{Answer, Batch};

/// How long a single command may take.
const COMMAND: Duration = Duration::from_secs(10);

/// Bytes that one command carries; QEMU collects a whole command before it looks at it.
const BLOCK: usize = 16 << 10;

/// Why a command was not answered, or not as it must be.
#[derive(Debug)]
#[non_exhaustive]
pub enum QtestError {
    /// Nobody listens on the socket.
    NotListening(io::Error),
    /// The connection broke, which it also does when QEMU ends.
    Broken(io::Error),
    /// No answer came in time.
    TimedOut {
        /// The command.
        command: String,
    },
    /// QEMU refused the command, or its answer is none.
    Unexpected {
        /// The command.
        command: String,
        /// What came.
        answer: String,
    },
}

impl fmt::Display for QtestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListening(error) => write!(f, "nobody listens on the socket: {error}"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::TimedOut { command } => write!(f, "`{command}` was not answered in time"),
            Self::Unexpected { command, answer } => {
                write!(f, "the answer to `{command}` was `{answer}`")
            }
        }
    }
}

impl std::error::Error for QtestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotListening(error) | Self::Broken(error) => Some(error),
            _ => None,
        }
    }
}

/// A number that one access to memory carries.
pub trait Number: fmt::LowerHex + TryFrom<u64> {
    /// What tells its width in a command.
    const LETTER: char;
}

impl Number for u8 {
    const LETTER: char = 'b';
}

impl Number for u16 {
    const LETTER: char = 'w';
}

impl Number for u32 {
    const LETTER: char = 'l';
}

impl Number for u64 {
    const LETTER: char = 'q';
}

/// A number that one access to an I/O port carries.
pub trait PortNumber: Number {}

impl PortNumber for u8 {}

impl PortNumber for u16 {}

impl PortNumber for u32 {}

/// A connection to a machine.
#[derive(Debug)]
pub struct Qtest {
    stream: BufReader<UnixStream>,
}

impl Qtest {
    /// Connects.
    ///
    /// # Errors
    ///
    /// - Nobody listens.
    pub fn connect(socket: &Path) -> Result<Self, QtestError> {
        let stream = UnixStream::connect(socket).map_err(QtestError::NotListening)?;
        for limit in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
            limit(&stream, Some(COMMAND)).map_err(QtestError::Broken)?;
        }
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Reads an I/O port, in one access of the width of the number.
    ///
    /// # Errors
    ///
    /// - QEMU breaks off, or does not answer within 10 seconds. So do all other methods.
    pub fn read_port<N: PortNumber>(&mut self, port: u16) -> Result<N, QtestError> {
        self.number(&format!("in{} {port:#x}", N::LETTER))
    }

    /// Writes an I/O port, in one access of the width of the number.
    ///
    /// # Errors
    ///
    /// - As [`read_port`](Self::read_port).
    pub fn write_port<N: PortNumber>(&mut self, port: u16, value: N) -> Result<(), QtestError> {
        self.done(&format!("out{} {port:#x} {value:#x}", N::LETTER))
    }

    /// Reads 32 bits at a physical address, in one access.
    ///
    /// # Errors
    ///
    /// - As [`read_port`](Self::read_port).
    pub fn read_word(&mut self, address: u64) -> Result<u32, QtestError> {
        self.read_number(address)
    }

    /// Writes 32 bits at a physical address, in one access.
    ///
    /// # Errors
    ///
    /// - As [`read_port`](Self::read_port).
    pub fn write_word(&mut self, address: u64, value: u32) -> Result<(), QtestError> {
        self.write_number(address, value)
    }

    /// Reads at a physical address, in one access of the width of the number. An address that is no multiple of the
    /// width makes it several ones, which QEMU chooses.
    ///
    /// # Errors
    ///
    /// - As [`read_port`](Self::read_port).
    pub fn read_number<N: Number>(&mut self, address: u64) -> Result<N, QtestError> {
        self.number(&format!("read{} {address:#x}", N::LETTER))
    }

    /// Writes at a physical address, as [`read_number`](Self::read_number) reads there.
    ///
    /// # Errors
    ///
    /// - As [`read_port`](Self::read_port).
    pub fn write_number<N: Number>(&mut self, address: u64, value: N) -> Result<(), QtestError> {
        self.done(&format!("write{} {address:#x} {value:#x}", N::LETTER))
    }

    /// Reads memory at a physical address.
    ///
    /// # Errors
    ///
    /// - As [`read_port`](Self::read_port).
    pub fn read(&mut self, mut address: u64, bytes: &mut [u8]) -> Result<(), QtestError> {
        for block in bytes.chunks_mut(BLOCK) {
            let command = format!("read {address:#x} {:#x}", block.len());
            let answer = self.value(&command)?;
            if !from_hex(&answer, block) {
                return Err(QtestError::Unexpected { command, answer });
            }
            address += block.len() as u64;
        }
        Ok(())
    }

    /// Writes memory at a physical address.
    ///
    /// # Errors
    ///
    /// - As [`read_port`](Self::read_port).
    pub fn write(&mut self, mut address: u64, bytes: &[u8]) -> Result<(), QtestError> {
        for block in bytes.chunks(BLOCK) {
            let command = format!("write {address:#x} {:#x} 0x{}", block.len(), to_hex(block));
            self.done(&command)?;
            address += block.len() as u64;
        }
        Ok(())
    }

    /// Gives a command whose answer is a number. It has four or sixteen digits, and more bits than were
    /// asked for only if it is none.
    fn number<N: Number>(&mut self, command: &str) -> Result<N, QtestError> {
        let answer = self.value(command)?;
        u64::from_str_radix(&answer, 16)
            .ok()
            .and_then(|value| N::try_from(value).ok())
            .ok_or_else(|| unexpected(command, &answer))
    }

    /// Gives a command and returns the digits of its answer `OK 0x...`.
    fn value(&mut self, command: &str) -> Result<String, QtestError> {
        let answer = self.give(command)?;
        match answer.strip_prefix("OK 0x") {
            Some(digits) => Ok(digits.to_owned()),
            None => Err(unexpected(command, &answer)),
        }
    }

    /// Gives a command whose answer is `OK`.
    fn done(&mut self, command: &str) -> Result<(), QtestError> {
        let answer = self.give(command)?;
        if answer == "OK" {
            return Ok(());
        }
        Err(unexpected(command, &answer))
    }

    fn give(&mut self, command: &str) -> Result<String, QtestError> {
        let line = format!("{command}\n");
        let stream = self.stream.get_mut();
        stream
            .write_all(line.as_bytes())
            .map_err(|error| broken(error, command))?;
        self.answer(command)
    }

    /// Takes the answer to a command that was given.
    fn answer(&mut self, command: &str) -> Result<String, QtestError> {
        let mut answer = String::new();
        self.stream
            .read_line(&mut answer)
            .map_err(|error| broken(error, command))?;
        match answer.strip_suffix('\n') {
            Some(answer) => Ok(answer.to_owned()),
            None => Err(QtestError::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

/// Says what a failure of the socket means.
fn broken(error: io::Error, command: &str) -> QtestError {
    match error.kind() {
        // The time limit of a socket is reported as the first on Linux.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => QtestError::TimedOut {
            command: shortened(command),
        },
        _ => QtestError::Broken(error),
    }
}

fn unexpected(command: &str, answer: &str) -> QtestError {
    QtestError::Unexpected {
        command: shortened(command),
        answer: shortened(answer),
    }
}

/// Returns the start of a line that may carry thousands of digits. All lines are ASCII, else they are kept.
fn shortened(line: &str) -> String {
    line.get(..60).unwrap_or(line).to_owned()
}

fn to_hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a `String` does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Fills `bytes` from two digits for each; `false` if there are not just so many.
fn from_hex(digits: &str, bytes: &mut [u8]) -> bool {
    if digits.len() != 2 * bytes.len() {
        return false;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        let pair = digits.get(2 * index..2 * index + 2);
        match pair.map(|pair| u8::from_str_radix(pair, 16)) {
            Some(Ok(value)) => *byte = value,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
#[path = "qtest_tests.rs"]
mod tests;
