// SPDX-License-Identifier: MIT OR Apache-2.0
//! The build of the test kernel.

use crate::command_line::shell_line;
use crate::paths;
use crate::progress::Step;
use crate::tools::Tools;
use serde_json::Value;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

/// The name of the kernel's package and binary.
const PACKAGE: &str = "ivshmem-kernel";

/// The kernel's part of a target folder.
const TARGET_PART: &str = "kernel-example";

/// How the kernel is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// With debug assertions, unoptimized.
    Debug,
    /// Optimized; what trials and the demo boot.
    Release,
}

/// Why there is no kernel.
#[derive(Debug)]
pub enum BuildError {
    /// Cargo did not start or its output could not be read.
    Cargo {
        /// The command that was tried.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The compiler refused.
    Compiler {
        /// The command that failed.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// Cargo succeeded without naming an executable.
    NoExecutable {
        /// The command.
        command: String,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cargo { command, source } => {
                write!(f, "cannot build the kernel: {source}\ncommand: {command}")
            }
            Self::Compiler {
                command,
                status,
                output,
            } => write!(
                f,
                "{output}\nthe kernel does not build: {status}\ncommand: {command}"
            ),
            Self::NoExecutable { command } => write!(
                f,
                "cargo named no executable {PACKAGE}; is it still the kernel's binary?\n\
                 command: {command}"
            ),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Cargo { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Builds the test kernel and returns the path of its ELF file.
///
/// Says only that it builds; the compiler's output is part of the error. Calls at the same time
/// are safe: cargo locks its folder.
///
/// # Errors
///
/// - Cargo cannot be run, the compiler refuses, or the executable is not where it should be.
pub fn build(tools: &Tools, profile: Profile) -> Result<PathBuf, BuildError> {
    let mut command = tools.kernel.cargo("build");
    command.arg("--message-format=json-render-diagnostics");
    if profile == Profile::Release {
        command.arg("--release");
    }
    let chosen = std::env::var_os("CARGO_TARGET_DIR");
    if let Some(folder) = paths::target_part(chosen, TARGET_PART) {
        command.arg("--target-dir").arg(folder);
    }
    // The package's own .cargo/config.toml is found by the working directory.
    command.current_dir(paths::kernel());
    run(command)
}

fn run(mut command: Command) -> Result<PathBuf, BuildError> {
    let text = shell_line(&command);
    let cargo = |source| BuildError::Cargo {
        command: text.clone(),
        source,
    };
    let step = Step::start("building the kernel");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(cargo)?;
    let messages = child.stdout.take();
    let diagnostics = child.stderr.take();
    let executable = thread::scope(|scope| {
        let reader = scope.spawn(move || messages.and_then(find_executable));
        let output = diagnostics
            .map(|pipe| show(pipe, &step))
            .unwrap_or_default();
        (reader.join().unwrap_or_default(), output)
    });
    let (executable, output) = executable;
    let status = child.wait().map_err(cargo)?;
    if !status.success() {
        return Err(BuildError::Compiler {
            command: text,
            status,
            output,
        });
    }
    let executable = executable.ok_or(BuildError::NoExecutable { command: text })?;
    step.done("built the kernel");
    Ok(executable)
}

/// Follows cargo's lines on the terminal and returns all of them.
fn show(pipe: impl Read, step: &Step) -> String {
    let mut all = String::new();
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        step.detail(&line);
        all.push_str(&line);
        all.push('\n');
    }
    all
}

/// Finds the kernel's file in cargo's messages; reads them to the end.
fn find_executable(messages: impl Read) -> Option<PathBuf> {
    let lines = BufReader::new(messages).lines().map_while(Result::ok);
    lines.filter_map(|line| executable_of(&line)).last()
}

fn executable_of(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let ours = message["reason"] == "compiler-artifact" && message["target"]["name"] == PACKAGE;
    let path = ours.then(|| message["executable"].as_str())??;
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"ivshmem\"},\"executable\":null}\n",
            "not json\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"ivshmem-kernel\"},",
            "\"executable\":\"/t/ivshmem-kernel\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        let found = find_executable(messages.as_bytes());
        assert_eq!(found, Some(PathBuf::from("/t/ivshmem-kernel")));
    }

    #[test]
    fn a_build_script_of_the_same_name_is_not_the_kernel() {
        let message = "{\"reason\":\"compiler-artifact\",\
                       \"target\":{\"name\":\"ivshmem-kernel\"},\"executable\":null}";
        assert_eq!(executable_of(message), None);
    }

    #[test]
    fn a_chosen_target_folder_gets_a_part_for_the_kernel() {
        assert_eq!(paths::target_part(None, TARGET_PART), None);
        assert_eq!(paths::target_part(Some("".into()), TARGET_PART), None);
        let chosen = paths::target_part(Some("/t".into()), TARGET_PART);
        assert_eq!(chosen, Some(PathBuf::from("/t/kernel-example")));
    }

    #[test]
    fn the_compilers_output_is_in_the_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo E0425 >&2; exit 101"]);
        let error = run(command).unwrap_err().to_string();
        assert!(error.contains("E0425"), "{error}");
        assert!(error.contains("exit status: 101"), "{error}");
        let mut command = Command::new("sh");
        command.args(["-c", "exit 0"]);
        assert!(matches!(run(command), Err(BuildError::NoExecutable { .. })));
    }
}
