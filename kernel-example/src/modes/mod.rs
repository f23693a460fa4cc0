// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel can be asked for on its command line.
//!
//! `run=NAME` runs one scenario, `list` prints their names, `mode=NAME` runs
//! a mode. What returns has passed; what fails gives a reason or calls [`exit::fail`].

use core::fmt;

use ivshmem_scenarios::{Failure, Scenario};

use crate::{cmdline, exit, machine::KernelMachine, println};

mod bench;
mod bench_channel;
mod channel;
mod demo;
mod doctor;
mod edu;
mod hotplug;
mod lspci;
mod selftest;

/// Something to run, under the name it is asked for by.
type Entry<F> = (&'static str, F);

/// What scenarios and modes are.
type Run = fn(&mut KernelMachine) -> Result<(), Failure>;

/// The modes, for `mode=`.
const MODES: [Entry<Run>; 9] = [
    ("lspci", lspci::run),
    ("demo", demo::run),
    ("channel", channel::run),
    ("doctor", doctor::run),
    ("edu", edu::run),
    ("hotplug", hotplug::run),
    ("bench", bench::run),
    ("bench-channel", bench_channel::run),
    ("selftest", selftest::run),
];

/// The scenarios, for `run=` and `list`.
const SCENARIOS: &[Scenario<KernelMachine>] = &ivshmem_scenarios::table();

/// Does what the command line asks for.
///
/// # Errors
///
/// Why it failed.
pub fn run() -> Result<(), Failure> {
    let mut machine = KernelMachine::new()?;
    if cmdline::has("list") {
        for scenario in SCENARIOS {
            println!("@ scenario name={} # {}", scenario.name, scenario.summary);
        }
        Ok(())
    } else if let Some(name) = cmdline::get("run") {
        let scenarios = SCENARIOS
            .iter()
            .map(|scenario| (scenario.name, scenario.run));
        find("scenario", name, scenarios)(&mut machine)
    } else if let Some(name) = cmdline::get("mode") {
        find("mode", name, MODES.into_iter())(&mut machine)
    } else {
        println!("run=NAME runs a scenario, list prints their names, mode=NAME runs a mode");
        exit::fail(format_args!(
            "nothing to do: the command line has no run=, list or mode=; modes are {}",
            Names(MODES.into_iter())
        ))
    }
}

/// Returns the entry called `name`, or ends the run and says which there are. `kind` is what an
/// entry is called.
fn find<F>(kind: &str, name: &str, entries: impl Iterator<Item = Entry<F>> + Clone) -> F {
    match entries.clone().find(|(known, _)| *known == name) {
        Some((_, run)) => run,
        None => exit::fail(format_args!(
            "unknown {kind} {name}, there are: {}",
            Names(entries)
        )),
    }
}

/// The names of entries, for messages.
struct Names<I>(I);

impl<F, I: Iterator<Item = Entry<F>> + Clone> fmt::Display for Names<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, _)) in self.0.clone().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}
