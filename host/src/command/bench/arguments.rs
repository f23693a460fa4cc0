// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `ivshmem bench` is told: [`Arguments`].

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ivshmem_host::size;

use crate::command::duration::seconds;
use crate::command::membership::Membership;
use crate::command::place::SocketArgument;
use crate::command::target::Target;

/// The shortest and the longest message: the number of a ping, and half a slot of the bare ones.
pub(super) const SIZES: (usize, usize) = (8, 1 << 20);

const EXAMPLE: &str = "\
Without NAME two members in two threads of this process are measured: in memory of their own, with a server
of their own, whatever IVSHMEM_SOCKET says; with --socket or --shm-file in that memory, where they take two
slots meanwhile, and which they make a region if it is blank. With NAME a member somewhere else is pinged.

Examples:
  ivshmem bench
  ivshmem bench --seconds 30 --size 64,4K,1M --cpus 0,2
  ivshmem bench --socket /run/ivshmem/ivshmem.sock --json
  ivshmem bench guest-a

asleep: each side sleeps until the other rings it (in a file it looks again now and then). awake: it looks all
the time. Of a member that is pinged only this side: the other one sleeps.
BARE is what a channel is made of: for asleep two eventfds, for awake two slots of memory, for a stream a ring
of 4 MiB that is copied into and out of. It is measured in turn with the channel, some milliseconds each. RATIO
is the time of a channel over that, the median of neighbours: it says more than the times, which are the
machine's. A time contains one look at the clock. A MB is 1,000,000 bytes.

Exit status: 0 if something was measured, also if Ctrl-C ended it; 1 if nothing was, nobody is there, or NAME
does not answer or has gone; 2 if there is no server or file, or something else kept the command from its work.";

/// Measure channels beside what the machine can do without them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(in crate::command) struct Arguments {
    /// Ping this member, or else the one whose device has this ID: round trips only.
    #[arg(value_name = "NAME|ID")]
    pub(super) target: Option<Target>,

    /// Be a member of the memory of the server at this socket [default: with NAME $IVSHMEM_SOCKET, else
    /// /run/ivshmem/ivshmem.sock; without NAME none].
    #[arg(long, value_name = "PATH", conflicts_with = "shm_file")]
    pub(super) socket: Option<PathBuf>,

    /// Be a member of the region in this file instead, where nobody can be rung.
    #[arg(long, value_name = "PATH")]
    pub(super) shm_file: Option<PathBuf>,

    /// Seconds without a sign of life, or without an answer, after which a member counts as dead.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(super) limit: Duration,

    /// Seconds in all. Everything is measured once at least.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub(super) seconds: Duration,

    /// Bytes of the messages, with commas between, each 8 to 1M [default: 64,1K,64K; with NAME those of
    /// them that its rings have room for].
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = bytes)]
    pub(super) size: Option<Vec<usize>>,

    /// CPUs of the two threads, as 0,2 [default: the first two that can be used].
    #[arg(long, value_name = "A,B", value_parser = cpus, conflicts_with = "target")]
    pub(super) cpus: Option<[usize; 2]>,

    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

fn bytes(text: &str) -> Result<usize, String> {
    let bytes = size::parse_bytes(text).map_err(|error| error.to_string())?;
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| (SIZES.0..=SIZES.1).contains(bytes))
        .ok_or_else(|| "a message has 8 bytes to 1M".to_owned())
}

fn cpus(text: &str) -> Result<[usize; 2], String> {
    text.split_once(',')
        .and_then(|(one, other)| Some([one.parse().ok()?, other.parse().ok()?]))
        .ok_or_else(|| "not two numbers of CPUs, such as 0,2".to_owned())
}

impl Arguments {
    /// Returns where members are to be, if it was said or has to be somewhere.
    pub(super) fn membership(&self) -> Membership {
        let told = self.socket.clone().map(|socket| SocketArgument { socket });
        Membership {
            socket: told.unwrap_or_else(SocketArgument::usual),
            shm_file: self.shm_file.clone(),
            limit: self.limit,
        }
    }
}
