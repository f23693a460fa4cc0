// SPDX-License-Identifier: MIT OR Apache-2.0
//! Somebody writes anything anywhere while the program works: it goes on or ends with a message, and touches nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::{Format, Region};
use ivshmem::SharedMemory;
use ivshmem_host::mapping::Mapping;

use crate::exchange::{check_echo, end, join, region};
use crate::lab::{message, LIMIT};
use crate::program::Program;

const TIME: Duration = Duration::from_millis(1500);
const LEN: u64 = 1 << 14;
/// How it ends when the region cannot be used any more.
const REFUSED: i32 = 3;

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Writes to the region until it is told to end: words of all kinds, most of them near to what should be there.
fn scribble(memory: SharedMemory<'_>, stop: &AtomicBool) {
    let mut state = u64::from(std::process::id()) | 1;
    while !stop.load(Ordering::Relaxed) {
        let random = next(&mut state);
        // What decides everything, now and then; else slots and rings.
        let at = match random % 512 {
            0 => random as usize >> 20 & 8,
            _ => 0x80 + (random as usize >> 20) % (LEN as usize - 0x80),
        };
        let word = memory.atomic_u64(at & !7).unwrap();
        let found = word.load(Ordering::Relaxed);
        let value = match random >> 10 & 7 {
            0 => next(&mut state),
            1 => 0,
            2 => u64::MAX,
            3 => found.wrapping_add(8),
            _ => found ^ 1 << (random >> 13 & 63),
        };
        word.store(value, Ordering::Relaxed);
        if random >> 60 == 0 {
            thread::yield_now();
        }
    }
}

/// Formats whatever is there anew, with small rings.
fn anew(memory: SharedMemory<'_>) {
    let format = Format {
        slots: 3,
        ring_log2: Some(8),
    };
    while Region::format_anew(memory, &format).is_err() {}
}

pub fn scribbler(program: &Program) {
    let file = region(LEN);
    let mapping = Mapping::of(file.as_file()).unwrap();
    let memory = mapping.memory();
    anew(memory);
    let arguments = ["-l", "50", "-g"];
    let start = |name| program.start(&arguments, file.path(), name);
    let mut both = ["carl", "cora"].map(|name| (name, start(name)));
    let mut refusals = 0;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| scribble(memory, &stop));
        let begin = Instant::now();
        // At least until it has met what it cannot use, however slow the machine is.
        while begin.elapsed() < TIME || refusals < 3 {
            assert!(begin.elapsed() < LIMIT, "the scribbler does nothing");
            for (name, running) in &mut both {
                if let Some(status) = running.ended() {
                    // Nothing else: no signal, no finding of a sanitizer.
                    let errors = running.errors();
                    assert_eq!(status.code(), Some(REFUSED), "{status}: {errors}");
                    refusals += 1;
                    *running = start(name);
                }
            }
            anew(memory);
            thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
    });
    for (_, running) in &mut both {
        running.kill();
    }

    // Where nobody scribbles, all is well again.
    memory.fill(0, LEN as usize, 0).unwrap();
    anew(memory);
    let mut running = program.start(&["-l", "60000"], file.path(), "carl");
    let alice = join(file.path(), "alice");
    let mut connection = alice.connect("carl", Duration::from_secs(20)).unwrap();
    check_echo(&mut connection, [message(1, 1000)]);
    end(&mut connection, &mut running);
}
