// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines collected from a pipe, for readers that wait with a deadline.

use std::fmt;
use std::io::Read;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A longer line is cut here, so that a guest gone wild costs no memory without a line end.
const LONGEST_LINE_BYTES: usize = 64 * 1024;

/// A line and when it was complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Time since the machine was started.
    pub at: Duration,
    /// The line without its end.
    pub text: String,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:9.4}] {}", self.at.as_secs_f64(), self.text)
    }
}

/// What came of waiting for a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited {
    /// The line.
    Line(String),
    /// The pipe was closed and no line left matches.
    Ended,
    /// The deadline passed.
    TimedOut,
}

/// All lines of one pipe, and how far they were consumed.
#[derive(Debug)]
pub struct LineLog {
    started: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<LogLine>,
    consumed: usize,
    ended: bool,
}

impl LineLog {
    pub fn new(started: Instant) -> Self {
        Self {
            started,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Collects lines until the pipe is closed.
    pub fn collect(&self, mut pipe: impl Read) {
        let mut line = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let count = match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            for byte in &chunk[..count] {
                if *byte == b'\n' || line.len() == LONGEST_LINE_BYTES {
                    self.push(&mut line);
                }
                if *byte != b'\n' {
                    line.push(*byte);
                }
            }
        }
        if !line.is_empty() {
            self.push(&mut line);
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn push(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\r').to_owned();
        line.clear();
        let at = self.started.elapsed();
        self.lock().lines.push(LogLine { at, text });
        self.changed.notify_all();
    }

    /// Waits for the next line that `wanted` accepts; consumes it and all before it.
    pub fn wait_line(&self, mut wanted: impl FnMut(&str) -> bool, deadline: Instant) -> Waited {
        let mut state = self.lock();
        loop {
            while let Some(line) = state.lines.get(state.consumed) {
                let text = line.text.clone();
                state.consumed += 1;
                if wanted(&text) {
                    return Waited::Line(text);
                }
            }
            if state.ended {
                return Waited::Ended;
            }
            let Some(left) = time_left(deadline) else {
                return Waited::TimedOut;
            };
            state = self.wait_change(state, left);
        }
    }

    /// Waits until the pipe is closed; returns whether it is.
    pub fn wait_end(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while !state.ended {
            let Some(left) = time_left(deadline) else {
                return false;
            };
            state = self.wait_change(state, left);
        }
        true
    }

    /// Returns all lines so far, consumed or not.
    pub fn lines(&self) -> Vec<LogLine> {
        self.lock().lines.clone()
    }

    // A reader that panicked in `wanted` left the state as it was, so poison is no news.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_change<'a>(
        &self,
        state: MutexGuard<'a, State>,
        left: Duration,
    ) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, left);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Returns the time until the deadline, or `None` once it is over.
pub fn time_left(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(bytes: &[u8]) -> LineLog {
        let log = LineLog::new(Instant::now());
        log.collect(bytes);
        log
    }

    fn texts(log: &LineLog) -> Vec<String> {
        log.lines().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_are_cut_at_their_ends_and_the_last_needs_none() {
        let log = log_of(b"one\r\n\ntwo \xff\nlast");
        assert_eq!(texts(&log), ["one", "", "two \u{fffd}", "last"]);
    }

    #[test]
    fn endless_lines_are_cut() {
        let log = log_of(&vec![b'x'; LONGEST_LINE_BYTES * 2 + 1]);
        let lengths: Vec<_> = texts(&log).iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE_BYTES, LONGEST_LINE_BYTES, 1]);
    }

    #[test]
    fn each_line_is_seen_once_and_in_order() {
        let log = log_of(b"a 1\nb 1\na 2\n");
        let deadline = Instant::now();
        let next = |start: &str| log.wait_line(|line| line.starts_with(start), deadline);
        assert_eq!(next("b"), Waited::Line("b 1".into()));
        assert_eq!(next("a"), Waited::Line("a 2".into()));
        assert_eq!(next("a"), Waited::Ended);
        assert_eq!(texts(&log).len(), 3);
    }

    #[test]
    fn an_open_pipe_without_the_line_times_out() {
        let log = LineLog::new(Instant::now());
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(log.wait_line(|_| true, deadline), Waited::TimedOut);
        assert!(!log.wait_end(deadline));
    }
}
