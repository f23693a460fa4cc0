// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem bench`.

mod bare;
mod course;
mod cpus;
mod measure;
mod member;
mod pair;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use ivshmem_host::size;

use super::interrupt::Interrupt;
use super::membership::{seconds, Membership};
use super::output::{log, print, Reader};
use super::pinger::{self, SEARCH};
use super::place::SocketArgument;
use super::target::{Member, Target};
use super::{Exit, Failure};
use bare::Bare;
use course::{Course, Line, Tally};
use cpus::Cpus;
use measure::{Motion, Subject};
use member::Distant;
use pair::Pair;
use report::{Report, Setting};

/// Bytes of a ring of this command's own, and of the bare one.
const RING_BYTES: usize = 4 << 20;

/// The shortest and the longest message: the number of one, and two of them fit in the bare ring in any state.
const SIZES: (usize, usize) = (8, 1 << 20);

/// What is measured unless told.
const USUAL: [usize; 3] = [64, 1 << 10, 64 << 10];

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
pub(super) struct Arguments {
    /// Ping this member, or else the one whose device has this ID: round trips only.
    #[arg(value_name = "NAME|ID")]
    target: Option<Target>,

    /// Be a member of the memory of the server at this socket [default: with NAME $IVSHMEM_SOCKET, else
    /// /run/ivshmem/ivshmem.sock; without NAME none].
    #[arg(long, value_name = "PATH", conflicts_with = "shm_file")]
    socket: Option<PathBuf>,

    /// Be a member of the region in this file instead, where nobody can be rung.
    #[arg(long, value_name = "PATH")]
    shm_file: Option<PathBuf>,

    /// Seconds without a sign of life, or without an answer, after which a member counts as dead.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    limit: Duration,

    /// Seconds in all. Everything is measured once at least.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    seconds: Duration,

    /// Bytes of the messages, with commas between, each 8 to 1M [default: 64,1K,64K; with NAME those of
    /// them that its rings have room for].
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = bytes)]
    size: Option<Vec<usize>>,

    /// CPUs of the two threads, as 0,2 [default: the first two that can be used].
    #[arg(long, value_name = "A,B", value_parser = cpus, conflicts_with = "target")]
    cpus: Option<[usize; 2]>,

    /// Print one JSON document.
    #[arg(long)]
    json: bool,
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

/// Measures.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let interrupt = Interrupt::catch()?;
    match arguments.target {
        Some(target) => measure_member(&arguments, target, &interrupt),
        None => measure_pair(&arguments, &interrupt),
    }
}

/// Measures two members of this process.
fn measure_pair(arguments: &Arguments, interrupt: &Interrupt) -> Result<Exit, Failure> {
    let cpus = Cpus::choose(arguments.cpus)?;
    let (mut pair, place) = match (&arguments.socket, &arguments.shm_file) {
        (None, None) => (Pair::apart(cpus)?, "memory of their own".to_owned()),
        (Some(path), _) => (
            Pair::among_others(cpus, &arguments.membership())?,
            format!("the memory of the server at {}", path.display()),
        ),
        (None, Some(path)) => (
            Pair::among_others(cpus, &arguments.membership())?,
            path.display().to_string(),
        ),
    };
    let has_doorbells = pair.is_rung();
    let manner = manner(has_doorbells);
    let setting = Setting {
        text: format!("two members of this process, {manner}, in {place}, {cpus}"),
        has_doorbells,
        cpus: cpus.numbers(),
    };
    if announce(arguments, &setting)? == Reader::Gone {
        return Ok(Exit::Success);
    }
    let compared = || Some(Tally::default());
    let mut lines = Vec::new();
    for &len in arguments.size.as_deref().unwrap_or(&USUAL) {
        lines.push(Line::new(Motion::Asleep, len, compared()));
        if cpus.has_two() {
            lines.push(Line::new(Motion::Awake, len, compared()));
        }
        // Without doorbells and without a second CPU a stream would only be one of naps.
        let bare = if cpus.has_two() { compared() } else { None };
        lines.push(Line::new(Motion::Stream, len, bare));
    }
    let mut course = Course::new(lines);
    let mut bare = Bare::new(cpus)?;
    course.run(&mut pair, &mut bare, arguments.seconds, interrupt)?;
    finish(arguments, &Report::new(setting, None, &course))
}

