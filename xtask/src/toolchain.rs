// SPDX-License-Identifier: MIT OR Apache-2.0
//! The three routes to a compiler for the test kernel.
//!
//! In order of preference:
//!
//! 1. the active toolchain with the prebuilt core of `x86_64-unknown-none`: nothing is unstable;
//! 2. a nightly with `rust-src`: core is built by build-std for `x86_64-target.json`;
//! 3. the system's own `/usr/bin/rustc` with its sources (Debian: `rustc-web`, `cargo-web` and
//!    `rust-web-src`): the same with `RUSTC_BOOTSTRAP`, because build-std is unstable.
//!
//! The kernel itself needs no unstable feature on any of them.

use crate::environment;
use crate::probe::Probe;
use std::fmt;
use std::path::Path;
use std::process::Command;

/// The target of route 1.
pub const TARGET: &str = "x86_64-unknown-none";

/// A compiler's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RustVersion(pub u16, pub u16, pub u16);

/// What the kernel's dependencies ask for (`uart_16550` 0.9 declares it).
const MINIMUM: RustVersion = RustVersion(1, 91, 0);
/// The first version whose cargo is known to take `-Zjson-target-spec`.
const MINIMUM_BUILD_STD: RustVersion = RustVersion(1, 95, 0);

impl RustVersion {
    /// Reads the `release:` line of `rustc -vV`; what follows a dash (`-nightly`) is ignored.
    fn from_verbose(text: &str) -> Option<Self> {
        let release = text
            .lines()
            .find_map(|line| line.strip_prefix("release: "))?;
        let number = release.split('-').next()?;
        let mut parts = number.trim().split('.').map(str::parse);
        let mut part = || parts.next()?.ok();
        Some(Self(part()?, part()?, part()?))
    }
}

impl fmt::Display for RustVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A way to compile the kernel; see the [module page](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The active toolchain and its prebuilt core.
    Active,
    /// A nightly of rustup and build-std.
    Nightly,
    /// The system's compiler and build-std.
    System,
}

/// The compiler that builds the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelToolchain {
    /// The route that was taken.
    pub route: Route,
    /// The compiler's version.
    pub version: RustVersion,
}

impl KernelToolchain {
    /// Takes the first route that exists.
    ///
    /// # Errors
    ///
    /// - No route exists: for each, in words, why it was passed over.
    pub fn find(probe: &impl Probe) -> Result<Self, Vec<String>> {
        let mut passed_over = Vec::new();
        for route in [Route::Active, Route::Nightly, Route::System] {
            let found = match route {
                Route::Active => active(probe),
                Route::Nightly => nightly(probe),
                Route::System => system(probe),
            };
            match found {
                Ok(version) => return Ok(Self { route, version }),
                Err(reason) => passed_over.push(reason),
            }
        }
        Err(passed_over)
    }

    /// Makes the start of a cargo call by this toolchain: program, environment and
    /// sub-command, but neither package nor profile.
    #[must_use]
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut command = match self.route {
            Route::Active => environment::scrubbed("cargo"),
            Route::Nightly => {
                let mut command = environment::scrubbed("rustup");
                command.args(["run", "nightly", "cargo"]);
                command
            }
            Route::System => {
                let mut command = environment::scrubbed("/usr/bin/cargo");
                // Without RUSTC a rustup that comes first in the PATH would be the compiler.
                command.env("RUSTC", "/usr/bin/rustc");
                command.env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        command.arg(subcommand);
        if self.route == Route::Active {
            command.args(["--target", TARGET]);
        } else {
            command.args(["-Zjson-target-spec", "-Zbuild-std=core,alloc"]);
            // memcpy and its like, which no C library brings on bare metal.
            command.arg("-Zbuild-std-features=compiler-builtins-mem");
            command
                .arg("--target")
                .arg(crate::paths::target_description());
        }
        command
    }
}

impl fmt::Display for KernelToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version;
        match self.route {
            Route::Active => write!(f, "the active rustc {version} with the target {TARGET}"),
            Route::Nightly => write!(f, "rustup's nightly {version} with rust-src and build-std"),
            Route::System => write!(
                f,
                "the system's /usr/bin/rustc {version} with RUSTC_BOOTSTRAP and build-std"
            ),
        }
    }
}

