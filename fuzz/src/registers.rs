// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every method of a device of any flavour, whose registers read what the input says.

use std::ptr::NonNull;

use ivshmem::registers::{doorbell, DOORBELL, INTERRUPT_STATUS, IV_POSITION};
use ivshmem::{
    DeviceError, Flavour, Interrupts, Ivshmem, MsixTable, Parts, PeerId, Quirks, SharedMemory,
    MAX_VECTORS,
};

use crate::device::{call, Call};
use crate::input::Input;
use crate::script::{Block, Script};

/// What one method takes at most.
const MAX_ACCESSES: usize = 8;
const MEMORY_WORDS: usize = 512;
/// Length of `ivshmem-flat`'s block, the smallest there is.
const BLOCK_LEN: usize = 16;
const ENTRY_LEN: usize = 16;

/// How far an input got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Doorbells that were rung.
    pub rung: usize,
    /// Calls that were made.
    pub calls: usize,
}

/// What the first bytes say about the device.
struct Header {
    flavour: Flavour,
    interrupts: u8,
    has_registers: bool,
    keeps_table: bool,
    quirks: Quirks,
    vectors: u16,
    /// What registers read behind the end of the script.
    last: u32,
    /// Bytes that say which methods are called; the others are what registers read.
    calls: usize,
}

impl Header {
    fn take(input: &mut Input<'_>) -> Self {
        let (kind, bits): (u8, u8) = (input.take(), input.take());
        let flavours = [
            Flavour::Plain,
            Flavour::Doorbell,
            Flavour::Legacy,
            Flavour::Flat,
        ];
        Self {
            flavour: flavours[usize::from(kind % 4)],
            interrupts: kind / 4 % 4,
            has_registers: bits & 1 == 0,
            keeps_table: bits & 2 == 0,
            quirks: Quirks::from_bits_truncate(u32::from(bits >> 2 & 1)),
            vectors: match input.take::<u8>() {
                0xff => u16::MAX,
                0xfe => MAX_VECTORS,
                few => few.into(),
            },
            last: if bits & 8 == 0 { 0 } else { !0 },
            calls: usize::from(input.take::<u8>()),
        }
    }
}

/// Calls methods of the device that `data` describes, then drops it.
///
/// # Panics
///
/// If a property does not hold.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let header = Header::take(&mut input);
    let (mut calls, values) = input.split(header.calls);
    let script = Script::new(values, header.last, header.keeps_table);
    let table_len = usize::from(header.vectors) * ENTRY_LEN;
    let pending_len = usize::from(header.vectors).div_ceil(64) * 8;
    let mut memory = vec![0_u64; MEMORY_WORDS].into_boxed_slice();
    let base = NonNull::from(&mut *memory).cast();
    let parts = Parts {
        flavour: header.flavour,
        registers: header
            .has_registers
            .then(|| script.block(Block::Registers, BLOCK_LEN)),
        // SAFETY: the box outlives the device, and is not touched before that is dropped.
        shared_memory: unsafe { SharedMemory::new(base, MEMORY_WORDS * 8) },
        interrupts: match header.interrupts {
            0 => Interrupts::None,
            1 => {
                let mut table = MsixTable::new(
                    script.block(Block::Table, table_len),
                    script.block(Block::Pending, pending_len),
                    header.vectors,
                );
                table.clear();
                Interrupts::Msix(table)
            }
            2 => Interrupts::Line,
            _ => Interrupts::Kernel,
        },
        quirks: header.quirks,
    };
    // SAFETY: the parts are stand-ins that stay for as long as the device.
    let device = unsafe { Ivshmem::new(parts) };
    let mut reached = Reached::default();
    script.take_accesses();
    while !calls.is_empty() {
        reached.calls += 1;
        let done = call(&device, &mut calls);
        reached.rung += check(&header, &script, &done);
    }
    drop(device);
    check_silent(&header, &script);
    reached
}

/// Checks what a call did to the registers, and returns how many doorbells it rang.
fn check(header: &Header, script: &Script<'_>, done: &Call) -> usize {
    let (accesses, doorbells) = (script.take_accesses(), script.take_doorbells());
    let mut bound = MAX_ACCESSES;
    let mut expected = Vec::new();
    match done {
        Call::Position(Ok(PeerId(peer))) => {
            assert_eq!(script.known(IV_POSITION), Some(u32::from(*peer)));
        }
        Call::Position(Err(DeviceError::Gone)) => {
            assert_eq!(script.known(IV_POSITION), Some(!0));
            assert_eq!(script.known(DOORBELL), Some(!0));
        }
        Call::Ring(peer, vector, Ok(())) => {
            let flat = header.flavour == Flavour::Flat;
            assert!(!flat || vector.0 == 0, "{vector} was rung on ivshmem-flat");
            assert!(!header.quirks.contains(Quirks::INERT_REGISTERS));
            let value = doorbell(*peer, *vector).expect("a vector above 255 was rung");
            assert!(value & 0xffff <= 255);
            expected.push(value);
        }
        Call::WaitReady(rounds) => bound *= *rounds as usize + 1,
        Call::Acknowledge(Ok(Some(status))) => {
            assert_eq!(script.known(INTERRUPT_STATUS), Some(status.bits()));
            assert!(!status.is_empty());
        }
        _ => {}
    }
    assert_eq!(doorbells, expected, "{done:?}");
    assert!(accesses <= bound, "{done:?} took {accesses} accesses");
    doorbells.len()
}

/// Checks that a device that was dropped signals nothing.
fn check_silent(header: &Header, script: &Script<'_>) {
    let vectors = usize::from(header.vectors.min(MAX_VECTORS));
    let (limit, entries) = match header.interrupts {
        1 => (ENTRY_LEN * vectors, vectors),
        _ => (1, 0),
    };
    let accesses = script.take_accesses();
    assert!(accesses <= limit, "drop took {accesses} accesses");
    for entry in (0..entries).map(|entry| entry * ENTRY_LEN) {
        let word = |offset| script.written(Block::Table, entry + offset);
        let (low, high, control) = (word(0), word(4), word(12));
        assert_eq!((low, high), (Some(0), Some(0)), "entry {entry:#x}");
        assert_eq!(control.map(|word| word & 1), Some(1), "entry {entry:#x}");
    }
    if header.interrupts == 2 && header.has_registers {
        let mask = script.written(Block::Registers, ivshmem::registers::INTERRUPT_MASK);
        assert_eq!(mask, Some(0), "the line is left open");
    }
}
