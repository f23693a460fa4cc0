// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is wrong in a region: [`Finding`].

use core::fmt;

use crate::channel::layout::{MIN_LEN, VERSION};
use crate::channel::SlotIndex;

/// Something that no member writes which keeps to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is a part of.
    pub part: Part,
    /// Where the word is that is wrong, in bytes from the start of the memory.
    pub offset: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// A part of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Its first 128 bytes.
    Header,
    /// A slot.
    Slot(SlotIndex),
    /// The ring between two slots.
    Ring {
        /// Who writes there.
        from: SlotIndex,
        /// Who reads there.
        to: SlotIndex,
    },
}

/// What is wrong with a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The memory cannot be a region: no power of two of 4096 bytes or more.
    BadSize {
        /// Its size in bytes.
        len: usize,
    },
    /// The memory holds something else.
    ForeignRegion {
        /// Its first 8 bytes, little-endian.
        magic: u64,
    },
    /// The region is of another version of the layout.
    UnknownVersion {
        /// The version.
        found: u8,
    },
    /// The geometry makes no sense.
    UnsoundGeometry {
        /// Its word.
        found: u64,
    },
    /// The region is of another size than the memory. As much as there is of it is looked at all the same.
    SizeMismatch {
        /// The size in bytes for which it was formatted.
        formatted: usize,
        /// The size of the memory in bytes.
        len: usize,
    },
    /// The region is formatted, but the magic is not there: who formatted it was stopped right before. Whoever opens the region
    /// next stores it.
    MagicMissing,
    /// The state of a slot has no meaning, so nobody is there.
    ///
    /// In memory that held something else and was then formatted anew this may be a remnant of that, and harmless.
    BadState {
        /// The state's word.
        found: u64,
    },
    /// A word of a member's slot is another incarnation's. A member that lives puts this right with its next heartbeat.
    StrangeWord {
        /// The incarnation that it carries.
        found: u32,
        /// The incarnation of the member.
        expected: u32,
    },
    /// The session of one side of a ring is none that this side can have begun, or not the one that it has used.
    WrongSession {
        /// The word.
        found: u64,
        /// The session between the two incarnations that are in the slots.
        expected: u64,
    },
    /// A promise is neither 0 nor 1.
    BadPromise {
        /// The word.
        found: u64,
    },
    /// Head or tail are not of the session that their side is in. They are passed over until that side writes them again.
    KeyOfAnotherSession {
        /// The key that the word has.
        found: u32,
        /// The key of the session.
        expected: u32,
    },
    /// The head is further from the tail than the ring is long.
    HeadBeyondRing {
        /// The head in bytes, modulo 2^35.
        head: u64,
        /// The tail in bytes, modulo 2^35.
        tail: u64,
    },
    /// The tail is ahead of all that was announced.
    TailAheadOfHead {
        /// The head in bytes, modulo 2^35.
        head: u64,
        /// The tail in bytes, modulo 2^35.
        tail: u64,
    },
    /// There is no header where the head says that there is a frame.
    MissingHeader {
        /// The position in bytes, modulo 2^35.
        position: u64,
    },
    /// The header of a frame is one of another position, another round or another session.
    WrongMark {
        /// The mark that it has.
        found: u32,
        /// The mark of its position.
        expected: u32,
    },
    /// The header of a frame makes no sense: it reaches beyond the ring or the head, or is none of a message and no skip.
    BadFrameHeader {
        /// The header's word.
        found: u64,
    },
}

impl Problem {
    /// Returns its name, for programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BadSize { .. } => "BadSize",
            Self::ForeignRegion { .. } => "ForeignRegion",
            Self::UnknownVersion { .. } => "UnknownVersion",
            Self::UnsoundGeometry { .. } => "UnsoundGeometry",
            Self::SizeMismatch { .. } => "SizeMismatch",
            Self::MagicMissing => "MagicMissing",
            Self::BadState { .. } => "BadState",
            Self::StrangeWord { .. } => "StrangeWord",
            Self::WrongSession { .. } => "WrongSession",
            Self::BadPromise { .. } => "BadPromise",
            Self::KeyOfAnotherSession { .. } => "KeyOfAnotherSession",
            Self::HeadBeyondRing { .. } => "HeadBeyondRing",
            Self::TailAheadOfHead { .. } => "TailAheadOfHead",
            Self::MissingHeader { .. } => "MissingHeader",
            Self::WrongMark { .. } => "WrongMark",
            Self::BadFrameHeader { .. } => "BadFrameHeader",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSize { len } => write!(
                f,
                "{len} bytes, expected a power of two of {MIN_LEN} or more"
            ),
            Self::ForeignRegion { magic } => write!(
                f,
                "no region: begins with {magic:#018x}, expected \"IVSHMCH1\""
            ),
            Self::UnknownVersion { found } => {
                write!(f, "version {found} of the layout, expected {VERSION}")
            }
            Self::UnsoundGeometry { found } => write!(f, "geometry {found:#018x} makes no sense"),
            Self::SizeMismatch { formatted, len } => {
                write!(f, "formatted for {formatted} bytes, but {len} are there")
            }
            Self::MagicMissing => write!(f, "magic 0, expected \"IVSHMCH1\""),
            Self::BadState { found } => write!(f, "state {found:#018x} has no meaning"),
            Self::StrangeWord { found, expected } => {
                write!(f, "word of incarnation {found}, expected {expected}")
            }
            Self::WrongSession { found, expected } => {
                write!(f, "session {found:#018x}, expected {expected:#018x}")
            }
            Self::BadPromise { found } => write!(f, "promise {found:#x}, expected 0 or 1"),
            Self::KeyOfAnotherSession { found, expected } => {
                write!(
                    f,
                    "position of key {found:#010x}, expected {expected:#010x}"
                )
            }
            Self::HeadBeyondRing { head, tail } => {
                write!(
                    f,
                    "head {head} is further from tail {tail} than the ring is long"
                )
            }
            Self::TailAheadOfHead { head, tail } => {
                write!(f, "tail {tail} is ahead of head {head}")
            }
            Self::MissingHeader { position } => {
                write!(
                    f,
                    "no header at position {position}, which is before the head"
                )
            }
            Self::WrongMark { found, expected } => {
                write!(
                    f,
                    "header with mark {found:#010x}, expected {expected:#010x}"
                )
            }
            Self::BadFrameHeader { found } => write!(f, "header {found:#018x} makes no sense"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(f, "header"),
            Self::Slot(slot) => write!(f, "slot {slot}"),
            Self::Ring { from, to } => write!(f, "ring {from}:{to}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            part,
            offset,
            problem,
        } = self;
        write!(f, "{part} at {offset:#x}: {}: {problem}", problem.name())
    }
}

/// Most findings of one part that are told.
const MOST: usize = 8;

/// What one look at a part has found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Findings([Option<Finding>; MOST]);

impl Findings {
    /// Adds one, if there is one and there is room.
    pub(super) fn add(&mut self, finding: Option<Finding>) {
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = finding;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Finding> + '_ {
        self.0.iter().flatten().copied()
    }

    pub(super) fn contains(&self, finding: &Finding) -> bool {
        self.iter().any(|other| other == *finding)
    }
}
