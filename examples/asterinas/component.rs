// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every PCI driver of Asterinas has: the device that it claims, and the driver that it registers.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, OnceLock};

use ivshmem::Ivshmem;

use crate::glue;
use crate::shim::IoRegisters;
use crate::stubs::aster_pci::{
    CapabilityMsixData, PciCommonDevice, PciDevice, PciDeviceId, PciDriver,
};
use crate::stubs::ostd::BusProbeError;

pub static DEVICE: OnceLock<Arc<IvshmemDevice>> = OnceLock::new();

#[derive(Debug)]
pub struct IvshmemDevice {
    pub device: Ivshmem<IoRegisters>,
    pub msix: Mutex<CapabilityMsixData>,
    id: PciDeviceId,
}

impl PciDevice for IvshmemDevice {
    fn device_id(&self) -> PciDeviceId {
        self.id
    }
}

#[derive(Debug)]
pub struct IvshmemDriver;

impl PciDriver for IvshmemDriver {
    fn probe(
        &self,
        mut found: PciCommonDevice,
    ) -> Result<Arc<dyn PciDevice>, (BusProbeError, PciCommonDevice)> {
        let id = *found.device_id();
        if (id.vendor_id, id.device_id) != (0x1af4, 0x1110) {
            return Err((BusProbeError::DeviceNotMatch, found));
        }
        let Ok((device, msix)) = glue::start(&mut found) else {
            return Err((BusProbeError::ConfigurationSpaceError, found));
        };
        let msix = Mutex::new(msix);
        let claimed = DEVICE.get_or_init(|| Arc::new(IvshmemDevice { device, msix, id }));
        Ok(claimed.clone())
    }
}
