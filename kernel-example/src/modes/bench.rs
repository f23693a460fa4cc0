// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mode=bench`: how fast each way of copying is here, and which one the driver has chosen.
//!
//! `memcpy` is the compiler's own routine for comparison; on a soft-float target that is the one of
//! `compiler-builtins`. It promises nothing about a peer that writes meanwhile, and there is none.

use core::ptr;

use ivshmem::{CopyStrategy, SharedMemory};
use ivshmem_scenarios::{device, Failure, Machine};

use crate::{arch::time, machine::KernelMachine, println};

/// Bytes copied in one timing, whatever the length of the single copies.
const BLOCK: usize = 64 << 10;

/// Lengths of the single copies in bytes.
const LENGTHS: [usize; 4] = [64, 1 << 10, 4 << 10, BLOCK];

/// Timings of each way; the shortest counts, as what disturbs can only make one longer.
const ROUNDS: usize = 25;

/// The ways to copy, under the names that they are printed with.
const WAYS: [(&str, Option<CopyStrategy>); 3] = [
    ("words", Some(CopyStrategy::WORDS)),
    ("strings", Some(CopyStrategy::STRINGS)),
    ("memcpy", None),
];

/// Private memory, at the start of a page like the shared memory.
#[repr(align(4096))]
struct Private([u8; BLOCK]);

/// Measures all ways of copying, in turn, and prints one line for each length and way.
pub fn run(machine: &mut KernelMachine) -> Result<(), Failure> {
    let function = device(machine)?;
    let device = machine.attach(&function, 0)?;
    let memory = device.memory().region(0, BLOCK)?;
    let chosen = WAYS
        .iter()
        .find(|(_, strategy)| *strategy == Some(memory.copy_strategy()))
        .map_or("other", |(name, _)| *name);
    println!("@ chosen strategy={chosen}");
    let mut private = Private([0x5a; BLOCK]);
    for len in LENGTHS {
        let mut shortest_ns = [[u64::MAX; 2]; WAYS.len()];
        for _ in 0..ROUNDS {
            for ((_, strategy), shortest) in WAYS.iter().zip(&mut shortest_ns) {
                let took = measure(&memory, *strategy, len, &mut private.0)?;
                *shortest = [shortest[0].min(took[0]), shortest[1].min(took[1])];
            }
        }
        for ((name, _), [write_ns, read_ns]) in WAYS.iter().zip(shortest_ns) {
            println!(
                "@ bench strategy={name} bytes={len} write_mb_s={} read_mb_s={}",
                megabytes_per_second(write_ns),
                megabytes_per_second(read_ns)
            );
        }
    }
    Ok(())
}

/// Copies a block in pieces of `len` bytes to the shared memory and back; returns what each took in nanoseconds.
fn measure(
    memory: &SharedMemory<'_>,
    strategy: Option<CopyStrategy>,
    len: usize,
    private: &mut [u8; BLOCK],
) -> Result<[u64; 2], Failure> {
    let start_ns = time::now_ns();
    for (piece, offset) in private.chunks_exact(len).zip((0..).step_by(len)) {
        match strategy {
            Some(strategy) => memory.with_copy_strategy(strategy).write(offset, piece)?,
            None => {
                let target = memory.region(offset, len)?.as_ptr();
                // SAFETY: `region` has found `len` bytes there, and no peer uses them.
                unsafe { ptr::copy_nonoverlapping(piece.as_ptr(), target, len) };
            }
        }
    }
    let written_ns = time::now_ns();
    for (piece, offset) in private.chunks_exact_mut(len).zip((0..).step_by(len)) {
        match strategy {
            Some(strategy) => memory.with_copy_strategy(strategy).read(offset, piece)?,
            None => {
                let source = memory.region(offset, len)?.as_ptr();
                // SAFETY: as above.
                unsafe { ptr::copy_nonoverlapping(source, piece.as_mut_ptr(), len) };
            }
        }
    }
    Ok([written_ns - start_ns, time::now_ns() - written_ns])
}

/// Returns the speed at which a block was copied, in 10^6 bytes per second.
fn megabytes_per_second(ns: u64) -> u64 {
    BLOCK as u64 * 1000 / ns.max(1)
}
