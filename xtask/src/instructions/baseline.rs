// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file of counts to compare with: [`Baseline`].

use crate::paths;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Begins the line that tells whose counts these are.
const ORIGIN: &str = "by ";

/// What the file begins with.
const INTRODUCTION: &str = "\
# Instructions of one operation each, as `cargo xtask instructions --save` counted them.
# CI fails if one has grown by more than 2 %, unless the same commit saves this file anew.
";

/// What one operation costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    /// The name of the operation.
    pub case: String,
    /// Instructions of one operation, to two decimals: some have a share of what happens once in several.
    pub instructions: f64,
}

/// The counts of all operations, and whose they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// The compiler and libc, on which the counts depend.
    pub origin: String,
    /// One for each operation.
    pub counts: Vec<Count>,
}

/// Why there is nothing to compare with.
#[derive(Debug)]
pub enum BaselineError {
    /// The file cannot be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line has no meaning.
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        number: usize,
        /// Its text.
        text: String,
    },
    /// The file does not say whose counts it has.
    NoOrigin {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for BaselineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "{}: {source}", path.display())?,
            Self::Line { path, number, text } => write!(
                f,
                "{}:{number}: not an operation and its instructions: {text}",
                path.display()
            )?,
            Self::NoOrigin { path } => {
                write!(f, "{}: no line begins with \"{ORIGIN}\"", path.display())?;
            }
        }
        f.write_str("\nto write it anew: cargo xtask instructions --save")
    }
}

impl std::error::Error for BaselineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Baseline {
    /// Returns where the repository has it.
    #[must_use]
    pub fn path() -> PathBuf {
        paths::root().join("benches/instructions.txt")
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// - It cannot be read, or has a line that means nothing.
    pub fn read(path: &Path) -> Result<Self, BaselineError> {
        let text = fs::read_to_string(path).map_err(|source| BaselineError::File {
            path: path.into(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Writes a file.
    ///
    /// # Errors
    ///
    /// - It cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        fs::write(path, format!("{INTRODUCTION}{self}")).map_err(|source| BaselineError::File {
            path: path.into(),
            source,
        })
    }

    fn parse(text: &str, path: &Path) -> Result<Self, BaselineError> {
        let mut origin = None;
        let mut counts = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(by) = line.strip_prefix(ORIGIN) {
                origin = Some(by.to_owned());
                continue;
            }
            counts.push(parse_count(line).ok_or_else(|| BaselineError::Line {
                path: path.into(),
                number: index + 1,
                text: line.into(),
            })?);
        }
        let origin = origin.ok_or_else(|| BaselineError::NoOrigin { path: path.into() })?;
        Ok(Self { origin, counts })
    }
}

fn parse_count(line: &str) -> Option<Count> {
    let mut words = line.split_ascii_whitespace();
    let case = words.next()?.to_owned();
    let instructions = words.next()?.parse().ok()?;
    // Neither 0 nor what is no number can be grown from.
    let sound = f64::is_finite(instructions) && instructions > 0.0 && words.next().is_none();
    sound.then_some(Count { case, instructions })
}

/// As in the file, without the introduction.
impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{ORIGIN}{}", self.origin)?;
        for Count { case, instructions } in &self.counts {
            writeln!(f, "{case:<28} {instructions:>10.2}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.txt");
        let count = |case: &str, instructions| Count {
            case: case.into(),
            instructions,
        };
        let baseline = Baseline {
            origin: "rustc 1.95.0 (598 2026-04-14), glibc 2.36".into(),
            counts: vec![count("send-8", 421.09), count("join", 5112.0)],
        };
        baseline.write(&path).unwrap();
        assert_eq!(Baseline::read(&path).unwrap(), baseline);
    }

    #[test]
    fn a_line_without_meaning_is_named() {
        for line in [
            "send", "send x", "send 1 2", "send 0", "send -1", "send nan",
        ] {
            let text = format!("# head\nby me\n{line}\n");
            let error = Baseline::parse(&text, Path::new("/f")).unwrap_err();
            let expected = format!("/f:3: not an operation and its instructions: {line}\n");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn what_is_of_nobody_and_what_is_not_there_are_errors_that_say_what_to_do() {
        let nobody = Baseline::parse("send 1.00\n", Path::new("/f")).unwrap_err();
        let nothing = Baseline::read(Path::new("/nonexistent")).unwrap_err();
        for error in [nobody, nothing] {
            assert!(
                error.to_string().ends_with("instructions --save"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_repository_has_one() {
        assert!(!Baseline::read(&Baseline::path()).unwrap().counts.is_empty());
    }
}
