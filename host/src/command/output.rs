// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a command's words go.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;

use super::Failure;

/// Writes one line to stderr; a log that cannot be written must not end the server.
pub(super) fn log(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "ivshmem: {line}");
}

/// Writes a result to stdout. If nobody reads it any more, as `head` after its lines, that is no failure.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    tell(bytes).map(drop)
}

/// Writes one of many results to stdout, and breaks if nobody reads them any more.
pub(super) fn tell(bytes: &[u8]) -> Result<ControlFlow<()>, Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::new(format!("cannot write to stdout: {error}"))),
    }
}
