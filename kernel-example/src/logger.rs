// SPDX-License-Identifier: MIT OR Apache-2.0
//! The backend of the `log` crate: each record is a line over COM1.

use core::fmt;

use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};

use crate::println;

/// What is logged unless the command line says otherwise.
const DEFAULT_LEVEL: LevelFilter = LevelFilter::Info;

struct SerialLog;

impl Log for SerialLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            println!("{}: {}", LevelName(record.level()), record.args());
        }
    }

    fn flush(&self) {}
}

/// A level in lower case.
struct LevelName(Level);

impl fmt::Display for LevelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        })
    }
}

/// Makes `log` print over COM1.
///
/// # Errors
///
/// - [`SetLoggerError`]: it was called before.
pub fn init() -> Result<(), SetLoggerError> {
    log::set_logger(&SerialLog)?;
    log::set_max_level(DEFAULT_LEVEL);
    Ok(())
}
