// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arguments that say which server or which memory a command is about.

use std::path::PathBuf;

use clap::Args;

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
