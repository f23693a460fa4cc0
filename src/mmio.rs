// SPDX-License-Identifier: MIT OR Apache-2.0
//! 32-bit access to device registers: the seam [`Registers`] and its mapped-memory form.
//!
//! The device decodes exactly one width portably: aligned 32-bit accesses
//! (QEMU declares its callbacks 32 bits wide; a narrow write replaces the
//! whole register and a narrow read clears the whole Interrupt Status). So
//! this seam offers no other width.
//!
//! Methods take `&self`: a doorbell is rung by one store from any CPU, in
//! any context, and a lock around it would be the driver's only reason to
//! have one. What a register access does is up to the device, never to Rust's
//! aliasing rules.
#![allow(unsafe_code)]

use core::ptr::NonNull;

/// A block of 32-bit device registers.
///
/// [`MmioRegion`] implements it for mapped memory. A kernel without raw
/// pointers, a confidential guest with hypercall MMIO, or a model of the
/// device in a test implements it itself.
///
/// # Contract
///
/// - The caller passes `offset` in bytes from the start of the block, a
///   multiple of 4, with all 4 bytes inside the block.
/// - Values are in this CPU's byte order; the device's is little-endian.
/// - An implementation performs exactly one 32-bit access per call, in program
///   order with its other accesses, and neither caches nor combines them. It orders
///   nothing against normal memory; the driver puts a fence where that matters.
/// - An implementation must stay memory safe for any `offset`; beyond that it
///   may treat a wrong one as it likes.
pub trait Registers {
    /// Reads the register at `offset`. May have side effects in the device.
    fn read(&self, offset: usize) -> u32;

    /// Writes `value` to the register at `offset`.
    fn write(&self, offset: usize, value: u32);
}

impl<R: Registers + ?Sized> Registers for &R {
    fn read(&self, offset: usize) -> u32 {
        (**self).read(offset)
    }

    fn write(&self, offset: usize, value: u32) {
        (**self).write(offset, value);
    }
}

/// Device registers mapped into the address space.
#[derive(Debug)]
pub struct MmioRegion {
    /// Invariant: valid for volatile access for `len_bytes`, aligned to 4 (`new`).
    base: NonNull<u8>,
    len_bytes: usize,
}

impl MmioRegion {
    /// Wraps `len_bytes` bytes of mapped registers starting at `base`.
    ///
    /// # Safety
    ///
    /// - `base` must be aligned to 4 bytes, and the `len_bytes` bytes from it must be mapped
    ///   to device registers, readable and writable by 32-bit accesses, uncached,
    ///   for as long as the returned value, or a [`part`](Self::part) of it, lives.
    /// - No Rust allocation may lie there in that time, and nothing in the block
    ///   may, when read or written, break memory safety elsewhere. An ivshmem register
    ///   block qualifies; an MSI-X table does if the value goes to
    ///   [`MsixTable::new`](crate::MsixTable::new) and nothing else is written through it.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, len_bytes: usize) -> Self {
        Self { base, len_bytes }
    }

    /// Returns the length of the block in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len_bytes
    }

    /// Returns whether the block holds no register.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// Returns the block of `len_bytes` bytes at `offset` of this one, if it lies inside.
    ///
    /// The promise given to `new` must hold for as long as the part lives, too.
    #[must_use]
    pub fn part(&self, offset: usize, len_bytes: usize) -> Option<Self> {
        let end = offset.checked_add(len_bytes)?;
        if end > self.len_bytes || offset % 4 != 0 {
            return None;
        }
        Some(Self {
            base: NonNull::new(self.base.as_ptr().wrapping_add(offset))?,
            len_bytes,
        })
    }

    /// Returns the address of the register at `offset`, if it is one.
    fn register(&self, offset: usize) -> Option<*mut u32> {
        let register = self.part(offset, 4)?;
        Some(register.base.as_ptr().cast())
    }
}

/// Reads outside the block give all ones and writes there are dropped, as on a
/// bus where no device answers.
impl Registers for MmioRegion {
    fn read(&self, offset: usize) -> u32 {
        let Some(register) = self.register(offset) else {
            return !0;
        };
        // SAFETY: `register` lies inside the block and is aligned, since base and offset are.
        u32::from_le(unsafe { register.read_volatile() })
    }

    fn write(&self, offset: usize, value: u32) {
        let Some(register) = self.register(offset) else {
            return;
        };
        // SAFETY: `register` lies inside the block and is aligned, since base and offset are.
        unsafe { register.write_volatile(value.to_le()) }
    }
}

// SAFETY: the value is an address and a length; owning it on another CPU changes nothing.
unsafe impl Send for MmioRegion {}
// SAFETY: `&MmioRegion` permits only single volatile 32-bit accesses, which the bus
// serialises; no Rust data is behind them.
unsafe impl Sync for MmioRegion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_stay_inside_the_block() {
        let mut words = [0x11_u32, 0x22, 0x33];
        let base = NonNull::new(words.as_mut_ptr().cast()).unwrap();
        // SAFETY: the block is the first two words of an array that outlives it and is not touched meanwhile.
        let block = unsafe { MmioRegion::new(base, 8) };
        assert_eq!(block.read(0), 0x11);
        assert_eq!(block.read(4), 0x22);
        for outside in [8, 12, usize::MAX, usize::MAX - 3] {
            assert_eq!(block.read(outside), !0, "{outside}");
            block.write(outside, 0);
        }
        for misaligned in [1, 2, 3, 5] {
            assert_eq!(block.read(misaligned), !0, "{misaligned}");
            block.write(misaligned, 0);
        }
        assert_eq!(block.part(4, 4).unwrap().read(0), 0x22);
        assert_eq!(
            block.part(4, 4).unwrap().read(4),
            !0,
            "a part has its own end"
        );
        for (offset, len) in [(4, 8), (2, 4), (12, 0), (usize::MAX, 4), (0, usize::MAX)] {
            assert!(block.part(offset, len).is_none(), "{len} at {offset}");
        }
        block.write(4, 0x44);
        assert_eq!(words, [0x11, 0x44, 0x33]);
    }
}
