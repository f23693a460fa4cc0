// SPDX-License-Identifier: MIT OR Apache-2.0
//! MSI-X vectors: messages, and the table that holds one for each vector.
//!
//! Source: PCI Local Bus Specification 3.0, section 6.8.2 (MSI-X capability
//! and table structures).
//!
//! A table entry has 16 bytes: message address low and high, message data,
//! vector control. The driver keeps no copy of the table: what a vector does is
//! what stands in the device, also after a machine reset.
//!
//! Interrupts are hints. Doorbells coalesce; those that came before MSI-X was
//! enabled are lost under TCG and delivered late under KVM. After every enable
//! and unmask, look at the shared memory again; never count interrupts.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::mmio::Registers;
use crate::registers::VectorIndex;

const ENTRY_LEN: usize = 16;
const ADDRESS_LOW: usize = 0x0;
const ADDRESS_HIGH: usize = 0x4;
const DATA: usize = 0x8;
const VECTOR_CONTROL: usize = 0xc;
/// Vector Control bit 0: the vector is masked. The other bits are reserved and preserved.
const MASKED: u32 = 1;

/// The largest MSI-X table there can be (11 bits of Message Control hold the size minus one).
pub const MAX_VECTORS: u16 = 2048;

/// The first interrupt vector of an x86 CPU that is no exception.
const FIRST_X86_VECTOR: u8 = 32;

/// A message signalled interrupt: a 32-bit write of `data` to `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiMessage {
    /// Invariant: a multiple of 4 and not 0; 0 in the table means "no message".
    address: u64,
    data: u32,
}

impl MsiMessage {
    /// Returns the message with this address and data, for interrupt controllers not listed here.
    ///
    /// Returns `None` if `address` is 0 or not a multiple of 4, which no MSI address is.
    ///
    /// # Safety
    ///
    /// `address` must be a message address of an interrupt controller. The device writes to
    /// it, and a write to memory could hit anything.
    #[must_use]
    #[allow(unsafe_code)]
    pub const unsafe fn new(address: u64, data: u32) -> Option<Self> {
        if address == 0 || address % 4 != 0 {
            return None;
        }
        Some(Self { address, data })
    }

    /// Returns the x86 message that raises interrupt `vector` at the CPU whose local APIC has
    /// `apic_id`: fixed delivery, physical destination, edge-triggered.
    ///
    /// `None` for a `vector` below 32: those are exceptions, whose handlers expect another stack frame than
    /// an interrupt makes. CPUs with an ID above 255 cannot be reached without an interrupt-remapping unit.
    /// Source: Intel SDM volume 3, section "Message Signalled Interrupts".
    #[must_use]
    pub const fn x86(apic_id: u8, vector: u8) -> Option<Self> {
        if vector < FIRST_X86_VECTOR {
            return None;
        }
        Some(Self {
            address: 0xfee0_0000 | (apic_id as u64) << 12,
            data: vector as u32,
        })
    }

    /// Returns the address written to.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Returns the value written.
    #[must_use]
    pub const fn data(&self) -> u32 {
        self.data
    }
}

/// The MSI-X table and pending bits of a device.
///
/// All methods take `&self` and no lock, and may be called from any CPU and from interrupt
/// handlers. Changing an entry takes several accesses; whoever meets a change of another gets
/// [`VectorError::Busy`] instead of a half-written message.
///
/// Dropping it masks and empties every entry: no vector stays live without an owner.
#[derive(Debug)]
pub struct MsixTable<R: Registers> {
    table: R,
    pending: R,
    vectors: u16,
    /// Whether an entry is being changed or unmasked.
    busy: AtomicBool,
}

impl<R: Registers> MsixTable<R> {
    /// Returns the table of `vectors` entries in `table`, with its pending bit array in `pending`.
    ///
    /// `table` must have 16 bytes per vector and `pending` one bit per vector in units of 8 bytes; of
    /// `vectors`, at most [`MAX_VECTORS`] are used. What firmware or a previous driver left in the table
    /// stays until [`MsixTable::clear`].
    #[must_use]
    pub fn new(table: R, pending: R, vectors: u16) -> Self {
        Self {
            table,
            pending,
            vectors: vectors.min(MAX_VECTORS),
            busy: AtomicBool::new(false),
        }
    }

    /// Returns the number of vectors of the device. The server may serve fewer.
    #[must_use]
    pub const fn vectors(&self) -> u16 {
        self.vectors
    }

    /// Masks every vector and removes its message.
    pub fn clear(&mut self) {
        for vector in (0..self.vectors).map(VectorIndex) {
            // Only vectors beyond the table are refused, and the loop ends before them.
            let _ = self.write_entry(vector, 0, 0);
        }
    }

    /// Masks `vector` and gives it the message to send; it stays masked.
    ///
    /// The entry is masked while it is written, so that no half of a message is ever sent (PCI 3.0,
    /// 6.8.3.5: software must not modify an unmasked entry).
    ///
    /// # Errors
    ///
    /// - [`VectorError::NoSuchVector`]: the table has no such entry.
    /// - [`VectorError::Busy`]: an entry is being changed on another CPU or below this interrupt.
    pub fn set_message(&self, vector: VectorIndex, message: MsiMessage) -> Result<(), VectorError> {
        self.alone(vector, || {
            self.write_entry(vector, message.address, message.data)
        })
    }

