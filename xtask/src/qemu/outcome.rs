// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a virtual machine's run ended, and everything one wants to see when it went wrong.

use super::log::LogLine;
use crate::qmp::QmpError;
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// QEMU's exit status when the guest wrote "passed" to `isa-debug-exit`.
pub const PASSED: i32 = 33;
/// How much of the serial log an error shows.
const TAIL_LINES: usize = 60;

/// The guest's own verdict, its last line that starts with `== `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marker {
    /// `== PASS`
    Pass,
    /// `== FAIL reason`
    Fail(String),
}

impl Marker {
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        match line.strip_prefix("== ")? {
            "PASS" => Some(Self::Pass),
            other => {
                let reason = other.strip_prefix("FAIL")?;
                Some(Self::Fail(reason.trim().to_owned()))
            }
        }
    }
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// QEMU's exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// The whole serial log.
    pub lines: Vec<String>,
    /// The guest's verdict, if it gave one.
    pub marker: Option<Marker>,
}

impl Outcome {
    pub(super) fn new(status: ExitStatus, log: Vec<LogLine>) -> Self {
        let lines: Vec<String> = log.into_iter().map(|line| line.text).collect();
        let marker = lines.iter().rev().find_map(|line| Marker::from_line(line));
        Self {
            status: status.code(),
            lines,
            marker,
        }
    }

    /// Returns whether marker and exit status both say that the guest passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.marker == Some(Marker::Pass) && self.status == Some(PASSED)
    }
}

/// Everything there is to know about a machine in trouble.
#[derive(Debug, Clone)]
pub struct Report {
    /// The machine's name.
    pub name: String,
    /// QEMU's command line, ready for a shell.
    pub command_line: String,
    /// How QEMU ended, if it has.
    pub status: Option<ExitStatus>,
    /// The serial log.
    pub serial: Vec<LogLine>,
    /// What QEMU itself complained about.
    pub stderr: Vec<LogLine>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.serial.len().saturating_sub(TAIL_LINES);
        let all = self.serial.len();
        writeln!(f, "--- {}: serial log, {all} lines", self.name)?;
        if hidden > 0 {
            writeln!(f, "({hidden} earlier lines left out)")?;
        }
        for line in &self.serial[hidden..] {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "--- {}: qemu's stderr", self.name)?;
        for line in &self.stderr {
            writeln!(f, "{line}")?;
        }
        match self.status {
            Some(status) => writeln!(f, "--- {}: qemu ended, {status}", self.name)?,
            None => writeln!(f, "--- {}: qemu had not ended", self.name)?,
        }
        write!(f, "--- {}: command line\n{}", self.name, self.command_line)
    }
}

/// What went wrong with a machine.
#[derive(Debug)]
#[non_exhaustive]
pub enum VmErrorKind {
    /// QEMU or its temporary folder could not be brought into being.
    Start(io::Error),
    /// A line could not be sent to the guest.
    Send(io::Error),
    /// No line that was waited for came in time.
    NoLine {
        /// How long was waited.
        waited: Duration,
    },
    /// The machine ended while a line of it was waited for.
    EndedEarly,
    /// The machine did not end in time.
    StillRunning {
        /// How long was waited.
        waited: Duration,
    },
    /// The machine ended without passing.
    NotPassed {
        /// QEMU's exit status; `None` if a signal ended it.
        status: Option<i32>,
        /// The guest's verdict, if it gave one.
        marker: Option<Marker>,
    },
    /// QEMU's state could not be asked for.
    Qmp(QmpError),
}

impl fmt::Display for VmErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "qemu does not start: {error}"),
            Self::Send(error) => write!(f, "no line can be sent to the guest: {error}"),
            Self::NoLine { waited } => {
                write!(f, "no such line within {:.1} s", waited.as_secs_f64())
            }
            Self::EndedEarly => write!(f, "the machine ended before the line came"),
            Self::StillRunning { waited } => {
                write!(f, "still running after {:.1} s", waited.as_secs_f64())
            }
            Self::NotPassed { status, marker } => {
                match marker {
                    Some(Marker::Pass) => write!(f, "the guest says PASS")?,
                    Some(Marker::Fail(reason)) => write!(f, "the guest says FAIL {reason}")?,
                    None => write!(f, "the guest gave no verdict")?,
                }
                match status {
                    Some(status) => write!(f, ", qemu's exit status is {status}"),
                    None => write!(f, ", a signal ended qemu"),
                }
            }
            Self::Qmp(error) => write!(f, "qmp: {error}"),
        }
    }
}

/// A machine in trouble, with everything there is to see.
#[derive(Debug)]
pub struct VmError {
    /// What went wrong.
    pub kind: VmErrorKind,
    /// The machine at that moment.
    pub report: Box<Report>,
}

impl fmt::Display for VmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n{}", self.report.name, self.kind, self.report)
    }
}

impl std::error::Error for VmError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            VmErrorKind::Start(error) | VmErrorKind::Send(error) => Some(error),
            VmErrorKind::Qmp(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn outcome(status: i32, lines: &[&str]) -> Outcome {
        let log = lines.iter().map(|text| LogLine {
            at: Duration::ZERO,
            text: (*text).to_owned(),
        });
        Outcome::new(ExitStatus::from_raw(status << 8), log.collect())
    }

    #[test]
    fn only_marker_and_status_together_pass() {
        assert!(outcome(33, &["hello", "== PASS"]).passed());
        assert!(!outcome(35, &["== PASS"]).passed());
        assert!(!outcome(33, &["hello"]).passed());
        assert!(!outcome(33, &["== PASS", "== FAIL late"]).passed());
        assert!(!outcome(33, &["it says == PASS"]).passed());
        assert!(!outcome(33, &["== PASSED"]).passed());
    }

    #[test]
    fn the_reason_of_a_failure_is_kept() {
        let failed = outcome(35, &["== FAIL no ivshmem device", "bye"]);
        assert_eq!(
            failed.marker,
            Some(Marker::Fail("no ivshmem device".into()))
        );
    }
}
