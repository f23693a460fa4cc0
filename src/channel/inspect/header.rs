// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the first words of a region say: [`Header`].

use core::sync::atomic::Ordering;

use super::finding::{Finding, Part, Problem};
use super::source::{Source, View};
use crate::channel::layout::{Found, Geometry, GEOMETRY_AT, MAGIC, MAGIC_AT, MIN_LEN};
use crate::channel::region::is_blank;
use crate::channel::words::Loads;

/// The header of a region, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The size of the memory in bytes.
    pub len: usize,
    /// The first word; `IVSHMCH1`, little-endian, in a region.
    pub magic: u64,
    /// The second word, by which the region is divided.
    pub geometry: u64,
    /// What the memory holds.
    pub contents: Contents,
}

/// What memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Nothing yet: whoever opens it first formats it.
    Blank,
    /// A region.
    Region(Division),
    /// Something else, or nothing that can be read.
    Unreadable,
}

/// How a region is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// The size in bytes for which it was formatted.
    pub size: usize,
    /// Slots, 2 to 256.
    pub slots: u16,
    /// Bytes of each ring's data.
    pub ring_len: usize,
    /// How often the region was formatted, more or less: another number each time.
    pub epoch: u16,
    /// Where the rings begin, in bytes from the start.
    pub rings_at: usize,
    /// Where the last ring ends.
    pub end: usize,
}

impl Header {
    /// Reads the header, and how the region is divided if it is one.
    pub(super) fn read<S: Source + ?Sized>(source: &S) -> (Self, Option<Geometry>) {
        let words = View(source);
        let len = source.len();
        let magic = words.load(MAGIC_AT, Ordering::Acquire);
        let is_blank = magic == 0 && len >= MIN_LEN && is_blank(&words, len);
        // After the look at the rest, as members do it.
        let word = words.load(GEOMETRY_AT, Ordering::Acquire);
        let geometry = match Geometry::from_word(word) {
            Found::Geometry(geometry) if magic == MAGIC || magic == 0 => Some(geometry),
            _ => None,
        };
        let contents = match geometry {
            Some(geometry) => Contents::Region(Division::of(geometry)),
            None if is_blank && word == 0 => Contents::Blank,
            None => Contents::Unreadable,
        };
        let header = Self {
            len,
            magic,
            geometry: word,
            contents,
        };
        (header, geometry)
    }

    /// Returns what is wrong with it.
    pub(super) fn problem(&self) -> Option<Finding> {
        let len = self.len;
        let (offset, problem) = match self.contents {
            Contents::Region(division) if division.size != len => {
                let formatted = division.size;
                (GEOMETRY_AT, Problem::SizeMismatch { formatted, len })
            }
            Contents::Region(_) if self.magic == 0 => (MAGIC_AT, Problem::MagicMissing),
            _ if !len.is_power_of_two() || len < MIN_LEN => (MAGIC_AT, Problem::BadSize { len }),
            Contents::Region(_) | Contents::Blank => return None,
            Contents::Unreadable if self.magic != MAGIC => {
                let magic = self.magic;
                (MAGIC_AT, Problem::ForeignRegion { magic })
            }
            Contents::Unreadable => match Geometry::from_word(self.geometry) {
                Found::Version(found) => (GEOMETRY_AT, Problem::UnknownVersion { found }),
                Found::Nonsense | Found::Geometry(_) => {
                    let found = self.geometry;
                    (GEOMETRY_AT, Problem::UnsoundGeometry { found })
                }
            },
        };
        Some(Finding {
            part: Part::Header,
            offset,
            problem,
        })
    }
}

impl Division {
    const fn of(geometry: Geometry) -> Self {
        let last = geometry.slots - 1;
        Self {
            size: geometry.size(),
            slots: geometry.slots,
            ring_len: 1 << geometry.ring_log2,
            epoch: geometry.epoch,
            rings_at: geometry.rings_at(),
            end: geometry.ring(last, last - 1) + geometry.ring_len(),
        }
    }
}
