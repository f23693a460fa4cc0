// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where guests and the command meet: [`Place`].

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{kill_process, Pid, Signal};
use tempfile::TempDir;
use xtask::qemu::{process, Vm};

use crate::guests::{self, TestServer};
use crate::lab::{hear, Lab, PATIENCE};
use crate::program;

const SIZE: u64 = 1 << 20;

/// How often to look whether a command has ended.
const GLANCE: Duration = Duration::from_millis(10);

/// The memory of a server, or a file.
pub enum Place {
    Server(Box<TestServer>),
    File(TempDir),
}

impl Place {
    pub fn server() -> Result<Self, Failed> {
        let server = TestServer::start(SIZE, 2)?;
        Ok(Self::Server(Box::new(server)))
    }

    pub fn file() -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        File::create(folder.path().join("memory"))?.set_len(SIZE)?;
        Ok(Self::File(folder))
    }

    /// Returns the option that tells the command of this place, and its value.
    fn option(&self) -> (&'static str, PathBuf) {
        match self {
            Self::Server(server) => ("--socket", server.server.socket().to_owned()),
            Self::File(folder) => ("--shm-file", folder.path().join("memory")),
        }
    }

    /// Boots a guest that is a member called `name` and does `what`, and waits until it is one.
    pub fn boot(&self, lab: &Lab, name: &str, what: &str) -> Result<Vm, Failed> {
        let words = format!("mode=channel name={name} what={what} slots=5");
        let guest = lab.guest(&words).name(name);
        let guest = match self {
            Self::Server(server) => server.doorbell(guest, guests::Place::Pc),
            Self::File(_) => guests::plain_on(guest, guests::Place::Pc, &self.option().1, SIZE),
        };
        let vm = guest.spawn()?;
        hear(&vm, "joined")?;
        Ok(vm)
    }

    /// Starts a subcommand about this place; `input` is its stdin.
    pub fn start(&self, arguments: &[&str], input: Stdio) -> Result<Running, Failed> {
        let (option, path) = self.option();
        let mut command = Command::new(program::build("ivshmem-host", "ivshmem")?);
        command.args(arguments).arg(option).arg(path);
        Running::start(command, input)
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Ended, Failed> {
        self.start(arguments, Stdio::null())?.end()
    }
}

/// A command that runs, and is killed on drop.
pub struct Running {
    pub child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

/// What a command has left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// Lines of stdout that nobody has waited for.
    pub lines: Vec<String>,
    pub stderr: String,
}

impl Running {
    pub fn start(mut command: Command, input: Stdio) -> Result<Self, Failed> {
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = process::spawn(command)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let stdout = BufReader::new(stdout.ok_or("no stdout")?);
        let mut stderr = stderr.ok_or("no stderr")?;
        let (sender, lines) = mpsc::channel();
        // Both end with the child.
        thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            // What has come until then is kept.
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Ok(Self {
            child,
            lines,
            errors: Some(errors),
        })
    }

    /// Waits for the next line of stdout that is wanted.
    pub fn line(&self, wanted: impl Fn(&str) -> bool) -> Result<String, Failed> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.map_err(|error| format!("the command says nothing: {error}"))?;
            if wanted(&line) {
                return Ok(line);
            }
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for its end.
    pub fn end(mut self) -> Result<Ended, Failed> {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    return Err("the command does not end".into());
                }
                None => thread::sleep(GLANCE),
            }
        };
        let errors = self.errors.take().map(JoinHandle::join);
        Ok(Ended {
            code: status.code(),
            lines: self.lines.iter().collect(),
            stderr: errors.and_then(Result::ok).unwrap_or_default(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Demands that it has ended with `code`, and said nothing on stderr but what is `said`.
    pub fn expect(self, code: i32, said: &str) -> Result<Vec<String>, Failed> {
        if self.code == Some(code) && self.stderr == said {
            return Ok(self.lines);
        }
        Err(format!("expected exit code {code} and stderr {said:?}: {self:#?}").into())
    }
}

/// Returns a file in a folder, as an argument.
pub fn argument(folder: &Path, name: &str) -> String {
    folder.join(name).to_string_lossy().into_owned()
}
