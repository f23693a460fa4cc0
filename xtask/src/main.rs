// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `cargo xtask`.
//!
//! Exit codes: 0 done, 1 something failed, 2 tools are missing or the command line is wrong,
//! 130 interrupted.

use clap::{Parser, Subcommand};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use xtask::demo::{self, DemoError};
use xtask::kernel::{self, Profile};
use xtask::qemu::Guest;
use xtask::setup::{self, Install};
use xtask::suite;
use xtask::tools::Tools;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Set-up, kernel, QEMU and tests of this workspace"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Finds or installs QEMU and a compiler for the kernel, and says which were taken
    Setup {
        /// Installs nothing: says what is missing and how to get it
        #[arg(long)]
        no_install: bool,
    },
    /// Boots two guests that talk with each other and with this process, and shows how fast
    Demo {
        /// Installs nothing: fails if a tool is missing
        #[arg(long)]
        no_install: bool,
        /// Writes the figures to this file too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Builds the test kernel; the last line printed is the path of its ELF file
    Kernel {
        /// Builds without optimization
        #[arg(long)]
        debug: bool,
    },
    /// Boots the test kernel with its serial line on the terminal
    Qemu {
        /// Machine type and its options
        #[arg(long, default_value = "pc")]
        machine: String,
        /// Kernel command line
        #[arg(long, default_value = "")]
        append: String,
        /// Further arguments for QEMU
        #[arg(last = true)]
        extra: Vec<String>,
    },
    /// Runs every test: unit, documentation, integration, and trials in virtual machines
    Test {
        /// Installs nothing: fails if a tool is missing
        #[arg(long)]
        no_install: bool,
        /// Arguments for the tests, such as a name to look for
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

/// An error's text and the exit code that goes with it.
struct Failure(u8, String);

const FAILED: u8 = 1;
const UNUSABLE: u8 = 2;
/// As a shell reports a program that SIGINT (2) ended.
const INTERRUPTED: u8 = 128 + 2;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Setup { no_install } => tools(no_install).map(|tools| {
            println!("{tools}");
            ExitCode::SUCCESS
        }),
        Verb::Demo { no_install, json } => demo(no_install, json.as_deref()),
        Verb::Kernel { debug } => build_kernel(debug),
        Verb::Qemu {
            machine,
            append,
            extra,
        } => boot(machine, append, extra),
        Verb::Test {
            no_install,
            arguments,
        } => test(no_install, &arguments),
    };
    outcome.unwrap_or_else(|Failure(code, text)| {
        eprintln!("error: {text}");
        ExitCode::from(code)
    })
}

fn tools(no_install: bool) -> Result<Tools, Failure> {
    let install = if no_install {
        Install::Never
    } else {
        Install::IfMissing
    };
    setup::ensure(install).map_err(|error| Failure(UNUSABLE, error.to_string()))
}

fn failed(error: impl Display) -> Failure {
    Failure(FAILED, error.to_string())
}

fn demo(no_install: bool, json: Option<&Path>) -> Result<ExitCode, Failure> {
    let tools = tools(no_install)?;
    println!("{tools}\n");
    demo::run(&tools, json).map_err(|error| match error {
        DemoError::Interrupted => Failure(INTERRUPTED, error.to_string()),
        error => failed(error),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn build_kernel(debug: bool) -> Result<ExitCode, Failure> {
    let profile = if debug {
        Profile::Debug
    } else {
        Profile::Release
    };
    let elf = kernel::build(&tools(false)?, profile).map_err(failed)?;
    println!("{}", elf.display());
    Ok(ExitCode::SUCCESS)
}

fn boot(machine: String, append: String, extra: Vec<String>) -> Result<ExitCode, Failure> {
    let tools = tools(false)?;
    let elf = kernel::build(&tools, Profile::Release).map_err(failed)?;
    let guest = Guest::new(&tools, elf).machine(machine).append(append);
    let status = guest.args(extra).run_on_terminal().map_err(failed)?;
    if status.code() == Some(xtask::qemu::PASSED) {
        return Ok(ExitCode::SUCCESS);
    }
    Err(failed(format_args!("the machine did not pass: {status}")))
}

fn test(no_install: bool, arguments: &[String]) -> Result<ExitCode, Failure> {
    let tools = tools(no_install)?;
    println!("{tools}");
    // Before the tests, so that a kernel that does not build is one clear message.
    kernel::build(&tools, Profile::Release).map_err(failed)?;
    let result = suite::run(arguments).map_err(failed)?;
    if !result.status.success() {
        eprintln!("error: cargo test ended with {}", result.status);
    }
    println!("{}", result.total);
    let code = if result.passed() { 0 } else { FAILED };
    Ok(ExitCode::from(code))
}
