// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a command's words go.

use std::fmt::Display;
use std::io::Write;

/// Writes one line to stderr; a log that cannot be written must not end the server.
pub(super) fn log(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "ivshmem: {line}");
}
