// SPDX-License-Identifier: MIT OR Apache-2.0
//! A region of shared memory that is divided into slots and rings: [`Region`].

use core::sync::atomic::{AtomicU64, Ordering};

use super::layout::{Found, Geometry, BLANK_LEN, GEOMETRY_AT, MAGIC, MAGIC_AT, MIN_LEN};
use super::open_error::OpenError;
use super::slot::{Phase, Slot};
use super::words::{Loads, Words};
use crate::SharedMemory;

/// How a region is to be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Slots, 2 to 256: how many members there can be at once. All pairs of them have two rings, so the rings shrink with
    /// the square of this.
    pub slots: u16,
    /// The size of each ring, as a power of two of bytes; `None` for the largest of up to 4 MiB that fits.
    pub ring_log2: Option<u32>,
}

impl Default for Format {
    /// 16 slots, and rings as large as fit.
    fn default() -> Self {
        Self {
            slots: 16,
            ring_log2: None,
        }
    }
}

/// Shared memory that peers have agreed on how to use.
#[derive(Clone, Copy, Debug)]
pub struct Region<'m> {
    pub(super) memory: SharedMemory<'m>,
    pub(super) geometry: Geometry,
}

impl<'m> Region<'m> {
    /// Opens a region that somebody has formatted.
    ///
    /// # Errors
    ///
    /// - [`OpenError::NotFormatted`]: it is blank.
    /// - Other [`OpenError`]s: it holds something else.
    pub fn open(memory: SharedMemory<'m>) -> Result<Self, OpenError> {
        check(&memory)?;
        let geometry = open(&memory, memory.len())?;
        Ok(Self { memory, geometry })
    }

    /// Opens a region, and formats it before if it is blank. Any number of peers may do so at once: all get the format of
    /// the first.
    ///
    /// # Errors
    ///
    /// - [`OpenError::DoesNotFit`]: it is blank, and too small for `format`.
    /// - Other [`OpenError`]s: it holds something else.
    pub fn open_or_format(memory: SharedMemory<'m>, format: &Format) -> Result<Self, OpenError> {
        check(&memory)?;
        let geometry = open_or_format(&memory, memory.len(), format)?;
        Ok(Self { memory, geometry })
    }

    /// Formats a region whatever it holds. Members of before, if there are any, are [evicted](super::Evicted).
    ///
    /// # Errors
    ///
    /// - [`OpenError::DoesNotFit`]: it is too small for `format`.
    /// - [`OpenError::Raced`]: somebody else is formatting it at the same time.
    pub fn format_anew(memory: SharedMemory<'m>, format: &Format) -> Result<Self, OpenError> {
        check(&memory)?;
        let geometry = format_anew(&memory, memory.len(), format)?;
        Ok(Self { memory, geometry })
    }

    /// Returns how many members there can be at once.
    #[must_use]
    pub const fn slots(&self) -> u16 {
        self.geometry.slots
    }

    /// Returns the size of each ring in bytes.
    #[must_use]
    pub const fn ring_len(&self) -> usize {
        1 << self.geometry.ring_log2
    }

    pub(super) const fn table(&self) -> Table<SharedMemory<'m>> {
        Table {
            words: self.memory,
            geometry: self.geometry,
        }
    }

    pub(super) fn slot(&self, slot: u16) -> Slot<SharedMemory<'m>> {
        self.table().slot(slot)
    }

    /// Returns whether the region is still formatted as it was when it was opened.
    pub(super) fn is_current(&self) -> bool {
        self.table().is_current()
    }

    /// Finds the word of the geometry.
    pub(super) fn geometry(&self) -> &'m AtomicU64 {
        self.memory.word(GEOMETRY_AT)
    }
}

/// The slots of a region, on any kind of [`Words`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<W> {
    pub(super) words: W,
    pub(super) geometry: Geometry,
}

impl<W: Loads> Table<W> {
    /// Returns a slot, of those that the geometry has.
    pub(super) fn slot(&self, slot: u16) -> Slot<W> {
        Slot::new(
            self.words.clone(),
            self.geometry.slot(slot),
            self.geometry.epoch,
        )
    }

    /// Returns whether the region is still formatted as it was when it was opened.
    pub(super) fn is_current(&self) -> bool {
        self.words.load(GEOMETRY_AT, Ordering::Relaxed) == self.geometry.word()
    }
}

