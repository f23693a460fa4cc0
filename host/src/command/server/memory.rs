// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arguments of `ivshmem server` that concern what holds the shared memory.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ivshmem_host::server::{Backing, Config, FileAtEnd, HugePages};

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
    /// Writes what was asked for into `config`, and leaves the rest as it is.
    pub(super) fn adjust(&self, config: &mut Config) {
        if let Some(backing) = self.backing() {
            config.backing = backing;
        }
        if self.shm_unlink {
            config.file_at_end = FileAtEnd::Remove;
        }
        if self.shm_mode.is_some() || self.shm_owner.is_some() || self.shm_group.is_some() {
            let mut access = config.memory_access().clone();
            access.mode = self.shm_mode.map_or(access.mode, |mode| mode.0);
            access.owner = self.shm_owner.clone().or(access.owner);
            access.group = self.shm_group.clone().or(access.group);
            config.memory_access = Some(access);
        }
    }

    /// Returns what is to hold the memory, if that was said.
    fn backing(&self) -> Option<Backing> {
        let pages = self.huge_pages.map(|pages| match pages {
            PageSize::Default => HugePages::Default,
            PageSize::Size2M => HugePages::Size2M,
            PageSize::Size1G => HugePages::Size1G,
        });
        let huge = pages.map(Backing::HugePages);
        huge.or_else(|| self.shm_file.clone().map(Backing::File))
            .or_else(|| self.shm_name.clone().map(Backing::Posix))
    }
}
