// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where members of a region meet, and commands that are members of it, for the integration tests.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use ivshmem_host::channel::{Channels, Options};
use ivshmem_host::peer::Peer;
use ivshmem_host::server::{Config, RunningServer, Server};
use rustix::process::{kill_process, Pid, Signal};
use tempfile::TempDir;

use crate::common::{eventually, LIMIT};
use crate::process::COMMAND;

/// The memory of a server, or a file; gone when this is dropped.
pub struct Place {
    pub path: PathBuf,
    server: Option<RunningServer>,
    pub directory: TempDir,
}

impl Place {
    /// A server with 1 MiB and two vectors for each client.
    pub fn server() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ivshmem.sock");
        let server = Server::spawn(Config::new(&path, 1 << 20, 2)).unwrap();
        Self {
            path,
            server: Some(server),
            directory,
        }
    }

    /// A file of 1 MiB.
    pub fn file() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("memory");
        File::create(&path).unwrap().set_len(1 << 20).unwrap();
        Self {
            path,
            server: None,
            directory,
        }
    }

    /// One of each.
    pub fn both() -> [Self; 2] {
        [Self::server(), Self::file()]
    }

    pub const fn is_server(&self) -> bool {
        self.server.is_some()
    }

    /// Joins as a member that no busy machine makes dead.
    pub fn join(&self, name: &str) -> Channels {
        self.join_as(Options::new(name))
    }

    pub fn join_as(&self, options: Options) -> Channels {
        let options = options.limit(LIMIT);
        if self.is_server() {
            options.join_server(&self.path).unwrap()
        } else {
            options.join_file(&self.path).unwrap()
        }
    }

    /// Joins the server without being a member.
    pub fn peer(&self) -> Peer {
        let mut peer = Peer::connect_within(&self.path, LIMIT).unwrap();
        assert!(peer.wait_until(LIMIT, |peer| peer.vectors() == 2).unwrap());
        peer
    }

    /// Returns a subcommand about this place, with its arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(COMMAND);
        let place = if self.is_server() {
            "--socket"
        } else {
            "--shm-file"
        };
        command
            .args(arguments)
            .arg(place)
            .arg(&self.path)
            .env_remove("IVSHMEM_SOCKET")
            .stdin(Stdio::null());
        if !arguments.contains(&"--limit") {
            command.args(["--limit", "20"]);
        }
        command
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    /// Starts a subcommand whose lines are listened to.
    pub fn start(&self, arguments: &[&str]) -> Started {
        let mut command = self.command(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Ends with the child.
        thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        Started { child, lines }
    }
}

/// What a command has left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Runs a command whose stdout nobody reads any more.
    pub fn without_reader(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        Self::of(child.wait_with_output().unwrap())
    }

    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts that it has ended with `code` and said one line that begins so.
    pub fn assert_line(&self, code: i32, line: &str) {
        let start = format!("ivshmem: {line}");
        assert!(self.stderr.starts_with(&start), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert_eq!(self.code, Some(code), "{self:?}");
    }
}

/// A command that runs, and is killed on drop.
pub struct Started {
    pub child: Child,
    lines: Receiver<String>,
}

impl Started {
    /// Returns the next line of its stdout.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line")
    }

    /// Returns the lines that are left, to the end.
    pub fn lines(&self) -> Vec<String> {
        let next = || self.lines.recv_timeout(LIMIT).ok();
        std::iter::from_fn(next).collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end, and returns the exit code.
    pub fn code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the command ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Fails if it has ended, which is what is wanted.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}
