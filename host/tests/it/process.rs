// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem server` as a child process, for the integration tests.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::common::LIMIT;
use ivshmem_host::peer::Peer;
use rustix::process::{geteuid, prlimit, Pid, Resource, Rlimit};
use tempfile::TempDir;

/// A user and a group without any rights; it need not have a name.
pub const NOBODY: u32 = 65534;

/// Path of the command.
pub const COMMAND: &str = env!("CARGO_BIN_EXE_ivshmem");

/// A running command, killed on drop.
pub struct Running {
    pub child: Child,
    pub log: Receiver<String>,
    pub socket: PathBuf,
    pub directory: TempDir,
}

impl Running {
    /// Starts `ivshmem server` under the shell command `limits`, with the arguments `more`.
    pub fn start(limits: &str, vectors: u16, more: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), limits, vectors, more)
    }

    /// Starts `ivshmem server` as an ordinary user, under the shell command `limits`.
    ///
    /// The user is the one of the tests, or if that is root, number [`NOBODY`].
    pub fn start_unprivileged(limits: &str, vectors: u16, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if !geteuid().is_root() {
            return Self::start_in(directory, limits, vectors, more);
        }
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        // The folder of the tests need not be open to others.
        let program = directory.path().join("ivshmem");
        copy_command(&program);
        let limits = format!(
            "{limits}; exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {} \"$@\"",
            program.display()
        );
        Self::start_in(directory, &limits, vectors, more)
    }

    fn start_in(directory: TempDir, limits: &str, vectors: u16, more: &[&str]) -> Self {
        let mut command = command(&socket_in(&directory), limits, vectors, more);
        Self::spawn(directory, &mut command)
    }

    /// Runs a command that serves at the socket of `directory`.
    pub fn spawn(directory: TempDir, command: &mut Command) -> Self {
        let (child, log) = launch(command);
        Self {
            child,
            log,
            socket: socket_in(&directory),
            directory,
        }
    }

    /// Kills it without a word, and starts another at the same socket.
    pub fn restart(&mut self, vectors: u16, more: &[&str]) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.log) = launch(&mut command(&self.socket, ":", vectors, more));
    }

    /// Returns the next line of the log.
    pub fn line(&self) -> String {
        self.log.recv_timeout(LIMIT).expect("a line of the log")
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns the numbers of the open file descriptors.
    pub fn descriptors(&self) -> BTreeSet<u64> {
        names(Path::new(&format!("/proc/{}/fd", self.child.id())))
            .iter()
            .map(|name| name.to_str().unwrap().parse().unwrap())
            .collect()
    }

    /// Sets the soft limit of open files of the running command.
    pub fn limit_descriptors(&self, soft: u64) -> u64 {
        let limit = rustix::process::getrlimit(Resource::Nofile);
        let new = Rlimit {
            current: Some(soft),
            maximum: limit.maximum,
        };
        prlimit(Some(self.pid()), Resource::Nofile, new)
            .unwrap()
            .current
            .unwrap()
    }

    pub fn join(&self) -> Peer {
        Peer::connect_within(&self.socket, LIMIT).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if it has ended, which is what is wanted.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// Copies the command to where others may run it.
pub fn copy_command(to: &Path) {
    // By another process: a child that this one starts at that moment would inherit the descriptor that is
    // written to, and a file that somebody may write to cannot be run ("text file busy").
    let copied = Command::new("cp").arg(COMMAND).arg(to).status();
    assert!(copied.unwrap().success());
}

/// Returns where the socket is in `directory`.
pub fn socket_in(directory: &TempDir) -> PathBuf {
    directory.path().join("ivshmem.sock")
}

/// Returns how `ivshmem server` is started at `socket` under the shell command `limits`.
pub fn command(socket: &Path, limits: &str, vectors: u16, more: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!(r#"{limits}; exec "$0" "$@""#))
        .args([COMMAND, "server", "--size", "64K", "--vectors"])
        .arg(vectors.to_string())
        .arg("--socket")
        .arg(socket)
        .args(more);
    command
}

/// Starts a command, and returns it with the lines of its stderr.
fn launch(command: &mut Command) -> (Child, Receiver<String>) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (sender, log) = mpsc::channel();
    thread::spawn(move || {
        stderr
            .lines()
            .map_while(Result::ok)
            .try_for_each(|l| sender.send(l))
    });
    (child, log)
}

/// Returns the names in a directory, in order.
pub fn names(directory: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    names
}
