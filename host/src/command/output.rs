// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a command's words go.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use super::Failure;

/// Writes one line to stderr; a log that cannot be written must not end the server.
pub(super) fn log(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "ivshmem: {line}");
}

/// Whether anybody reads a command's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Reads,
    /// It has closed its end, as `head` does: there is no more to do, and nothing is wrong.
    Gone,
}

/// Writes a result to stdout.
pub(super) fn print(bytes: &[u8]) -> Result<Reader, Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::Reads),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::new(format!("cannot write to stdout: {error}"))),
    }
}
