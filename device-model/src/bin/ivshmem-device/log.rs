// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines on stderr, and not too many of them.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, Instant};

/// How many lines a [`Limited`] writes within [`WINDOW`].
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Writes one line to stderr; a log that cannot be written must not end the command.
pub(crate) fn line(text: impl Display) {
    let text = printable(&text.to_string());
    let _ = writeln!(std::io::stderr(), "ivshmem-device: {text}");
}

/// Escapes what would end the line or do something to a terminal: names and arguments are repeated as they came.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            // Harmless, though escaped in a string.
            '\'' | '"' | '\\' => printable.push(letter),
            _ => printable.extend(letter.escape_debug()),
        }
    }
    printable
}

/// A log of what others can cause at any rate they like.
#[derive(Debug)]
pub(crate) struct Limited {
    prefix: String,
    since: Instant,
    written: u32,
    left_out: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Write,
    /// Write it after saying how many were left out before it.
    WriteAfter(u64),
    LeaveOut,
}

impl Limited {
    /// Creates a log whose lines begin with `prefix`.
    pub(crate) fn new(prefix: String) -> Self {
        Self {
            prefix,
            since: Instant::now(),
            written: 0,
            left_out: 0,
        }
    }

    /// Writes a line, unless there were many within the last second.
    pub(crate) fn line(&mut self, text: impl Display) {
        match self.judge(Instant::now()) {
            Verdict::Write => {}
            Verdict::WriteAfter(count) => {
                line(format_args!("{}: {count} lines left out", self.prefix));
            }
            Verdict::LeaveOut => return,
        }
        line(format_args!("{}: {text}", self.prefix));
    }

    fn judge(&mut self, now: Instant) -> Verdict {
        if now.saturating_duration_since(self.since) >= WINDOW {
            self.since = now;
            self.written = 0;
        }
        if self.written >= LINES {
            self.left_out = self.left_out.saturating_add(1);
            return Verdict::LeaveOut;
        }
        self.written += 1;
        match std::mem::take(&mut self.left_out) {
            0 => Verdict::Write,
            count => Verdict::WriteAfter(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        let text = "--device it's \"a\\b\"\n\u{1b}[2J\r\u{2028}\u{e4}";
        let expected = "--device it's \"a\\b\"\\n\\u{1b}[2J\\r\\u{2028}\u{e4}";
        assert_eq!(printable(text), expected);
    }

    #[test]
    fn a_storm_of_lines_is_cut_short() {
        let mut log = Limited::new(String::new());
        let start = log.since;
        let verdicts: Vec<_> = (0..25).map(|_| log.judge(start)).collect();
        assert_eq!(verdicts[..10], [Verdict::Write; 10]);
        assert_eq!(verdicts[10..], [Verdict::LeaveOut; 15]);
        let just_before = start + WINDOW - Duration::from_nanos(1);
        assert_eq!(log.judge(just_before), Verdict::LeaveOut);
        assert_eq!(log.judge(start + WINDOW), Verdict::WriteAfter(16));
        assert_eq!(log.judge(start + WINDOW), Verdict::Write);
    }
}