    /// Masks `vector` and removes its message.
    ///
    /// # Errors
    ///
    /// As for [`MsixTable::set_message`].
    pub fn clear_message(&self, vector: VectorIndex) -> Result<(), VectorError> {
        self.alone(vector, || self.write_entry(vector, 0, 0))
    }

    /// Masks `vector`: what rings it from now on stays pending and is delivered once on unmask.
    ///
    /// # Errors
    ///
    /// - [`VectorError::NoSuchVector`]: the table has no such entry.
    pub fn mask(&self, vector: VectorIndex) -> Result<(), VectorError> {
        let control = self.entry(vector)? + VECTOR_CONTROL;
        self.table.write(control, self.table.read(control) | MASKED);
        Ok(())
    }

    /// Unmasks `vector`. Look at the shared memory afterwards: some hypervisors drop what came while it was masked.
    ///
    /// # Errors
    ///
    /// - [`VectorError::NoSuchVector`]: the table has no such entry.
    /// - [`VectorError::NoMessage`]: no message was set, so an event would be written to address 0.
    /// - [`VectorError::Gone`]: the entry reads all ones; the device was unplugged.
    /// - [`VectorError::Busy`]: an entry is being changed on another CPU or below this interrupt.
    pub fn unmask(&self, vector: VectorIndex) -> Result<(), VectorError> {
        self.alone(vector, || {
            let entry = self.entry(vector)?;
            let low = self.table.read(entry + ADDRESS_LOW);
            let high = self.table.read(entry + ADDRESS_HIGH);
            match (low, high) {
                (0, 0) => return Err(VectorError::NoMessage { vector }),
                (u32::MAX, u32::MAX) => return Err(VectorError::Gone { vector }),
                _ => {}
            }
            let control = entry + VECTOR_CONTROL;
            self.table
                .write(control, self.table.read(control) & !MASKED);
            Ok(())
        })
    }

    /// Returns whether `vector` is masked.
    ///
    /// # Errors
    ///
    /// - [`VectorError::NoSuchVector`]: the table has no such entry.
    pub fn is_masked(&self, vector: VectorIndex) -> Result<bool, VectorError> {
        let control = self.entry(vector)? + VECTOR_CONTROL;
        Ok(self.table.read(control) & MASKED != 0)
    }

    /// Returns whether `vector` was rung while it, or the whole function, was masked.
    ///
    /// # Errors
    ///
    /// - [`VectorError::NoSuchVector`]: the table has no such entry.
    pub fn is_pending(&self, vector: VectorIndex) -> Result<bool, VectorError> {
        self.entry(vector)?;
        let word = self.pending.read(usize::from(vector.0 / 32) * 4);
        Ok(word & 1 << (vector.0 % 32) != 0)
    }

    /// Runs `change` if no other change is under way. Never waits: an interrupt handler that did would
    /// wait for what it interrupted.
    fn alone(
        &self,
        vector: VectorIndex,
        change: impl FnOnce() -> Result<(), VectorError>,
    ) -> Result<(), VectorError> {
        if self.busy.swap(true, Ordering::Acquire) {
            return Err(VectorError::Busy { vector });
        }
        let result = change();
        self.busy.store(false, Ordering::Release);
        result
    }

    fn write_entry(&self, vector: VectorIndex, address: u64, data: u32) -> Result<(), VectorError> {
        self.mask(vector)?;
        let entry = self.entry(vector)?;
        self.table.write(entry + ADDRESS_LOW, address as u32);
        self.table
            .write(entry + ADDRESS_HIGH, (address >> 32) as u32);
        self.table.write(entry + DATA, data);
        Ok(())
    }

    /// Returns the byte offset of the entry of `vector`.
    const fn entry(&self, vector: VectorIndex) -> Result<usize, VectorError> {
        if vector.0 >= self.vectors {
            return Err(VectorError::NoSuchVector {
                vector,
                vectors: self.vectors,
            });
        }
        Ok(vector.0 as usize * ENTRY_LEN)
    }
}

impl<R: Registers> Drop for MsixTable<R> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A refused operation on an MSI-X vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VectorError {
    /// The table has no such entry.
    NoSuchVector {
        /// The vector asked for.
        vector: VectorIndex,
        /// The number of vectors of the device.
        vectors: u16,
    },
    /// The vector has no message.
    NoMessage {
        /// The vector asked for.
        vector: VectorIndex,
    },
    /// The table is being changed by somebody else at this moment.
    Busy {
        /// The vector asked for.
        vector: VectorIndex,
    },
    /// The entry reads all ones: the device is gone.
    Gone {
        /// The vector asked for.
        vector: VectorIndex,
    },
}

impl fmt::Display for VectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoSuchVector { vector, vectors } => write!(
                f,
                "the device has no vector {vector}, its {vectors} vectors start at 0"
            ),
            Self::NoMessage { vector } => write!(
                f,
                "vector {vector} has no message; set one before it is unmasked"
            ),
            Self::Busy { vector } => write!(
                f,
                "vector {vector} was not changed, another change of the table is under way; try again"
            ),
            Self::Gone { vector } => write!(
                f,
                "vector {vector} reads all ones; the device was unplugged"
            ),
        }
    }
}
