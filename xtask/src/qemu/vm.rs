// SPDX-License-Identifier: MIT OR Apache-2.0
//! A running virtual machine.

use super::log::{time_left, LineLog, LogLine, Waited};
use super::outcome::{Outcome, Report, VmError, VmErrorKind};
use super::process;
use crate::command_line::shell_line;
use crate::qmp::{Qmp, QmpError};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// QEMU's control socket, in the machine's folder.
pub(super) const QMP_SOCKET: &str = "qmp";
/// The socket of the qtest protocol, likewise, if the machine is driven by it.
pub(super) const QTEST_SOCKET: &str = "qtest";

/// How often the machine is asked whether it has ended; nothing tells us on its own.
const POLL: Duration = Duration::from_millis(2);

/// How long a QEMU whose control socket broke may take to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running QEMU. Dropping it kills it.
///
/// All methods take `&self`, so that one thread may wait for lines while another sends some.
#[derive(Debug)]
pub struct Vm {
    name: String,
    command_line: String,
    /// When the machine's time is over, whatever is waited for.
    deadline: Instant,
    pid: u32,
    child: Mutex<Child>,
    stdin: Mutex<ChildStdin>,
    serial: Arc<LineLog>,
    stderr: Arc<LineLog>,
    /// Goes with the machine, and what lies in it too.
    scratch: TempDir,
}

impl Vm {
    pub(crate) fn start(
        name: String,
        mut command: Command,
        lifetime: Duration,
        scratch: TempDir,
    ) -> Result<Self, VmError> {
        let command_line = shell_line(&command);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let spawned = process::spawn(command).and_then(Pipes::take);
        let (child, pipes) = spawned.map_err(|error| VmError {
            kind: VmErrorKind::Start(error),
            report: Box::new(Report {
                name: name.clone(),
                command_line: command_line.clone(),
                status: None,
                serial: Vec::new(),
                stderr: Vec::new(),
            }),
        })?;
        Ok(Self {
            name,
            command_line,
            deadline: started + lifetime,
            pid: child.id(),
            child: Mutex::new(child),
            stdin: Mutex::new(pipes.stdin),
            serial: collect(pipes.stdout, started),
            stderr: collect(pipes.stderr, started),
            scratch,
        })
    }

    /// Waits for the next serial line that `wanted` accepts. Consumes it and all lines before
    /// it: each line is seen once, in order.
    ///
    /// # Errors
    ///
    /// - No such line comes within the time, or within the machine's own lifetime.
    /// - The machine ends first.
    pub fn wait_line(
        &self,
        wanted: impl FnMut(&str) -> bool,
        within: Duration,
    ) -> Result<String, VmError> {
        let asked = Instant::now();
        let deadline = self.deadline_within(within);
        match self.serial.wait_line(wanted, deadline) {
            Waited::Line(line) => Ok(line),
            Waited::TimedOut => Err(self.error(VmErrorKind::NoLine {
                waited: asked.elapsed(),
            })),
            Waited::Ended => {
                // The status makes the report; the serial line closes a moment before QEMU ends.
                let _ = self.wait_status(deadline);
                Err(self.error(VmErrorKind::EndedEarly))
            }
        }
    }

