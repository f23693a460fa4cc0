// SPDX-License-Identifier: MIT OR Apache-2.0
//! The speed of copies in and out of shared memory, against `ptr::copy_nonoverlapping`.
//!
//! `cargo bench --bench copy` prints a table. With `-- --gate` it fails if a ratio is below its
//! goal by more than the slack that a busy machine needs.
//!
//! Both sides are timed in turn, in many short rounds, and the ratio is the median over the rounds: what
//! slows the machine down for longer than a round slows both.

use std::hint::black_box;
use std::process::ExitCode;
use std::ptr;
use std::time::{Duration, Instant};

use ivshmem::SharedMemory;
use ivshmem_host::mapping::Mapping;
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

/// Rounds per row of the table.
const ROUNDS: usize = 301;

/// Length of one timing in a round.
const ROUND: Duration = Duration::from_micros(20);

/// What is left of a goal on a busy machine.
const SLACK: f64 = 0.7;

/// How often the gate tries again: interference passes, slowness does not.
const ATTEMPTS: usize = 3;

/// Direction of a copy, seen from this program.
#[derive(Clone, Copy, Debug)]
enum Direction {
    Write,
    Read,
}

/// What one row of the table tells.
struct Row {
    direction: Direction,
    len: usize,
    ours_ns: f64,
    reference_ns: f64,
    ratio: f64,
}

/// Returns the speed that copies of `len` bytes shall have, relative to the reference.
const fn goal(len: usize) -> Option<f64> {
    match len {
        64 => Some(0.5),
        1024.. => Some(0.9),
        _ => None,
    }
}

fn main() -> ExitCode {
    let gate = std::env::args().any(|argument| argument == "--gate");
    let mut bench = match Bench::new() {
        Ok(bench) => bench,
        Err(error) => {
            eprintln!("no shared memory to copy: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("strategy: {:?}", bench.mapping.memory().copy_strategy());
    let attempts = if gate { ATTEMPTS } else { 1 };
    let mut failures = Vec::new();
    for attempt in 1..=attempts {
        failures = bench.table();
        if failures.is_empty() {
            return ExitCode::SUCCESS;
        }
        println!("attempt {attempt} of {attempts}:\n{}", failures.join("\n"));
    }
    if gate && !failures.is_empty() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A shared mapping and a private buffer.
struct Bench {
    mapping: Mapping,
    buffer: Vec<u8>,
}

impl Bench {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let file = memfd_create("bench", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, (2 * MIB) as u64)?;
        let bench = Self {
            mapping: Mapping::of(&file)?,
            buffer: vec![0x5a; 2 * MIB],
        };
        // Every page is there before the first round.
        let memory = bench.mapping.memory();
        memory
            .write(0, &bench.buffer)
            .map_err(|error| error.to_string())?;
        Ok(bench)
    }

    /// Prints the table and returns what misses its goal by more than the slack.
    fn table(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        println!("      bytes  dir    offsets     ours ns  reference ns  ratio");
        // Both sides at the start of a page, then at two odd places.
        for (shared_at, private_at) in [(0, 0), (8, 24), (3, 13)] {
            for direction in [Direction::Write, Direction::Read] {
                for len in (3..=20).map(|bit| 1_usize << bit) {
                    let row = self.row(direction, len, shared_at, private_at);
                    println!(
                        "{:>11}  {:<5}  {shared_at:>2} {private_at:>2}  {:>12.1}  {:>12.1}  {:>5.2}",
                        row.len,
                        format!("{:?}", row.direction),
                        row.ours_ns,
                        row.reference_ns,
                        row.ratio
                    );
                    let aligned = shared_at == 0;
                    if let Some(goal) = goal(len).filter(|goal| aligned && row.ratio < goal * SLACK)
                    {
                        failures.push(format!(
                            "{:?} of {len} bytes: {:.2} of the reference, the goal is {goal}, less {:.0} %",
                            row.direction,
                            row.ratio,
                            (1.0 - SLACK) * 100.0
                        ));
                    }
                }
            }
        }
        failures
    }

    fn row(
        &mut self,
        direction: Direction,
        len: usize,
        shared_at: usize,
        private_at: usize,
    ) -> Row {
        let memory = self.mapping.memory();
        let start = self.buffer.as_ptr() as usize;
        let at = (start.wrapping_neg() % PAGE) + private_at;
        let buffer = &mut self.buffer[at..at + len];
        let repeats = repeats(|| ours(&memory, direction, shared_at, buffer));
        let mut timings: Vec<(f64, f64)> = (0..ROUNDS)
            .map(|_| {
                let ours = time(repeats, || ours(&memory, direction, shared_at, buffer));
                let reference = time(repeats, || reference(&memory, direction, shared_at, buffer));
                (ours, reference)
            })
            .collect();
        timings.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
        let (ours, reference) = timings[ROUNDS / 2];
        let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
        Row {
            direction,
            len,
            ours_ns: least(&mut timings.iter().map(|timing| timing.0)),
            reference_ns: least(&mut timings.iter().map(|timing| timing.1)),
            ratio: reference / ours,
        }
    }
}

/// Returns how often `copy` runs in a round.
fn repeats(mut copy: impl FnMut()) -> u32 {
    let mut repeats = 1;
    while time(repeats, &mut copy) * f64::from(repeats) < ROUND.as_nanos() as f64 {
        repeats *= 2;
    }
    repeats
}

/// Returns the nanoseconds that one run of `copy` takes in `repeats`.
fn time(repeats: u32, mut copy: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..repeats {
        copy();
    }
    start.elapsed().as_nanos() as f64 / f64::from(repeats)
}

/// Copies with this crate.
fn ours(memory: &SharedMemory<'_>, direction: Direction, offset: usize, buffer: &mut [u8]) {
    let memory = black_box(memory);
    let copied = match direction {
        Direction::Write => memory.write(black_box(offset), black_box(buffer)),
        Direction::Read => memory.read(black_box(offset), black_box(buffer)),
    };
    assert_eq!(copied, Ok(()));
}

/// Copies without any check or promise.
fn reference(memory: &SharedMemory<'_>, direction: Direction, offset: usize, buffer: &mut [u8]) {
    let shared = black_box(memory).as_ptr().wrapping_add(black_box(offset));
    let buffer = black_box(buffer);
    match direction {
        // SAFETY: `row` has made the buffer shorter than the mapping, which nobody else uses.
        Direction::Write => unsafe {
            ptr::copy_nonoverlapping(buffer.as_ptr(), shared, buffer.len());
        },
        // SAFETY: as above.
        Direction::Read => unsafe {
            ptr::copy_nonoverlapping(shared, buffer.as_mut_ptr(), buffer.len());
        },
    }
}
