// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where what is received goes: [`Target`].

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::command::Failure;

/// Where all goes.
pub(super) struct Target {
    pub(super) file: File,
    pub(super) name: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file, which is emptied when there is something for it.
    File,
    /// Stdout, a pipe or a device.
    Other,
}

impl Target {
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(path) = path else {
            // Not by way of std's, which looks for the ends of lines.
            let file = io::stdout().as_fd().try_clone_to_owned();
            let file = file.map_err(|error| cannot_write("stdout", &error))?;
            return Ok(Self {
                file: File::from(file),
                name: "stdout".to_owned(),
                kind: Kind::Other,
            });
        };
        let name = path.display().to_string();
        let options = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .clone();
        let opened = options.open(&path).and_then(|file| {
            let kind = if file.metadata()?.is_file() {
                Kind::File
            } else {
                Kind::Other
            };
            Ok((file, kind))
        });
        let (file, kind) = opened.map_err(|error| cannot_write(&name, &error))?;
        Ok(Self { file, name, kind })
    }

    /// Makes ready for what has begun to come.
    pub(super) fn begin(&self) -> Result<(), Failure> {
        if self.kind == Kind::File {
            let emptied = self.file.set_len(0);
            emptied.map_err(|error| cannot_write(&self.name, &error))?;
        }
        Ok(())
    }
}

fn cannot_write(name: &str, error: &io::Error) -> Failure {
    Failure::new(format!(
        "cannot write to {name}: {error}; name a file that you may write to"
    ))
}
