// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole test run and its total.

use crate::command_line::shell_line;
use rustix::pipe::{pipe_with, PipeFlags};
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::process::{Command, ExitStatus};

/// The variable that turns missing tools from a reason to skip into a failure.
pub const REQUIRE_QEMU: &str = "IVSHMEM_REQUIRE_QEMU";

/// Set: trials that want a KVM of any kind fail where there is none.
pub const REQUIRE_KVM: &str = "IVSHMEM_REQUIRE_KVM";

/// Set: trials in Linux guests fail where there is no kernel for them.
pub const REQUIRE_LINUX: &str = "IVSHMEM_REQUIRE_LINUX";

/// The sum of all `test result:` lines of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that were ignored.
    pub skipped: u64,
}

impl Total {
    /// Adds a line if it is a harness's result, such as
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out`.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        // The verdict, "ok." or "FAILED.", stands before the first count.
        let counts = counts.split_once(". ").map_or(counts, |(_, counts)| counts);
        for count in counts.split(';') {
            let mut words = count.split_ascii_whitespace();
            let number = words.next().and_then(|number| number.parse().ok());
            let (Some(number), Some(what)) = (number, words.next()) else {
                continue;
            };
            let number: u64 = number;
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "total: {} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// A run that is over.
#[derive(Debug, Clone, Copy)]
pub struct SuiteResult {
    /// What the harnesses counted.
    pub total: Total,
    /// How cargo ended.
    pub status: ExitStatus,
}

impl SuiteResult {
    /// Returns whether cargo and every harness are content, and anything ran at all.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.status.success() && self.total.failed == 0 && self.total.passed > 0
    }
}

/// Runs every test of the workspace; missing tools count as failures. All output goes to
/// stdout as it comes.
///
/// # Errors
///
/// - Cargo cannot be run, or stdout cannot be written.
pub fn run(arguments: &[String]) -> io::Result<SuiteResult> {
    // The cargo that runs us, with all that the user set for it.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["test", "--workspace", "--no-fail-fast"])
        .current_dir(crate::paths::root())
        .env(REQUIRE_QEMU, "1");
    if io::stdout().is_terminal() {
        // Cargo itself sees a pipe.
        command.env("CARGO_TERM_COLOR", "always");
    }
    if !arguments.is_empty() {
        command.arg("--").args(arguments);
    }
    run_counted(command, io::stdout())
}

fn run_counted(mut command: Command, to: impl Write) -> io::Result<SuiteResult> {
    let text = shell_line(&command);
    let explain = |error: io::Error| io::Error::new(error.kind(), format!("{text}: {error}"));
    // One pipe for both: we read late, so cargo's next words on a stderr of its own would come
    // out in the middle of a harness's last line.
    let (output, input) = pipe_with(PipeFlags::CLOEXEC)?;
    command.stdout(input.try_clone()?).stderr(input);
    let mut child = command.spawn().map_err(explain)?;
    // It holds the writing ends, without which the pipe can end.
    drop(command);
    let counted = copy_counting(File::from(output), to);
    if counted.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(SuiteResult {
        total: counted.map_err(explain)?,
        status,
    })
}

/// Copies at once what comes, also half a line, and adds up the results in it.
fn copy_counting(mut from: impl Read, mut to: impl Write) -> io::Result<Total> {
    let mut total = Total::default();
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = match from.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if count == 0 {
            total.add(&String::from_utf8_lossy(&line));
            return Ok(total);
        }
        to.write_all(&chunk[..count])?;
        to.flush()?;
        for byte in &chunk[..count] {
            if *byte == b'\n' {
                total.add(&String::from_utf8_lossy(&line));
                line.clear();
            } else {
                line.push(*byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 2 tests\ntest a ... ok\ntest result: ignore me\n\n\
        test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.03s\n\
        test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";

    #[test]
    fn results_are_summed_and_everything_is_copied() {
        let mut copy = Vec::new();
        let total = copy_counting(OUTPUT.as_bytes(), &mut copy).unwrap();
        assert_eq!(copy, OUTPUT.as_bytes());
        assert_eq!(total.to_string(), "total: 13 passed, 2 failed, 1 skipped");
    }

    /// A writer that takes nothing.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_stdout_is_an_error() {
        assert!(copy_counting(OUTPUT.as_bytes(), Full).is_err());
    }

    #[test]
    fn cargos_status_counts_as_much_as_the_results() {
        let script = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            // Not to stdout, where the run that we are part of would count it.
            run_counted(command, io::sink()).unwrap()
        };
        let result = "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'";
        assert!(script(result).passed());
        assert!(!script(&format!("{result}; exit 101")).passed());
        assert!(!script("echo 'test result: ok. 3 passed; 1 failed'").passed());
        assert!(!script("exit 0").passed(), "nothing ran");
    }
}
