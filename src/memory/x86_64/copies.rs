// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies by vector registers and string instructions.

use core::arch::asm;

use crate::memory::copy::{copy, words, Shared, SHORT};
use crate::memory::strategy::{CopyStrategy, Means};
use crate::memory::LINE;

/// From how many register widths on `rep movsb` is faster than they: 1 KiB for words, 4 KiB for AVX.
/// Measured on Sapphire Rapids by `cargo bench --bench copy`; C libraries do much the same.
const STRINGS_FROM_WIDTHS: usize = 128;

/// Bytes of a word.
const WORD: usize = 8;

/// Length in bytes up to which four registers of 16 bytes hold everything.
const MEDIUM_TO: usize = 64;

/// Length in bytes from which on AVX pays off, whose end costs some cycles.
#[cfg(any(unix, windows))]
const AVX_FROM: usize = 256;

/// Copies `len` bytes.
///
/// # Safety
///
/// As for [`words`], and `means` must be those of a `CopyStrategy`.
#[inline(never)]
pub(in crate::memory) unsafe fn copy_long(
    means: Means,
    to: *mut u8,
    from: *const u8,
    len: usize,
    shared: Shared,
) {
    // A register width is worth its while below `STRINGS_FROM_WIDTHS` of it, or at any length without strings.
    let by_strings = means.contains(Means::STRINGS) && !is_just_ahead(to, from);
    let below = |width: usize| !by_strings || len < width * STRINGS_FROM_WIDTHS;
    #[cfg(any(unix, windows))]
    if means.contains(Means::AVX512) && below(64) {
        // SAFETY: 1. the caller gives the same guarantees; 2. the registers exist, by the invariant of `Means`;
        // 3. shorter copies have been made already.
        return unsafe { by_avx512(to, from, len) };
    }
    #[cfg(any(unix, windows))]
    if means.contains(Means::AVX) && len >= AVX_FROM && below(32) {
        // SAFETY: as above.
        return unsafe { by_avx(to, from, len) };
    }
    #[cfg(target_feature = "sse2")]
    if means.contains(Means::SSE2) && below(16) {
        // SAFETY: as above, where the target has the registers anyway.
        return unsafe { by_sse2(to, from, len) };
    }
    if by_strings && !below(8) {
        // SAFETY: the caller gives the same guarantees.
        return unsafe { strings(means, to, from, len, shared) };
    }
    // SAFETY: the caller gives the same guarantees.
    unsafe { words(to, from, len, shared) };
}

/// Returns whether the target is less than a line ahead of the source, but for whole pages. Some processors (AMD family 25,
/// models 16 to 31) then take it for an overlap, and `rep movsb` for bytes one by one, at a fifteenth of the speed.
fn is_just_ahead(to: *mut u8, from: *const u8) -> bool {
    const PAGE: usize = 4096;
    let ahead = (to as usize).wrapping_sub(from as usize) % PAGE;
    0 < ahead && ahead < LINE
}

