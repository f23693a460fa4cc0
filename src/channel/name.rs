// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who a member is: [`Name`] and what else it tells of itself.

use core::fmt;

/// Bytes of a name.
pub(crate) const NAME_LEN: usize = 32;

/// No device, in an identity.
const NO_DEVICE: u16 = u16::MAX;

/// The name of a member: up to 32 bytes, usually text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(pub(crate) [u8; NAME_LEN]);

impl Name {
    /// The name of somebody whose name is not known.
    pub(crate) const UNKNOWN: Self = Self([0; NAME_LEN]);

    /// Returns a name, without what is beyond 32 bytes.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let fitting = name
            .char_indices()
            .map(|(start, character)| start + character.len_utf8())
            .take_while(|&end| end <= NAME_LEN)
            .last();
        let mut bytes = [0; NAME_LEN];
        for (byte, &given) in bytes
            .iter_mut()
            .zip(name.as_bytes())
            .take(fitting.unwrap_or(0))
        {
            *byte = given;
        }
        Self(bytes)
    }

    /// Returns the bytes, without the zeros behind them. They are the peer's: do not trust them to be text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.0.iter().rposition(|&byte| byte != 0);
        self.0
            .get(..len.map_or(0, |last| last + 1))
            .unwrap_or(&self.0)
    }

    /// Returns what is kept of a name to know it again, which needs not to be certain.
    pub(super) fn mark(&self) -> u16 {
        // FNV-1a of 32 bits, folded.
        let hash = self.0.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        (hash >> 16 ^ hash) as u16
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// As text, with what is none escaped.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

/// Who a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: Option<u16>,
    pub(crate) vectors: u16,
    pub(crate) name: Name,
}

impl Identity {
    /// Returns where the member is rung: the device's ID in the low half, 0xffff for none, and the vectors in the high.
    pub(super) fn address(&self) -> u32 {
        u32::from(self.device.unwrap_or(NO_DEVICE)) | u32::from(self.vectors) << 16
    }

    pub(super) fn from_parts(address: u32, name: Name) -> Self {
        let (device, vectors) = device_and_vectors(address);
        Self {
            device,
            vectors,
            name,
        }
    }
}

/// Takes an [address](Identity::address) apart.
pub(super) fn device_and_vectors(address: u32) -> (Option<u16>, u16) {
    let device = address as u16;
    let device = (device != NO_DEVICE).then_some(device);
    (device, (address >> 16) as u16)
}
