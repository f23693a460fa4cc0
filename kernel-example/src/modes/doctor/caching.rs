// SPDX-License-Identifier: MIT OR Apache-2.0
//! What caching the shared memory really has: how long loads and stores take, beside those of RAM.
//!
//! The driver asks for write-back, but the processor obeys more than page tables (MTRRs, the
//! hypervisor's own tables), so it is measured. A store puts back the value that is there, in one
//! atomic step: peers notice nothing.

use core::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
};

use ivshmem::{registers::IV_POSITION, AccessError, Attached, Registers};

use super::{hypervisor::Hypervisor, report::Report};
use crate::{arch::time, println};

/// 64-bit words in the block that is measured.
const WORDS: usize = 512;

/// Passes over the block; the shortest counts, as what disturbs can only make one longer.
const PASSES: u32 = 25;

/// How many times the time of RAM shared memory may take and still count as cached. Without a
/// cache it takes a hundred times as long; peers at work in the same lines, two or three.
const SLOW_FACTOR: u64 = 8;

/// Ordinary RAM, mapped write-back.
static RAM: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// The times of one pass in nanoseconds.
struct Times {
    read_ns: u64,
    write_ns: u64,
}

/// Measures the device's shared memory.
pub fn examine(device: &Attached, hypervisor: Hypervisor, report: &mut Report) {
    let address = device.resources().address;
    if hypervisor == Hypervisor::Tcg {
        println!("  caching of the shared memory cannot be measured: TCG has no caches");
        println!("@ doctor address={address} caching=unknown");
        return;
    }
    let words = match words(device) {
        Ok(words) => words,
        Err(error) => {
            println!("  caching of the shared memory cannot be measured: {error}");
            println!("@ doctor address={address} caching=unknown");
            return;
        }
    };
    let shared = measure(&words);
    let ram = measure(&RAM.each_ref());
    let register_ns = device.registers().map_or(0, |registers| {
        shortest_ns(|| {
            black_box(registers.read(IV_POSITION));
        })
    });
    let factor = (shared.read_ns / ram.read_ns.max(1)).max(shared.write_ns / ram.write_ns.max(1));
    let cached = factor < SLOW_FACTOR;
    let caching = if cached { "cached" } else { "uncached" };
    println!(
        "  shared memory is {caching}: {} bytes are read in {} ns (RAM {}), written in {} ns \
         (RAM {}); one register is read in {register_ns} ns",
        WORDS * 8,
        shared.read_ns,
        ram.read_ns,
        shared.write_ns,
        ram.write_ns
    );
    println!(
        "@ doctor address={address} caching={caching} read_ns={} write_ns={} ram_read_ns={} \
         ram_write_ns={} register_ns={register_ns}",
        shared.read_ns, shared.write_ns, ram.read_ns, ram.write_ns
    );
    if !cached {
        report.fault(
            format_args!("{address}: shared memory takes {factor} times as long as RAM, uncached"),
            format_args!(
                "map BAR 2 write-back (CachePolicy::WriteBack, as this kernel does) and see that \
                 neither MTRRs nor the hypervisor make it uncached"
            ),
        );
    }
}

/// Returns the first words of the shared memory.
fn words(device: &Attached) -> Result<[&AtomicU64; WORDS], AccessError> {
    let memory = device.memory();
    let mut words = RAM.each_ref();
    for (index, word) in words.iter_mut().enumerate() {
        *word = memory.atomic_u64(8 * index)?;
    }
    Ok(words)
}

/// Reads and writes the words.
fn measure(words: &[&AtomicU64; WORDS]) -> Times {
    Times {
        read_ns: shortest_ns(|| {
            for word in words {
                black_box(word.load(Ordering::Relaxed));
            }
        }),
        write_ns: shortest_ns(|| {
            for word in words {
                let value = word.load(Ordering::Relaxed);
                // If a peer was faster, its value stays.
                let _ = word.compare_exchange(value, value, Ordering::Relaxed, Ordering::Relaxed);
            }
        }),
    }
}

/// Returns the time of the shortest pass.
fn shortest_ns(mut pass: impl FnMut()) -> u64 {
    let mut shortest = u64::MAX;
    for _ in 0..PASSES {
        let start = time::tsc();
        pass();
        shortest = shortest.min(time::tsc().saturating_sub(start));
    }
    time::ns(shortest)
}
