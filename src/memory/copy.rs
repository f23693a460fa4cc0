// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one routine that copies between shared and private memory.
//!
//! The other side may write at the same time, so shared memory is touched by
//! volatile accesses only: the compiler can neither assume that the bytes
//! hold still, nor read them twice, nor invent a read. A torn copy is
//! possible and is the reader's to detect; undefined behaviour is not.
//!
//! A plain loop of 64-bit words is what serves under TCG, where string
//! instructions are five times slower and more.

/// Width in bytes of the accesses to the aligned middle of a copy.
const WORD: usize = core::mem::size_of::<u64>();

/// Returns how many of `len` bytes lie before the first word boundary at or after `shared`.
fn head_len(shared: *const u8, len: usize) -> usize {
    ((shared as usize).wrapping_neg() % WORD).min(len)
}

/// Fills `private` from shared memory.
///
/// # Safety
///
/// The `private.len()` bytes from `shared` must be mapped and readable.
pub(super) unsafe fn from_shared(private: &mut [u8], shared: *const u8) {
    let mut at = shared;
    let (head, rest) = private.split_at_mut(head_len(shared, private.len()));
    for byte in head {
        // SAFETY: `at` is inside the readable bytes: it advances with `private`.
        *byte = unsafe { at.read_volatile() };
        at = at.wrapping_add(1);
    }
    let mut words = rest.chunks_exact_mut(WORD);
    for word in &mut words {
        // SAFETY: as above, for the 8 bytes of this chunk; `head_len` has aligned `at`.
        let value = unsafe { at.cast::<u64>().read_volatile() };
        word.copy_from_slice(&value.to_ne_bytes());
        at = at.wrapping_add(WORD);
    }
    for byte in words.into_remainder() {
        // SAFETY: `at` is inside the readable bytes: it advances with `private`.
        *byte = unsafe { at.read_volatile() };
        at = at.wrapping_add(1);
    }
}

/// Writes `private` to shared memory.
///
/// # Safety
///
/// The `private.len()` bytes from `shared` must be mapped and writable.
pub(super) unsafe fn to_shared(shared: *mut u8, private: &[u8]) {
    let mut at = shared;
    let (head, rest) = private.split_at(head_len(shared, private.len()));
    for byte in head {
        // SAFETY: `at` is inside the writable bytes: it advances with `private`.
        unsafe { at.write_volatile(*byte) };
        at = at.wrapping_add(1);
    }
    let words = rest.chunks_exact(WORD);
    let tail = words.remainder();
    for word in words {
        let mut bytes = [0; WORD];
        bytes.copy_from_slice(word);
        // SAFETY: as above, for the 8 bytes of this chunk; `head_len` has aligned `at`.
        unsafe { at.cast::<u64>().write_volatile(u64::from_ne_bytes(bytes)) };
        at = at.wrapping_add(WORD);
    }
    for byte in tail {
        // SAFETY: `at` is inside the writable bytes: it advances with `private`.
        unsafe { at.write_volatile(*byte) };
        at = at.wrapping_add(1);
    }
}
