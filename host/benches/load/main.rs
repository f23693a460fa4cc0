// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server under load: 1,000 clients that join and leave at random, some that do not read, and a virtual machine.
//!
//! `cargo bench -p ivshmem-host --bench load` starts `ivshmem server` as users do, and prints what its clients saw:
//! the time from the attempt to connect until a client has its ID and the memory ("admit", which is what QEMU
//! waits for in its start-up), until it has its own vectors, which come after those of everybody else ("greeting"),
//! and until all others that read know it ("told"); and the server's memory, processor time and file descriptors. Every
//! message to every client but the virtual machine is checked. With `-- --gate` it fails if a goal is missed; `-- --help` lists the options, and
//! `docs/operating.md` has figures.

mod options;
mod report;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ivshmem_host::server::raise_descriptor_limit;
use options::Options;
use report::Report;
use support::load::priority::Priority;
use support::load::run::run;
use support::load::{Load, Machine};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    // QEMU and the server inherit it, and hold every client's eventfds.
    raise_descriptor_limit()?;
    let load = Load {
        clients: usize::from(options.clients),
        vectors: options.vectors,
        duration: Duration::from_secs(options.seconds),
        rate: options.rate,
        mute: usize::from(options.mute),
        machine: if options.no_qemu {
            Machine::None
        } else {
            Machine::Qemu
        },
        priority: if options.usual_priority {
            Priority::Usual
        } else {
            Priority::highest()
        },
        seed: options.seed,
    };
    let folder = tempfile::tempdir()?;
    let outcome = run(
        &load,
        Path::new(env!("CARGO_BIN_EXE_ivshmem")),
        folder.path(),
    )?;
    let report = Report::new(&load, &outcome);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    let missed = report.missed();
    for goal in &missed {
        eprintln!("missed: {goal}");
    }
    Ok(if options.gate && !missed.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
