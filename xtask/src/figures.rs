// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the figures of the demo and the benchmark are shown and written down.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::party::PartyError;

/// A time in nanoseconds, shown in the unit that suits it.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        match self.0 {
            0..=9_999 => write!(f, "{} ns", self.0),
            10_000..=9_999_999 => write!(f, "{:.1} us", ns / 1e3),
            _ => write!(f, "{:.1} ms", ns / 1e6),
        }
    }
}

/// The file that takes the figures.
#[derive(Debug)]
pub struct JsonFile {
    path: PathBuf,
    file: File,
}

impl JsonFile {
    /// Opens the file, so that it is known to be writable.
    ///
    /// # Errors
    ///
    /// - It is not.
    pub fn create(path: &Path) -> Result<Self, PartyError> {
        match File::create(path) {
            Ok(file) => Ok(Self {
                path: path.into(),
                file,
            }),
            Err(error) => Err(PartyError::Json {
                path: path.into(),
                error,
            }),
        }
    }

    /// Writes the figures.
    ///
    /// # Errors
    ///
    /// - The file does not take them.
    pub fn write(mut self, figures: &Value) -> Result<(), PartyError> {
        let text = format!("{:#}\n", figures);
        let result: io::Result<()> = self.file.write_all(text.as_bytes());
        result.map_err(|error| PartyError::Json {
            path: self.path,
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_that_suit_them() {
        let shown = [130, 9_999, 62_449, 12_000_000].map(|ns| Time(ns).to_string());
        assert_eq!(shown, ["130 ns", "9999 ns", "62.4 us", "12.0 ms"]);
    }
}
