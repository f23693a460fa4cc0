// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory in files with members, and the commands that look into it, for the integration tests.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use ivshmem_host::channel::{Channels, Connection, Options};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::LIMIT;
use crate::process::COMMAND;

/// Bytes of the memory.
pub const LEN: u64 = 1 << 18;

/// A file that can hold a region.
pub struct Place {
    pub directory: TempDir,
    pub path: PathBuf,
}

impl Place {
    /// Creates a file of zeros.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory");
        File::create(&path).unwrap().set_len(LEN).unwrap();
        Self { directory, path }
    }

    /// Joins the region, which is formatted with three slots.
    pub fn join(&self, name: &str) -> Channels {
        let format = ivshmem::channel::Format {
            slots: 3,
            ring_log2: Some(13),
        };
        let options = Options::new(name).format(Some(format));
        options.join_file(&self.path).unwrap()
    }

    /// Returns two members and a connection of each to the other.
    pub fn pair(&self) -> (Channels, Channels, Connection, Connection) {
        let (one, other) = (self.join("one"), self.join("other"));
        let here = one.connect("other", LIMIT).unwrap();
        let there = other.connect("one", LIMIT).unwrap();
        (one, other, here, there)
    }

    /// Returns the file's contents.
    pub fn copy(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    /// Writes a file beside it.
    pub fn beside(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs `ivshmem COMMAND --shm-file FILE MORE...` on this file.
    pub fn look(&self, command: &str, more: &[&str]) -> Output {
        look(command, "--shm-file", &self.path, more)
    }
}

/// Runs `ivshmem COMMAND OPTION VALUE MORE...`.
pub fn look(command: &str, option: &str, value: impl AsRef<OsStr>, more: &[&str]) -> Output {
    Command::new(COMMAND)
        .args([command, option])
        .arg(value)
        .args(more)
        .env_remove("IVSHMEM_SOCKET")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Returns what a command that ended with `code` has printed.
pub fn text(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the one JSON document that a command that ended with `code` has printed.
pub fn json(output: &Output, code: i32) -> Value {
    let text = text(output, code);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Returns the one line by which a command has failed.
pub fn failure(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
    stderr.trim_end().to_owned()
}
