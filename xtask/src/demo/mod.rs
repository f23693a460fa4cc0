// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask demo`: two bare-metal guests and this process talk through channels.
//!
//! Guest A talks with guest B, then this process with A, and every message that somebody sleeps for is
//! announced by a doorbell. Then a file goes from A through B to this process, which kills B on the way and boots it again.

mod relay;
mod report;

use std::path::Path;

use ivshmem::channel::Region;
use ivshmem_scenarios::demo::{ask, bye, round_trips, Hop, Link, Porter, Role};
use ivshmem_scenarios::party::{Figures, Manner, Party};
use ivshmem_scenarios::Failure;

use crate::figures::JsonFile;
use crate::kernel::{self, Profile};
use crate::party::{HostBell, HostSide, PartyError, Stage};
use crate::tools::Tools;
use report::{Report, Series};

const SIZE_BYTES: u64 = 4 << 20;
/// Round trips in a series of this process; the kernel has the same number for its own.
const ROUND_TRIPS: usize = 10_000;

/// This process as a side.
type Host<'m> = &'m HostSide<'m>;

/// Runs the demo, and writes its figures to `json` if asked.
///
/// # Errors
///
/// What did not work; with the serial log of the guest if it was one. Nothing that the demo started is left.
pub fn run(tools: &Tools, json: Option<&Path>) -> Result<(), PartyError> {
    // Known to be writable before a minute is spent.
    let json = json.map(JsonFile::create).transpose()?;
    let kernel = kernel::build(tools, Profile::Release)?;
    let stage = Stage::set(tools, &kernel, "demo", SIZE_BYTES)?;
    let mut report = Report::new(tools, stage.ids, stage.host_id);
    for _ in Manner::ALL {
        let line = stage.guests.hear(Role::A, "@ figures ")?;
        report.add(Series::from_line(&line).ok_or(PartyError::Line(line))?);
    }
    stage.guests.free(Role::A)?;
    talk(&stage, &mut report)?;
    stage.close()?;
    println!("\n{report}");
    if let Some(json) = json {
        json.write(&report.to_json())?;
    }
    Ok(())
}

/// The host's part: conversations, with A at length and with B, and the file.
fn talk(stage: &Stage, report: &mut Report) -> Result<(), PartyError> {
    let failed = |failure| stage.guests.explain(failure);
    let host = stage.host();
    let mut party = join(stage, &host).map_err(failed)?;
    greet(
        stage,
        &mut party,
        Role::A,
        "hello, I am a process on the host",
        |link| {
            for manner in Manner::ALL {
                report.add(measure(link, manner)?);
            }
            Ok(())
        },
    )?;
    let b = greet(
        stage,
        &mut party,
        Role::B,
        "hello, and then I want a file",
        |_| Ok(()),
    )?;
    let mut porter = Porter::new(party, Role::Host);
    report.transfer = Some(relay::run(stage, &host, &mut porter, b)?);
    porter.leave();
    Ok(())
}

fn join<'m>(stage: &'m Stage, host: Host<'m>) -> Result<Party<'m, Host<'m>>, Failure> {
    Party::join(Region::open(stage.memory())?, host, Role::Host.member())
}

/// Says `text` to `other`, does something, and says bye. Returns the connection.
fn greet<'m>(
    stage: &'m Stage,
    party: &mut Party<'m, Host<'m>>,
    other: Role,
    text: &str,
    then: impl FnOnce(&mut Link<'_, 'm, Host<'m>>) -> Result<(), Failure>,
) -> Result<Hop<'m, HostBell<'m>>, PartyError> {
    let failed = |failure| stage.guests.explain(failure);
    let mut link = Link::open(party, Role::Host, other).map_err(failed)?;
    ask(&mut link, format_args!("{text}")).map_err(failed)?;
    // The answer is here before the serial line has brought what the guest was asked.
    stage.guests.shown(other)?;
    for line in link.side().take_shown() {
        println!("{line}");
    }
    then(&mut link)
        .and_then(|()| bye(&mut link))
        .map_err(failed)?;
    Ok(link.into_hop())
}

fn measure(link: &mut Link<'_, '_, Host<'_>>, manner: Manner) -> Result<Series, Failure> {
    let mut samples = vec![0; ROUND_TRIPS];
    let doorbells = round_trips(link, manner, &mut samples)?;
    let figures = Figures::of(&mut samples).ok_or("no samples")?;
    Ok(Series {
        from: link.own,
        to: link.other,
        wait: manner,
        figures,
        doorbells,
    })
}
