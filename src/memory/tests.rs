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

/// Every strategy that this processor has.
fn strategies() -> Vec<CopyStrategy> {
    let best = CopyStrategy::detect();
    let mut all = vec![CopyStrategy::WORDS, CopyStrategy::STRINGS, best];
    for left_out in [strategy::Means::STRINGS, strategy::Means::AVX512] {
        all.push(CopyStrategy(best.0.difference(left_out)));
    }
    let wide = strategy::Means::AVX | strategy::Means::AVX512;
    all.push(CopyStrategy(best.0.difference(wide)));
    all.push(CopyStrategy(
        best.0.difference(wide | strategy::Means::STRINGS),
    ));
    all
}

#[test]
fn every_strategy_is_exact_around_its_limits() {
    let limits = [
        16,
        32,
        64,
        96,
        128,
        256,
        512,
        1024,
        2048,
        4096,
        8192,
        8192 + 64,
    ];
    for strategy in strategies() {
        for shift in [0, 1, 8, 13, 33, 63] {
            for private in [0, 1, 29] {
                for len in limits.into_iter().flat_map(|limit| limit - 1..=limit + 1) {
                    let mut bytes: Vec<u8> = (0..private + len)
                        .map(|i| (i * 7 + i / 251) as u8)
                        .collect();
                    let stored = with_memory(shift, len, |memory| {
                        let memory = memory.with_copy_strategy(strategy);
                        memory.write(0, &bytes[private..]).unwrap();
                        let expected = bytes.clone();
                        bytes[private..].fill(0);
                        memory.read(0, &mut bytes[private..]).unwrap();
                        assert!(bytes == expected, "{strategy:?} {shift} {private} {len}");
                    });
                    assert!(
                        stored == bytes[private..],
                        "{strategy:?} {shift} {private} {len}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_writer_meanwhile_is_seen_as_nothing_but_what_it_writes() {
    const LEN: usize = 10_000;
    let mut words = vec![u64::from_ne_bytes([0x11; 8]); LEN / 8];
    let base = NonNull::new(words.as_mut_ptr()).unwrap().cast();
    // SAFETY: the bytes belong to `words`, which outlives the view and is not referenced meanwhile.
    let memory = unsafe { SharedMemory::new(base, LEN) };
    for strategy in strategies() {
        let memory = memory.with_copy_strategy(strategy);
        let stop = core::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for byte in [0x22, 0x11] {
                        memory.write(0, &[byte; LEN]).unwrap();
                    }
                }
            });
            let mut seen = [0; LEN];
            let mut both = false;
            for round in 0.. {
                for len in [8, 60, 200, 1000, 3000, LEN] {
                    seen[..len].fill(0);
                    memory.read(LEN - len, &mut seen[..len]).unwrap();
                    let torn = seen[..len].iter().any(|byte| ![0x11, 0x22].contains(byte));
                    if torn {
                        stop.store(true, Ordering::Relaxed);
                    }
                    assert!(!torn, "{strategy:?}: {len} bytes");
                    both |= seen[0] == 0x22;
                }
                if round > 300 && both {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn an_aligned_word_alone_is_one_access() {
    // A torn word would have halves of two writes.
    let word = AtomicU64::new(0);
    let base = NonNull::from(&word).cast();
    // SAFETY: `word` outlives the view; it is an atomic, so shared references to it do no harm.
    let memory = unsafe { SharedMemory::new(base, 8) };
    let stop = core::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                memory.write(0, &[0xff; 8]).unwrap();
                memory.write(0, &[0; 8]).unwrap();
            }
        });
        let torn = (0..100_000).any(|_| {
            let word = u64::from_ne_bytes(memory.read_array(0).unwrap());
            word != 0 && word != u64::MAX
        });
        stop.store(true, Ordering::Relaxed);
        assert!(!torn);
    });
}

#[test]
fn parts_inherit_the_strategy() {
    with_memory(0, 64, |memory| {
        let words = memory.with_copy_strategy(CopyStrategy::WORDS);
        let part = words.region(8, 8).unwrap();
        assert_eq!(part.copy_strategy(), CopyStrategy::WORDS);
        assert_eq!(memory.copy_strategy(), CopyStrategy::detect());
    });
}

#[cfg(feature = "zerocopy")]
#[test]
fn typed_fields_have_any_alignment_and_keep_the_bounds() {
    use zerocopy::byteorder::little_endian::{U16, U32};

    #[derive(
        Clone, Copy, Debug, PartialEq, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable,
    )]
    #[repr(C)]
    struct Header {
        magic: U32,
        version: U16,
        flags: [u8; 2],
    }

    let header = Header {
        magic: U32::new(0x1122_3344),
        version: U16::new(5),
        flags: [6, 7],
    };
    let stored = with_memory(0, 16, |memory| {
        memory.write_value(3, &header).unwrap();
        assert_eq!(memory.read_value::<Header>(3), Ok(header));
        assert_eq!(
            memory.read_value::<[U16; 2]>(5),
            Ok([U16::new(0x1122), U16::new(5)])
        );
        let outside = AccessError::OutOfBounds {
            offset: 9,
            len_bytes: 8,
            available: 16,
        };
        assert_eq!(memory.read_value::<Header>(9), Err(outside));
        assert_eq!(memory.write_value(9, &header), Err(outside));
    });
    assert_eq!(stored[3..11], [0x44, 0x33, 0x22, 0x11, 5, 0, 6, 7]);
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

