// SPDX-License-Identifier: MIT OR Apache-2.0
//! The caller's command line, with places for the kernel and its arguments.

use std::fmt;
use std::path::Path;
use std::process::Command;

/// Where the path of the kernel goes.
const KERNEL: &str = "{kernel}";
/// Where the kernel command line goes.
const APPEND: &str = "{append}";

/// A command line with `{kernel}` and `{append}` in it.
#[derive(Debug, Clone)]
pub struct Template {
    program: String,
    arguments: Vec<String>,
}

impl Template {
    /// Takes a program and its arguments. The placeholders may be whole arguments or parts of some.
    ///
    /// # Errors
    ///
    /// - There is no program, or a placeholder is in no argument.
    pub fn new(words: &[String]) -> Result<Self, TemplateError> {
        let (program, arguments) = words.split_first().ok_or(TemplateError::Empty)?;
        for placeholder in [KERNEL, APPEND] {
            if !arguments.iter().any(|word| word.contains(placeholder)) {
                return Err(TemplateError::Missing { placeholder });
            }
        }
        Ok(Self {
            program: program.clone(),
            arguments: arguments.to_vec(),
        })
    }

    /// Returns the command for one boot.
    pub(super) fn command(&self, kernel: &Path, append: &str) -> Command {
        let kernel = kernel.to_string_lossy();
        let mut command = Command::new(&self.program);
        for word in &self.arguments {
            command.arg(word.replace(KERNEL, &kernel).replace(APPEND, append));
        }
        command
    }
}

/// A command line that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateError {
    /// There is no program.
    Empty,
    /// An argument is missing.
    Missing {
        /// What no argument contains.
        placeholder: &'static str,
    },
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "no command is given; write it after --"),
            Self::Missing { placeholder } => write!(
                f,
                "no argument of the command contains {placeholder}; write -kernel {KERNEL} -append {APPEND}, \
                 or what your hypervisor has instead"
            ),
        }
    }
}

impl std::error::Error for TemplateError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::shell_line;

    fn template(words: &[&str]) -> Result<Template, TemplateError> {
        let words: Vec<String> = words.iter().map(|word| (*word).into()).collect();
        Template::new(&words)
    }

    #[test]
    fn placeholders_may_be_whole_arguments_or_parts() {
        let template = template(&["vmm", "--boot={kernel}", "-a", "{append}"]).unwrap();
        let line = shell_line(&template.command(Path::new("/k"), "run=x y"));
        assert_eq!(line, "vmm --boot=/k -a 'run=x y'");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(template(&[]).unwrap_err(), TemplateError::Empty);
        let error = template(&["{kernel}", "-kernel", "/k"]).unwrap_err();
        assert!(error.to_string().contains("{kernel}"), "{error}");
        let error = template(&["vmm", "{kernel}"]).unwrap_err();
        assert!(error.to_string().contains("contains {append}"), "{error}");
    }
}
