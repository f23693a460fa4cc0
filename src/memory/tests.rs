// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the copies, the bounds and the alignment rules.

extern crate std;

use super::*;
use core::sync::atomic::Ordering;
use std::vec;
use std::vec::Vec;

/// Gives `test` a view of `len` zeroed bytes that starts `shift` bytes after an 8-byte boundary,
/// with a guard of 0xee bytes on both sides that must survive.
fn with_memory(shift: usize, len: usize, test: impl FnOnce(SharedMemory<'_>)) -> Vec<u8> {
    let mut words = vec![u64::from_ne_bytes([0xee; 8]); 4 + (shift + len).div_ceil(8)];
    let base = words.as_mut_ptr().cast::<u8>().wrapping_add(16 + shift);
    let bytes = |from: *const u8, n: usize| -> Vec<u8> {
        // SAFETY: every use below stays inside `words`, and no view is alive then.
        (0..n)
            .map(|i| unsafe { from.wrapping_add(i).read() })
            .collect()
    };
    for i in 0..len {
        // SAFETY: inside `words`.
        unsafe { base.wrapping_add(i).write(0) };
    }
    // SAFETY: the bytes belong to `words`, which outlives the view and is not referenced meanwhile.
    test(unsafe { SharedMemory::new(NonNull::new(base).unwrap(), len) });
    assert_eq!(bytes(base.wrapping_sub(8), 8), [0xee; 8], "bytes before");
    assert_eq!(bytes(base.wrapping_add(len), 8), [0xee; 8], "bytes behind");
    bytes(base, len)
}

#[test]
fn copies_are_exact_at_every_alignment_and_length() {
    for shift in 0..8 {
        for len in 0..40 {
            let pattern: Vec<u8> = (0..len).map(|i| i as u8 ^ 0x5a).collect();
            let stored = with_memory(shift, len, |memory| {
                memory.write(0, &pattern).unwrap();
                let mut back = vec![0; len];
                memory.read(0, &mut back).unwrap();
                assert_eq!(back, pattern);
            });
            assert_eq!(stored, pattern, "shift {shift}, {len} bytes");
        }
    }
}

#[test]
fn fill_touches_its_bytes_only() {
    let stored = with_memory(3, 700, |memory| memory.fill(1, 600, 0xab).unwrap());
    assert_eq!(stored[0], 0);
    assert_eq!(stored[1..601], [0xab; 600]);
    assert_eq!(stored[601..], [0; 99]);
}

#[test]
fn nothing_outside_is_reached() {
    with_memory(0, 64, |memory| {
        let mut byte = [0x77];
        for (offset, len) in [(64, 1), (65, 0), (0, 65), (usize::MAX, 1), (1, usize::MAX)] {
            let outside = AccessError::OutOfBounds {
                offset,
                len_bytes: len,
                available: 64,
            };
            assert_eq!(memory.region(offset, len).unwrap_err(), outside);
            assert_eq!(memory.fill(offset, len, 1).unwrap_err(), outside);
        }
        assert!(memory.read(64, &mut byte).is_err());
        assert_eq!(byte, [0x77], "a refused read leaves the target alone");
        assert!(memory.write(64, &byte).is_err());
        assert!(memory.atomic_u32(61).is_err());
        assert!(memory.region(64, 0).unwrap().is_empty());
        let part = memory.region(8, 8).unwrap();
        assert!(part.write(1, &[0; 8]).is_err(), "a part has its own bounds");
    });
}

#[test]
fn atomics_want_alignment_of_the_address_not_of_the_offset() {
    with_memory(0, 32, |memory| {
        assert_eq!(
            memory.atomic_u64(4).unwrap_err(),
            AccessError::Misaligned {
                offset: 4,
                align: 8
            }
        );
        memory
            .atomic_u64(8)
            .unwrap()
            .store(0x0102_0304_0506_0708, Ordering::Relaxed);
        let mut bytes = [0; 8];
        memory.read(8, &mut bytes).unwrap();
        assert_eq!(u64::from_ne_bytes(bytes), 0x0102_0304_0506_0708);
        let odd = memory.region(1, 16).unwrap();
        assert!(odd.atomic_u32(0).is_err());
        assert!(odd.atomic_u32(3).is_ok());
    });
}
