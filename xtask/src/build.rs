// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds by cargo of one executable each.

use crate::command_line::shell_line;
use crate::progress::Step;
use serde_json::Value;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

/// Why there is no executable.
#[derive(Debug)]
pub enum BuildError {
    /// Cargo did not start or its output could not be read.
    Cargo {
        /// What was to be built.
        what: &'static str,
        /// The command that was tried.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The compiler refused.
    Compiler {
        /// What was to be built.
        what: &'static str,
        /// The command that failed.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// Cargo succeeded without naming an executable.
    NoExecutable {
        /// What was to be built.
        what: &'static str,
        /// The name of its executable.
        name: &'static str,
        /// The command.
        command: String,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cargo {
                what,
                command,
                source,
            } => write!(f, "cannot build {what}: {source}\ncommand: {command}"),
            Self::Compiler {
                what,
                command,
                status,
                output,
            } => write!(
                f,
                "{output}\n{what} does not build: {status}\ncommand: {command}"
            ),
            Self::NoExecutable {
                what,
                name,
                command,
            } => write!(
                f,
                "cargo named no executable {name}; is {what} still called that?\n\
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

/// An executable that cargo can build.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What it is, for messages, such as "the kernel".
    pub what: &'static str,
    /// The name of its target.
    pub name: &'static str,
}

/// Runs `command`, a cargo that builds with messages in JSON, and returns the path of what is wanted.
///
/// Says only that it builds; the compiler's output is part of the error.
///
/// # Errors
///
/// - Cargo cannot be run, the compiler refuses, or cargo names no such executable.
pub fn executable(wanted: Wanted, mut command: Command) -> Result<PathBuf, BuildError> {
    let Wanted { what, name } = wanted;
    let text = shell_line(&command);
    let cargo = |source| BuildError::Cargo {
        what,
        command: text.clone(),
        source,
    };
    let step = Step::start(&format!("building {what}"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(cargo)?;
    let messages = child.stdout.take();
    let diagnostics = child.stderr.take();
    let executable = thread::scope(|scope| {
        let reader =
            scope.spawn(move || messages.and_then(|messages| find_executable(messages, name)));
        let output = diagnostics
            .map(|pipe| show(pipe, &step))
            .unwrap_or_default();
        (reader.join().unwrap_or_default(), output)
    });
    let (executable, output) = executable;
    let status = child.wait().map_err(cargo)?;
    if !status.success() {
        return Err(BuildError::Compiler {
            what,
            command: text,
            status,
            output,
        });
    }
    let executable = executable.ok_or(BuildError::NoExecutable {
        what,
        name,
        command: text,
    })?;
    step.done(&format!("built {what}"));
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

/// Finds the file of the target `name` in cargo's messages; reads them to the end.
fn find_executable(messages: impl Read, name: &str) -> Option<PathBuf> {
    let lines = BufReader::new(messages).lines().map_while(Result::ok);
    lines.filter_map(|line| executable_of(&line, name)).last()
}

fn executable_of(message: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let ours = message["reason"] == "compiler-artifact" && message["target"]["name"] == name;
    let path = ours.then(|| message["executable"].as_str())??;
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: Wanted = Wanted {
        what: "the kernel",
        name: "ivshmem-kernel",
    };

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"ivshmem\"},\"executable\":null}\n",
            "not json\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"ivshmem-kernel\"},",
            "\"executable\":\"/t/ivshmem-kernel\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        let found = find_executable(messages.as_bytes(), KERNEL.name);
        assert_eq!(found, Some(PathBuf::from("/t/ivshmem-kernel")));
    }

    #[test]
    fn a_build_script_of_the_same_name_is_not_the_kernel() {
        let message = "{\"reason\":\"compiler-artifact\",\
                       \"target\":{\"name\":\"ivshmem-kernel\"},\"executable\":null}";
        assert_eq!(executable_of(message, KERNEL.name), None);
    }

    #[test]
    fn the_compilers_output_is_in_the_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo E0425 >&2; exit 101"]);
        let error = executable(KERNEL, command).unwrap_err().to_string();
        assert!(error.contains("E0425"), "{error}");
        assert!(
            error.contains("the kernel does not build: exit status: 101"),
            "{error}"
        );
        let mut command = Command::new("sh");
        command.args(["-c", "exit 0"]);
        assert!(matches!(
            executable(KERNEL, command),
            Err(BuildError::NoExecutable { .. })
        ));
    }
}
