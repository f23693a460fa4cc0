// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem ping`.

mod course;
mod message;
mod report;

use std::collections::VecDeque;
use std::process;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use ivshmem::VectorIndex;
use ivshmem_host::peer::RingError;

use super::duration::seconds;
use super::interrupt::Interrupt;
use super::membership::Membership;
use super::output::{log, print, Reader};
use super::pinger::{self, FOR_EVER, SEARCH};
use super::target::Target;
use super::{Exit, Failure};
use course::{Course, Pace};
use message::{Messages, SHORTEST};
use report::{Detail, Form, Report};

const EXAMPLE: &str = "\
Every member that uses this project's library answers, a guest or a process, whatever its program does; guests
that handle their own events need a line for it (docs/channels.md, \"Ping\").

Examples:
  ivshmem ping guest-a
  ivshmem ping 3 -c 5 --poll
  ivshmem ping guest-a --flood -w 10 -q
  ivshmem ping 3 --ring=1

By doorbell this process sleeps until it is rung, so a time contains two wake-ups; with --poll it looks all
the time.

Exit status: 0 if at least one answer came, 1 if none did or nobody is there, 2 if there is no server or
file, or something else kept the command from its work.";

/// Ask a member whether it is there and how far away it is.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    /// Name of the member, or else the ID of its device.
    #[arg(value_name = "NAME|ID")]
    target: Target,

    #[command(flatten)]
    membership: Membership,

    /// End after so many messages [default: never].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Seconds from one message to the next.
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,

    /// Bytes of each message, 16 at least and half a ring of the region at most.
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = size)]
    size: usize,

    /// End after so many seconds, and wait so long for the member to come [default: never, and 1].
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = seconds)]
    deadline: Option<Duration>,

    /// Look for answers all the time, instead of sleeping until rung.
    #[arg(long)]
    poll: bool,

    /// Send at each answer, or after 10 ms without one, and show the summary only.
    #[arg(long, conflicts_with = "interval")]
    flood: bool,

    /// Only ring this vector of the peer with this ID [0 if none is given], member or not. Nobody answers.
    #[arg(long, value_name = "VECTOR", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    ring: Option<u16>,

    /// Print JSON, an object a line: each answer, and last { "summary": ... }.
    #[arg(long)]
    json: bool,

    /// Show the summary only.
    #[arg(short, long)]
    quiet: bool,
}

fn size(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&size| size >= SHORTEST)
        .ok_or_else(|| format!("not a number of bytes from {SHORTEST} up"))
}

/// Pings.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    if let Some(vector) = arguments.ring {
        return ring(&arguments, VectorIndex(vector));
    }
    let interrupt = Interrupt::catch()?;
    let now = Instant::now();
    let deadline = arguments.deadline.and_then(|limit| now.checked_add(limit));
    let spin = if arguments.poll {
        FOR_EVER
    } else {
        Duration::ZERO
    };
    let membership = &arguments.membership;
    let search_end = deadline.unwrap_or(now + SEARCH);
    let channels = match pinger::join(membership, spin, search_end, &interrupt) {
        Ok(channels) => channels,
        Err(error) => return pinger::explain_no_region(membership, arguments.target, error),
    };
    let Some(peer) = pinger::search(&channels, arguments.target, search_end, &interrupt)? else {
        log(arguments.target.explain_absence(&channels));
        return Ok(Exit::No);
    };
    let detail = if arguments.quiet || arguments.flood {
        Detail::Summary
    } else {
        Detail::Answers
    };
    let form = if arguments.json {
        Form::Json
    } else {
        Form::Text
    };
    let report = Report::new(detail, form);
    let manner = match (arguments.poll, peer.device) {
        (true, _) => "polling",
        (false, Some(_)) if arguments.membership.shm_file.is_none() => "by doorbell",
        (false, _) => "without doorbells",
    };
    if report.begin(&peer, arguments.size, manner)? == Reader::Gone {
        return Ok(Exit::Success);
    }
    let mut course = Course {
        channels: &channels,
        target: arguments.target,
        messages: Messages::new(nonce(), arguments.size),
        pace: if arguments.flood {
            Pace::Flood
        } else {
            Pace::Every(arguments.interval)
        },
        count: arguments.count,
        deadline,
        interrupt: &interrupt,
        report,
        peer,
        connection: None,
        is_missed: false,
        outstanding: VecDeque::new(),
    };
    let start = Instant::now();
    course.run()?;
    course.report.finish(arguments.target, start.elapsed())?;
    Ok(match course.report.times.count() {
        0 => Exit::No,
        _ => Exit::Success,
    })
}

/// Returns a number that other runs do not have, so that what is left of them is not taken for an answer.
fn nonce() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ns = since.map_or(0, |since| since.as_nanos() as u64);
    ns ^ u64::from(process::id()).rotate_right(16)
}

/// Rings a peer, member or not.
fn ring(arguments: &Arguments, vector: VectorIndex) -> Result<Exit, Failure> {
    let Some(id) = arguments.target.id else {
        return Err(Failure::new(
            "--ring wants the ID of a peer; ivshmem peers lists them",
        ));
    };
    if arguments.membership.shm_file.is_some() {
        return Err(Failure::new(
            "--ring wants a server: in a file there are no doorbells; leave --shm-file away",
        ));
    }
    let mut peer = arguments.membership.socket.connect()?;
    let limit = arguments.deadline.unwrap_or(SEARCH);
    // It is rung if it is there, whatever the server says then.
    let _ = peer.wait_until(limit, |peer| peer.vectors_of(id) > Some(vector.0.into()));
    match peer.ring(id, vector) {
        Ok(()) => {
            print(format!("rang vector {vector} of peer {id}\n").as_bytes())?;
            Ok(Exit::Success)
        }
        Err(error @ RingError::System(_)) => Err(Failure::new(error)),
        Err(error) => {
            log(format_args!("{error}; ivshmem peers lists who is there"));
            Ok(Exit::No)
        }
    }
}
