// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem bench`.

mod arguments;
mod bare;
mod course;
mod cpus;
mod line;
mod measure;
mod member;
mod pair;
mod report;

use std::time::{Duration, Instant};

use super::interrupt::Interrupt;
use super::output::{log, print, Reader};
use super::pinger::{self, SEARCH};
use super::target::{Member, Target};
use super::{Exit, Failure};
pub(super) use arguments::Arguments;
use arguments::SIZES;
use bare::Bare;
use course::Course;
use cpus::Cpus;
use line::{Line, Tally};
use measure::{Motion, Subject};
use member::Distant;
use pair::Pair;
use report::{Report, Setting};

/// Bytes of a ring of this command's own, and of the bare one.
const RING_BYTES: usize = 4 << 20;

/// What is measured unless told.
const USUAL: [usize; 3] = [64, 1 << 10, 64 << 10];

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
        // The bare ones never sleep, so each needs a CPU of its own.
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
    let end = Instant::now() + SEARCH;
    let channels = match pinger::join(&membership, Duration::ZERO, end, interrupt) {
        Ok(channels) => channels,
        Err(error) => return pinger::explain_no_region(&membership, target, error),
    };
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
