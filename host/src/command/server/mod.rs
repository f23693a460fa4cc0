// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem server`.

mod log;
mod memory;
mod metrics;
mod mode;
mod service;
mod settings;
mod successor;

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;

use clap::Args;
use ivshmem_host::protocol::MAX_VECTORS;
use ivshmem_host::server::{raise_descriptor_limit, Ending, PidFile, Server, MAX_CLIENTS};
use ivshmem_host::size;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use super::output::{log, set_log_format, LogFormat};
use super::place::SocketArgument;
use super::{Exit, Failure};
use log::Log;
use memory::MemoryArguments;
use mode::{parse_mode, Mode};
use service::{Manager, Start};
use successor::Successor;

const EXAMPLE: &str = "\
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
that joins or leaves; `ivshmem status` shows them all. PATH.lock next to the socket
keeps a second server away; a socket that nobody listens at any more is replaced.
SIGTERM or SIGINT (Ctrl-C) ends the server: the clients are told, the sockets are
removed. QEMU cannot connect to a server that is started again.

To restart it, for another version or other options, without anybody noticing:
  ivshmem server --socket /tmp/ivshmem.sock --handover
takes over from the one that runs there, which ends when it has given everything and
goes on if that fails. SIGUSR2 has the server do so itself, with the program that is
installed by then and its own arguments. Size, vectors, files and access stay.

Started by systemd, it serves the socket of its socket unit (LISTEN_FDS), and tells
when it is ready, how many clients there are, and that it lives (NOTIFY_SOCKET).

Exit status: 0 after a signal, 2 if the server could not start or failed.";

/// Serve shared memory and doorbells to virtual machines and host processes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    // A socket that nobody listens at any more is replaced.
    #[command(flatten)]
    socket: SocketArgument,

    /// Size of the shared memory: bytes, or a number with K, M, G or T. A power of two, at least 4K.
    #[arg(long, value_name = "SIZE", value_parser = size::parse, required_unless_present = "handover")]
    size: Option<u64>,

    /// Interrupt vectors of each client.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_VECTORS)), required_unless_present = "handover")]
    vectors: Option<u16>,

    /// Take over from the server that runs at the socket, which needs its admin socket: all settings that are not
    /// given are those of that server, and of those that are only --max-peers may differ.
    #[arg(long)]
    handover: bool,

    /// The most clients at once, 1 to 1024 [default: what the limit of open files allows].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_CLIENTS as i64))]
    max_peers: Option<u16>,

    /// Permission bits of the socket, in octal [default: 0600]. Whoever may write to the socket has the memory.
    #[arg(long, alias = "socket-mode", value_name = "MODE", value_parser = parse_mode)]
    mode: Option<Mode>,

    /// Owner of the socket, a name or a number [default: the process's own user]. Others need root.
    #[arg(long, value_name = "USER")]
    owner: Option<String>,

    /// Group of the socket, a name or a number [default: the process's own].
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// Write the process's number into this file once the server listens; it is removed at the end.
    #[arg(long, value_name = "PATH")]
    pid_file: Option<PathBuf>,

    /// Write to stderr only what is wrong: clients cut off or refused, and errors.
    #[arg(long)]
    quiet: bool,

    /// How lines are written to stderr: json is one object a line, with time (seconds since 1970), event and message.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// Where the server answers `ivshmem status` and other requests about itself [default: the socket's path with
    /// .admin appended]. Owner, group and mode are those of the socket.
    #[arg(long, value_name = "PATH", conflicts_with = "no_admin")]
    admin: Option<PathBuf>,

    /// Answer no requests.
    #[arg(long)]
    no_admin: bool,

    /// Give metrics to Prometheus at this address, as http://ADDRESS:PORT/metrics. A port alone, or
    /// :PORT, is one of 127.0.0.1, which only this machine reaches [default: no metrics].
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = metrics::parse_address)]
    metrics: Option<SocketAddr>,

    // At the end, since its heading is that of all that follow.
    #[command(flatten)]
    memory: MemoryArguments,
}

/// Serves until SIGTERM or SIGINT, or until another process has taken over.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    set_log_format(arguments.log_format);
    // Before anything is opened: what is not there must not be taken for what is opened in its place.
    let handed_down = if arguments.handover {
        None
    } else {
        service::listener()?
    };
    let journal = if arguments.quiet {
        Log::Quiet
    } else {
        Log::Full
    };
    let successor = Successor::of_this_process();
    if let Err(error) = raise_descriptor_limit() {
        log(format_args!(
            "the limit of open files stays as it is: {error}"
        ));
    }
    // Caught before there is anything to clean up.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR2])
        .map_err(|error| Failure::new(format!("cannot catch signals: {error}")))?;
    let mut server = start(&arguments, handed_down)?;
    let _pid_file = arguments
        .pid_file
        .map(PidFile::create)
        .transpose()
        .map_err(Failure::new)?;
    let stop = server.stop_handle();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGUSR2 => successor.start(),
                    _ => stop.stop(),
                }
            }
        })
        .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
    journal.started(&server);
    if let Some(warning) = server.config().metrics.and_then(metrics::warning) {
        log(warning);
    }
    if let Some(predecessor) = server.predecessor() {
        log(predecessor);
    }
    let how = if arguments.handover {
        Start::TakenOver
    } else {
        Start::New
    };
    let manager = Manager::ready(&mut server, how)?;
    let ending = server.run(|event| {
        journal.event(event);
        manager.note(event);
    });
    match ending {
        Ok(Ending::Stopped | Ending::HandedOver) => Ok(Exit::Success),
        Err(error) => Err(Failure::new(format!("the server failed: {error}"))),
    }
}

/// Starts a server, at a socket that was handed down if there is one, or takes over from another.
fn start(arguments: &Arguments, handed_down: Option<UnixListener>) -> Result<Server, Failure> {
    if arguments.handover {
        let adjust = |config: &mut _| arguments.adjust(config);
        return Server::take_over(&arguments.admin_path(), adjust).map_err(Failure::new);
    }
    let config = arguments.config();
    match handed_down {
        Some(listener) => Server::bind_at(listener, config),
        None => Server::bind(config),
    }
    .map_err(Failure::new)
}
