// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counting by callgrind.

use super::baseline::{Baseline, Count};
use crate::build::{self, BuildError, Wanted};
use crate::command_line::shell_line;
use crate::environment;
use crate::paths;
use crate::probe::{Probe, ThisMachine};
use crate::progress::Step;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What does the operations.
const PROGRAM: Wanted = Wanted {
    what: "what is counted",
    name: "instructions",
};

/// The program's part of a target folder.
const TARGET_PART: &str = "instructions";

/// Where functions are put together decides what is inlined, so that is all of the crate in one place.
const ONE_UNIT: &str = "profile.release.package.ivshmem.codegen-units=1";

/// Everything below this function of the program is counted, whatever it is an instance for.
const COUNTED: &str = "instructions::repeat*";

/// Leaves libc what every x86-64 processor has, in the names of older and newer versions.
const LIBC_SETTING: &str = "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM,-SSSE3,\
     -AVX_Usable,-AVX2_Usable,-AVX512F_Usable,-AVX_Fast_Unaligned_Load";

/// Why nothing could be counted.
#[derive(Debug)]
pub enum CountError {
    /// The program does not build.
    Build(BuildError),
    /// The compiler does not say its version.
    Compiler(String),
    /// A program did not start, or its files cannot be used.
    Start {
        /// The command.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program failed, or printed what it should not.
    Output {
        /// The command.
        command: String,
        /// What is wrong.
        problem: String,
    },
}

impl fmt::Display for CountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(error) => error.fmt(f),
            Self::Compiler(reason) => write!(f, "rustc -vV tells no version: {reason}"),
            Self::Start { command, source } => {
                write!(f, "cannot count: {source}\ncommand: {command}")
            }
            Self::Output { command, problem } => {
                write!(f, "cannot count: {problem}\ncommand: {command}")
            }
        }
    }
}

impl std::error::Error for CountError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Build(error) => Some(error),
            Self::Start { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Builds the program and counts all of its operations.
///
/// # Errors
///
/// - The program does not build, or it or valgrind fails.
pub fn count(valgrind: &Path) -> Result<Baseline, CountError> {
    let origin = origin(&ThisMachine)?;
    let program = build()?;
    let listed = printed(&mut Command::new(&program))?;
    let step = Step::start("counting instructions");
    let mut counts = Vec::new();
    for case in listed.lines() {
        step.detail(case);
        counts.push(Count {
            case: case.into(),
            instructions: count_one(valgrind, &program, case)?,
        });
    }
    step.done("counted instructions");
    Ok(Baseline { origin, counts })
}

/// Returns the compiler and libc that the counts depend on.
fn origin(machine: &impl Probe) -> Result<String, CountError> {
    let told = machine.output(Path::new("rustc"), &["-vV"]);
    let told = told.map_err(CountError::Compiler)?;
    let version = told.lines().next().unwrap_or_default();
    let host = told
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or_else(|| CountError::Compiler(format!("no host is in {told}")))?;
    // Moves of whole values are libc's.
    let libc = machine.output(Path::new("getconf"), &["GNU_LIBC_VERSION"]);
    let libc = libc.unwrap_or_else(|_| "another libc than glibc".into());
    Ok(format!("{version}, {host}, {}", libc.trim()))
}

fn build() -> Result<PathBuf, CountError> {
    let mut command = environment::scrubbed("cargo");
    command
        .args(["build", "--message-format=json-render-diagnostics"])
        .args(["--release", "--config", ONE_UNIT])
        .args(["--package", "ivshmem", "--bench", PROGRAM.name])
        // Against flags in a configuration file of the user's.
        .env("CARGO_ENCODED_RUSTFLAGS", "")
        .current_dir(paths::root());
    let chosen = std::env::var_os("CARGO_TARGET_DIR");
    if let Some(folder) = paths::target_part(chosen, TARGET_PART) {
        command.arg("--target-dir").arg(folder);
    }
    build::executable(PROGRAM, command).map_err(CountError::Build)
}

/// Returns the instructions of one operation, to two decimals.
fn count_one(valgrind: &Path, program: &Path, case: &str) -> Result<f64, CountError> {
    let mut command = Command::new(valgrind);
    let start = |source| CountError::Start {
        command: format!("{} --tool=callgrind", valgrind.display()),
        source,
    };
    let folder = tempfile::tempdir().map_err(start)?;
    let profile = folder.path().join("profile");
    command
        .arg("--tool=callgrind")
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .args([program, Path::new(case)])
        // Also without valgrind's own settings, of which some are in the folder.
        .env_clear()
        .env("GLIBC_TUNABLES", LIBC_SETTING)
        .current_dir(folder.path());
    let times = printed(&mut command)?;
    let profile = fs::read_to_string(profile).map_err(start)?;
    per_operation(&times, &profile).map_err(|problem| CountError::Output {
        command: shell_line(&command),
        problem,
    })
}

/// Divides what callgrind counted by how often the program says it has done the operation.
fn per_operation(times: &str, profile: &str) -> Result<f64, String> {
    let times: u32 = times
        .trim()
        .parse()
        .ok()
        .filter(|&times| times > 0)
        .ok_or_else(|| format!("the program printed no number of operations: {times:?}"))?;
    let total: u32 = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .and_then(|total| total.trim().parse().ok())
        .ok_or("callgrind's file has no total that is a number")?;
    if total == 0 {
        return Err(format!(
            "callgrind saw no function {COUNTED}; is it still called that, and never inlined?"
        ));
    }
    let exact = f64::from(total) / f64::from(times);
    Ok((exact * 100.0).round() / 100.0)
}

/// Runs a command and returns what it prints.
fn printed(command: &mut Command) -> Result<String, CountError> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|source| CountError::Start {
        command: shell_line(command),
        source,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(CountError::Output {
        command: shell_line(command),
        problem: format!("{}\n{}", output.status, complaint.trim_end()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake::FakeMachine;

    #[test]
    fn the_share_of_one_operation_has_two_decimals() {
        let profile = "events: Ir\nfn=(1) x\n3 7\ntotals: 105272\n";
        assert_eq!(per_operation("250\n", profile), Ok(421.09));
    }

    #[test]
    fn what_was_not_counted_is_not_taken_for_nothing() {
        let unseen = per_operation("250\n", "totals: 0\n").unwrap_err();
        assert!(unseen.contains("saw no function"), "{unseen}");
        assert!(per_operation("250\n", "summary: 1\n").is_err());
        for times in ["", "0\n", "send-8\n"] {
            assert!(per_operation(times, "totals: 1\n").is_err(), "{times:?}");
        }
    }

    #[test]
    fn a_program_that_fails_is_told_with_its_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no memory >&2; exit 3"]);
        let error = printed(&mut command).unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("no memory"), "{error}");
    }

    #[test]
    fn counts_are_of_a_compiler_a_target_and_a_libc() {
        let machine = FakeMachine::default().prints("rustc -vV", "rustc 1.95.0 (598)\nhost: x\n");
        let other = origin(&machine).unwrap();
        assert_eq!(other, "rustc 1.95.0 (598), x, another libc than glibc");
        let glibc = machine.prints("getconf GNU_LIBC_VERSION", "glibc 2.36\n");
        assert_eq!(origin(&glibc).unwrap(), "rustc 1.95.0 (598), x, glibc 2.36");
        assert!(origin(&FakeMachine::default()).is_err());
    }
}
