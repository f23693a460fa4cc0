// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arguments that say which server or which memory a command is about.

use std::fmt::Display;
use std::path::PathBuf;

use clap::Args;
use ivshmem_host::admin::Admin;
use ivshmem_host::peer::{ConnectError, Peer};

use super::Failure;

/// Where the server's socket is unless said otherwise; the units in `dist` have it there.
pub(super) const DEFAULT_SOCKET: &str = "/run/ivshmem/ivshmem.sock";

/// The environment variable that says otherwise.
pub(super) const SOCKET_VARIABLE: &str = "IVSHMEM_SOCKET";

/// The socket of a server, to be flattened into a command's arguments.
#[derive(Clone, Debug, Args)]
pub(super) struct SocketArgument {
    /// Socket that the clients of the server connect to.
    #[arg(
        long,
        value_name = "PATH",
        env = SOCKET_VARIABLE,
        hide_env_values = true,
        default_value = DEFAULT_SOCKET
    )]
    pub(super) socket: PathBuf,
}

impl SocketArgument {
    /// Returns the socket of one who was told nothing: that of the environment, or the usual one.
    pub(super) fn usual() -> Self {
        let told = std::env::var_os(SOCKET_VARIABLE);
        Self {
            socket: told.map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from),
        }
    }

    /// Says why the server there cannot be joined.
    pub(super) fn explain(&self, error: impl Display) -> Failure {
        Failure::new(format!(
            "cannot join the server at {}: {error}",
            self.socket.display()
        ))
    }

    /// Joins the server as a client.
    pub(super) fn connect(&self) -> Result<Peer, Failure> {
        Peer::connect(&self.socket).map_err(|error| match error {
            // It says where by itself.
            ConnectError::Open { .. } => Failure::new(error),
            error => self.explain(error),
        })
    }
}

/// A server that is asked about itself, to be flattened into a command's arguments.
#[derive(Clone, Debug, Args)]
pub(super) struct AdminArgument {
    #[command(flatten)]
    pub(super) socket: SocketArgument,

    /// Socket that the server answers requests at, if it was started with --admin [default: the
    /// other socket's path with .admin appended].
    #[arg(long, value_name = "PATH")]
    pub(super) admin: Option<PathBuf>,
}

impl AdminArgument {
    /// Returns the server to be asked.
    pub(super) fn server(&self) -> Admin {
        match &self.admin {
            Some(path) => Admin::at(path),
            None => Admin::of(&self.socket.socket),
        }
    }
}
