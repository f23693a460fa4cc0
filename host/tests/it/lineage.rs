// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server that is handed over from process to process.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::eventually;
use crate::process::{Running, COMMAND};
use rustix::process::{kill_process, Pid, Signal};

/// The processes one after the other, all of which are killed on drop.
pub struct Lineage {
    pub first: Running,
    /// The one that serves.
    pub pid: Pid,
}

impl Lineage {
    /// Starts the first, with the arguments `more`.
    pub fn start(vectors: u16, more: &[&str]) -> Self {
        Self::of(Running::start(":", vectors, more))
    }

    /// Waits until it listens.
    pub fn of(first: Running) -> Self {
        let line = first.line();
        assert!(line.contains("listening at"), "{line}");
        let pid = first.pid();
        Self { first, pid }
    }

    /// Has the present one hand over to one that it starts itself.
    pub fn hand_over(&mut self) -> String {
        kill_process(self.pid, Signal::USR2).unwrap();
        self.note_handover()
    }

    /// Waits until the log says that somebody has taken over, and returns that line.
    pub fn note_handover(&mut self) -> String {
        let line = self.line_with("handed over");
        let pid = line
            .split_once("handed over (process ")
            .and_then(|(_, rest)| rest.split_once(')'))
            .and_then(|(pid, _)| Pid::from_raw(pid.parse().ok()?))
            .unwrap_or_else(|| panic!("{line}"));
        if self.pid == self.first.pid() {
            assert_eq!(self.first.child.wait().unwrap().code(), Some(0));
        } else {
            let old = self.pid;
            eventually("the old server ends", || !is_there(old));
        }
        self.pid = pid;
        line
    }

    /// Returns the next line of the log that contains `part`.
    pub fn line_with(&self, part: &str) -> String {
        loop {
            let line = self.first.line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Starts another command that is to take over, with the arguments `more`. It writes into its own log.
    pub fn successor(&self, more: &[&str]) -> Child {
        Command::new(COMMAND)
            .args(["server", "--handover", "--socket"])
            .arg(&self.first.socket)
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Returns the numbers of the open file descriptors of the one that serves.
    pub fn descriptors(&self) -> BTreeSet<String> {
        let folder = format!("/proc/{}/fd", self.pid.as_raw_nonzero());
        let names = fs::read_dir(folder).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Ends it as its user does, and waits until nothing is left.
    pub fn end(self) {
        kill_process(self.pid, Signal::TERM).unwrap();
        eventually("the server ends", || !is_there(self.pid));
        let left = crate::process::names(self.first.directory.path());
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Also those of which the test has not heard.
impl Drop for Lineage {
    fn drop(&mut self) {
        let socket = self.first.socket.as_os_str().as_encoded_bytes();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok());
            let Some(pid) = pid.and_then(Pid::from_raw) else {
                continue;
            };
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if command.split(|&byte| byte == 0).any(|word| word == socket) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Returns whether a process runs, and is not only waited for.
pub fn is_there(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Returns the program that a process runs.
pub fn program(pid: Pid) -> std::path::PathBuf {
    fs::read_link(
        Path::new("/proc")
            .join(pid.as_raw_nonzero().to_string())
            .join("exe"),
    )
    .unwrap()
}
