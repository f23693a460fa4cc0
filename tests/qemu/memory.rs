// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of the shared memory: every byte, in both directions, and regions too large to fill.

use ivshmem_host::mapping::Mapping;
use ivshmem_scenarios::pattern;
use libtest_mimic::Failed;
use xtask::qemu::Guest;

use crate::guests::{plain, plain_on, Place, TestServer};
use crate::lab::{field, hear, number, same, Lab, Need, PATIENCE};

const SIZE: u64 = 4 << 20;

pub fn trials() -> Vec<Need> {
    vec![
        Need::new("memory::every_byte_of_a_file_both_ways", |lab| {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join("memory");
            let file = std::fs::File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)?;
            file.set_len(SIZE)?;
            let guest = plain_on(lab.guest("run=memory"), Place::Pc, &path, SIZE);
            both_ways(guest, &Mapping::of(&file)?)
        }),
        Need::new(
            "memory::every_byte_of_the_servers_memory_both_ways",
            |lab| {
                let server = TestServer::start(SIZE, 1)?;
                let mapping = Mapping::of(server.server.memory())?;
                both_ways(
                    server.doorbell(lab.guest("run=memory"), Place::Q35),
                    &mapping,
                )
            },
        ),
        Need::new("memory::ends_of_every_size", |lab: &Lab| {
            // 4 GiB and 64 GiB lie above 4 GiB, 2 GiB is where sign extension would show.
            for (size, bytes) in [
                ("4K", 4 << 10),
                ("2G", 2 << 30),
                ("4G", 4 << 30),
                ("64G", 64_u64 << 30),
            ] {
                let vm = plain(lab.guest("run=memory-ends"), Place::Q35, size).spawn()?;
                same(size, number(field(&hear(&vm, "memory")?, "len")?)?, bytes)?;
                vm.finish(PATIENCE)?;
            }
            Ok(())
        }),
        Need::new("memory::the_chosen_copy_is_about_the_fastest", |lab| {
            // The guest times the ways in turn and keeps the best of many rounds; one more try for a machine that
            // was busy through all of them.
            fastest(lab).or_else(|first| {
                eprintln!("{}; once more", first.message().unwrap_or_default());
                fastest(lab)
            })
        }),
    ]
}

/// Runs `mode=bench` and compares the strategy chosen with the others, at 64 KiB.
fn fastest(lab: &Lab) -> Result<(), Failed> {
    let vm = plain(lab.guest("mode=bench"), Place::Pc, "1M").spawn()?;
    let chosen = hear(&vm, "chosen")?;
    let chosen = field(&chosen, "strategy")?;
    let mut speeds = Vec::new();
    for strategy in ["words", "strings"] {
        let row = format!("bench strategy={strategy} bytes=65536");
        let row = hear(&vm, &row)?;
        let write = number(field(&row, "write_mb_s")?)?;
        speeds.push((strategy, write, number(field(&row, "read_mb_s")?)?));
    }
    vm.finish(PATIENCE)?;
    let own = speeds
        .iter()
        .find(|(strategy, ..)| *strategy == chosen)
        .ok_or_else(|| format!("the guest chose {chosen}, which it did not measure"))?;
    for (strategy, write, read) in &speeds {
        if own.1 * 10 < write * 8 || own.2 * 10 < read * 8 {
            return Err(format!(
                "{chosen} was chosen, with {} and {} MB/s to and from shared memory; {strategy} has {write} and {read}",
                own.1, own.2
            )
            .into());
        }
    }
    Ok(())
}

/// Runs `memory` and plays the host's part of it.
fn both_ways(guest: Guest, mapping: &Mapping) -> Result<(), Failed> {
    let vm = guest.spawn()?;
    let filled = hear(&vm, "filled")?;
    let memory = mapping.memory();
    same(
        "length",
        number(field(&filled, "len")?)?,
        memory.len() as u64,
    )?;
    let mut expected = vec![0; memory.len()];
    pattern::fill(number(field(&filled, "seed")?)?, 0, &mut expected);
    let mut seen = vec![0; memory.len()];
    memory.read(0, &mut seen)?;
    if let Some(at) = (0..seen.len()).find(|&at| seen[at] != expected[at]) {
        return Err(format!(
            "the host sees {:#x} at {at:#x}, the guest wrote {:#x}",
            seen[at], expected[at]
        )
        .into());
    }
    let seed = 0xfeed;
    pattern::fill(seed, 0, &mut expected);
    memory.write(0, &expected)?;
    vm.send_line(&format!("check {seed}"))?;
    vm.finish(PATIENCE)?;
    Ok(())
}