/// Accepts a compiler of at least `minimum`.
fn version(
    name: &str,
    verbose: Result<String, String>,
    minimum: RustVersion,
) -> Result<RustVersion, String> {
    let verbose = verbose.map_err(|error| format!("{name} does not run: {error}"))?;
    let version = RustVersion::from_verbose(&verbose)
        .ok_or_else(|| format!("{name} does not say its version"))?;
    if version < minimum {
        return Err(format!(
            "{name} is {version}, the kernel needs {minimum} or newer on this route"
        ));
    }
    Ok(version)
}

fn active(probe: &impl Probe) -> Result<RustVersion, String> {
    let rustc = probe.program("rustc").ok_or("no rustc is on the PATH")?;
    let version = version("the active rustc", probe.output(&rustc, &["-vV"]), MINIMUM)?;
    let folder = probe.output(&rustc, &["--print", "target-libdir", "--target", TARGET])?;
    // rustc prints the folder of every target that it knows, installed or not.
    let names = probe.names(Path::new(folder.trim()));
    if !names.iter().any(|name| is_core(name)) {
        return Err(format!(
            "the active rustc {version} lacks the target {TARGET}"
        ));
    }
    Ok(version)
}

fn is_core(name: &str) -> bool {
    name.starts_with("libcore-") && name.ends_with(".rlib")
}

fn nightly(probe: &impl Probe) -> Result<RustVersion, String> {
    let rustup = probe.program("rustup").ok_or("no rustup is on the PATH")?;
    let rustc = |arguments: &[&str]| {
        let all = [&["run", "nightly", "rustc"], arguments].concat();
        probe.output(&rustup, &all)
    };
    let version = version("rustup's nightly", rustc(&["-vV"]), MINIMUM_BUILD_STD)?;
    let sysroot = rustc(&["--print", "sysroot"])?;
    if !has_sources(probe, &library(Path::new(sysroot.trim()))) {
        return Err(format!("rustup's nightly {version} lacks rust-src"));
    }
    Ok(version)
}

fn system(probe: &impl Probe) -> Result<RustVersion, String> {
    for program in ["/usr/bin/rustc", "/usr/bin/cargo"] {
        if probe.resolve(Path::new(program)).is_none() {
            return Err(format!("there is no {program}"));
        }
    }
    let rustc = Path::new("/usr/bin/rustc");
    let version = version(
        "/usr/bin/rustc",
        probe.output(rustc, &["-vV"]),
        MINIMUM_BUILD_STD,
    )?;
    let library = library(Path::new("/usr"));
    if !has_sources(probe, &library) {
        return Err(format!(
            "/usr/bin/rustc {version} lacks its sources in {}",
            library.display()
        ));
    }
    // Another version's core does not compile (E0522 and the like). Debian names the folder
    // behind the link after the version; where no version is named, the packages' own
    // dependencies have to do.
    let real = probe.resolve(&library).unwrap_or(library);
    let named = real
        .iter()
        .find_map(|part| part.to_str()?.strip_prefix("rustc-"));
    match named {
        Some(sources) if sources != version.to_string() => Err(format!(
            "/usr/bin/rustc is {version}, but its sources are {sources}"
        )),
        _ => Ok(version),
    }
}

/// Returns where a toolchain has the sources of the standard library.
fn library(sysroot: &Path) -> std::path::PathBuf {
    sysroot.join("lib/rustlib/src/rust/library")
}

fn has_sources(probe: &impl Probe, library: &Path) -> bool {
    // build-std wants the lock file besides the sources.
    ["core/src/lib.rs", "Cargo.lock"]
        .iter()
        .all(|file| probe.resolve(&library.join(file)).is_some())
}

#[cfg(test)]
#[path = "toolchain_tests.rs"]
mod tests;
