// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs of the fuzz targets, by a nightly compiler and cargo-fuzz.
//!
//! cargo-fuzz is installed if it is missing and that is allowed; the compiler is the user's choice and is not.

use crate::command_line::shell_line;
use crate::probe::{Probe, ThisMachine};
use crate::progress::note;
use crate::setup::installer::{InstallFailure, Installer};
use crate::setup::{self, Install};
use crate::{environment, paths};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// The targets, in the order in which they are run.
pub const TARGETS: [&str; 10] = [
    "config_space",
    "registers",
    "model_config",
    "model_registers",
    "model_server",
    "proxy_stream",
    "proxy_remote",
    "channel_contents",
    "channel_hostile",
    "inspect",
];

/// Installs cargo-fuzz; `--locked`, so that its dependencies are those it was tried with.
const INSTALL: [&str; 4] = ["cargo", "install", "--locked", "cargo-fuzz"];

/// Why a target was not run to the end of its time.
#[derive(Debug)]
#[non_exhaustive]
pub enum FuzzError {
    /// There is no nightly compiler, for this reason.
    NoNightly(String),
    /// cargo-fuzz is missing, and nothing may be installed.
    NoCargoFuzz,
    /// Installing cargo-fuzz failed.
    Install(InstallFailure),
    /// cargo did not start, or the corpus cannot be kept.
    Start {
        /// The target.
        target: String,
        /// What the system said.
        source: io::Error,
    },
    /// A property does not hold, or the target does not build.
    Failed {
        /// The target.
        target: String,
        /// How it ended.
        status: ExitStatus,
        /// The command that failed.
        command: String,
    },
}

impl FuzzError {
    /// Returns whether a tool is missing, which says nothing about the driver.
    #[must_use]
    pub const fn is_missing_tool(&self) -> bool {
        matches!(
            self,
            Self::NoNightly(_) | Self::NoCargoFuzz | Self::Install(_)
        )
    }
}

impl fmt::Display for FuzzError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNightly(reason) => write!(
                f,
                "fuzzing needs a nightly compiler: {reason}\n\
                 to install it: rustup toolchain install nightly --profile minimal"
            ),
            Self::NoCargoFuzz => write!(
                f,
                "cargo-fuzz is missing and nothing is installed, as asked; to install it by hand:\n\
                 {}",
                INSTALL.join(" ")
            ),
            Self::Install(failure) => failure.fmt(f),
            Self::Start { target, source } => write!(f, "cannot fuzz {target}: {source}"),
            Self::Failed {
                target,
                status,
                command,
            } => write!(
                f,
                "the fuzz target {target} failed: {status}\ncommand: {command}\n\
                 if it found something, the input is in fuzz/artifacts/{target}; to run that again:\n\
                 cargo +nightly fuzz run {target} FILE"
            ),
        }
    }
}

impl std::error::Error for FuzzError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Runs each of `targets` for `seconds`, one after the other. libFuzzer's output goes to the terminal.
///
/// # Errors
///
/// - A tool is missing; the message says how to get it.
/// - A target does not build, or found something.
pub fn run(targets: &[&str], seconds: u32, install: Install) -> Result<(), FuzzError> {
    let rustup = ready(&ThisMachine, install, &mut setup::runner())?;
    for target in targets {
        run_target(&rustup, target, seconds)?;
    }
    Ok(())
}

/// Returns the rustup whose nightly has cargo-fuzz, which is installed if it may be.
fn ready(
    machine: &impl Probe,
    install: Install,
    installer: &mut impl Installer,
) -> Result<PathBuf, FuzzError> {
    let rustup = machine
        .program("rustup")
        .ok_or_else(|| FuzzError::NoNightly("no rustup is on the PATH".into()))?;
    machine
        .output(&rustup, &["run", "nightly", "rustc", "--version"])
        .map_err(FuzzError::NoNightly)?;
    let version = ["run", "nightly", "cargo", "fuzz", "--version"];
    if machine.output(&rustup, &version).is_err() {
        if install == Install::Never {
            return Err(FuzzError::NoCargoFuzz);
        }
        note("this installs cargo-fuzz by cargo install, which takes a minute or two");
        installer
            .run("installing cargo-fuzz", &INSTALL, None)
            .map_err(FuzzError::Install)?;
    }
    Ok(rustup)
}

fn run_target(rustup: &Path, target: &str, seconds: u32) -> Result<(), FuzzError> {
    let start = |source| FuzzError::Start {
        target: target.into(),
        source,
    };
    let folder = paths::root().join("fuzz");
    let corpus = folder.join("corpus").join(target);
    // libFuzzer adds to the first folder and only reads the others.
    fs::create_dir_all(&corpus).map_err(start)?;
    note(&format!("fuzzing {target} for {seconds} s"));
    let chosen = std::env::var_os("CARGO_TARGET_DIR");
    let mut command = environment::scrubbed(rustup);
    command
        .args(["run", "nightly", "cargo", "fuzz", "run", target])
        .args([corpus, folder.join("seeds").join(target)])
        .args(build_options(chosen))
        .arg("--")
        .args(fuzzer_options(seconds))
        .current_dir(paths::root())
        .stdin(Stdio::null());
    finish(command, target).map_err(start)?
}

