// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest does: accesses to configuration space and to the BARs.

use core::ops::Range;

use super::{Bar, Device};
use crate::registers::Effect;
use crate::{Host, Memory};

/// The widest access that registers and MSI-X know, in bytes.
const WORD: u64 = 4;

impl<H: Host> Device<H> {
    /// Reads configuration space, 256 bytes; what is behind it is all ones.
    pub fn read_config(&self, offset: u16, bytes: &mut [u8]) {
        self.config.read(offset, bytes);
    }

    /// Writes configuration space, as far as it can be written.
    pub fn write_config(&mut self, offset: u16, bytes: &[u8], host: &mut H) {
        let live = self.config.is_msix_live();
        self.config.write(offset, bytes);
        if self.config.is_msix_live() != live {
            self.update_vectors(host);
        }
        self.update_line(host);
    }

    /// Returns the BAR that claims a bus address now, and the offset of the address in it.
    ///
    /// None while Memory Space is off in the Command register.
    #[must_use]
    pub fn decode(&self, address: u64) -> Option<(Bar, u64)> {
        Bar::ALL.into_iter().find_map(|bar| {
            let range = self.bar_range(bar)?;
            range
                .contains(&address)
                .then(|| (bar, address - range.start))
        })
    }

    /// Returns the bus addresses that a BAR claims now: where a VMM puts its short cuts, such as ioeventfds and a mapping
    /// of the memory. Look again after [`Device::write_config`], [`Device::reset`] and [`Device::load`].
    #[must_use]
    pub fn bar_range(&self, bar: Bar) -> Option<Range<u64>> {
        self.config.bar_range(bar.index())
    }

    /// Returns the size of a BAR in bytes, where the device has it.
    #[must_use]
    pub fn bar_len(&self, bar: Bar) -> Option<u64> {
        self.config.bar_size(bar.index())
    }

    /// Reads at `offset` of a BAR, whether or not it is decoded now. What is not there reads 0.
    ///
    /// Registers and MSI-X are accessed in aligned pieces of up to 4 bytes, in ascending order, as QEMU's memory core
    /// cuts them.
    pub fn read_bar(&mut self, bar: Bar, offset: u64, bytes: &mut [u8], host: &mut H) {
        bytes.fill(0);
        match bar {
            Bar::Memory => self.read_memory(offset, bytes),
            Bar::Registers | Bar::Msix => {
                let mut rest = bytes;
                let mut at = offset;
                while !rest.is_empty() {
                    let (piece, later) = rest.split_at_mut(width_at(at, rest.len()));
                    let value = self.read_piece(bar, at, piece.len(), host);
                    piece.copy_from_slice(&value.to_le_bytes()[..piece.len()]);
                    // Nothing is behind the last offset there is, least of all the first.
                    let Some(next) = at.checked_add(piece.len() as u64) else {
                        return;
                    };
                    at = next;
                    rest = later;
                }
            }
        }
    }

    /// Writes at `offset` of a BAR, whether or not it is decoded now, in pieces as [`Device::read_bar`] reads.
    /// What is not there is not written.
    pub fn write_bar(&mut self, bar: Bar, offset: u64, bytes: &[u8], host: &mut H) {
        if bar == Bar::Memory {
            return self.write_memory(offset, bytes);
        }
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(width_at(at, rest.len()));
            let mut word = [0; WORD as usize];
            word[..piece.len()].copy_from_slice(piece);
            let value = u32::from_le_bytes(word);
            if bar == Bar::Msix {
                self.write_msix(at, value, piece.len(), host);
            } else {
                // An ioeventfd is matched by whole accesses of 32 bits only, as by KVM and TCG. (QEMU 7.2 cuts what
                // devices and the qtest protocol write before it looks for one; a VMM that does so passes the pieces.)
                let width = if bytes.len() == piece.len() {
                    piece.len()
                } else {
                    0
                };
                let effect = self.registers.write(at, value, width);
                self.follow(effect, host);
            }
            let Some(next) = at.checked_add(piece.len() as u64) else {
                return;
            };
            at = next;
            rest = later;
        }
    }

    fn read_piece(&mut self, bar: Bar, offset: u64, width: usize, host: &mut H) -> u32 {
        if bar == Bar::Msix {
            // Narrower accesses reach nothing.
            let whole = self.msix.as_ref().filter(|_| width as u64 == WORD);
            return whole.map_or(0, |msix| {
                usize::try_from(offset).map_or(0, |at| msix.read(at))
            });
        }
        let (value, effect) = self.registers.read(offset, self.id());
        self.follow(effect, host);
        value
    }

    fn write_msix(&mut self, offset: u64, value: u32, width: usize, host: &mut H) {
        let live = self.config.is_msix_live();
        let (Some(msix), Ok(offset)) = (&mut self.msix, usize::try_from(offset)) else {
            return;
        };
        if width as u64 == WORD {
            let update = msix.write(offset, value, live);
            self.follow_update(update, host);
        }
    }

    fn follow(&mut self, effect: Effect, host: &mut H) {
        match effect {
            Effect::None => {}
            Effect::Line => self.update_line(host),
            Effect::Doorbell(doorbell) => self.ring(doorbell, host),
        }
    }

    /// Returns the shared memory and how many of `len` bytes from `offset` on are in it.
    fn memory_at(&self, offset: u64, len: usize) -> Option<(&H::Memory, usize)> {
        let memory = self.memory.as_ref()?;
        let end = self.bar_len(Bar::Memory)?.min(memory.len_bytes());
        let left = usize::try_from(end.checked_sub(offset)?).unwrap_or(usize::MAX);
        Some((memory, len.min(left)))
    }

    fn read_memory(&self, offset: u64, bytes: &mut [u8]) {
        if let Some((memory, len)) = self.memory_at(offset, bytes.len()) {
            memory.read(offset, &mut bytes[..len]);
        }
    }

    fn write_memory(&self, offset: u64, bytes: &[u8]) {
        if let Some((memory, len)) = self.memory_at(offset, bytes.len()) {
            memory.write(offset, &bytes[..len]);
        }
    }
}

/// Returns the width of the next aligned piece of an access that has `left` bytes to go: 1, 2 or 4.
fn width_at(offset: u64, left: usize) -> usize {
    let aligned = 1 << offset.trailing_zeros().min(WORD.trailing_zeros());
    let mut width: usize = aligned;
    while width > left {
        width /= 2;
    }
    width
}
