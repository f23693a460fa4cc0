// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arguments of `ivshmem server` that concern what holds the shared memory.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ivshmem_host::server::{Access, Backing, FileAtEnd, HugePages};

use super::mode::{parse_mode, Mode};

/// What holds the shared memory; an anonymous, sealed file (memfd) if nothing is said.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Shared memory [default: an anonymous file, sealed against changes of its size]"
)]
pub(super) struct MemoryArguments {
    /// Take an anonymous, sealed file of huge pages, all of them at the start. SIZE must be a whole number of them.
    #[arg(long, value_name = "2M|1G", group = "backing", num_args = 0..=1, require_equals = true, default_missing_value = "default", hide_possible_values = true)]
    huge_pages: Option<PageSize>,

    /// Keep the memory in this file, which may be on a hugetlbfs. It is created if absent; if not it must have the
    /// right size, belong to root, this user or --shm-owner, and be no link. Who may write to it can change its size.
    #[arg(long, value_name = "PATH", group = "backing", group = "named")]
    shm_file: Option<PathBuf>,

    /// Keep the memory in the POSIX shared memory object of this name (/dev/shm/NAME); else as --shm-file.
    #[arg(long, value_name = "NAME", group = "backing", group = "named")]
    shm_name: Option<String>,

    /// Remove the file or object when the server ends. It stays otherwise, and the next server takes it with its contents.
    #[arg(long, requires = "named")]
    shm_unlink: bool,

    /// Permission bits of a new file or object, in octal [default: those of the socket].
    #[arg(long, value_name = "MODE", value_parser = parse_mode, requires = "named")]
    shm_mode: Option<Mode>,

    /// Owner of a new file or object, whom one that exists may belong to as well [default: that of the socket].
    #[arg(long, value_name = "USER", requires = "named")]
    shm_owner: Option<String>,

    /// Group of a new file or object [default: that of the socket].
    #[arg(long, value_name = "GROUP", requires = "named")]
    shm_group: Option<String>,
}

/// A size of huge pages, as it is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PageSize {
    /// The system's usual one.
    Default,
    /// 2 MiB.
    #[value(name = "2M")]
    Size2M,
    /// 1 GiB.
    #[value(name = "1G")]
    Size1G,
}

impl MemoryArguments {
    /// Returns what is to hold the memory.
    pub(super) fn backing(&self) -> Backing {
        if let Some(pages) = self.huge_pages {
            Backing::HugePages(match pages {
                PageSize::Default => HugePages::Default,
                PageSize::Size2M => HugePages::Size2M,
                PageSize::Size1G => HugePages::Size1G,
            })
        } else if let Some(path) = &self.shm_file {
            Backing::File(path.clone())
        } else if let Some(name) = &self.shm_name {
            Backing::Posix(name.clone())
        } else {
            Backing::Memfd
        }
    }

    /// Returns what becomes of a file.
    pub(super) fn file_at_end(&self) -> FileAtEnd {
        if self.shm_unlink {
            FileAtEnd::Remove
        } else {
            FileAtEnd::Keep
        }
    }

    /// Returns who may open a new file, where `socket` is who may connect.
    pub(super) fn access(&self, socket: &Access) -> Access {
        Access {
            mode: self.shm_mode.map_or(socket.mode, |mode| mode.0),
            owner: self.shm_owner.clone().or_else(|| socket.owner.clone()),
            group: self.shm_group.clone().or_else(|| socket.group.clone()),
        }
    }
}
