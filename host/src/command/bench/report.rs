// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was measured, for people and for programs: [`Report`].

use ivshmem_host::channel::Neighbour;
use serde::Serialize;

use super::course::Course;
use super::line::{Line, Tally};
use super::measure::Motion;
use crate::command::table::{bytes, Align, Table};
use crate::command::times::Figures;

/// Changes if a field changes its meaning.
const FORMAT: u32 = 1;

/// Everything that is told. Ratios say how often as long a channel took as what it is compared with.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    format: u32,
    /// Who was measured, where, for people.
    setting: String,
    /// Who was pinged; nothing if both members were this command's.
    member: Option<Pinged>,
    /// Whether those who slept were rung.
    has_doorbells: bool,
    /// Of this thread and of the other; nothing where the system has put them anywhere.
    cpus: Option<[usize; 2]>,
    /// Whether this program was built with optimization.
    is_optimized: bool,
    seconds: f64,
    round_trips: Vec<RoundTrip>,
    streams: Vec<Stream>,
}

#[derive(Debug, Serialize)]
struct Pinged {
    name: String,
    slot: u16,
    /// ID of its device.
    peer: Option<u16>,
}

#[derive(Debug, Serialize)]
struct RoundTrip {
    bytes: usize,
    /// `asleep` or `awake`.
    manner: &'static str,
    count: u64,
    times: Option<Figures>,
    /// Of two eventfds, or of two slots.
    bare_times: Option<Figures>,
    ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Stream {
    bytes: usize,
    messages: u64,
    messages_per_s: Option<f64>,
    bytes_per_s: Option<f64>,
    /// By both sides, for all the messages.
    doorbells_rung: u64,
    bare_messages_per_s: Option<f64>,
    bare_bytes_per_s: Option<f64>,
    ratio: Option<f64>,
}

/// What is measured.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) text: String,
    pub(super) has_doorbells: bool,
    pub(super) cpus: Option<[usize; 2]>,
}

impl Report {
    pub(super) fn new(setting: Setting, peer: Option<&Neighbour>, course: &Course) -> Self {
        let (streams, round_trips): (Vec<_>, Vec<_>) = course
            .lines
            .iter()
            .partition(|line| line.motion == Motion::Stream);
        Self {
            format: FORMAT,
            setting: setting.text,
            member: peer.map(|peer| Pinged {
                name: peer.name.to_string(),
                slot: peer.slot.0,
                peer: peer.device.map(|id| id.0),
            }),
            has_doorbells: setting.has_doorbells,
            cpus: setting.cpus,
            is_optimized: IS_OPTIMIZED,
            seconds: course.elapsed.as_secs_f64(),
            round_trips: round_trips.into_iter().map(RoundTrip::of).collect(),
            streams: streams.into_iter().map(Stream::of).collect(),
        }
    }

    /// Whether there is anything to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.round_trips.iter().all(|line| line.times.is_none())
            && self.streams.iter().all(|line| line.messages == 0)
    }

    /// Returns the tables.
    pub(super) fn render(&self) -> String {
        let mut text = String::from("\n");
        let mut table = Table::new([
            ("ROUND TRIP", Align::Right),
            ("MANNER", Align::Left),
            ("P50 US", Align::Right),
            ("P99 US", Align::Right),
            ("BARE P50", Align::Right),
            ("BARE P99", Align::Right),
            ("RATIO", Align::Right),
        ]);
        for line in &self.round_trips {
            let us = |figures: Option<Figures>, of: fn(Figures) -> f64| cell(figures.map(of));
            table.add([
                bytes(line.bytes as u64),
                line.manner.to_owned(),
                us(line.times, |figures| figures.p50_us),
                us(line.times, |figures| figures.p99_us),
                us(line.bare_times, |figures| figures.p50_us),
                us(line.bare_times, |figures| figures.p99_us),
                ratio(line.ratio),
            ]);
        }
        text.push_str(&table.render());
        if !self.streams.is_empty() {
            text.push('\n');
            text.push_str(&self.render_streams());
        }
        let has_ratios = self.round_trips.iter().any(|line| line.ratio.is_some());
        if has_ratios {
            text.push_str(LEGEND);
        }
        text
    }

    fn render_streams(&self) -> String {
        let mut table = Table::new([
            ("STREAM", Align::Right),
            ("MESSAGES/S", Align::Right),
            ("MB/S", Align::Right),
            ("DOORBELLS", Align::Right),
            ("FOR MESSAGES", Align::Right),
            ("BARE MB/S", Align::Right),
            ("RATIO", Align::Right),
        ]);
        let megabytes = |bytes: Option<f64>| cell(bytes.map(|bytes| bytes / 1e6));
        for line in &self.streams {
            table.add([
                bytes(line.bytes as u64),
                line.messages_per_s
                    .map_or_else(nothing, |n| format!("{n:.0}")),
                megabytes(line.bytes_per_s),
                line.doorbells_rung.to_string(),
                line.messages.to_string(),
                megabytes(line.bare_bytes_per_s),
                ratio(line.ratio),
            ]);
        }
        table.render()
    }
}

/// What the last column is.
const LEGEND: &str = "\n\
BARE is the same with eventfds or memory alone; RATIO is how often as long a channel takes.\n";

/// Whether the figures are those that a user would have.
const IS_OPTIMIZED: bool = !cfg!(debug_assertions);

impl Setting {
    /// Returns what is known before anything is measured.
    pub(super) fn heading(&self) -> String {
        let mut text = format!("BENCH {}\n", self.text);
        if !IS_OPTIMIZED {
            text.push_str("This program was built without optimization: its figures say little.\n");
        }
        text
    }
}

impl RoundTrip {
    fn of(line: &Line) -> Self {
        Self {
            bytes: line.len,
            manner: if line.motion == Motion::Awake {
                "awake"
            } else {
                "asleep"
            },
            count: line.ours.messages,
            times: line.ours.times.figures(),
            bare_times: line.bare.as_ref().and_then(|bare| bare.times.figures()),
            ratio: line.ratio(),
        }
    }
}

impl Stream {
    fn of(line: &Line) -> Self {
        let rate = |cost_ns: Option<f64>| cost_ns.filter(|&ns| ns > 0.0).map(|ns| 1e9 / ns);
        let ours = rate(line.ours.cost_ns());
        let bare = rate(line.bare.as_ref().and_then(Tally::cost_ns));
        let len = line.len as f64;
        Self {
            bytes: line.len,
            messages: line.ours.messages,
            messages_per_s: ours,
            bytes_per_s: ours.map(|rate| rate * len),
            doorbells_rung: line.ours.rung,
            bare_messages_per_s: bare,
            bare_bytes_per_s: bare.map(|rate| rate * len),
            ratio: line.ratio(),
        }
    }
}

/// Returns a figure with three digits or more.
fn cell(value: Option<f64>) -> String {
    value.map_or_else(nothing, |value| {
        let decimals = match value {
            value if value < 10.0 => 3,
            value if value < 1000.0 => 1,
            _ => 0,
        };
        format!("{value:.decimals$}")
    })
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(nothing, |value| format!("{value:.2}"))
}

fn nothing() -> String {
    "-".to_owned()
}
