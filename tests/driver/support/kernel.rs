// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel that maps regions to memory of its own, watches what the driver asks when, and fails when it is told to.

use std::ptr::NonNull;

use ivshmem::{CachePolicy, MsiMessage, PhysRegion, Platform, VectorIndex};

use super::bus::FakeBus;

/// Why the fake kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// A request of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Map(u64, CachePolicy),
    Unmap(u64),
    Msi(u16),
}

/// A request, and command and MSI-X control of the device at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub request: Request,
    pub command: u32,
    pub msix_control: u32,
}

/// A mapping that exists.
pub struct FakeMapping {
    pub region: PhysRegion,
    address: NonNull<u64>,
    len_words: usize,
}

impl FakeMapping {
    /// Returns the 32-bit word at byte `offset`.
    fn word(&self, offset: usize) -> u32 {
        let at = self.address.as_ptr().cast::<u32>().wrapping_add(offset / 4);
        // SAFETY: inside the mapping's own memory, which the driver writes by volatile accesses.
        unsafe { at.read_volatile() }
    }
}

/// A kernel with memory behind every region.
pub struct FakeKernel<'b> {
    bus: &'b FakeBus,
    at: (u8, u8, u8),
    pub mappings: Vec<FakeMapping>,
    pub events: Vec<Event>,
    /// What each mapping held when it was unmapped.
    pub last_words: Vec<(u64, Vec<u32>)>,
    /// Number of `map` calls to let pass before one is refused.
    pub maps_left: Option<usize>,
    /// The vector whose message is refused.
    pub refused_vector: Option<VectorIndex>,
    /// The number of vectors that get a message.
    pub vectors: u16,
}

impl<'b> FakeKernel<'b> {
    /// A kernel that hands out messages for `vectors` vectors, and watches the device at `at`.
    pub fn new(bus: &'b FakeBus, at: (u8, u8, u8), vectors: u16) -> Self {
        Self {
            bus,
            at,
            mappings: Vec::new(),
            events: Vec::new(),
            last_words: Vec::new(),
            maps_left: None,
            refused_vector: None,
            vectors,
        }
    }

    /// Returns the 32-bit word at physical `address`, as it stands in the memory of the mapping.
    pub fn word(&self, address: u64) -> u32 {
        let mapping = self
            .mappings
            .iter()
            .find(|m| (m.region.start..m.region.start + m.region.len).contains(&address))
            .expect("nothing is mapped there");
        mapping.word((address - mapping.region.start) as usize)
    }

    fn note(&mut self, request: Request) {
        let words = self.bus.words(self.at);
        self.events.push(Event {
            request,
            command: words[1] & 0xffff,
            msix_control: words[0x40 / 4] >> 16,
        });
    }
}

// SAFETY: each mapping is an allocation of its own, reached through raw pointers alone, that stays until `unmap`;
// messages go nowhere.
unsafe impl Platform for FakeKernel<'_> {
    type Error = Refused;

    fn map(&mut self, region: PhysRegion, cache: CachePolicy) -> Result<NonNull<u8>, Refused> {
        self.note(Request::Map(region.start, cache));
        match &mut self.maps_left {
            Some(0) => return Err(Refused),
            Some(left) => *left -= 1,
            None => {}
        }
        let twice = self.mappings.iter().any(|m| m.region == region);
        assert!(!twice, "{region:?} is mapped twice");
        let len_words = (region.len as usize).div_ceil(8);
        // Never zero: the driver must not rely on a clean table.
        let words = vec![0x5555_5554_5555_5554_u64; len_words].into_boxed_slice();
        let address = NonNull::new(Box::into_raw(words).cast()).unwrap();
        self.mappings.push(FakeMapping {
            region,
            address,
            len_words,
        });
        Ok(address.cast())
    }

    unsafe fn unmap(&mut self, address: NonNull<u8>, region: PhysRegion) {
        self.note(Request::Unmap(region.start));
        let index = self
            .mappings
            .iter()
            .position(|m| m.region == region && m.address.cast() == address)
            .expect("an unmap of what is not mapped");
        let mapping = self.mappings.remove(index);
        let words = (0..mapping.len_words * 2).map(|word| mapping.word(4 * word));
        self.last_words.push((region.start, words.collect()));
        let slice = std::ptr::slice_from_raw_parts_mut(mapping.address.as_ptr(), mapping.len_words);
        // SAFETY: from `Box::into_raw` in `map`, and no longer in the list.
        drop(unsafe { Box::from_raw(slice) });
    }

    fn msi(&mut self, vector: VectorIndex) -> Result<Option<MsiMessage>, Refused> {
        self.note(Request::Msi(vector.0));
        if self.refused_vector == Some(vector) {
            return Err(Refused);
        }
        let message = MsiMessage::x86(1, 0x40 + (vector.0 % 128) as u8);
        Ok(message.filter(|_| vector.0 < self.vectors))
    }
}
