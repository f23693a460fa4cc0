// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where accesses and messages go.

use std::ops::Range;

use ivshmem_device::{Bar, Device, Host};

use super::{Twin, BARS, MAILBOXES, MAILBOX_LEN};
use crate::rig::{home, WINDOWS};

/// The Doorbell register in BAR 0.
const DOORBELL: Range<u64> = 0xc..0x10;

impl Twin {
    /// Returns the bus address of an offset in a BAR, which may have been moved; out of the bridge's windows it cannot be reached,
    /// and the address is that where it was at the beginning.
    pub(super) fn address(&self, bar: Bar, at: i64) -> u64 {
        let start = self.base(bar);
        let reachable = WINDOWS.iter().any(|window| window.contains(&start));
        let start = if reachable { start } else { home(bar) };
        start.wrapping_add_signed(at)
    }

    fn base(&self, bar: Bar) -> u64 {
        let mut bytes = [0; 8];
        let len = if bar == Bar::Memory { 8 } else { 4 };
        let offset = BARS + 4 * bar.index() as u16;
        self.pair.device.read_config(offset, &mut bytes[..len]);
        u64::from_le_bytes(bytes) & !0xf
    }

    /// Returns whether two BARs are in the same place. Who answers there is nobody's to say (QEMU: who came last).
    pub(super) fn is_contested(&self) -> bool {
        let range = |bar| {
            let start = self.base(bar);
            start..start.saturating_add(self.pair.device.bar_len(bar).unwrap_or(0))
        };
        let ranges = Bar::ALL.map(range);
        let overlap =
            |one: &Range<u64>, other: &Range<u64>| one.start < other.end && other.start < one.end;
        (0..3).any(|one| (0..one).any(|other| overlap(&ranges[one], &ranges[other])))
    }
}

/// A part of an access, and where it goes.
pub(super) type Part = (Range<usize>, Option<(Bar, u64)>);

/// Cuts an access into the parts that go to different BARs, or to none.
pub(super) fn parts<H: Host>(device: &Device<H>, address: u64, len: usize) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for at in 0..len {
        let claim = device.decode(address + at as u64);
        let bar = claim.map(|(bar, _)| bar);
        match parts.last_mut() {
            Some((part, first)) if first.map(|(bar, _)| bar) == bar => part.end += 1,
            _ => parts.push((at..at + 1, claim)),
        }
    }
    parts
}

/// Cuts a write once more where it is wider than the Doorbell register and has all of it.
///
/// On the way that the qtest protocol takes, QEMU's memory core cuts an access to the width that the device takes and only
/// then looks for an ioeventfd. A processor's write is not cut before, so no ioeventfd answers it, and that is what the
/// model does with a wide write.
pub(super) fn cut_at_doorbell(parts: Vec<Part>) -> Vec<Part> {
    let cut = |(part, claim): Part| {
        let Some((Bar::Registers, offset)) = claim else {
            return vec![(part, claim)];
        };
        let end = offset + part.len() as u64;
        if offset > DOORBELL.start || end < DOORBELL.end {
            return vec![(part, claim)];
        }
        let bounds = [offset, DOORBELL.start, DOORBELL.end, end];
        let pieces = bounds.windows(2).filter(|bounds| bounds[0] < bounds[1]);
        let piece = |bounds: &[u64]| {
            let place = |at: u64| part.start + (at - offset) as usize;
            let range = place(bounds[0])..place(bounds[1]);
            (range, Some((Bar::Registers, bounds[0])))
        };
        pieces.map(piece).collect()
    };
    parts.into_iter().flat_map(cut).collect()
}

/// Changes what would be written to the MSI-X table so that messages go to the mailboxes, or, in one of eight cases,
/// 4 GiB above, where there is nothing.
pub(super) fn tame(bytes: &mut [u8], offset: u64) {
    let skip = (offset.wrapping_neg() % 4) as usize;
    let words = bytes
        .get_mut(skip..)
        .unwrap_or_default()
        .chunks_exact_mut(4);
    for (word, at) in words.zip((offset + skip as u64..).step_by(4)) {
        let value = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let tamed = match at % 16 {
            0 => mailbox(at / 16, value),
            4 => u32::from(value % 8 == 7),
            _ => continue,
        };
        word.copy_from_slice(&tamed.to_le_bytes());
    }
}

/// Returns an address in the mailbox of `vector`.
fn mailbox(vector: u64, value: u32) -> u32 {
    MAILBOXES as u32 + (vector % 4) as u32 * MAILBOX_LEN + value % (MAILBOX_LEN - 3)
}
