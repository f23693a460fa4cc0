// SPDX-License-Identifier: MIT OR Apache-2.0
//! What CPUID tells of the processor, asked once.
//!
//! The numbers of CPUID are from the Intel SDM, volume 2A, "CPUID", and those of hypervisors from QEMU's `target/i386/cpu.c`.

#[cfg(any(unix, windows))]
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::memory::strategy::Means;

/// The vector registers that the target has anyway.
const BASE: Means = if cfg!(target_feature = "sse2") {
    Means::SSE2
} else {
    Means::empty()
};

/// What [`CopyStrategy::STRINGS`](crate::CopyStrategy::STRINGS) uses.
pub(in crate::memory) const STRINGS: Means = Means::STRINGS.union(BASE);

/// A bit that no [`Means`] has: CPUID was asked.
const KNOWN: usize = 0x80;

/// Another: the processor is QEMU's TCG.
const EMULATED: usize = 0x40;

/// What CPUID told, once it was asked; a fact about the processor, the same for all devices.
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// Returns what copies are best made with here.
pub(in crate::memory) fn means() -> Means {
    Means::from_bits_truncate(found())
}

/// Returns what CPUID told, or tells.
#[inline]
fn found() -> usize {
    let found = FOUND.load(Ordering::Relaxed);
    if found & KNOWN != 0 {
        return found;
    }
    ask_once()
}

#[cold]
fn ask_once() -> usize {
    let found = KNOWN
        | if is_emulated() {
            EMULATED
        } else {
            ask().bits()
        };
    FOUND.store(found, Ordering::Relaxed);
    found
}

/// Returns whether the processor is QEMU's TCG.
#[inline]
pub(super) fn is_tcg() -> bool {
    found() & EMULATED != 0
}

/// Asks CPUID whether the processor is TCG.
fn is_emulated() -> bool {
    const HYPERVISOR: u32 = 1 << 31; // leaf 1, ECX
    const SIGNATURE: u32 = 0x4000_0000;

    if cpuid(1).ecx & HYPERVISOR == 0 {
        return false;
    }
    let signature = cpuid(SIGNATURE);
    [signature.ebx, signature.ecx, signature.edx]
        == [*b"TCGT", *b"CGTC", *b"GTCG"].map(u32::from_le_bytes)
}

/// Asks CPUID of a processor that is not emulated.
fn ask() -> Means {
    const ERMS: u32 = 1 << 9; // leaf 7, EBX: enhanced `rep movsb`
    const FSRM: u32 = 1 << 4; // leaf 7, EDX: fast short `rep movsb`

    let mut means = BASE;
    if cpuid(0).eax < 7 {
        return means;
    }
    let features = cpuid(7);
    means.set(Means::STRINGS, features.ebx & ERMS != 0);
    #[cfg(any(unix, windows))]
    means.insert(wide_registers(
        cpuid(1).ecx,
        features.ebx,
        features.edx & FSRM != 0,
    ));
    means
}

/// Returns which wide registers a process has, from leaf 1 ECX and leaf 7 EBX. `recent` processors do not slow
/// down when they use the widest.
#[cfg(any(unix, windows))]
fn wide_registers(basic: u32, features: u32, recent: bool) -> Means {
    const OSXSAVE_AND_AVX: u32 = 3 << 27;
    const AVX512F: u32 = 1 << 16;
    /// SSE and the upper halves of YMM.
    const SAVES_AVX: u32 = 0x06;
    /// Those, the mask registers, the upper halves of ZMM and the upper 16 of them.
    const SAVES_AVX512: u32 = 0xe6;

    let mut means = Means::empty();
    if basic & OSXSAVE_AND_AVX != OSXSAVE_AND_AVX {
        return means;
    }
    let saved: u32;
    // SAFETY: OSXSAVE says that XGETBV works in any ring; XCR0 is what ECX = 0 reads.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") saved, out("edx") _,
            options(nomem, nostack, preserves_flags));
    }
    means.set(Means::AVX, saved & SAVES_AVX == SAVES_AVX);
    let avx512 = recent && features & AVX512F != 0;
    means.set(
        Means::AVX512,
        avx512 && saved & SAVES_AVX512 == SAVES_AVX512,
    );
    means
}

/// Returns sub-leaf 0 of a leaf of CPUID.
fn cpuid(leaf: u32) -> core::arch::x86_64::CpuidResult {
    // Unsafe in Rust 1.75, safe in newer versions, which would find the block needless.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has the instruction, and answers to any leaf.
    unsafe {
        core::arch::x86_64::__cpuid_count(leaf, 0)
    }
}
