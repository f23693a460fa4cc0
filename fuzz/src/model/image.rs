// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest sees of a device without changing it: configuration space and MSI-X, at one moment.

use ivshmem_device::{Bar, Device, MsiMessage};

use super::host::FuzzHost;

/// Length of configuration space.
pub const CONFIG: usize = 256;
const COMMAND: usize = 4;
const STATUS: usize = 6;
/// Where the MSI-X capability is, and what its dwords are: control, table, pending bits.
pub const CAPABILITY: usize = 0x40;
const ENTRY_LEN: usize = 16;

/// An image of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub config: [u8; CONFIG],
    pub msix: Option<Msix>,
}

/// The parts of BAR 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Msix {
    pub table: Vec<u8>,
    /// Whole words of 64 bits.
    pub pending: Vec<u8>,
}

impl Image {
    pub fn take(device: &mut Device<FuzzHost>, host: &mut FuzzHost) -> Self {
        let mut config = [0; CONFIG];
        device.read_config(0, &mut config);
        let msix = device.bar_len(Bar::Msix).map(|_| {
            let dword = |offset| dword(&config, CAPABILITY + offset);
            let vectors = (dword(0) >> 16 & 0x7ff) as usize + 1;
            let mut read = |offset, len| {
                let mut bytes = vec![0; len];
                device.read_bar(Bar::Msix, offset, &mut bytes, host);
                bytes
            };
            Msix {
                table: read(0, vectors * ENTRY_LEN),
                pending: read(u64::from(dword(8) & !7), vectors.div_ceil(64) * 8),
            }
        });
        Self { config, msix }
    }

    pub fn dword(&self, offset: usize) -> u32 {
        dword(&self.config, offset)
    }

    fn command(&self) -> u32 {
        self.dword(COMMAND) & 0xffff
    }

    pub fn decodes(&self) -> bool {
        self.command() & 1 << 1 != 0
    }

    pub fn is_bus_master(&self) -> bool {
        self.command() & 1 << 2 != 0
    }

    /// The interrupt is asserted, whether or not it may be sent.
    pub fn is_asserted(&self) -> bool {
        self.config[STATUS] & 1 << 3 != 0
    }

    /// The line is up.
    pub fn line(&self) -> bool {
        self.is_asserted() && self.command() & 1 << 10 == 0
    }

    pub fn is_msix_enabled(&self) -> bool {
        self.msix.is_some() && self.dword(CAPABILITY) & 1 << 31 != 0
    }

    fn is_msix_masked(&self) -> bool {
        self.dword(CAPABILITY) & 1 << 30 != 0
    }

    /// Returns the size of the MSI-X table.
    pub fn vectors(&self) -> u16 {
        (self.table().len() / ENTRY_LEN) as u16
    }

    pub fn table(&self) -> &[u8] {
        self.msix.as_ref().map_or(&[], |msix| &msix.table)
    }

    fn pending_bits(&self) -> &[u8] {
        self.msix.as_ref().map_or(&[], |msix| &msix.pending)
    }

    /// Returns the message of a vector, if neither it nor the function is masked.
    pub fn route(&self, vector: u16) -> Option<MsiMessage> {
        let start = usize::from(vector) * ENTRY_LEN;
        let entry = self.table().get(start..start + ENTRY_LEN)?;
        let word = |index: usize| dword(entry, 4 * index);
        let live = self.is_msix_enabled() && !self.is_msix_masked() && word(3) & 1 == 0;
        live.then(|| MsiMessage {
            address: u64::from(word(1)) << 32 | u64::from(word(0)),
            data: word(2),
        })
    }

    pub fn is_pending(&self, vector: u16) -> bool {
        let byte = self.pending_bits().get(usize::from(vector / 8));
        byte.is_some_and(|byte| byte & 1 << (vector % 8) != 0)
    }

    /// Returns the number of pending bits that are set, whether or not there is a vector for each.
    pub fn pending(&self) -> usize {
        let ones = |byte: &u8| byte.count_ones() as usize;
        self.pending_bits().iter().map(ones).sum()
    }
}

fn dword(bytes: &[u8], offset: usize) -> u32 {
    let word = bytes[offset..offset + 4].try_into();
    u32::from_le_bytes(word.expect("four bytes"))
}