/// Copies `len` bytes, at least a line, by `rep movsb`, which is fast where the target is at the start of a line.
///
/// # Safety
///
/// As for [`words`].
unsafe fn strings(means: Means, to: *mut u8, from: *const u8, len: usize, shared: Shared) {
    let lead = (to as usize).wrapping_neg() % LINE;
    if lead > 0 {
        let others = CopyStrategy(means.difference(Means::STRINGS));
        // SAFETY: the caller gives the same guarantees for all of the bytes.
        unsafe { copy(to, from, lead, shared, others) };
    }
    let (to, from, len) = (to.wrapping_add(lead), from.wrapping_add(lead), len - lead);
    // SAFETY: the caller promises both ranges; the direction flag is clear, as on entry to any `asm!`.
    unsafe {
        asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
}

/// Returns whether a copy of `len` bytes writes what comes first last.
#[inline(always)]
pub(in crate::memory) const fn is_backward(len: usize) -> bool {
    len >= WORD && len <= MEDIUM_TO
}

/// Returns whether [`copy_medium`] copies `len` bytes.
#[inline(always)]
pub(in crate::memory) const fn is_medium(len: usize) -> bool {
    len >= SHORT && len <= MEDIUM_TO
}

/// Copies less than [`SHORT`] bytes; 8 by one access, since each store waits for its turn where the other side looks at the line.
///
/// # Safety
///
/// As for [`words`].
#[inline]
pub(in crate::memory) unsafe fn copy_short(
    to: *mut u8,
    from: *const u8,
    len: usize,
    shared: Shared,
) {
    if len < WORD {
        // SAFETY: the caller gives the same guarantees.
        return unsafe { words(to, from, len, shared) };
    }
    if len == WORD {
        // SAFETY: the caller promises 8 bytes in both ranges.
        return unsafe {
            asm!("mov {word}, [{from}]", "mov [{to}], {word}",
                from = in(reg) from, to = in(reg) to, word = out(reg) _,
                options(nostack, preserves_flags));
        };
    }
    // SAFETY: the caller gives the same guarantees, and `len` is more than 8.
    unsafe { backward_by_words(to, from, len) };
}

/// Copies 16 to 64 bytes; what comes first is written last.
///
/// # Safety
///
/// As for [`words`], and [`is_medium`] must say so.
#[inline(always)]
pub(in crate::memory) unsafe fn copy_medium(
    means: Means,
    to: *mut u8,
    from: *const u8,
    len: usize,
) {
    #[cfg(target_feature = "sse2")]
    if means.contains(Means::SSE2) {
        // SAFETY: the caller gives the same guarantees.
        return unsafe { by_four_registers(to, from, len) };
    }
    let _ = means;
    // SAFETY: the caller gives the same guarantees.
    unsafe { backward_by_words(to, from, len) };
}

/// Copies 9 bytes or more: the last word first, which the one before may overlap.
///
/// # Safety
///
/// As for [`words`], and `len` must be more than 8.
#[inline(always)]
unsafe fn backward_by_words(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller promises `len` bytes in both ranges, and that they are more than a word. `at` is where the last word that is
    // whole ends, or the one before it, and so at least 8: it goes down to 0.
    unsafe {
        asm!(
            "mov {word}, [{from} + {len} - 8]",
            "mov [{to} + {len} - 8], {word}",
            "2:",
            "mov {word}, [{from} + {at} - 8]",
            "mov [{to} + {at} - 8], {word}",
            "sub {at}, 8",
            "jnz 2b",
            from = in(reg) from,
            to = in(reg) to,
            len = in(reg) len,
            at = inout(reg) (len - 1) & !(WORD - 1) => _,
            word = out(reg) _,
            options(nostack),
        );
    }
}

/// Copies 16 to 64 bytes, from both ends to the middle, where the parts may overlap; what comes first is written last.
///
/// # Safety
///
/// As for [`words`], and [`is_medium`] must say so.
#[cfg(target_feature = "sse2")]
#[inline(always)]
unsafe fn by_four_registers(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller promises `len` bytes in both ranges; above 32 also the inner accesses are inside.
    unsafe {
        asm!(
            "movups {first}, [{from}]",
            "movups {last}, [{from} + {len} - 16]",
            "cmp {len}, 32",
            "jbe 2f",
            "movups {second}, [{from} + 16]",
            "movups {third}, [{from} + {len} - 32]",
            "movups [{to} + {len} - 16], {last}",
            "movups [{to} + {len} - 32], {third}",
            "movups [{to} + 16], {second}",
            "jmp 3f",
            "2:",
            "movups [{to} + {len} - 16], {last}",
            "3:",
            "movups [{to}], {first}",
            from = in(reg) from,
            to = in(reg) to,
            len = in(reg) len,
            first = out(xmm_reg) _,
            second = out(xmm_reg) _,
            third = out(xmm_reg) _,
            last = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// Defines a copy by vector registers, of no less than their width; the safety is that of [`words`], and the
/// registers must exist. The copies differ only in the names of moves and registers, which must be
/// literals. Not inlined: across a call nobody keeps anything in a wide register.
///
/// Both ends are read first and written last. They overlap what is between, which goes by fours from the first
/// aligned place of the target: stores across cache lines are what costs most, and a remainder one by one next.
#[cfg(any(unix, windows, target_feature = "sse2"))]
macro_rules! vector_copy {
    ($name:ident, $width:literal, $move:literal, $register:literal, $end:literal) => {
        #[inline(never)]
        unsafe fn $name(to: *mut u8, from: *const u8, len: usize) {
            let first = $width - to as usize % $width;
            // SAFETY: the caller promises `len` bytes in both ranges, no less than the width, and the registers. All
            // vector registers are declared lost, by `clobber_abi`, also where the target has no names for them.
            unsafe {
                asm!(
                    concat!($move, " ", $register, "4, [rsi]"),
                    concat!($move, " ", $register, "8, [rsi + rcx - ", $width, "]"),
                    concat!("cmp rcx, 4 * ", $width),
                    "jb 3f",
                    concat!($move, " ", $register, "5, [rsi + rcx - 4 * ", $width, "]"),
                    concat!($move, " ", $register, "6, [rsi + rcx - 3 * ", $width, "]"),
                    concat!($move, " ", $register, "7, [rsi + rcx - 2 * ", $width, "]"),
                    // What is before the last four, by fours from the first aligned place.
                    concat!("lea rdx, [rcx - 4 * ", $width, "]"),
                    "cmp rax, rdx",
                    "jae 6f",
                    ".p2align 5",
                    "2:",
                    concat!($move, " ", $register, "0, [rsi + rax]"),
                    concat!($move, " ", $register, "1, [rsi + rax + ", $width, "]"),
                    concat!($move, " ", $register, "2, [rsi + rax + 2 * ", $width, "]"),
                    concat!($move, " ", $register, "3, [rsi + rax + 3 * ", $width, "]"),
                    concat!($move, " [rdi + rax], ", $register, "0"),
                    concat!($move, " [rdi + rax + ", $width, "], ", $register, "1"),
                    concat!($move, " [rdi + rax + 2 * ", $width, "], ", $register, "2"),
                    concat!($move, " [rdi + rax + 3 * ", $width, "], ", $register, "3"),
                    concat!("add rax, 4 * ", $width),
                    "cmp rax, rdx",
                    "jb 2b",
                    "6:",
                    concat!($move, " [rdi + rcx - 4 * ", $width, "], ", $register, "5"),
                    concat!($move, " [rdi + rcx - 3 * ", $width, "], ", $register, "6"),
                    concat!($move, " [rdi + rcx - 2 * ", $width, "], ", $register, "7"),
                    "jmp 5f",
                    // Fewer than four: at most two between the first and the last.
                    "3:",
                    concat!("cmp rcx, 2 * ", $width),
                    "jbe 5f",
                    concat!($move, " ", $register, "0, [rsi + ", $width, "]"),
                    concat!($move, " ", $register, "1, [rsi + rcx - 2 * ", $width, "]"),
                    concat!($move, " [rdi + ", $width, "], ", $register, "0"),
                    concat!($move, " [rdi + rcx - 2 * ", $width, "], ", $register, "1"),
                    "5:",
                    concat!($move, " [rdi], ", $register, "4"),
                    concat!($move, " [rdi + rcx - ", $width, "], ", $register, "8"),
                    $end,
                    inout("rax") first => _,
                    in("rcx") len,
                    out("rdx") _,
                    in("rdi") to,
                    in("rsi") from,
                    clobber_abi("sysv64"),
                    options(nostack),
                );
            }
        }
    };
}

#[cfg(target_feature = "sse2")]
vector_copy!(by_sse2, 16, "movups", "xmm", "");
// Code without AVX is slow as long as the upper half of one of the first 16 registers is in use. The
// last one's registers are 20 to 23.
#[cfg(any(unix, windows))]
vector_copy!(by_avx, 32, "vmovups", "ymm", "vzeroupper");
#[cfg(any(unix, windows))]
vector_copy!(by_avx512, 64, "vmovups", "zmm2", "");