/// Opens a region of `len` bytes, which must have passed [`check`].
pub(super) fn open<W: Words>(words: &W, len: usize) -> Result<Geometry, OpenError> {
    look(words, len)?.ok_or(OpenError::NotFormatted)
}

/// As [`open`], but formats the region before if it is blank.
pub(super) fn open_or_format<W: Words>(
    words: &W,
    len: usize,
    format: &Format,
) -> Result<Geometry, OpenError> {
    if let Some(geometry) = look(words, len)? {
        return Ok(geometry);
    }
    let geometry = divide(len, format, 1)?;
    // Whoever loses this race finds the winner's geometry below.
    let _ = words.compare_exchange(GEOMETRY_AT, 0, geometry.word());
    open(words, len)
}

/// Formats a region of `len` bytes whatever it holds.
pub(super) fn format_anew<W: Words>(
    words: &W,
    len: usize,
    format: &Format,
) -> Result<Geometry, OpenError> {
    let old = words.load(GEOMETRY_AT, Ordering::SeqCst);
    let before = divide(len, format, (old >> 48) as u16)?;
    // One of these epochs more than there are slots is on none of them, so that nobody is in the new ones.
    let geometry = (1..=format.slots + 2)
        .map(|step| Geometry {
            epoch: before.epoch.wrapping_add(step),
            ..before
        })
        .find(|geometry| geometry.epoch != 0 && is_unused(words, geometry))
        .ok_or(OpenError::Raced)?;
    words
        .compare_exchange(GEOMETRY_AT, old, geometry.word())
        .map_err(|_| OpenError::Raced)?;
    words.store(MAGIC_AT, MAGIC, Ordering::Release);
    Ok(geometry)
}

/// Returns whether no slot is of the geometry's epoch.
fn is_unused<W: Words>(words: &W, geometry: &Geometry) -> bool {
    (0..geometry.slots).all(|slot| {
        let slot = Slot::new(words.clone(), geometry.slot(slot), geometry.epoch);
        slot.look().0.phase == Phase::Free
    })
}

/// Returns how a region is divided; nothing if it is blank.
fn look<W: Words>(words: &W, len: usize) -> Result<Option<Geometry>, OpenError> {
    let magic = words.load(MAGIC_AT, Ordering::Acquire);
    if magic != MAGIC && magic != 0 {
        return Err(OpenError::Foreign { magic });
    }
    let blank = magic == 0 && is_blank(words, len);
    // After the look at the rest: it may have been formatted, and be in use, since.
    let mut word = words.load(GEOMETRY_AT, Ordering::Acquire);
    if word == 0 && !blank {
        // The look at the rest orders nothing, so a load may find what was there before: only an exchange finds the last.
        word = words.compare_exchange(GEOMETRY_AT, 0, 0).err().unwrap_or(0);
    }
    if word == 0 && blank {
        return Ok(None);
    }
    let geometry = match Geometry::from_word(word) {
        Found::Geometry(geometry) => geometry,
        Found::Version(found) if magic == MAGIC => return Err(OpenError::UnknownVersion { found }),
        Found::Version(_) | Found::Nonsense => return Err(OpenError::Foreign { magic }),
    };
    if geometry.size() != len {
        return Err(OpenError::WrongSize {
            formatted: geometry.size(),
            mapped: len,
        });
    }
    if magic != MAGIC {
        // The one who formatted it may have died before this; it is the same for all.
        words.store(MAGIC_AT, MAGIC, Ordering::Release);
    }
    Ok(Some(geometry))
}

/// Returns whether there is nothing where header and slots would be, but for the first two words.
pub(super) fn is_blank<W: Loads>(words: &W, len: usize) -> bool {
    (GEOMETRY_AT + 8..len.min(BLANK_LEN))
        .step_by(8)
        .all(|offset| words.load(offset, Ordering::Relaxed) == 0)
}

/// Refuses what can be no region.
fn check(memory: &SharedMemory<'_>) -> Result<(), OpenError> {
    let len = memory.len();
    if !len.is_power_of_two() || len < MIN_LEN || memory.atomic_u64(0).is_err() {
        return Err(OpenError::BadMemory { len });
    }
    Ok(())
}

fn divide(len: usize, format: &Format, epoch: u16) -> Result<Geometry, OpenError> {
    Geometry::divide(len, format.slots, format.ring_log2, epoch).ok_or(OpenError::DoesNotFit {
        len,
        format: *format,
    })
}
