// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem dump`.

mod capture;
mod follow;
mod report;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ivshmem::channel::inspect::Inspection;
use ivshmem::channel::SlotIndex;

use super::duration::seconds_within;
use super::output::{is_terminal, json, print};
use super::region::{findings, RegionArgument};
use super::{Exit, Failure};
use report::{Detail, Report};
use text::Colour;

const EXAMPLE: &str = "\
Examples:
  ivshmem dump --socket /tmp/ivshmem.sock
  ivshmem dump --shm-file /dev/shm/ivshmem --ring 0:1 --hex
  ivshmem dump --json | jq '.findings[]'
  ivshmem dump --pcap - --follow | wireshark -k -i -

Nothing is written to the memory, and nobody there hears of it. What is wrong is marked with !!, its place in the
memory, what was found and what should be there; before it is told it is looked at again, so that what moves is
not taken for wrong. USED are bytes that were sent and whose room was not given back; frames among them may have
been received. Frames in a file of --pcap are of link type USER0 (147) with 24 bytes of their own in front, as
docs/operating.md says; dist/wireshark/ivshmem.lua shows them in Wireshark.

Exit status: 0 if nothing is wrong, also where the memory is blank; 1 if something is wrong or the memory holds
something else; 2 if it could not be looked at.";

/// Show what is in the memory: header, slots, rings, frames, and what is wrong.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    #[command(flatten)]
    region: RegionArgument,

    /// Show this ring alone: the slots of sender and receiver [default: all rings that were used].
    #[arg(long, value_name = "FROM:TO", value_parser = parse_ring)]
    ring: Option<Ring>,

    /// Show rings that nobody has used, and free slots, as well.
    #[arg(long)]
    all: bool,

    /// List the frames that are in the rings.
    #[arg(long)]
    frames: bool,

    /// Show the bytes of the frames, too.
    #[arg(long)]
    hex: bool,

    /// Print one JSON document.
    #[arg(long)]
    json: bool,

    /// Write the frames that are in the rings to this file, in pcap format, instead; `-` for stdout.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "frames", "hex", "json"])]
    pcap: Option<PathBuf>,

    /// Go on with frames as they pass, until interrupted. Those that pass between two looks and are
    /// overwritten are missed, and counted.
    #[arg(long, requires = "pcap")]
    follow: bool,

    /// Seconds between two looks of --follow, 0.001 to 60.
    #[arg(long, value_name = "SECONDS", default_value = "0.001", value_parser = parse_interval)]
    interval: Duration,
}

/// A ring, by its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ring {
    from: SlotIndex,
    to: SlotIndex,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    seconds_within(text, 0.001, 60.0)
}

fn parse_ring(text: &str) -> Result<Ring, String> {
    let slots = text.split_once(':').and_then(|(from, to)| {
        let slot = |text: &str| text.parse().ok().map(SlotIndex);
        Some((slot(from)?, slot(to)?))
    });
    match slots {
        Some((from, to)) if from != to => Ok(Ring { from, to }),
        _ => Err("not two different slots, such as 0:1".to_owned()),
    }
}

/// Looks, and prints what there is.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let opened = arguments.region.open()?;
    if let Some(path) = &arguments.pcap {
        return capture::run(&opened, path, &arguments);
    }
    let inspection = Inspection::of(&opened.memory);
    let detail = Detail {
        ring: arguments.ring,
        all: arguments.all,
        frames: arguments.frames || arguments.hex,
        payload: arguments.hex,
    };
    let found = findings(&inspection);
    let report = Report::of(&inspection, &opened.place, &detail, &found)?;
    let text = if arguments.json {
        json(&report)?
    } else {
        text::render(&report, Colour::of(is_terminal()))
    };
    print(text.as_bytes())?;
    Ok(if found.is_empty() {
        Exit::Success
    } else {
        Exit::No
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_two_slots() {
        let ring = parse_ring("0:12").unwrap();
        assert_eq!((ring.from, ring.to), (SlotIndex(0), SlotIndex(12)));
        for text in ["", ":", "1", "1:", "1:1", "a:b", "1:2:3", "-1:2", "70000:1"] {
            assert!(parse_ring(text).is_err(), "{text}");
        }
    }
}
