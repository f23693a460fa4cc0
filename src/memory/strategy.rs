// SPDX-License-Identifier: MIT OR Apache-2.0
//! The choice of how to copy: [`CopyStrategy`].

use super::processor;

/// How the longer copies in and out of shared memory are made.
///
/// One routine does not fit all processors. On hardware, `rep movsb` is the fastest from a few KiB
/// on, and vector registers are below. Under QEMU's TCG, which emulates string instructions byte by
/// byte, `rep movsb` is five to seventy times slower than a plain loop of 64-bit words.
///
/// [`SharedMemory::new`](crate::SharedMemory::new) takes what [`CopyStrategy::detect`] finds;
/// others are of use to compare them.
///
/// Vector registers are used only where the code around uses them too: SSE2 if the target has it, so
/// never on a soft-float target; AVX and AVX-512 in processes of an operating system. A
/// kernel may not save more registers of interrupted code than it uses itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyStrategy(pub(super) Means);

bitflags::bitflags! {
    /// What a copy may use besides words.
    ///
    /// Invariant: in a [`CopyStrategy`], `AVX` and `AVX512` are set only if the processor has them and
    /// the system saves them.
    ///
    /// As wide as an address, since every view has them: padding beside them is copied too, in pieces, and then waited for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Means: usize {
        /// `rep movsb`.
        const STRINGS = 1;
        /// Registers of 16 bytes.
        const SSE2 = 2;
        /// Registers of 32 bytes.
        const AVX = 4;
        /// Registers of 64 bytes.
        const AVX512 = 8;
    }
}

impl CopyStrategy {
    /// Copies in 64-bit words, whatever the length. Works everywhere.
    pub const WORDS: Self = Self(Means::empty());

    /// Copies by `rep movsb` from 1 KiB on, from 2 KiB if the target has SSE2. On processors other
    /// than x86-64, which have no such instruction, the same as [`CopyStrategy::WORDS`].
    pub const STRINGS: Self = Self(processor::STRINGS);

    /// Returns the strategy for this processor.
    ///
    /// On x86-64 from CPUID: words under TCG; elsewhere strings, if the processor says that they are fast
    /// (ERMS), and vector registers as [above](CopyStrategy). Only the first call asks, since CPUID is an
    /// exit to the hypervisor, of up to 50 microseconds; later calls return what it found.
    #[must_use]
    pub fn detect() -> Self {
        Self(processor::means())
    }
}
