// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a command's words go.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use serde::Serialize;

use super::harmless::{harmless, harmless_json};
use super::Failure;

/// How the lines on stderr are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// `ivshmem: ` and a line of text.
    Text,
    /// A JSON object.
    Json,
}

/// Whether stderr is JSON; for the whole process, since every line on it has to be.
static JSON: AtomicBool = AtomicBool::new(false);

/// Sets how the lines on stderr are written from now on.
pub(super) fn set_log_format(format: LogFormat) {
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// A line of the log: a text, and for JSON the fields that programs look at.
pub(super) trait Entry: Serialize {
    /// Name of the kind of event, in kebab case.
    fn event(&self) -> &'static str;
    /// The line as people read it.
    fn message(&self) -> String;
}

/// Writes one line to stderr; a log that cannot be written must not end the server.
pub(super) fn log(line: impl Display) {
    log_entry(&Note {
        event: "note",
        line: line.to_string(),
    });
}

/// Writes the error that ends the command to stderr.
pub(super) fn log_failure(line: impl Display) {
    log_entry(&Note {
        event: "failed",
        line: line.to_string(),
    });
}

/// Writes an entry of the log to stderr.
pub(super) fn log_entry(entry: &impl Entry) {
    let message = entry.message();
    let line = if JSON.load(Ordering::Relaxed) {
        let line = Line {
            time: unix_seconds(),
            event: entry.event(),
            fields: entry,
            message: &message,
        };
        // Cannot fail for structs of numbers and texts; the text is better than nothing.
        serde_json::to_string(&line).unwrap_or(message)
    } else {
        // One line, whatever a path, a peer or a server has put into it.
        format!("ivshmem: {}", harmless(&message))
    };
    // In one piece, so that lines of processes that share stderr do not mix.
    let _ = std::io::stderr().write_all((line + "\n").as_bytes());
}

/// A line of the log in JSON.
#[derive(Serialize)]
struct Line<'a, E> {
    time: f64,
    event: &'static str,
    #[serde(flatten)]
    fields: &'a E,
    message: &'a str,
}

/// A text without further fields.
#[derive(Serialize)]
struct Note {
    #[serde(skip)]
    event: &'static str,
    #[serde(skip)]
    line: String,
}

impl Entry for Note {
    fn event(&self) -> &'static str {
        self.event
    }

    fn message(&self) -> String {
        self.line.clone()
    }
}

/// Returns the time in seconds since 1970, to a millisecond.
fn unix_seconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |now| now.as_millis() as f64 / 1000.0)
}

/// Returns whether stdout is a terminal that knows escape sequences.
pub(super) fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|name| name != "dumb")
}

/// Returns a result as one line of JSON.
pub(super) fn json(document: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(document)
        .map(|text| harmless_json(&text))
        .map_err(|error| Failure::new(format!("cannot render JSON: {error}")))
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
