// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem top`.

mod sample;
mod screen;
mod view;

use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::duration::seconds_within;
use super::output::{is_terminal, json, log, print};
use super::region::RegionArgument;
use super::{Exit, Failure};
use sample::Sampler;

const EXAMPLE: &str = "\
Examples:
  ivshmem top --socket /tmp/ivshmem.sock
  ivshmem top --shm-file /dev/shm/ivshmem --once --json | jq '.members[].out_bytes_per_second'

Keys: q ends it, s sorts by the next column, p pauses, up and down (k and j) choose the member whose rings are shown.
BEAT is how long ago the heartbeat was last seen to move. Messages per second are counted where the frames
are still in the ring, else reckoned from those that are. FILL is of the fullest ring that the member reads. WAITS is
how it waits for messages: it sleeps until it is rung, or polls; a number with ! behind that are doorbells that it
has not taken, where the server tells (host processes take them with each heartbeat).

Exit status: 0 if all is well, 1 if the memory holds something else than a region, 2 if it could not be looked at.";

/// Watch members, rates and rings live.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    #[command(flatten)]
    region: RegionArgument,

    /// Seconds between two looks, 0.1 to 3600. Each takes lines of the cache from those who use them.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    interval: Duration,

    /// Print what one interval shows, and end.
    #[arg(long)]
    once: bool,

    /// Print one JSON document.
    #[arg(long, requires = "once")]
    json: bool,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    seconds_within(text, 0.1, 3600.0)
}

/// Watches until told to end.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let opened = arguments.region.open()?;
    let mut sampler = Sampler::new(&opened);
    let first = sampler.look();
    if first.contents == "unreadable" {
        log(format_args!(
            "{} holds no region: see `ivshmem dump` for what is there",
            first.place
        ));
        return Ok(Exit::No);
    }
    if !arguments.once {
        if !is_terminal() || !std::io::stdin().is_terminal() {
            return Err(Failure::new(
                "cannot show a live view: stdin and stdout have to be a terminal, and not a dumb one; use --once",
            ));
        }
        return screen::run(&mut sampler, first, arguments.interval);
    }
    thread::sleep(arguments.interval);
    let sample = sampler.look();
    let text = if arguments.json {
        json(&sample)?
    } else {
        view::table(&sample)
    };
    print(text.as_bytes())?;
    Ok(Exit::Success)
}
