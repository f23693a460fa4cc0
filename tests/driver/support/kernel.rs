// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel that maps regions to ordinary memory, counts its mappings and fails when it is told to.

use std::ptr::NonNull;

use ivshmem::{CachePolicy, MsiMessage, PhysRegion, Platform, VectorIndex};

/// Why the fake kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// A mapping that exists.
pub struct FakeMapping {
    pub region: PhysRegion,
    pub cache: CachePolicy,
    words: Box<[u64]>,
}

/// A kernel with memory behind every region.
#[derive(Default)]
pub struct FakeKernel {
    pub mappings: Vec<FakeMapping>,
    /// Number of `map` calls to let pass before one is refused.
    pub maps_left: Option<usize>,
    /// The vector whose message is refused.
    pub refused_vector: Option<VectorIndex>,
    /// The number of vectors that get a message.
    pub vectors: u16,
}

impl FakeKernel {
    /// A kernel that hands out messages for `vectors` vectors.
    pub fn new(vectors: u16) -> Self {
        Self {
            vectors,
            ..Self::default()
        }
    }

    /// Returns the 32-bit word at physical `address`, as it stands in the memory of the mapping.
    pub fn word(&self, address: u64) -> u32 {
        let mapping = self
            .mappings
            .iter()
            .find(|m| (m.region.start..m.region.start + m.region.len).contains(&address))
            .expect("nothing is mapped there");
        let offset = (address - mapping.region.start) as usize;
        let at = mapping
            .words
            .as_ptr()
            .cast::<u32>()
            .wrapping_add(offset / 4);
        // SAFETY: inside the mapping's own memory, which the driver writes by volatile accesses.
        unsafe { at.read_volatile() }
    }
}

// SAFETY: each mapping is a boxed slice of its own that stays in place until `unmap`; messages go nowhere.
unsafe impl Platform for FakeKernel {
    type Error = Refused;

    fn map(&mut self, region: PhysRegion, cache: CachePolicy) -> Result<NonNull<u8>, Refused> {
        match &mut self.maps_left {
            Some(0) => return Err(Refused),
            Some(left) => *left -= 1,
            None => {}
        }
        assert!(
            !self.mappings.iter().any(|m| m.region == region),
            "{region:?} is mapped twice"
        );
        // Never zero: the driver must not rely on a clean table.
        let mut words = vec![0x5555_5554_5555_5554_u64; (region.len as usize).div_ceil(8)];
        let address = NonNull::new(words.as_mut_ptr().cast()).unwrap();
        self.mappings.push(FakeMapping {
            region,
            cache,
            words: words.into_boxed_slice(),
        });
        Ok(address)
    }

    unsafe fn unmap(&mut self, address: NonNull<u8>, region: PhysRegion) {
        let index = self
            .mappings
            .iter()
            .position(|m| m.region == region && m.words.as_ptr().cast() == address.as_ptr())
            .expect("an unmap of what is not mapped");
        self.mappings.remove(index);
    }

    fn msi(&mut self, vector: VectorIndex) -> Result<Option<MsiMessage>, Refused> {
        if self.refused_vector == Some(vector) {
            return Err(Refused);
        }
        let message = MsiMessage::x86(1, 0x40 + vector.0 as u8);
        Ok((vector.0 < self.vectors).then_some(message))
    }
}