    /// Sends a line to the guest.
    ///
    /// # Errors
    ///
    /// - QEMU has closed its end.
    pub fn send_line(&self, line: &str) -> Result<(), VmError> {
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|error| self.error(VmErrorKind::Send(error)))
    }

    /// Waits for the machine to end, well or not.
    ///
    /// # Errors
    ///
    /// - It does not end within the time, or within its own lifetime.
    pub fn wait_exit(&self, within: Duration) -> Result<Outcome, VmError> {
        let asked = Instant::now();
        let deadline = self.deadline_within(within);
        let closed = self.serial.wait_end(deadline);
        match self.wait_status(deadline) {
            Some(status) if closed => Ok(Outcome::new(status, self.serial.lines())),
            _ => Err(self.error(VmErrorKind::StillRunning {
                waited: asked.elapsed(),
            })),
        }
    }

    /// Waits for the machine to end, and demands that it passed: marker `== PASS` and status 33.
    ///
    /// # Errors
    ///
    /// - As [`wait_exit`](Self::wait_exit), or it ended without passing.
    pub fn finish(&self, within: Duration) -> Result<Outcome, VmError> {
        let outcome = self.wait_exit(within)?;
        if outcome.passed() {
            return Ok(outcome);
        }
        Err(self.error(VmErrorKind::NotPassed {
            status: outcome.status,
            marker: outcome.marker,
        }))
    }

    /// Connects to QEMU's control socket. QEMU serves one connection at a time.
    ///
    /// # Errors
    ///
    /// - QEMU does not answer within the time, or has ended.
    pub fn qmp(&self, within: Duration) -> Result<Qmp, VmError> {
        let deadline = self.deadline_within(within);
        loop {
            match Qmp::connect(&self.folder().join(QMP_SOCKET), deadline) {
                // QEMU makes the socket some time after it starts.
                Err(QmpError::NotListening(_)) if self.status().is_none() => {
                    if time_left(deadline).is_some() {
                        thread::sleep(POLL);
                        continue;
                    }
                    return Err(self.error(VmErrorKind::Qmp(QmpError::TimedOut)));
                }
                Err(error) => {
                    // Most likely QEMU refuses an argument; its words come with its end.
                    let _ = self.wait_status(deadline.min(Instant::now() + LAST_WORDS));
                    return Err(self.error(VmErrorKind::Qmp(error)));
                }
                Ok(qmp) => return Ok(qmp),
            }
        }
    }

    /// Kills the machine as a power cut would. Does nothing if it has ended.
    pub fn kill(&self) {
        let mut child = self.child();
        // Both fail only if the child was waited for already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Returns how QEMU ended, or `None` while it runs.
    pub fn status(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// Returns the whole serial log so far, consumed lines too.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.serial
            .lines()
            .into_iter()
            .map(|line| line.text)
            .collect()
    }

    /// Returns the whole serial log so far with times.
    #[must_use]
    pub fn timed_log(&self) -> Vec<LogLine> {
        self.serial.lines()
    }

    /// Returns QEMU's command line, ready for a shell.
    #[must_use]
    pub fn command_line(&self) -> &str {
        &self.command_line
    }

    /// Returns QEMU's process ID.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the machine's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the machine's own temporary folder, which goes with it.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.scratch.path()
    }

    /// Returns where a [frozen](super::Guest::frozen) machine takes qtest commands. It does once
    /// [`qmp`](Self::qmp) answers.
    #[must_use]
    pub fn qtest_socket(&self) -> PathBuf {
        self.folder().join(QTEST_SOCKET)
    }

    /// Returns everything there is to know about the machine, for a message.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            name: self.name.clone(),
            command_line: self.command_line.clone(),
            status: self.status(),
            serial: self.serial.lines(),
            stderr: self.stderr.lines(),
        }
    }

    fn error(&self, kind: VmErrorKind) -> VmError {
        VmError {
            kind,
            report: Box::new(self.report()),
        }
    }

    fn deadline_within(&self, within: Duration) -> Instant {
        self.deadline.min(Instant::now() + within)
    }

    fn wait_status(&self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            let status = self.status();
            if status.is_some() {
                // Whatever QEMU complained about belongs into the report.
                self.stderr.wait_end(deadline);
            }
            if status.is_some() || time_left(deadline).is_none() {
                return status;
            }
            thread::sleep(POLL);
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The three ends of a child's pipes.
struct Pipes {
    stdin: ChildStdin,
    stdout: std::process::ChildStdout,
    stderr: std::process::ChildStderr,
}

impl Pipes {
    fn take(mut child: Child) -> io::Result<(Child, Self)> {
        let taken = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        if let (Some(stdin), Some(stdout), Some(stderr)) = taken {
            let pipes = Self {
                stdin,
                stdout,
                stderr,
            };
            return Ok((child, pipes));
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(io::Error::other("started without its pipes"))
    }
}

/// Collects a pipe's lines on a thread of its own, which ends when the pipe is closed.
fn collect(pipe: impl Read + Send + 'static, started: Instant) -> Arc<LineLog> {
    let log = Arc::new(LineLog::new(started));
    let shared = Arc::clone(&log);
    thread::spawn(move || shared.collect(pipe));
    log
}
