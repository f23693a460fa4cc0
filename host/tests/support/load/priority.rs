// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who has a processor as soon as it wants one.
//!
//! In use, a thousand clients have processors of their own. Here they share a few with the server, and a thread that wakes up may
//! wait for milliseconds until another has had its share: the time to admit would be that of the scheduler.
//! So the server and the thread that joins run in real time where the system permits it; they use what they did
//! before, but at once. `chrt` is a part of util-linux.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::thread::gettid;

/// Below that of the kernel's own threads.
const LEVEL: &str = "10";

/// How the server and the thread that joins compete with everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Like all others.
    Usual,
    /// In real time.
    Raised,
}

impl Priority {
    /// Returns the higher one if the system permits it.
    pub fn highest() -> Self {
        if chrt(&[LEVEL, "true"]) {
            Self::Raised
        } else {
            Self::Usual
        }
    }

    /// Returns a command that runs `program` with this priority.
    pub fn command(self, program: &Path) -> Command {
        match self {
            Self::Usual => Command::new(program),
            Self::Raised => {
                let mut command = Command::new("chrt");
                command.args(["--fifo", LEVEL]).arg(program);
                command
            }
        }
    }

    /// Gives this thread this priority; those that it starts from now on have it as well.
    pub fn take(self) {
        if self == Self::Raised {
            chrt(&["--pid", LEVEL, &gettid().as_raw_nonzero().to_string()]);
        }
    }
}

fn chrt(arguments: &[&str]) -> bool {
    Command::new("chrt")
        .arg("--fifo")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
