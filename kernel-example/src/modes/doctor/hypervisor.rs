// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the processor is made of, as far as it limits what can be tried and measured.

use core::arch::x86_64::__cpuid;

/// The leaf with the hypervisor's signature, in EBX, ECX and EDX.
const SIGNATURE: u32 = 0x4000_0000;

/// "This is a guest" (CPUID 1, ECX bit 31); the signature is there only then.
const IS_GUEST: u32 = 1 << 31;

/// What runs this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hypervisor {
    /// QEMU's translator: no caches, and no harm in unmasking any vector.
    Tcg,
    /// KVM: QEMU 7.2 aborts when a vector is unmasked that the server does not serve.
    Kvm,
    /// Another one, one that hides, or none: nothing is taken for granted.
    Other,
}

impl Hypervisor {
    /// Asks the processor. QEMU's signatures are in its `target/i386/cpu.c`.
    pub fn detect() -> Self {
        if __cpuid(1).ecx & IS_GUEST == 0 {
            return Self::Other;
        }
        let leaf = __cpuid(SIGNATURE);
        let word = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        let tcg = [word(b"TCGT"), word(b"CGTC"), word(b"GTCG")];
        let kvm = [word(b"KVMK"), word(b"VMKV"), word(b"M\0\0\0")];
        match [leaf.ebx, leaf.ecx, leaf.edx] {
            signature if signature == tcg => Self::Tcg,
            signature if signature == kvm => Self::Kvm,
            _ => Self::Other,
        }
    }
}
