// SPDX-License-Identifier: MIT OR Apache-2.0
//! Going to the background: a second process of this program serves, and the first waits until it does.
//!
//! A process that forks itself is unsafe once it has threads, and nothing says when it has; one that is started anew is not.
//! Its stdout says whether it is ready, its stderr why not; both lead to the first process until then.

use std::env;
use std::io::{stdout, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::{open, Mode, OFlags};
use rustix::process::setsid;
use rustix::stdio::{dup2_stderr, dup2_stdout};

use crate::Failure;

/// This program, whatever has become of its file.
const PROGRAM: &str = "/proc/self/exe";

/// What the second process says when clients can connect.
const READY: &str = "ready\n";

/// Starts the second process, and returns once clients can connect.
pub(crate) fn start() -> Result<(), Failure> {
    let failed = |error| format!("cannot start the server in the background: {error}");
    let mut child = Command::new(PROGRAM)
        .arg0("ivshmem-server")
        .args(env::args_os().skip(1))
        .arg("--in-background")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut said = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut said).map_err(failed)?;
    }
    if said == READY {
        return Ok(());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim_end();
    Err(match words.strip_prefix("ivshmem-server: ") {
        Some(line) => line.to_owned(),
        None => format!(
            "the server in the background ended at its start ({}) {words}",
            output.status
        ),
    })
}

/// Leaves the terminal of the first process.
pub(crate) fn detach() -> Result<(), Failure> {
    setsid()
        .map(drop)
        .map_err(|error| format!("cannot leave the terminal: {error}"))
}

/// Lets the first process go, and whoever reads what it says.
pub(crate) fn report_ready() -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| format!("cannot report to the process that waits: {error}");
    let nowhere = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed(error.into()))?;
    let mut out = stdout().lock();
    out.write_all(READY.as_bytes()).map_err(failed)?;
    out.flush().map_err(failed)?;
    dup2_stdout(&nowhere).map_err(|error| failed(error.into()))?;
    dup2_stderr(&nowhere).map_err(|error| failed(error.into()))
}