/// Measures round trips to a member that answers pings.
fn measure_member(
    arguments: &Arguments,
    target: Target,
    interrupt: &Interrupt,
) -> Result<Exit, Failure> {
    let membership = arguments.membership();
    let channels = match pinger::join(&membership, Duration::ZERO) {
        Ok(channels) => channels,
        Err(error) => return pinger::explain_no_region(&membership, target, error),
    };
    let end = Instant::now() + SEARCH;
    let Some(peer) = pinger::search(&channels, target, end, interrupt)? else {
        log(target.explain_absence(&channels));
        return Ok(Exit::No);
    };
    let no = |Failure(line)| {
        log(line);
        Exit::No
    };
    let mut distant = match Distant::connect(&channels, peer, arguments.limit) {
        Ok(distant) => distant,
        Err(failure) => return Ok(no(failure)),
    };
    let sizes = sizes(arguments, distant.longest())?;
    let has_doorbells = peer.device.is_some() && arguments.shm_file.is_none();
    let cpus = Cpus::choose(None)?.freed();
    let setting = Setting {
        text: format!("{}, {}, {cpus}", Member(&peer), manner(has_doorbells)),
        has_doorbells,
        cpus: cpus.numbers(),
    };
    if announce(arguments, &setting)? == Reader::Gone {
        return Ok(Exit::Success);
    }
    let mut lines = Vec::new();
    for len in sizes {
        lines.push(Line::new(Motion::Asleep, len, Some(Tally::default())));
        if cpus.has_two() {
            lines.push(Line::new(Motion::Awake, len, None));
        }
    }
    let mut course = Course::new(lines);
    let mut bare = Bare::new(cpus)?;
    let subject: &mut dyn Subject = &mut distant;
    let ended = course.run(subject, &mut bare, arguments.seconds, interrupt);
    let exit = finish(
        arguments,
        &Report::new(setting, Some(distant.peer()), &course),
    )?;
    Ok(ended.map_or_else(no, |()| exit))
}

/// Returns the sizes of pings: those asked for, or those of the usual ones that go in one piece.
fn sizes(arguments: &Arguments, longest: usize) -> Result<Vec<usize>, Failure> {
    let fits = |len: &usize| *len <= longest;
    let Some(sizes) = &arguments.size else {
        let mut usual: Vec<_> = USUAL.into_iter().filter(fits).collect();
        if usual.is_empty() {
            usual.push(SIZES.0);
        }
        return Ok(usual);
    };
    match sizes.iter().find(|len| !fits(len)) {
        Some(len) => Err(Failure::new(format!(
            "pings of {len} bytes are too long for this region: --size {longest} at most"
        ))),
        None => Ok(sizes.clone()),
    }
}

const fn manner(has_doorbells: bool) -> &'static str {
    if has_doorbells {
        "by doorbell"
    } else {
        "without doorbells"
    }
}

/// Tells people what they wait for.
fn announce(arguments: &Arguments, setting: &Setting) -> Result<Reader, Failure> {
    if arguments.json {
        return Ok(Reader::Reads);
    }
    print(setting.heading().as_bytes())
}

/// Tells what was measured.
fn finish(arguments: &Arguments, report: &Report) -> Result<Exit, Failure> {
    if arguments.json {
        let json = serde_json::to_string(report)
            .map_err(|error| Failure::new(format!("cannot render what was measured: {error}")))?;
        print((json + "\n").as_bytes())?;
    } else {
        print(report.render().as_bytes())?;
    }
    Ok(if report.is_empty() {
        Exit::No
    } else {
        Exit::Success
    })
}

impl Arguments {
    /// Returns where members are to be, if it was said or has to be somewhere.
    fn membership(&self) -> Membership {
        let told = self.socket.clone().map(|socket| SocketArgument { socket });
        Membership {
            socket: told.unwrap_or_else(SocketArgument::usual),
            shm_file: self.shm_file.clone(),
            limit: self.limit,
        }
    }
}
