// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the program refuses, and leaves as it is.

use std::sync::atomic::Ordering;

use ivshmem::channel::{Format, Region};
use ivshmem_host::mapping::Mapping;

use crate::exchange::region;
use crate::program::Program;

/// How it ends when the region cannot be used.
const REFUSED: i32 = 3;

fn check(program: &Program, len: u64, arguments: &[&str], words: &[(usize, u64)]) {
    let file = region(len);
    let mapping = Mapping::of(file.as_file()).unwrap();
    for &(at, value) in words {
        let word = mapping.memory().atomic_u64(at).unwrap();
        word.store(value.to_le(), Ordering::Relaxed);
    }
    let mut before = vec![0; len as usize];
    mapping.memory().read(0, &mut before).unwrap();
    let mut running = program.start(arguments, file.path(), "carl");
    let status = running.end();
    assert_eq!(status.code(), Some(REFUSED), "{arguments:?} {words:x?}");
    assert!(
        running.errors().starts_with("ivshmem-echo: "),
        "it says why"
    );
    let mut after = vec![0; len as usize];
    mapping.memory().read(0, &mut after).unwrap();
    assert!(before == after, "nothing is overwritten: {words:x?}");
}

pub fn all(program: &Program) {
    const LEN: u64 = 1 << 16;
    let magic = u64::from_le_bytes(*b"IVSHMCH1");
    // What a sound geometry looks like is this implementation's word.
    let sound = |len| {
        let file = region(len);
        let mapping = Mapping::of(file.as_file()).unwrap();
        let format = Format {
            slots: 2,
            ring_log2: Some(8),
        };
        Region::open_or_format(mapping.memory(), &format).unwrap();
        let word = mapping.memory().atomic_u64(8).unwrap();
        u64::from_le(word.load(Ordering::Relaxed))
    };
    let geometry = sound(LEN);
    let formats = ["-f", "2:8"];
    // Blank, and nobody is to format it; or cannot.
    check(program, LEN, &[], &[]);
    for format in ["1:8", "257:8", "2:7", "2:31", "2:16", "256:8"] {
        check(program, LEN, &["-f", format], &[]);
    }
    // No region.
    check(program, 3 << 12, &formats, &[]);
    // Something else.
    check(program, LEN, &formats, &[(0, 7)]);
    for at in [0x10, 0x80, 0x1078] {
        check(program, LEN, &formats, &[(at, 1)]);
    }
    // Another version, another size, and nonsense of all kinds.
    check(program, LEN, &formats, &[(0, magic)]);
    check(program, LEN, &formats, &[(0, magic), (8, sound(2 * LEN))]);
    for change in [
        3,
        1 << 8,
        0x0f << 16,
        0x1f << 16,
        0xff << 24,
        1 << 32,
        1 << 47,
        geometry >> 48 << 48,
    ] {
        check(
            program,
            LEN,
            &formats,
            &[(0, magic), (8, geometry ^ change)],
        );
    }
}
