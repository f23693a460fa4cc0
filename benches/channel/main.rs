// SPDX-License-Identifier: MIT OR Apache-2.0
//! The speed of channels, against what they are made of and against the rings of other crates.
//!
//! `cargo bench --bench channel` prints a table and which goals it misses; with `-- --gate` it fails if a ratio misses its goal
//! by more than the slack that a busy machine needs, again and again. Only ratios mean something, and only within one group: all its cases are timed in turn, for
//! a few milliseconds each, on two pinned cores, and a timing during which the [placement](cores) of the cores changed is
//! dropped. For steady figures give it the cores alone: `chrt -f 20 cargo bench --bench channel`.

mod bare;
mod case;
mod cores;
mod others;
mod ours;
mod table;
mod wake;

use std::process::ExitCode;

use case::Motion;
use cores::Cores;
use table::{Goal, Group, Shown, GROUPS};

/// Bytes of every ring that is compared.
pub const RING_LEN: usize = 4 << 20;

/// What is added to a goal of round trips on a busy machine.
const SLACK: f64 = 1.3;
/// What is added to a goal of streams: a receiver that has caught up with its sender takes lines away from it, one that is behind does
/// not, and which of the two the times of one try are of is chance, for each that is compared.
const STREAM_SLACK: f64 = 2.0;
/// How often a goal may be missed before the gate fails: interference passes, slowness does not.
const MISSES: usize = 8;
/// How often the gate measures a group at most, where the machine does not hold still for a verdict.
const TRIES: usize = 32;

/// What a measurement says of a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Held,
    Missed,
    /// There were not enough timings in one placement.
    Unknown,
}

fn main() -> ExitCode {
    let gate = std::env::args().any(|argument| argument == "--gate");
    let cores = match Cores::take() {
        Ok(cores) => cores,
        Err(error) => {
            eprintln!("nothing to measure: {error}");
            return ExitCode::FAILURE;
        }
    };
    let tries = if gate { TRIES } else { 1 };
    let mut held = true;
    for make in GROUPS {
        held &= measure(make, cores, tries);
    }
    if gate && !held {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Measures a group until each of its goals has held once or one was missed too often, and returns whether they held.
///
/// It is made anew for each try: where its memory lies may help or hinder one of them for as long as it is there.
fn measure(make: fn() -> Group, cores: Cores, tries: usize) -> bool {
    let mut group = make();
    let mut open: Vec<(Goal, usize)> = group.goals.iter().map(|goal| (*goal, 0)).collect();
    for _ in 0..tries {
        let shown = group.measure(cores);
        print(&group, &shown);
        open.retain_mut(|(goal, misses)| {
            let verdict = judge(&group, &shown, goal);
            *misses += usize::from(verdict == Verdict::Missed);
            verdict != Verdict::Held
        });
        if open.is_empty() || open.iter().any(|(_, misses)| *misses == MISSES) {
            break;
        }
        group = make();
    }
    open.is_empty()
}

/// Prints what was timed.
fn print(group: &Group, shown: &Shown) {
    let unit = match group.motion {
        Motion::RoundTrip => "round trips",
        Motion::Stream => "stream",
        Motion::Wake => "round trips by wake-ups",
    };
    let (len, placement) = (group.len, shown.placement.name());
    println!("\n{unit} of {len} bytes, cores {placement}     timings   min ns    p50 ns  ours/it");
    let ours = group.find("ours");
    for (index, entry) in group.entries.iter().enumerate() {
        let Some((count, min, median)) = shown.of(index) else {
            println!("  {:<14} none in this placement", entry.name);
            continue;
        };
        let ratio = ours.and_then(|ours| shown.ratio(ours, index));
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        println!(
            "  {:<38} {count:>5} {min:>10.1} {median:>9.1} {ratio:>8}",
            entry.name
        );
    }
}

/// Returns whether a goal holds, and says so if that is not clear.
fn judge(group: &Group, shown: &Shown, goal: &Goal) -> Verdict {
    let slack = match group.motion {
        Motion::RoundTrip | Motion::Wake => SLACK,
        Motion::Stream => STREAM_SLACK,
    };
    let ratio = match (group.find(goal.ours), group.find(goal.other)) {
        (Some(ours), Some(other)) => shown.ratio(ours, other),
        _ => None,
    };
    let (verdict, words) = match ratio {
        Some(ratio) if ratio <= goal.factor => return Verdict::Held,
        Some(ratio) if ratio <= goal.factor * slack => {
            (Verdict::Held, format!("{ratio:.2}, within the slack"))
        }
        Some(ratio) => (Verdict::Missed, format!("{ratio:.2}: MISSED")),
        None => {
            let words = "not known, the cores were moved too often";
            (Verdict::Unknown, words.into())
        }
    };
    let (ours, factor, other) = (goal.ours, goal.factor, goal.other);
    println!("  goal: {ours} at most {factor:.2} of {other}: {words}");
    verdict
}
