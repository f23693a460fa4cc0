// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the system shows itself: `/proc`, `/sys`, `/etc`, `/dev`, below a root that a test chooses.

use std::fs;
#[cfg(test)]
use std::path::Path;
use std::path::PathBuf;

/// The files in which the system shows itself.
#[derive(Clone, Debug)]
pub(in crate::command) struct World {
    root: PathBuf,
}

impl World {
    /// Returns this machine.
    pub(in crate::command) fn real() -> Self {
        Self { root: "/".into() }
    }

    /// Returns a machine of which only the files below `root` are there.
    #[cfg(test)]
    pub(super) fn planted(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Returns where `path`, which begins with a slash, is.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Returns the text of a file without the white space around it; `None` if it cannot be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.at(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Returns the names in a directory, in order; none if it cannot be read.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(path)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }
}

/// Writes the files of a planted machine.
#[cfg(test)]
pub(super) fn plant(root: &Path, files: &[(&str, &str)]) -> World {
    for (path, text) in files {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    World::planted(root)
}
