// SPDX-License-Identifier: MIT OR Apache-2.0
//! Installers run with their output in a log file, which is shown only when they fail.

use crate::environment;
use crate::paths;
use crate::progress::Step;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How much of the log a failure shows.
const TAIL_LINES: usize = 25;
/// How often a running installer is asked whether it has ended.
const POLL: Duration = Duration::from_millis(50);
/// How long another package manager that holds a lock is waited for. apt's own waiting
/// (`DPkg::Lock::Timeout`) does not cover the lock of the package lists.
const LOCK_LIMIT: Duration = Duration::from_secs(300);
const LOCK_RETRY: Duration = Duration::from_secs(2);

/// Runs installers; a seam for the tests of the order of steps.
pub trait Installer {
    /// Runs a command line for at most `limit`, telling the user `what` it does.
    fn run(
        &mut self,
        what: &str,
        line: &[&str],
        limit: Option<Duration>,
    ) -> Result<(), InstallFailure>;
}

/// An installer that failed.
#[derive(Debug)]
pub struct InstallFailure {
    /// The command line.
    pub command: String,
    /// How it ended, in words.
    pub reason: String,
    /// The end of what it printed.
    pub tail: Vec<String>,
    /// Where all of that is.
    pub log: PathBuf,
}

impl InstallFailure {
    /// Returns the line that says most, for a message of one line: the first that apt or rustup
    /// marks as an error, else the last.
    pub fn summary(&self) -> &str {
        let marked = |line: &&String| line.starts_with("E:") || line.starts_with("error");
        let line = self.tail.iter().find(marked).or(self.tail.last());
        line.unwrap_or(&self.reason)
    }

    fn is_locked(&self) -> bool {
        let said = |line: &String| line.contains("Could not get lock");
        self.tail.iter().any(said)
    }
}

impl fmt::Display for InstallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "installing failed, {}: {}", self.reason, self.command)?;
        for line in &self.tail {
            writeln!(f, "  | {line}")?;
        }
        write!(f, "the whole output is in {}", self.log.display())
    }
}

/// Runs installers on this machine.
#[derive(Debug, Clone)]
pub struct Runner {
    /// Gets all output, behind what is there.
    pub log: PathBuf,
}

impl Installer for Runner {
    fn run(
        &mut self,
        what: &str,
        line: &[&str],
        limit: Option<Duration>,
    ) -> Result<(), InstallFailure> {
        let step = Step::start(what);
        let started = Instant::now();
        loop {
            match self.attempt(line, limit) {
                Ok(()) => {
                    step.done(&format!("{what}: done"));
                    return Ok(());
                }
                Err(failure) if failure.is_locked() && started.elapsed() < LOCK_LIMIT => {
                    step.detail("waiting for another package manager");
                    thread::sleep(LOCK_RETRY);
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

impl Runner {
    fn attempt(&self, line: &[&str], limit: Option<Duration>) -> Result<(), InstallFailure> {
        let start = fs::metadata(&self.log).map_or(0, |log| log.len());
        let reason = match self
            .start(line)
            .and_then(|mut child| wait(&mut child, limit))
        {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => status.to_string(),
            Ok(None) => "it took too long".into(),
            Err(error) => error.to_string(),
        };
        Err(InstallFailure {
            command: line.join(" "),
            reason,
            tail: tail(&self.log, start),
            log: self.log.clone(),
        })
    }

    fn start(&self, line: &[&str]) -> io::Result<Child> {
        let [program, arguments @ ..] = line else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if let Some(folder) = self.log.parent() {
            fs::create_dir_all(folder)?;
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        environment::scrubbed(program)
            .args(arguments)
            // A backtrace of rustup would hide its message.
            .env_remove("RUST_BACKTRACE")
            .current_dir(paths::root())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }
}

/// Waits for the child; kills it at the limit and returns `None`.
fn wait(child: &mut Child, limit: Option<Duration>) -> io::Result<Option<ExitStatus>> {
    let Some(limit) = limit else {
        return child.wait().map(Some);
    };
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Returns the last lines of what was written to the log from `start` on.
fn tail(log: &Path, start: u64) -> Vec<String> {
    let all = fs::read(log).unwrap_or_default();
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let text = String::from_utf8_lossy(all.get(start..).unwrap_or_default());
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let hidden = lines.len().saturating_sub(TAIL_LINES);
    let shown = lines[hidden..].iter();
    shown.map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(folder: &tempfile::TempDir) -> Runner {
        let log = folder.path().join("logs/setup.log");
        Runner { log }
    }

    #[test]
    fn a_failure_shows_the_end_of_its_own_output_and_the_log_has_all() {
        let folder = tempfile::tempdir().unwrap();
        let runner = runner(&folder);
        runner.attempt(&["echo", "before"], None).unwrap();
        let script = "seq 100; echo E: broken >&2; echo bye; exit 7";
        let failure = runner.attempt(&["sh", "-c", script], None).unwrap_err();
        assert_eq!(failure.tail.len(), TAIL_LINES);
        assert_eq!(failure.summary(), "E: broken");
        assert!(failure.to_string().contains("exit status: 7"), "{failure}");
        let log = fs::read_to_string(failure.log).unwrap();
        assert!(log.starts_with("before\n1\n2\n"), "{log}");
        let short = runner.attempt(&["false"], None).unwrap_err();
        assert!(short.tail.is_empty(), "{short}");
    }

    #[test]
    fn the_limit_ends_what_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let limit = Some(Duration::from_millis(100));
        let started = Instant::now();
        let hung = runner(&folder).attempt(&["sleep", "600"], limit);
        assert_eq!(hung.unwrap_err().reason, "it took too long");
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn what_does_not_start_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let failure = runner(&folder).attempt(&["/nonexistent/installer"], None);
        assert!(failure.unwrap_err().reason.contains("No such file"));
    }
}
