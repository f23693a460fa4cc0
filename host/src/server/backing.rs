// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can hold the shared memory.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What holds the shared memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Backing {
    /// An anonymous file, sealed so that no client can change its size. It lives as
    /// long as the server or any client has it.
    Memfd,
    /// The same of huge pages, all of them taken at the start. The size must be a whole number of pages.
    HugePages(HugePages),
    /// The file at this path, such as one in `/dev/shm` or on a hugetlbfs, for `memory-backend-file` or for tools.
    ///
    /// If absent it is created, as [`Config::memory_access`](super::Config::memory_access) says. One that exists
    /// keeps contents, owner, group and mode; it must have the configured size, be no symbolic link, and
    /// belong to root, to the user of the process or to the owner that is asked for. On a hugetlbfs all pages are taken
    /// at the start. What becomes of it at the end is the business of [`FileAtEnd`].
    ///
    /// Whoever may write to the file can change its size, which kills all who touch what is gone.
    File(PathBuf),
    /// The POSIX shared memory object of this name, with or without the `/` at its start: what `shm_open` opens.
    /// All that is said of files holds for it.
    Posix(String),
    /// A file without a name in this folder, such as that of a hugetlbfs. It lives as long as
    /// the server or any client has it, and any of them can change its size.
    Unlinked(PathBuf),
}

/// Sizes of huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HugePages {
    /// The system's usual size.
    Default,
    /// 2 MiB.
    Size2M,
    /// 1 GiB.
    Size1G,
}

/// What becomes of a named memory file when the server ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileAtEnd {
    /// It stays: virtual machines live on after a server, and the next one may use it again.
    #[default]
    Keep,
    /// It is removed, unless another file has taken its place. Those who have it go on sharing it.
    Remove,
}

impl Backing {
    /// Returns whether the memory is a file with a name.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        matches!(self, Self::File(_) | Self::Posix(_))
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memfd => f.write_str("a sealed memfd"),
            Self::HugePages(pages) => write!(f, "a sealed memfd of {pages}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Posix(name) => write!(f, "the POSIX object /{}", name.trim_start_matches('/')),
            Self::Unlinked(folder) => write!(f, "an unnamed file in {}", folder.display()),
        }
    }
}

impl fmt::Display for HugePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "huge pages",
            Self::Size2M => "huge pages of 2M",
            Self::Size1G => "huge pages of 1G",
        })
    }
}

/// Returns whether `shm_open` takes `name`: one component of a path, after a `/` or without.
pub(super) fn is_posix_name(name: &str) -> bool {
    let name = name.strip_prefix('/').unwrap_or(name);
    !matches!(name, "" | "." | "..") && name.len() < 255 && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_posix_objects_are_one_component() {
        for name in ["ivshmem", "/ivshmem", "a.b", "..c", &"x".repeat(254)] {
            assert!(is_posix_name(name), "{name}");
        }
        for name in ["", "/", ".", "/..", "a/b", "//a", "a\0b", &"x".repeat(255)] {
            assert!(!is_posix_name(name), "{name:?}");
        }
    }
}
