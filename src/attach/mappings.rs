// SPDX-License-Identifier: MIT OR Apache-2.0
//! The BARs that an attached device has mapped.

use core::ptr::NonNull;

use super::error::AttachError;
use crate::mmio::MmioRegion;
use crate::platform::{CachePolicy, PhysRegion, Platform};

/// Registers, shared memory, MSI-X table and pending bits: at most four BARs.
const MAX_MAPPINGS: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Mapping {
    region: PhysRegion,
    /// Invariant: where `Platform::map` put `region`, not unmapped since.
    address: NonNull<u8>,
}

// SAFETY: the address is only handed back to the platform, by the one owner.
#[allow(unsafe_code)]
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` permits only reading the address as a number.
#[allow(unsafe_code)]
unsafe impl Sync for Mapping {}

/// The BARs mapped so far.
#[derive(Debug, Default)]
pub(super) struct Mappings([Option<Mapping>; MAX_MAPPINGS]);

impl Mappings {
    /// Returns where `region` is mapped, mapping it if it is not yet.
    pub(super) fn map<P: Platform>(
        &mut self,
        platform: &mut P,
        region: PhysRegion,
        cache: CachePolicy,
    ) -> Result<(NonNull<u8>, usize), AttachError<P::Error>> {
        let too_large = AttachError::TooLarge { region };
        let Ok(len) = isize::try_from(region.len) else {
            return Err(too_large);
        };
        for slot in &mut self.0 {
            match slot {
                Some(mapping) if mapping.region == region => {
                    return Ok((mapping.address, len as usize));
                }
                Some(_) => {}
                None => {
                    let address = platform
                        .map(region, cache)
                        .map_err(|error| AttachError::Map { region, error })?;
                    *slot = Some(Mapping { region, address });
                    return Ok((address, len as usize));
                }
            }
        }
        // Not reached: there are as many slots as places that call this.
        Err(too_large)
    }

    /// Maps `region` as registers.
    #[allow(unsafe_code)]
    pub(super) fn map_registers<P: Platform>(
        &mut self,
        platform: &mut P,
        region: PhysRegion,
    ) -> Result<MmioRegion, AttachError<P::Error>> {
        let (address, len) = self.map(platform, region, CachePolicy::Uncached)?;
        // SAFETY: 1. `Platform::map` promises this mapping until `unmap`, which comes when the device is
        // gone; 2. a BAR is aligned to its size, at least 16, and a mapping keeps that within a page.
        Ok(unsafe { MmioRegion::new(address, len) })
    }

    /// Unmaps everything, last first.
    #[allow(unsafe_code)]
    pub(super) fn release<P: Platform>(&mut self, platform: &mut P) {
        for slot in self.0.iter_mut().rev() {
            if let Some(Mapping { region, address }) = slot.take() {
                // SAFETY: mapped by this platform and taken out of the list, so unmapped once; the device
                // that used it was never made or is consumed by `detach`.
                unsafe { platform.unmap(address, region) };
            }
        }
    }
}
