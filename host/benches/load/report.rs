// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was measured, as a table, as JSON, and against the goals.

use std::fmt;

use serde::Serialize;

use super::support::load::priority::Priority;
use super::support::load::records::Delays;
use super::support::load::run::{Level, Outcome};
use super::support::load::{Load, Machine};

/// The most that the 99th percentile of the time to admit may be, in milliseconds.
const ADMIT_P99_MS: f64 = 5.0;
/// By how much the server's memory may differ between its beginning and its end: queues are of another length.
const MEMORY_GROWTH_PERCENT: u64 = 5;

/// The figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    clients: usize,
    vectors: u16,
    mute: usize,
    qemu: bool,
    seconds: u64,
    /// Whether the server and the thread that joins have a processor as soon as they want one.
    raised_priority: bool,
    /// While all join, one after the other.
    fill: Phase,
    /// While clients come and go.
    churn: Phase,
    /// Share of one processor that the server took while clients came and went.
    processor_percent: f64,
    /// Resident memory of the server: all have joined, half-way, all that came and went are known to all.
    resident_kib: [u64; 3],
    descriptors: Descriptors,
    /// Those expected.
    descriptors_expected: Descriptors,
    /// Whether QEMU answers at the end; `None` without one.
    qemu_lives: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Phase {
    admitted: usize,
    admitted_per_second: f64,
    admit_ms: Percentiles,
    greeting_ms: Percentiles,
    told_ms: Percentiles,
}

/// Times in milliseconds.
#[derive(Debug, Default, Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// Open file descriptors of the server.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Descriptors {
    with_all_clients: usize,
    with_none: usize,
}

impl Report {
    pub fn new(load: &Load, outcome: &Outcome) -> Self {
        let seconds = load.duration.as_secs_f64();
        let both = |of: fn(&Level) -> usize| Descriptors {
            with_all_clients: of(&outcome.full),
            with_none: of(&outcome.empty),
        };
        Self {
            clients: load.clients,
            vectors: load.vectors,
            mute: load.mute,
            qemu: load.machine == Machine::Qemu,
            seconds: load.duration.as_secs(),
            raised_priority: load.priority == Priority::Raised,
            fill: Phase::new(&outcome.fill_delays, outcome.fill.as_secs_f64()),
            churn: Phase::new(&outcome.delays, seconds),
            processor_percent: 100.0 * outcome.processor.as_secs_f64() / seconds,
            resident_kib: outcome.resident_kib,
            descriptors: both(|level| level.found),
            descriptors_expected: both(|level| level.expected),
            qemu_lives: outcome.qemu_lives,
        }
    }

    /// Returns the goals that were missed, one line for each.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let p99 = self.churn.admit_ms.p99;
        if self.churn.admitted == 0 || p99 > ADMIT_P99_MS {
            missed.push(format!(
                "99 of 100 are admitted within {p99:.2} ms, not {ADMIT_P99_MS} ms"
            ));
        }
        let [begin, _, end] = self.resident_kib;
        if end > begin + begin * MEMORY_GROWTH_PERCENT / 100 {
            missed.push(format!("the server has grown from {begin} to {end} KiB"));
        }
        if self.descriptors != self.descriptors_expected {
            missed.push("the server has other file descriptors open than it should".to_owned());
        }
        if self.qemu_lives == Some(false) {
            missed.push("QEMU does not answer".to_owned());
        }
        missed
    }
}

impl Phase {
    fn new(delays: &Delays, seconds: f64) -> Self {
        Self {
            admitted: delays.admit.len(),
            admitted_per_second: delays.admit.len() as f64 / seconds,
            admit_ms: Percentiles::of(&delays.admit),
            greeting_ms: Percentiles::of(&delays.greeting),
            told_ms: Percentiles::of(&delays.told),
        }
    }
}

impl Percentiles {
    /// Returns those of ascending nanoseconds; zeros of none.
    fn of(nanoseconds: &[u64]) -> Self {
        let Some(last) = nanoseconds.len().checked_sub(1) else {
            return Self::default();
        };
        let at = |percent: usize| nanoseconds[last * percent / 100] as f64 / 1e6;
        Self {
            p50: at(50),
            p90: at(90),
            p99: at(99),
            max: at(100),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            clients,
            vectors,
            mute,
            seconds,
            ..
        } = self;
        let machine = if self.qemu { "a QEMU" } else { "no QEMU" };
        writeln!(
            f,
            "{clients} clients with {vectors} vectors, {mute} of which do not read, and {machine}; {seconds} s"
        )?;
        if self.raised_priority {
            writeln!(f, "the server and the thread that joins run in real time")?;
        }
        for (name, phase) in [("all join", &self.fill), ("come and go", &self.churn)] {
            let Phase {
                admitted,
                admitted_per_second,
                ..
            } = phase;
            writeln!(
                f,
                "{name}: {admitted} admitted, {admitted_per_second:.1} a second\n  \
                 ms                            p50       p90       p99       max"
            )?;
            writeln!(f, "  admitted (ID and memory) {}", phase.admit_ms)?;
            writeln!(f, "  whole greeting           {}", phase.greeting_ms)?;
            writeln!(f, "  known to all others      {}", phase.told_ms)?;
        }
        let [begin, middle, end] = self.resident_kib;
        writeln!(f, "server: {:.0} % of a processor", self.processor_percent)?;
        writeln!(f, "server: {begin}, {middle}, {end} KiB resident at the beginning, in the middle, at the end")?;
        let (found, expected) = (&self.descriptors, &self.descriptors_expected);
        writeln!(
            f,
            "server: {} file descriptors ({} expected), {} without clients ({} expected)",
            found.with_all_clients, expected.with_all_clients, found.with_none, expected.with_none
        )?;
        match self.qemu_lives {
            Some(true) => writeln!(f, "QEMU: answers"),
            Some(false) => writeln!(f, "QEMU: DOES NOT ANSWER"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, max } = self;
        write!(f, "{p50:>9.2} {p90:>9.2} {p99:>9.2} {max:>9.2}")
    }
}
