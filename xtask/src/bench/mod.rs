// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench`: channels between two guests, and between a guest and this process, beside bare memory and
//! doorbells.

mod table;

use std::path::Path;

use ivshmem_scenarios::bench::{serve, Buffer, Ground, Row};
use ivshmem_scenarios::demo::Role;
use ivshmem_scenarios::party::Party;
use ivshmem_scenarios::Failure;

use crate::figures::JsonFile;
use crate::kernel::{self, Profile};
use crate::party::{PartyError, Stage};
use crate::qemu::field;
use crate::tools::Tools;
use table::Table;

/// Half of it for channels, half of it for what they are compared with.
const SIZE_BYTES: u64 = 32 << 20;

/// How many rows a guest tells of each pair.
const ROWS: usize = 6;

/// Runs the benchmark, and writes its figures to `json` if asked.
///
/// # Errors
///
/// What did not work; with the serial log of the guest if it was one. Nothing that it started is left.
pub fn run(tools: &Tools, json: Option<&Path>) -> Result<(), PartyError> {
    let json = json.map(JsonFile::create).transpose()?;
    let kernel = kernel::build(tools, Profile::Release)?;
    let stage = Stage::set(tools, &kernel, "bench-channel", SIZE_BYTES)?;
    let mut table = Table::new(tools);
    hear(&stage, Role::B, &mut table)?;
    serve_guest(&stage).map_err(|failure| stage.guests.explain(failure))?;
    hear(&stage, Role::Host, &mut table)?;
    stage.close()?;
    println!("{table}");
    if let Some(json) = json {
        json.write(&table.to_json())?;
    }
    Ok(())
}

/// Takes in what guest A has measured with `other`.
fn hear(stage: &Stage, other: Role, table: &mut Table) -> Result<(), PartyError> {
    let start = format!("@ bench with={} ", other.name());
    for _ in 0..ROWS {
        let line = stage.guests.hear(Role::A, &start)?;
        let row = Row::parse(|key| field(&line, key));
        table.add(other, row.ok_or(PartyError::Line(line))?);
    }
    Ok(())
}

/// Has guest A measure with this process.
fn serve_guest(stage: &Stage) -> Result<(), Failure> {
    let host = stage.host();
    let ground = Ground::open(stage.memory())?;
    let mut party = Party::join(ground.region, &host, Role::Host.member())?;
    let mut endpoint = party.meet(Role::A.member())?;
    let mut buffer = Box::new([0x5a; size_of::<Buffer>()]);
    serve(&mut party, &mut endpoint, &ground, &mut buffer)?;
    party.leave();
    Ok(())
}