#[test]
fn what_goes_round_is_a_power_of_two_and_aligned() {
    with_memory(0, 64, |memory| {
        for len in [8, 16, 32] {
            assert!(memory.circular(8, len).is_some(), "{len}");
        }
        for (offset, len) in [(0, 0), (0, 4), (0, 24), (4, 32), (8, 64), (64, 8)] {
            assert!(memory.circular(offset, len).is_none(), "{offset}, {len}");
        }
    });
    with_memory(4, 64, |memory| {
        assert!(memory.circular(0, 32).is_none());
        assert!(memory.circular(4, 32).is_some());
    });
}

#[test]
fn every_position_has_a_word_inside() {
    let stored = with_memory(0, 48, |memory| {
        let circle = memory.circular(8, 32).unwrap();
        for position in [0, 8, 16, 24, u64::MAX - 7] {
            circle.word(position).fetch_add(1, Ordering::Relaxed);
        }
        for word in 0..1000 {
            circle.word(word * 8 + 3).fetch_add(1, Ordering::Relaxed);
        }
    });
    let words = stored
        .chunks(8)
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
    // The last position is that of the last word once more.
    assert_eq!(words.collect::<Vec<_>>(), [0, 251, 251, 251, 252, 0]);
}

#[test]
fn bytes_do_not_go_beyond_the_end_of_a_round() {
    let stored = with_memory(0, 512, |memory| {
        let circle = memory.circular(128, 256).unwrap();
        let mut bytes = [0; 9];
        for round in [0, 1 << 40] {
            assert!(circle.region(round + 248, 8).is_ok());
            assert!(circle.region(round + 248, 9).is_err());
            assert!(circle.read(round + 248, &mut bytes[..8]).is_ok());
            assert!(circle.read(round + 248, &mut bytes).is_err());
            let written = circle.write_first_line_last(round + 248, &[1; 9]);
            assert!(written.is_err());
            let written = circle.write_first_line_last(round + 8, &[1; 249]);
            assert!(written.is_err());
        }
    });
    assert_eq!(stored, [0; 512], "something of it was written");
}

#[test]
fn the_first_line_written_last_is_all_of_it() {
    for strategy in strategies() {
        for position in (0..128).step_by(8) {
            for len in [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 100, 127, 128, 300] {
                let pattern: Vec<u8> = (1..=len).map(|i| i as u8 | 1).collect();
                let stored = with_memory(0, 512, |memory| {
                    let memory = memory.with_copy_strategy(strategy);
                    let circle = memory.circular(0, 512).unwrap();
                    let position = position as u64;
                    circle
                        .write_first_line_last(512 + position, &pattern)
                        .unwrap();
                    let mut back = vec![0; len];
                    circle.read(position, &mut back).unwrap();
                    assert_eq!(back, pattern);
                });
                let mut expected = vec![0; 512];
                expected[position..position + len].copy_from_slice(&pattern);
                assert_eq!(stored, expected, "{strategy:?}, {position}, {len}");
            }
        }
    }
}