fn finish(mut command: Command, target: &str) -> io::Result<Result<(), FuzzError>> {
    let status = command.status()?;
    if status.success() {
        return Ok(Ok(()));
    }
    Ok(Err(FuzzError::Failed {
        target: target.into(),
        status,
        command: shell_line(&command),
    }))
}

/// Returns the options that keep the build short, and it out of the folder that our own cargo may have locked.
fn build_options(chosen: Option<OsString>) -> Vec<OsString> {
    // One unit, cargo-fuzz's default, takes longer to build than it saves in a short run.
    let mut options = vec!["--codegen-units".into(), "16".into()];
    if let Some(folder) = paths::target_part(chosen, "fuzz") {
        options.push("--target-dir".into());
        options.push(folder.into());
    }
    options
}

fn fuzzer_options(seconds: u32) -> [String; 5] {
    [
        format!("-max_total_time={seconds}"),
        // A single input takes milliseconds.
        "-timeout=20".into(),
        "-max_len=2048".into(),
        "-verbosity=0".into(),
        "-print_final_stats=1".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake::FakeMachine;
    use std::time::Duration;

    /// Notes the command lines, all of which fail.
    #[derive(Default)]
    struct Broken(Vec<String>);

    impl Installer for Broken {
        fn run(
            &mut self,
            _: &str,
            line: &[&str],
            _: Option<Duration>,
        ) -> Result<(), InstallFailure> {
            self.0.push(line.join(" "));
            Err(InstallFailure {
                command: line.join(" "),
                reason: "exit status: 101".into(),
                tail: vec!["error: no network".into()],
                log: "/log".into(),
            })
        }
    }

    fn with_nightly() -> FakeMachine {
        FakeMachine::default()
            .with_program("/bin/rustup")
            .prints("/bin/rustup run nightly rustc --version", "rustc 1.97.0\n")
    }

    fn with_cargo_fuzz() -> FakeMachine {
        with_nightly().prints("/bin/rustup run nightly cargo fuzz --version", "0.13\n")
    }

    #[test]
    fn what_is_there_is_taken() {
        let mut installer = Broken::default();
        let rustup = ready(&with_cargo_fuzz(), Install::IfMissing, &mut installer);
        assert_eq!(rustup.unwrap(), Path::new("/bin/rustup"));
        assert!(installer.0.is_empty());
    }

    #[test]
    fn without_a_nightly_nothing_is_installed() {
        let stable = FakeMachine::default().with_program("/bin/rustup");
        for machine in [FakeMachine::default(), stable] {
            let mut installer = Broken::default();
            let error = ready(&machine, Install::IfMissing, &mut installer).unwrap_err();
            assert!(error.is_missing_tool());
            assert!(error.to_string().contains("rustup toolchain install"));
            assert!(installer.0.is_empty());
        }
    }

    #[test]
    fn cargo_fuzz_is_installed_only_if_that_is_allowed() {
        let mut installer = Broken::default();
        let error = ready(&with_nightly(), Install::Never, &mut installer).unwrap_err();
        assert!(error.to_string().contains("cargo install"), "{error}");
        assert!(installer.0.is_empty());
        let error = ready(&with_nightly(), Install::IfMissing, &mut installer).unwrap_err();
        assert!(error.to_string().contains("no network"), "{error}");
        assert!(error.is_missing_tool());
        assert_eq!(installer.0, ["cargo install --locked cargo-fuzz"]);
    }

    #[test]
    fn a_target_that_fails_is_named_with_its_command() {
        let error = finish(Command::new("false"), "registers")
            .unwrap()
            .unwrap_err();
        assert!(!error.is_missing_tool());
        let text = error.to_string();
        assert!(text.contains("registers") && text.contains("command: false"));
    }

    #[test]
    fn the_targets_are_those_of_the_package() {
        let manifest = fs::read_to_string(paths::root().join("fuzz/Cargo.toml")).unwrap();
        for target in TARGETS {
            assert!(
                manifest.contains(&format!("name = \"{target}\"")),
                "{target}"
            );
            assert!(paths::root().join("fuzz/seeds").join(target).is_dir());
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }

    #[test]
    fn a_chosen_target_folder_gets_a_part_for_fuzzing() {
        assert_eq!(build_options(None).len(), 2);
        assert_eq!(build_options(Some("".into())).len(), 2);
        let options = build_options(Some("/t".into()));
        assert_eq!(
            options[2..],
            ["--target-dir", "/t/fuzz"].map(OsString::from)
        );
    }
}
