// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenarios of the shared memory.

use ivshmem::SharedMemory;

use crate::{attach, device, ensure, ensure_eq, pattern, Failure, Machine};

/// Bytes copied at a time.
const BLOCK: usize = 4096;

/// Fills the whole region for the host to check, then checks what the host has filled it with.
///
/// `@ filled seed=N` asks the host to look; it answers `check N` when it has filled the region with
/// another seed.
pub fn whole<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let function = device(machine)?;
    let device = attach(machine, &function, 0)?;
    let memory = device.memory();
    let seed = 0x1234;
    let mut block = [0; BLOCK];
    for offset in (0..memory.len()).step_by(BLOCK) {
        pattern::fill(seed, offset, &mut block);
        memory.write(offset, &block)?;
    }
    machine.say(format_args!("@ filled seed={seed} len={}", memory.len()));
    let mut line = [0; 64];
    let answer = machine.hear(&mut line)?;
    let seed = answer
        .strip_prefix("check ")
        .ok_or("the host did not say `check SEED`")?
        .parse()?;
    let mut expected = [0; BLOCK];
    for offset in (0..memory.len()).step_by(BLOCK) {
        memory.read(offset, &mut block)?;
        pattern::fill(seed, offset, &mut expected);
        ensure(
            block == expected,
            format_args!("the block at {offset:#x} is not what the host wrote"),
        )?;
    }
    Ok(())
}

/// Writes a word of its own at each power of two and at the end of the region, then reads them all back.
///
/// A region mapped short, twice or in the wrong place shows here also when it is too large to fill.
pub fn ends<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let function = device(machine)?;
    let device = attach(machine, &function, 0)?;
    let memory = device.memory();
    machine.say(format_args!("@ memory len={}", memory.len()));
    let last = memory.len() - pattern::WORD;
    for offset in places(&memory).chain([last]) {
        let word = pattern::word(1, offset as u64);
        memory.write(offset, &word.to_le_bytes())?;
    }
    for offset in places(&memory).chain([last]) {
        let mut bytes = [0; pattern::WORD];
        memory.read(offset, &mut bytes)?;
        let expected = pattern::word(1, offset as u64);
        ensure_eq("a word far out", u64::from_le_bytes(bytes), expected)?;
    }
    ensure(
        memory.write(last + 1, &[0; pattern::WORD]).is_err(),
        format_args!("a write across the end was let through"),
    )
}

/// The powers of two from 8 that lie inside the region.
fn places(memory: &SharedMemory<'_>) -> impl Iterator<Item = usize> {
    let len = memory.len();
    (3..usize::BITS)
        .map(|bit| 1_usize << bit)
        .take_while(move |&offset| offset < len)
}
