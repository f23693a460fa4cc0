// SPDX-License-Identifier: MIT OR Apache-2.0
//! The speed of channels, against what they are made of and against the rings of other crates.
//!
//! `cargo bench --bench channel` prints a table and which goals it misses; with `-- --gate` it fails if a ratio misses its goal
//! by more than the slack that a busy machine needs, three times in a row. Only ratios mean something, and only within one group: all its cases are timed in turn, for
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
use table::{Group, Shown, GROUPS};

/// Bytes of every ring that is compared.
pub const RING_LEN: usize = 4 << 20;

/// What is added to a goal of round trips on a busy machine.
const SLACK: f64 = 1.3;
/// What is added to a goal of streams: each has two stable states, in which the receiver is at the sender's heels or a ring
/// behind. They differ by about two, and which one a run falls into is chance.
const STREAM_SLACK: f64 = 2.2;
/// How often the gate tries again: interference passes, slowness does not.
const ATTEMPTS: usize = 3;

fn main() -> ExitCode {
    let gate = std::env::args().any(|argument| argument == "--gate");
    let cores = match Cores::take() {
        Ok(cores) => cores,
        Err(error) => {
            eprintln!("nothing to measure: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut missed = false;
    for make in GROUPS {
        let mut group = make();
        let attempts = if gate { ATTEMPTS } else { 1 };
        // Short of enough timings in one placement there is no verdict, and the next attempt has to give one.
        let held = (0..attempts).any(|_| {
            let shown = group.measure(cores);
            print(&group, &shown);
            holds(&group, &shown)
        });
        missed |= !held;
    }
    if gate && missed {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
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

/// Returns whether all goals hold, and says which do not.
fn holds(group: &Group, shown: &Shown) -> bool {
    let mut all = true;
    let slack = match group.motion {
        Motion::RoundTrip | Motion::Wake => SLACK,
        Motion::Stream => STREAM_SLACK,
    };
    for goal in group.goals {
        let ratio = match (group.find(goal.ours), group.find(goal.other)) {
            (Some(ours), Some(other)) => shown.ratio(ours, other),
            _ => None,
        };
        let verdict = match ratio {
            Some(ratio) if ratio <= goal.factor => continue,
            Some(ratio) if ratio <= goal.factor * slack => {
                format!("{ratio:.2}, within the slack")
            }
            Some(ratio) => {
                all = false;
                format!("{ratio:.2}: MISSED")
            }
            None => {
                all = false;
                "not known, the cores were moved too often".into()
            }
        };
        println!(
            "  goal: {} at most {:.2} of {}: {verdict}",
            goal.ours, goal.factor, goal.other
        );
    }
    all
}
