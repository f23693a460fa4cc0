// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of QEMU's `ivshmem-server`, and what they mean for ours.

use std::path::PathBuf;

use clap::Parser;
use ivshmem_host::server::{Access, Backing, Config};
use ivshmem_host::size::{self, SizeError};
use rustix::fs::Mode;
use rustix::process::umask;

/// The most vectors that QEMU's server takes.
const MAX_VECTORS: u16 = 64;

const DIFFERENCES: &str = "\
Options and defaults are those of the ivshmem-server in QEMU's sources. What is different:
- A socket that a killed server has left is replaced; SOCKET.lock keeps a second server away.
- The size may be beyond 1G. One below 4K becomes 4K. An object of another size is an error: it is
  not resized, which would kill the virtual machines that have it.
- An object of another user, or a link in its place, is not used.
- There is at least one vector, since interrupts are what the server is for.
- A client that does not read loses nothing and delays nobody. As many clients as the limit of open
  files allows are admitted, up to 1024; one too many is told so.
- In the background it does not hold the terminal, and it is only left there once clients can connect;
  otherwise the error is told and the exit status is 1.
- `ivshmem status` shows who is connected.

It speaks the protocol of QEMU 2.5 and later (version 0). ivshmem server has more options.

Example: ivshmem-server -F -v -S /tmp/ivshmem_socket -l 4M -n 2

Exit status: 0 after SIGTERM or SIGINT, or once the server runs in the background; 1 for an error.";

/// Serve shared memory and doorbells to virtual machines, with the options of QEMU's ivshmem-server.
#[derive(Debug, Parser)]
#[command(name = "ivshmem-server", after_help = DIFFERENCES, args_override_self = true)]
pub(crate) struct Arguments {
    /// Say on stdout what happens; only with -F.
    #[arg(short = 'v')]
    pub(crate) verbose: bool,

    /// Stay in the foreground; otherwise go to the background and write the PID file.
    #[arg(short = 'F')]
    pub(crate) foreground: bool,

    /// PID file, in the background only.
    #[arg(
        short = 'p',
        value_name = "FILE",
        default_value = "/var/run/ivshmem-server.pid"
    )]
    pub(crate) pid_file: PathBuf,

    /// Socket that clients connect to.
    #[arg(
        short = 'S',
        value_name = "PATH",
        default_value = "/tmp/ivshmem_socket"
    )]
    socket: PathBuf,

    /// POSIX shared memory object, created if absent and never removed. Of -M and -m the last one counts.
    #[arg(
        short = 'M',
        value_name = "NAME",
        default_value = "ivshmem",
        overrides_with = "folder"
    )]
    object: String,

    /// Use an unnamed file in this folder, such as a hugetlbfs, instead of an object.
    #[arg(short = 'm', value_name = "DIR", overrides_with = "object")]
    folder: Option<PathBuf>,

    /// Size of the shared memory: bytes, or a number with K, M, G or T; rounded up to a power of two.
    #[arg(short = 'l', value_name = "SIZE", default_value = "4M", value_parser = size::parse_bytes)]
    size: u64,

    /// Vectors of each client, 1 to 64.
    #[arg(short = 'n', value_name = "N", default_value_t = 1, value_parser = parse_vectors)]
    vectors: u16,

    /// Is the process in the background, started by one that waits for it.
    #[arg(long = "in-background", hide = true)]
    pub(crate) is_daemon: bool,
}

impl Arguments {
    /// Returns the configuration of the server.
    ///
    /// # Errors
    ///
    /// - [`SizeError::TooLarge`]: the size cannot be rounded up.
    pub(crate) fn config(&self) -> Result<Config, SizeError> {
        let size_bytes = size::round_up(self.size).ok_or_else(|| SizeError::TooLarge {
            text: self.size.to_string(),
        })?;
        // What the system would give files that nobody sets the mode of.
        let masked = umask(Mode::empty());
        umask(masked);
        let access = |mode: u32| Access {
            mode: mode & !masked.as_raw_mode(),
            ..Access::default()
        };
        Ok(Config {
            access: access(0o777),
            memory_access: Some(access(0o700)),
            backing: match &self.folder {
                Some(folder) => Backing::Unlinked(folder.clone()),
                None => Backing::Posix(self.object.clone()),
            },
            ..Config::new(&self.socket, size_bytes, self.vectors)
        })
    }
}

fn parse_vectors(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(vectors @ 1..=MAX_VECTORS) => Ok(vectors),
        Ok(0) => Err("at least one vector is needed".to_owned()),
        Ok(_) => Err(format!(
            "too many requested vectors, the most is {MAX_VECTORS}"
        )),
        Err(_) => Err(format!("not a number from 1 to {MAX_VECTORS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Arguments {
        let words = std::iter::once("ivshmem-server").chain(line.split_whitespace());
        Arguments::try_parse_from(words).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_qemu() {
        let arguments = parse("");
        assert!(!arguments.verbose && !arguments.foreground && !arguments.is_daemon);
        assert_eq!(
            arguments.pid_file.to_str(),
            Some("/var/run/ivshmem-server.pid")
        );
        let config = arguments.config().unwrap();
        assert_eq!(config.socket.to_str(), Some("/tmp/ivshmem_socket"));
        assert_eq!(config.backing, Backing::Posix("ivshmem".to_owned()));
        assert_eq!((config.size_bytes, config.vectors), (4 << 20, 1));
    }

    #[test]
    fn the_last_one_counts() {
        let backing = |line| parse(line).config().unwrap().backing;
        let folder = Backing::Unlinked("/dev/hugepages".into());
        assert_eq!(backing("-M a -m /dev/hugepages"), folder);
        assert_eq!(
            backing("-m /dev/hugepages -M a"),
            Backing::Posix("a".to_owned())
        );
        assert_eq!(parse("-n 1 -n 2 -Fv -F").config().unwrap().vectors, 2);
    }

    #[test]
    fn sizes_are_rounded_up() {
        for (text, bytes) in [
            ("5000", 8192),
            ("1", 4096),
            ("3g", 4 << 30),
            ("64K", 1 << 16),
        ] {
            let line = format!("-l {text}");
            assert_eq!(parse(&line).config().unwrap().size_bytes, bytes, "{text}");
        }
        assert!(parse("-l 9223372036854775809").config().is_err());
    }
}
