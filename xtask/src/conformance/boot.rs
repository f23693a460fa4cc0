// SPDX-License-Identifier: MIT OR Apache-2.0
//! One boot of the kernel with the caller's command.

use super::template::Template;
use super::ConformanceError;
use crate::qemu::{Marker, Report, Vm, VmError, VmErrorKind};
use rustix::process::{kill_process_group, Pid, Signal};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

/// A boot that is over.
#[derive(Debug)]
pub(super) struct Boot {
    /// Why it did not pass.
    pub failure: Option<String>,
    /// All there is to see of it.
    pub report: Report,
}

impl Boot {
    /// Returns what came over COM1.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.report.serial.iter().map(|line| line.text.trim_end())
    }

    /// Returns what the kernel, told to `list`, says about a scenario.
    pub fn summary(&self, name: &str) -> Option<String> {
        let start = format!("@ scenario name={name} # ");
        let mut lines = self.lines();
        lines.find_map(|line| line.strip_prefix(&start).map(Into::into))
    }
}

/// Boots the kernel and waits for its marker line, the end of the command, or the limit.
///
/// The marker decides: not every hypervisor has `isa-debug-exit` to end by itself.
///
/// # Errors
///
/// - The command does not start, or there is no room for its temporary folder.
pub(super) fn boot(
    template: &Template,
    kernel: &Path,
    append: &str,
    limit: Duration,
) -> Result<Boot, ConformanceError> {
    let mut command = template.command(kernel, append);
    // A group of its own, so that what the command starts ends with it.
    command.process_group(0);
    let scratch = tempfile::tempdir().map_err(ConformanceError::Folder)?;
    let vm = Vm::start(append.into(), command, limit, scratch)?;
    let said = vm.wait_line(|line| Marker::from_line(line.trim_end()).is_some(), limit);
    let failure = match said {
        Ok(line) => match Marker::from_line(line.trim_end()) {
            Some(Marker::Fail(reason)) => Some(format!("the guest says: {reason}")),
            _ => None,
        },
        Err(error) => Some(explain(&error)),
    };
    let report = vm.report();
    if report.status.is_none() {
        kill_group(&vm);
    }
    Ok(Boot { failure, report })
}

/// Says why there is no verdict.
fn explain(error: &VmError) -> String {
    match error.kind {
        VmErrorKind::NoLine { waited } => {
            let waited = waited.as_secs_f64();
            if error.report.serial.is_empty() {
                format!("nothing on stdout within {waited:.0} s; does the command send COM1 there?")
            } else {
                format!("no line == PASS or == FAIL on stdout within {waited:.0} s")
            }
        }
        _ => "the command ended before the guest gave a verdict".into(),
    }
}

/// Kills a command that has not been waited for, so that its ID is still its own, and all it has started.
fn kill_group(vm: &Vm) {
    let group = i32::try_from(vm.pid()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // Fails only if all of it has ended meanwhile.
        let _ = kill_process_group(group, Signal::KILL);
    }
}
