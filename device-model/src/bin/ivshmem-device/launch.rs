// SPDX-License-Identifier: MIT OR Apache-2.0
//! A QEMU started with the other ends of the sockets.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use command_fds::CommandFdExt;
use rustix::process::{kill_process, pidfd_open, Pid, PidfdFlags, Signal};

/// What stands for a descriptor in an argument, and how much of it stays.
const PLACE: &[u8] = b"fd={}";
const KEPT: usize = 3;

/// A running QEMU.
#[derive(Debug)]
pub(crate) struct Qemu {
    child: Child,
    /// Readable when it has ended.
    pidfd: OwnedFd,
    was_asked_to_end: bool,
}

impl Qemu {
    /// Starts `command` with `sockets`, whose numbers are put into its arguments.
    pub(crate) fn start(command: &[OsString], sockets: Vec<OwnedFd>) -> Result<Self, String> {
        let Some((program, arguments)) = command.split_first() else {
            return Err("no command after --".to_owned());
        };
        let numbers: Vec<i32> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let child = Command::new(program)
            .args(place(arguments, &numbers)?)
            .preserved_fds(sockets)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", Path::new(program).display()))?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).map_err(|error| {
            format!("cannot wait for {}: {error}", Path::new(program).display())
        })?;
        Ok(Self {
            child,
            pidfd,
            was_asked_to_end: false,
        })
    }

    /// Asks it to end, and makes it end at the second time.
    pub(crate) fn end(&mut self) {
        let signal = if self.was_asked_to_end {
            Signal::KILL
        } else {
            Signal::TERM
        };
        self.was_asked_to_end = true;
        // It may have ended by itself just now.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Returns its exit status, 128 and the number of the signal if one has ended it; `None` while it runs.
    pub(crate) fn exit_code(&mut self) -> Result<Option<u8>, String> {
        let status = self
            .child
            .try_wait()
            .map_err(|error| format!("cannot wait for the command: {error}"))?;
        Ok(status.map(code))
    }
}

impl Drop for Qemu {
    /// Ends it for good where that was not waited for: without its devices it is of no use.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl AsFd for Qemu {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| Some(128 + status.signal()?))
        .unwrap_or(i32::from(crate::FAILURE));
    u8::try_from(code).unwrap_or(crate::FAILURE)
}

/// Puts `numbers` where `arguments` have places for them, or appends a device for each.
fn place(arguments: &[OsString], numbers: &[i32]) -> Result<Vec<OsString>, String> {
    let places = arguments
        .iter()
        .filter(|argument| find(argument).is_some())
        .count();
    let mut placed = arguments.to_vec();
    if places == 0 {
        for number in numbers {
            placed.push("-device".into());
            placed.push(format!("x-pci-proxy-dev,fd={number}").into());
        }
        return Ok(placed);
    }
    if places != numbers.len() {
        return Err(format!(
            "{places} arguments of the command have a place fd={{}} for a descriptor, and there are {} devices",
            numbers.len()
        ));
    }
    let with_place = placed
        .iter_mut()
        .filter(|argument| find(argument).is_some());
    for (argument, number) in with_place.zip(numbers) {
        if let Some((before, after)) = find(argument) {
            let number = number.to_string();
            *argument = OsString::from_vec([before, number.as_bytes(), after].concat());
        }
    }
    Ok(placed)
}

/// Returns what is before and behind the place in an argument.
fn find(argument: &OsStr) -> Option<(&[u8], &[u8])> {
    let bytes = argument.as_bytes();
    let at = bytes.windows(PLACE.len()).position(|part| part == PLACE)?;
    Some((bytes.get(..at + KEPT)?, bytes.get(at + PLACE.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(arguments: &[&str], numbers: &[i32]) -> Result<Vec<String>, String> {
        let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        let placed = place(&arguments, numbers)?;
        Ok(placed
            .into_iter()
            .map(|a| a.into_string().unwrap())
            .collect())
    }

    #[test]
    fn devices_are_appended() {
        // Braces of other meanings are left alone.
        let expected = "-append {} -device x-pci-proxy-dev,fd=5 -device x-pci-proxy-dev,fd=7";
        let arguments = ["-append", "{}"];
        assert_eq!(placed(&arguments, &[5, 7]).unwrap().join(" "), expected);
    }

    #[test]
    fn devices_are_placed_in_turn() {
        let arguments = ["-device", "x,fd={},addr=5", "-device", "x,addr=6,fd={}"];
        let expected = "-device x,fd=5,addr=5 -device x,addr=6,fd=7";
        assert_eq!(placed(&arguments, &[5, 7]).unwrap().join(" "), expected);
        let error = placed(&arguments, &[5]).unwrap_err();
        assert!(
            error.contains("2 arguments") && error.contains("1 devices"),
            "{error}"
        );
    }
}
