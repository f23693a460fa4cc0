// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem man`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::output::print;
use super::{Cli, Exit, Failure};

const EXAMPLE: &str = "\
Example, for all users of this machine, and to read one page at once:
  ivshmem man /usr/local/share/man/man1
  ivshmem man | man -l -

Exit status: 0 if the pages were written, 2 if not.";

/// Write the manual pages: of the command and of each subcommand.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    /// Where the pages go, one file each (ivshmem.1, ivshmem-server.1, ...). It is created if absent
    /// [default: the page of ivshmem alone, on stdout].
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// Writes the pages.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.directory {
        Some(directory) => write_all(&directory)?,
        None => {
            let mut page = Vec::new();
            Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| Failure::new(format!("cannot make the page: {error}")))?;
            print(&page)?;
        }
    }
    Ok(Exit::Success)
}

fn write_all(directory: &Path) -> Result<(), Failure> {
    let failed = |error| {
        Failure::new(format!(
            "cannot write manual pages to {}: {error}; name a directory that you may write to",
            directory.display()
        ))
    };
    fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed)
}
