// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::output::print;
use super::{Cli, Exit, Failure};

const EXAMPLE: &str = "\
Example, for bash and for zsh:
  ivshmem completions bash > ~/.local/share/bash-completion/completions/ivshmem
  ivshmem completions zsh > ~/.zfunc/_ivshmem     # ~/.zfunc being in fpath

Exit status: 0 if the script was written, 2 if not.";

/// Write a script that makes a shell complete this command's arguments.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    /// The shell that is to read it.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Writes the script to stdout.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "ivshmem", &mut script);
    print(&script)?;
    Ok(Exit::Success)
}
