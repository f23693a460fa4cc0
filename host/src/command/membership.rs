// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arguments of the commands that are members of a region while they run.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ivshmem_host::channel::{Channels, JoinError, Options};

use super::place::SocketArgument;

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
    /// Joins.
    pub(super) fn join(&self, options: Options) -> Result<Channels, JoinError> {
        let options = options.limit(self.limit);
        match &self.shm_file {
            Some(path) => options.join_file(path),
            None => options.join_server(&self.socket.socket),
        }
    }
}

/// Reads a number of seconds above 0, which may have decimals.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "not a number of seconds above 0, such as 2 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_decimals_and_are_never_none() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["", "0", "-1", "nan", "inf", "1e99", "two", "1s", "1e-12"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
