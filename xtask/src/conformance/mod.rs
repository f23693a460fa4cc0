// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenarios of one machine, run on somebody else's hypervisor, with the results as TAP.
//!
//! The caller gives a command line that boots the kernel; each scenario is one boot with a deadline. What applies
//! is decided by what `run=discover` finds. `docs/conformance.md` tells hypervisor developers how.

mod boot;
mod cases;
mod template;

use crate::qemu::{VmError, VmErrorKind};
use boot::{boot, Boot};
use cases::{Case, Device, CASES};
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
pub use template::{Template, TemplateError};

/// How many cases went which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Cases that passed.
    pub passed: u32,
    /// Cases that failed.
    pub failed: u32,
    /// Cases that do not apply to the device.
    pub skipped: u32,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} do not apply",
            self.passed, self.failed, self.skipped
        )
    }
}

/// Why there is no result.
#[derive(Debug)]
pub enum ConformanceError {
    /// The caller's command does not start.
    Start(VmError),
    /// No temporary folder can be had.
    Folder(io::Error),
    /// The results cannot be written.
    Output(io::Error),
}

impl fmt::Display for ConformanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => {
                match &error.kind {
                    VmErrorKind::Start(source) => write!(f, "the command does not start: {source}"),
                    kind => write!(f, "the command does not start: {kind}"),
                }?;
                write!(f, "\ncommand: {}", error.report.command_line)
            }
            Self::Folder(error) => write!(f, "no temporary folder: {error}"),
            Self::Output(error) => write!(f, "the results cannot be written: {error}"),
        }
    }
}

impl std::error::Error for ConformanceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            Self::Folder(error) | Self::Output(error) => Some(error),
        }
    }
}

impl From<VmError> for ConformanceError {
    fn from(error: VmError) -> Self {
        Self::Start(error)
    }
}

impl From<io::Error> for ConformanceError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Boots `kernel` with the caller's command for each case and writes TAP to `out` as results come.
///
/// A boot that gives no verdict within `limit` has failed and is killed.
///
/// # Errors
///
/// - The command does not start, or no temporary folder can be had; at the first boot nothing is written then.
/// - `out` cannot be written.
pub fn run(
    template: &Template,
    kernel: &Path,
    limit: Duration,
    out: impl Write,
) -> Result<Summary, ConformanceError> {
    let start = |append: &str| boot(template, kernel, append, limit);
    let first = start("list")?;
    let mut tap = Tap::new(out)?;
    let heard = first.failure.is_none();
    tap.result("boot: the kernel starts and is heard on COM1", &first)?;
    let mut device = None;
    for case in &CASES {
        let title = match first.summary(case.name) {
            Some(summary) => format!("{}: {summary}", case.name),
            None => case.name.into(),
        };
        if let Some(reason) = obstacle(case, heard, device) {
            tap.skip(&title, &reason)?;
            continue;
        }
        let boot = start(&format!("run={}", case.name))?;
        if case.discovers && boot.failure.is_none() {
            device = Device::from_lines(boot.lines());
        }
        tap.result(&title, &boot)?;
    }
    Ok(tap.end()?)
}

/// Returns why a case cannot be run, or would show nothing.
fn obstacle(case: &Case, heard: bool, device: Option<Device>) -> Option<String> {
    match device {
        _ if !heard => Some("the kernel did not boot".into()),
        Some(device) => case.need.lacking(device),
        None if case.discovers => None,
        None => Some("no device was discovered".into()),
    }
}

/// The results, in the Test Anything Protocol, version 13.
struct Tap<W> {
    out: W,
    number: u32,
    summary: Summary,
}

impl<W: Write> Tap<W> {
    fn new(mut out: W) -> io::Result<Self> {
        // The boot itself, and the cases.
        write!(out, "TAP version 13\n1..{}\n", 1 + CASES.len())?;
        out.flush()?;
        Ok(Self {
            out,
            number: 0,
            summary: Summary::default(),
        })
    }

    fn result(&mut self, title: &str, boot: &Boot) -> io::Result<()> {
        self.number += 1;
        let number = self.number;
        match &boot.failure {
            None => {
                self.summary.passed += 1;
                writeln!(self.out, "ok {number} - {title}")?;
                for line in boot
                    .lines()
                    .filter_map(|line| line.strip_prefix("@ unchecked "))
                {
                    writeln!(self.out, "# not checked: {line}")?;
                }
            }
            Some(reason) => {
                self.summary.failed += 1;
                writeln!(self.out, "not ok {number} - {title}")?;
                writeln!(self.out, "# {reason}")?;
                for line in boot.report.to_string().lines() {
                    writeln!(self.out, "# {line}")?;
                }
            }
        }
        self.out.flush()
    }

    fn skip(&mut self, title: &str, reason: &str) -> io::Result<()> {
        self.number += 1;
        self.summary.skipped += 1;
        let number = self.number;
        writeln!(self.out, "ok {number} - {title} # SKIP {reason}")?;
        self.out.flush()
    }

    fn end(mut self) -> io::Result<Summary> {
        writeln!(self.out, "# {}", self.summary)?;
        self.out.flush()?;
        Ok(self.summary)
    }
}
