// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arguments of the commands that are members of a region while they run.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ivshmem::channel::Name;
use ivshmem_host::channel::{Channels, JoinError, Options};
use ivshmem_host::peer::ConnectError;

use super::duration::seconds;
use super::place::SocketArgument;
use super::Failure;

/// Which region, and how to be a member of it; to be flattened into a command's arguments.
#[derive(Clone, Debug, Args)]
pub(super) struct Membership {
    #[command(flatten)]
    pub(super) socket: SocketArgument,

    /// Be a member of the region in this file instead, the memory of guests with ivshmem-plain. Nobody can
    /// be rung there.
    #[arg(long, value_name = "PATH")]
    pub(super) shm_file: Option<PathBuf>,

    /// Who shows no sign of life for so many seconds counts as dead.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(super) limit: Duration,
}

impl Membership {
    /// Says why it was not possible to join, and where.
    pub(super) fn explain(&self, error: JoinError) -> Failure {
        match (&error, &self.shm_file) {
            // It says where by itself.
            (JoinError::Server(ConnectError::Open { .. }) | JoinError::File { .. }, _) => {
                Failure::new(error)
            }
            (_, Some(path)) => Failure::new(format!("cannot use {}: {error}", path.display())),
            (_, None) => self.socket.explain(error),
        }
    }

    /// Joins.
    pub(super) fn join(&self, options: Options) -> Result<Channels, JoinError> {
        let options = options.limit(self.limit);
        match &self.shm_file {
            Some(path) => options.join_file(path),
            None => options.join_server(&self.socket.socket),
        }
    }
}

/// Reads the name of a member.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || Name::new(text).as_bytes() != text.as_bytes() {
        return Err("a name has 1 to 32 bytes".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_a_whole_or_not_at_all() {
        let longest = "n".repeat(32);
        for text in ["a", "größer", "-1", &longest] {
            assert_eq!(name(text), Ok(text.to_owned()));
        }
        for text in ["", "a\0", &(longest + "n")] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}
