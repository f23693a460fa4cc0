// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask demo`: two bare-metal guests and this process talk through ivshmem.
//!
//! The server and the host peer run in this process; each guest is the release
//! kernel in a QEMU of its own. Guest A talks with guest B, then this process
//! with A, and every message is announced by a doorbell. Whatever ends
//! the demo, also Ctrl-C, ends everything that it started.

mod error;
mod guest;
mod host;
mod interrupt;
mod report;

use std::path::Path;
use std::time::Duration;

use ivshmem_host::peer::Peer;
use ivshmem_host::server::{Config, Server};
use ivshmem_scenarios::demo::{ask, bye, round_trips, Figures, Link, Role, Wait};
use tempfile::TempDir;

use crate::kernel::{self, Profile};
use crate::progress::Step;
use crate::qemu::option_value;
use crate::tools::Tools;

pub use error::DemoError;
use guest::Guests;
use host::HostSide;
use interrupt::Interrupt;
use report::{Report, Series};

const SIZE_BYTES: u64 = 4 << 20;
const VECTORS: u16 = 2;
/// Round trips in a series of this process; the kernel has the same number for its own.
const ROUND_TRIPS: usize = 10_000;
/// How long a guest may take to boot or to end.
const BOOT_LIMIT: Duration = Duration::from_secs(30);

/// Runs the demo, and writes its figures to `json` if asked.
///
/// # Errors
///
/// What did not work; with the serial log of the guest if it was one. Nothing that the demo started is left.
pub fn run(tools: &Tools, json: Option<&Path>) -> Result<(), DemoError> {
    // Known to be writable before a minute is spent.
    let json = json.map(report::JsonFile::create).transpose()?;
    let kernel = kernel::build(tools, Profile::Release)?;
    let interrupt = Interrupt::watch()?;
    let folder = TempDir::with_prefix("ivshmem-demo-")?;
    let socket = folder.path().join("socket");
    let server = Server::spawn(Config::new(&socket, SIZE_BYTES, VECTORS))?;
    println!(
        "server  {} MiB of shared memory, {VECTORS} vectors for each peer",
        SIZE_BYTES >> 20
    );

    let step = Step::start("booting guests A and B");
    let device = [
        "-chardev".into(),
        format!("socket,id=server,path={}", option_value(&socket)),
        "-device".into(),
        format!("ivshmem-doorbell,chardev=server,vectors={VECTORS}"),
    ];
    let guests = Guests::boot(tools, &kernel, &device, &server, &interrupt)?;
    let ids = (guests.ready(Role::A)?, guests.ready(Role::B)?);
    step.done("booted guests A and B");
    let mut peer = Peer::connect(&socket)?;
    let wired = |peer: &Peer| {
        [ids.0, ids.1]
            .iter()
            .all(|&id| peer.vectors_of(id) == Some(VECTORS.into()))
    };
    if !peer.wait_until(BOOT_LIMIT, wired)? {
        return Err(DemoError::NotWired);
    }
    println!("A       guest, peer {}", ids.0);
    println!("B       guest, peer {}", ids.1);
    println!("host    this process, peer {}\n", peer.id());

    let mut report = Report::new(tools, ids, peer.id());
    for _ in [Wait::Doorbell, Wait::Polling] {
        report.add(guests.figures()?);
    }
    guests.free(Role::A)?;
    talk(&peer, &guests, &mut report, &interrupt)?;
    guests.finish()?;
    server.stop()?;
    println!("\n{report}");
    if let Some(json) = json {
        json.write(&report)?;
    }
    Ok(())
}

/// The host's conversations: with A at length, with B to say bye.
fn talk(
    peer: &Peer,
    guests: &Guests,
    report: &mut Report,
    interrupt: &Interrupt,
) -> Result<(), DemoError> {
    let failed = |failure| guests.explain(failure, interrupt);
    let greet = |link: &mut Link<'_, HostSide<'_>>, text| {
        ask(link, format_args!("{text}")).map_err(failed)?;
        // The answer is here before the serial line has brought what the guest was asked.
        guests.shown(link.other)?;
        link.side.flush();
        Ok::<_, DemoError>(())
    };
    let mut a = HostSide::connect(peer, Role::A, interrupt).map_err(failed)?;
    greet(&mut a, "hello, I am a process on the host")?;
    for wait in [Wait::Doorbell, Wait::Polling] {
        report.add(measure(&mut a, wait).map_err(failed)?);
    }
    bye(&mut a).map_err(failed)?;
    let mut b = HostSide::connect(peer, Role::B, interrupt).map_err(failed)?;
    greet(&mut b, "hello and good bye")?;
    bye(&mut b).map_err(failed)
}

fn measure(
    link: &mut Link<'_, HostSide<'_>>,
    wait: Wait,
) -> Result<Series, ivshmem_scenarios::Failure> {
    let mut samples = vec![0; ROUND_TRIPS];
    let doorbells = round_trips(link, wait, &mut samples)?;
    let figures = Figures::of(&mut samples).ok_or("no samples")?;
    Ok(Series {
        from: link.own,
        to: link.other,
        wait,
        figures,
        doorbells,
    })
}
