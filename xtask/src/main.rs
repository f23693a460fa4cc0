// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `cargo xtask`.

use clap::{Parser, Subcommand};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use xtask::bench;
use xtask::conformance::{self, ConformanceError, Template};
use xtask::demo;
use xtask::fuzz;
use xtask::image;
use xtask::instructions::{self, Baseline, Report};
use xtask::kernel::{self, Profile};
use xtask::party::PartyError;
use xtask::qemu::Guest;
use xtask::setup::{self, Install};
use xtask::size::Sizes;
use xtask::suite;
use xtask::tools::Tools;

const ENVIRONMENT: &str = "\
Environment:
  IVSHMEM_QEMU               the QEMU to use, instead of the PATH's
  IVSHMEM_ACCEL              tcg or kvm, instead of what the CPU has
  IVSHMEM_ALLOW_DOWNGRADES   1: set-up may put packages back that are too new for the package lists' QEMU

Exit codes: 0 done, 1 something failed, 2 tools are missing or the command line is wrong, 130 interrupted";

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Set-up, kernel, QEMU and tests of this workspace",
    after_help = ENVIRONMENT
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Finds or installs QEMU and a compiler for the kernel, fetches a kernel for Linux guests, and says which were taken
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
    /// Measures channels between two guests, and between a guest and this process, beside bare memory
    Bench {
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
    /// Writes a disk image that boots the test kernel by UEFI; the last line printed is its path
    Image {
        /// Kernel command line
        #[arg(long, default_value = "")]
        append: String,
        /// Writes the image to this file instead of beside the kernel's
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
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
    /// Runs the fuzz targets with a nightly compiler, each for some time
    Fuzz {
        /// Seconds for each target
        // libFuzzer takes 0 for no limit.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// Installs nothing: fails if cargo-fuzz is missing
        #[arg(long)]
        no_install: bool,
        /// Runs this target only
        #[arg(value_parser = fuzz::TARGETS)]
        target: Option<String>,
    },
    /// Runs the scenarios of one machine on another hypervisor, and prints the results as TAP
    ///
    /// The command must start a machine with an ivshmem device, boot {kernel} with the command line
    /// {append}, and have COM1 on its standard output. docs/conformance.md tells more.
    Conformance {
        /// How long one boot may take, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86400))]
        limit: u64,
        /// Boots this kernel instead of building one
        #[arg(long, value_name = "FILE")]
        kernel: Option<PathBuf>,
        /// The command, with the words {kernel} and {append} in it
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Shows how much code of the release kernel comes from the driver
    ///
    /// Counted are the functions in the symbol table whose path, or whose type for methods of
    /// traits, is in the crate ivshmem; generic ones as often as they were instantiated. The limit is
    /// inlining: functions of the crate inlined into the kernel's are counted there, those of core
    /// inlined into the crate's are counted here. Constants, texts, and core's generics for types of
    /// the crate are not counted.
    Size,
    /// Counts the instructions of operations of channels, and compares them with benches/instructions.txt
    ///
    /// Fails if one has grown by more than 2 %. Counts of another compiler or libc than the file's are shown and
    /// decide nothing. valgrind counts them.
    Instructions {
        /// Writes the counts to the file instead
        #[arg(long)]
        save: bool,
        /// Installs nothing: fails if valgrind is missing
        #[arg(long)]
        no_install: bool,
    },
    /// Runs every test: unit, documentation, integration, and trials in virtual machines
    Test {
        /// Installs nothing: fails if a tool is missing
        #[arg(long)]
        no_install: bool,
        /// Arguments for the tests, such as a name to look for; options only behind --
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
            show_linux(no_install);
            ExitCode::SUCCESS
        }),
        Verb::Demo { no_install, json } => party(demo::run, no_install, json.as_deref()),
        Verb::Bench { no_install, json } => party(bench::run, no_install, json.as_deref()),
        Verb::Kernel { debug } => build_kernel(debug),
        Verb::Conformance {
            limit,
            kernel,
            command,
        } => conformance(Duration::from_secs(limit), kernel, &command),
        Verb::Size => size(),
        Verb::Instructions { save, no_install } => instructions(save, no_install),
        Verb::Image { append, output } => write_image(&append, output),
        Verb::Qemu {
            machine,
            append,
            extra,
        } => boot(machine, append, extra),
        Verb::Fuzz {
            seconds,
            no_install,
            target,
        } => run_fuzz(seconds, no_install, target.as_deref()),
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
    setup::ensure(installing(no_install)).map_err(|error| Failure(UNUSABLE, error.to_string()))
}

/// Finds or fetches the kernel for Linux guests, and says which it is. Only some trials need it.
fn show_linux(no_install: bool) {
    match setup::ensure_linux(installing(no_install)) {
        Ok(kernel) => println!("linux guests: {}", kernel.image.display()),
        Err(error) => println!("linux guests: {error}"),
    }
}

const fn installing(no_install: bool) -> Install {
    if no_install {
        Install::Never
    } else {
        Install::IfMissing
    }
}

fn failed(error: impl Display) -> Failure {
    Failure(FAILED, error.to_string())
}

/// Runs something with two guests and this process.
fn party(
    run: impl FnOnce(&Tools, Option<&Path>) -> Result<(), PartyError>,
    no_install: bool,
    json: Option<&Path>,
) -> Result<ExitCode, Failure> {
    let tools = tools(no_install)?;
    println!("{tools}\n");
    run(&tools, json).map_err(|error| match error {
        PartyError::Interrupted => Failure(INTERRUPTED, error.to_string()),
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

fn write_image(append: &str, output: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let elf = kernel::build(&tools(false)?, Profile::Release).map_err(failed)?;
    let output = output.unwrap_or_else(|| elf.with_extension("img"));
    image::write(&elf, append, &output).map_err(failed)?;
    println!("{}", output.display());
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

fn run_fuzz(seconds: u32, no_install: bool, target: Option<&str>) -> Result<ExitCode, Failure> {
    let one = target.as_slice();
    let targets = if one.is_empty() { &fuzz::TARGETS } else { one };
    fuzz::run(targets, seconds, installing(no_install)).map_err(|error| {
        let code = if error.is_missing_tool() {
            UNUSABLE
        } else {
            FAILED
        };
        Failure(code, error.to_string())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn conformance(
    limit: Duration,
    kernel: Option<PathBuf>,
    command: &[String],
) -> Result<ExitCode, Failure> {
    let template = Template::new(command).map_err(|error| Failure(UNUSABLE, error.to_string()))?;
    let kernel = match kernel {
        Some(kernel) => kernel,
        None => kernel::build(&tools(false)?, Profile::Release).map_err(failed)?,
    };
    let summary = conformance::run(&template, &kernel, limit, std::io::stdout());
    let summary = summary.map_err(|error| match error {
        ConformanceError::Start(_) => Failure(UNUSABLE, error.to_string()),
        error => failed(error),
    })?;
    let code = if summary.failed == 0 { 0 } else { FAILED };
    Ok(ExitCode::from(code))
}

fn size() -> Result<ExitCode, Failure> {
    let elf = kernel::build(&tools(false)?, Profile::Release).map_err(failed)?;
    println!("{}", Sizes::of(&elf).map_err(failed)?);
    Ok(ExitCode::SUCCESS)
}

fn instructions(save: bool, no_install: bool) -> Result<ExitCode, Failure> {
    let valgrind = setup::ensure_valgrind(installing(no_install))
        .map_err(|error| Failure(UNUSABLE, error.to_string()))?;
    let counted = instructions::count(&valgrind).map_err(failed)?;
    let path = Baseline::path();
    if save {
        counted.write(&path).map_err(failed)?;
        print!("{counted}");
        return Ok(ExitCode::SUCCESS);
    }
    let report = Report::new(&Baseline::read(&path).map_err(failed)?, &counted);
    println!("{report}");
    let code = if report.passes() { 0 } else { FAILED };
    Ok(ExitCode::from(code))
}

fn test(no_install: bool, arguments: &[String]) -> Result<ExitCode, Failure> {
    let tools = tools(no_install)?;
    println!("{tools}");
    show_linux(no_install);
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
