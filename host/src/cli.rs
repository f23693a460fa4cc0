// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line of `ivshmem`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ivshmem_host::protocol::MAX_VECTORS;
use ivshmem_host::server::{Backing, Config, DEFAULT_MODE};
use ivshmem_host::size;

/// Shared memory and doorbells between virtual machines and host processes (QEMU's ivshmem).
#[derive(Debug, Parser)]
// Without arguments: an error like any other, not the help on stderr.
#[command(name = "ivshmem", version, arg_required_else_help = false)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Server(ServerArguments),
}

const SERVER_EXAMPLE: &str = "\
Example, with as many virtual machines as you like:
  ivshmem server --socket /tmp/ivshmem.sock --size 4M --vectors 2
  qemu-system-x86_64 ... \\
    -chardev socket,path=/tmp/ivshmem.sock,id=ivshmem \\
    -device ivshmem-doorbell,chardev=ivshmem,vectors=2

Give the device the same number of vectors as the server. Without the server
only memory can be shared, through a file (here that of --shm-file /dev/shm/ivshmem):
    -object memory-backend-file,id=mem,share=on,size=4M,mem-path=/dev/shm/ivshmem \\
    -device ivshmem-plain,memdev=mem

The server runs in the foreground and writes a line to stderr for each client
that joins or leaves. SIGTERM or SIGINT (Ctrl-C) ends it: the clients are told,
the socket is removed. QEMU cannot connect to a server that is started again.

Exit status: 0 after a signal, 2 if the server could not start or failed.";

/// Serve shared memory and doorbells to virtual machines and host processes.
#[derive(Debug, Args)]
#[command(after_help = SERVER_EXAMPLE)]
pub(crate) struct ServerArguments {
    /// Where clients connect. A socket that nobody listens at any more is replaced;
    /// PATH.lock next to it keeps a second server away.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// Size of the shared memory: bytes, or a number with K, M, G or T. A power of two, at least 4K.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    size: u64,

    /// Interrupt vectors of each client.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_VECTORS)))]
    vectors: u16,

    /// Permission bits of the socket and of a new shared memory file, in octal. Whoever may
    /// write to the socket has the memory.
    #[arg(long, value_name = "MODE", value_parser = parse_mode, default_value_t = Mode(DEFAULT_MODE))]
    mode: Mode,

    /// Group of the socket and of a new shared memory file [default: the process's own].
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// Keep the memory in this file instead of an anonymous one. It is created if absent, must
    /// have the right size if not, and stays when the server ends.
    #[arg(long, value_name = "PATH")]
    shm_file: Option<PathBuf>,
}

impl From<ServerArguments> for Config {
    fn from(arguments: ServerArguments) -> Self {
        Self {
            mode: arguments.mode.0,
            group: arguments.group,
            backing: arguments.shm_file.map_or(Backing::Memfd, Backing::File),
            ..Self::new(arguments.socket, arguments.size, arguments.vectors)
        }
    }
}

/// Permission bits, written in octal.
#[derive(Clone, Copy, Debug)]
struct Mode(u32);

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    // `from_str_radix` would take a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|&mode| digits && mode <= 0o777)
        .map(Mode)
        .ok_or_else(|| "not an octal number from 0 to 0777".to_owned())
}

/// Renders an error of the command line as one line.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let words = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let message = words.strip_prefix("error: ").unwrap_or(&words);
    format!("{message} (try --help)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("0660").unwrap().0, 0o660);
        assert_eq!(parse_mode("777").unwrap().0, 0o777);
        for text in ["", "8", "1000", "-1", "+7", "rw", "0o660"] {
            assert!(parse_mode(text).is_err(), "{text}");
        }
    }
}
