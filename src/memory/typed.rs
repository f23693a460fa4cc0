// SPDX-License-Identifier: MIT OR Apache-2.0
//! Typed fields by offset, with the traits of `zerocopy`.

use core::mem::{size_of, MaybeUninit};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{AccessError, SharedMemory};

impl SharedMemory<'_> {
    /// Returns a copy of the value at `offset`, which may have any alignment.
    ///
    /// A type that is [`FromBytes`] has no invalid values, so whatever the peer has written is one; what it means
    /// is still to be checked. Fields of `zerocopy::byteorder` have the same byte order on
    /// every machine. As with [`SharedMemory::read`], a peer may write meanwhile. Feature `zerocopy`.
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: the value does not lie inside this view.
    pub fn read_value<T: FromBytes>(&self, offset: usize) -> Result<T, AccessError> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: `value` is a variable of this size that nobody else knows of.
        unsafe { self.read_raw(offset, value.as_mut_ptr().cast(), size_of::<T>()) }?;
        // SAFETY: all its bytes have been written, and any bytes are a `T`.
        Ok(unsafe { value.assume_init() })
    }

    /// Copies `value` to `offset`, which may have any alignment.
    ///
    /// Types that are [`IntoBytes`] have no padding, through which something private could leak. Not
    /// atomic, as [`SharedMemory::write`]. Feature `zerocopy`.
    ///
    /// # Errors
    ///
    /// - [`AccessError::OutOfBounds`]: the value does not lie inside this view; nothing is written.
    pub fn write_value<T: IntoBytes + Immutable + ?Sized>(
        &self,
        offset: usize,
        value: &T,
    ) -> Result<(), AccessError> {
        self.write(offset, value.as_bytes())
    }
}
