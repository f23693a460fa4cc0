// SPDX-License-Identifier: MIT OR Apache-2.0
//! Questions about a machine.
//!
//! Every decision of the set-up asks through [`Probe`], so that the decisions are tested on
//! made-up machines and not only on the one at hand.

use crate::{environment, paths};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the decisions may ask of a machine.
pub trait Probe {
    /// Returns an environment variable; an empty one counts as unset.
    fn variable(&self, name: &str) -> Option<String>;
    /// Returns the text of a file, if it can be read.
    fn text(&self, path: &Path) -> Option<String>;
    /// Returns the names in a folder; none if it cannot be read.
    fn names(&self, folder: &Path) -> Vec<String>;
    /// Returns the path with its symbolic links resolved, if it exists.
    fn resolve(&self, path: &Path) -> Option<PathBuf>;
    /// Returns whether the path opens for reading and writing.
    fn opens_read_write(&self, path: &Path) -> bool;
    /// Returns where the `PATH` has an executable of this name.
    fn program(&self, name: &str) -> Option<PathBuf>;
    /// Runs a program in the repository's top folder and returns what it printed.
    ///
    /// # Errors
    ///
    /// - The program does not start, or ends with another status than 0: the reason in words.
    fn output(&self, program: &Path, arguments: &[&str]) -> Result<String, String>;
}

/// The machine that we run on.
#[derive(Debug, Clone, Copy)]
pub struct ThisMachine;

impl Probe for ThisMachine {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn text(&self, path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        fs::canonicalize(path).ok()
    }

    fn opens_read_write(&self, path: &Path) -> bool {
        OpenOptions::new().read(true).write(true).open(path).is_ok()
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| {
                fs::metadata(file)
                    .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
            })
    }

    fn output(&self, program: &Path, arguments: &[&str]) -> Result<String, String> {
        let mut command: Command = environment::scrubbed(program);
        let output = command
            .args(arguments)
            .current_dir(paths::root())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let first = complaint.lines().find(|line| !line.trim().is_empty());
        Err(match first {
            Some(line) => format!("{}: {}", output.status, line.trim()),
            None => output.status.to_string(),
        })
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! A made-up machine for the tests of the decisions.

    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// A machine that has only what a test gives it.
    #[derive(Debug, Default, Clone)]
    pub struct FakeMachine {
        variables: BTreeMap<String, String>,
        files: BTreeMap<PathBuf, String>,
        links: BTreeMap<PathBuf, PathBuf>,
        writable: Vec<PathBuf>,
        programs: BTreeMap<String, PathBuf>,
        outputs: BTreeMap<String, String>,
    }

    impl FakeMachine {
        pub fn with_variable(mut self, name: &str, value: &str) -> Self {
            self.variables.insert(name.into(), value.into());
            self
        }

        pub fn with_file(mut self, path: &str, text: &str) -> Self {
            self.files.insert(path.into(), text.into());
            self
        }

        pub fn with_link(mut self, from: &str, to: &str) -> Self {
            self.links.insert(from.into(), to.into());
            self
        }

        pub fn with_writable(mut self, path: &str) -> Self {
            self.writable.push(path.into());
            self
        }

        pub fn with_program(mut self, path: &str) -> Self {
            let name = path.rsplit('/').next().unwrap_or(path);
            self.programs.insert(name.into(), path.into());
            self.with_file(path, "")
        }

        /// Says what a command line (program and arguments, blank-separated) prints.
        pub fn prints(mut self, command: &str, output: &str) -> Self {
            self.outputs.insert(command.into(), output.into());
            self
        }
    }

    impl Probe for FakeMachine {
        fn variable(&self, name: &str) -> Option<String> {
            self.variables.get(name).cloned()
        }

        fn text(&self, path: &Path) -> Option<String> {
            self.files.get(path).cloned()
        }

        fn names(&self, folder: &Path) -> Vec<String> {
            let inside = self.files.keys().filter_map(|path| {
                let first = path.strip_prefix(folder).ok()?.iter().next()?;
                Some(first.to_string_lossy().into_owned())
            });
            inside.collect()
        }

        fn resolve(&self, path: &Path) -> Option<PathBuf> {
            let linked = self.links.get(path).cloned();
            let real = self.files.contains_key(path) || !self.names(path).is_empty();
            linked.or_else(|| real.then(|| path.to_path_buf()))
        }

        fn opens_read_write(&self, path: &Path) -> bool {
            self.writable.iter().any(|writable| writable == path)
        }

        fn program(&self, name: &str) -> Option<PathBuf> {
            self.programs.get(name).cloned()
        }

        fn output(&self, program: &Path, arguments: &[&str]) -> Result<String, String> {
            let line = format!("{} {}", program.display(), arguments.join(" "));
            self.outputs
                .get(line.trim())
                .cloned()
                .ok_or_else(|| "exit status: 1: not available".into())
        }
    }

    /// A machine that changes while questions are asked.
    impl<P: Probe> Probe for RefCell<P> {
        fn variable(&self, name: &str) -> Option<String> {
            self.borrow().variable(name)
        }

        fn text(&self, path: &Path) -> Option<String> {
            self.borrow().text(path)
        }

        fn names(&self, folder: &Path) -> Vec<String> {
            self.borrow().names(folder)
        }

        fn resolve(&self, path: &Path) -> Option<PathBuf> {
            self.borrow().resolve(path)
        }

        fn opens_read_write(&self, path: &Path) -> bool {
            self.borrow().opens_read_write(path)
        }

        fn program(&self, name: &str) -> Option<PathBuf> {
            self.borrow().program(name)
        }

        fn output(&self, program: &Path, arguments: &[&str]) -> Result<String, String> {
            self.borrow().output(program, arguments)
        }
    }
}
