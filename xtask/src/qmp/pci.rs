// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's own view of a machine's PCI functions.

use super::client::{Qmp, QmpError};
use serde::Deserialize;
use serde_json::{json, Value};

/// A PCI function as QEMU reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciDevice {
    /// Bus number, as the guest's firmware assigned it.
    pub bus: u8,
    /// Slot (device number) on the bus.
    pub slot: u8,
    /// Function number.
    pub function: u8,
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Base class and subclass, such as 0x0500.
    pub class: u16,
    /// The `id=` from QEMU's command line; empty if there was none.
    pub id: String,
    /// The BARs that the function has.
    pub bars: Vec<PciBar>,
    /// The bus behind it, if it is a bridge.
    pub secondary_bus: Option<u8>,
}

/// What a BAR decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// Memory.
    Memory,
}

/// A BAR as QEMU reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciBar {
    /// Its index, 0 to 5; 6 is the expansion ROM.
    pub bar: u8,
    /// Where it decodes; `None` if it does not decode.
    pub address: Option<u64>,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is prefetchable.
    pub prefetch: bool,
    /// Whether it is 64 bits wide, so that the next index belongs to it.
    pub mem64: bool,
    /// What it decodes.
    pub kind: BarKind,
}

impl Qmp {
    /// Returns all PCI functions: those of bus 0 first, each bridge followed by what is behind it.
    ///
    /// # Errors
    ///
    /// - As [`execute`](Self::execute), or QEMU's answer has another shape than 7.2's.
    pub fn query_pci(&mut self) -> Result<Vec<PciDevice>, QmpError> {
        flatten(self.execute("query-pci", &json!({}))?)
    }
}

fn flatten(answer: Value) -> Result<Vec<PciDevice>, QmpError> {
    let buses: Vec<RawBus> =
        serde_json::from_value(answer).map_err(|error| QmpError::Unexpected(error.to_string()))?;
    let mut all = Vec::new();
    for device in buses.into_iter().flat_map(|bus| bus.devices) {
        push(device, &mut all)?;
    }
    Ok(all)
}

fn push(raw: RawDevice, all: &mut Vec<PciDevice>) -> Result<(), QmpError> {
    let bars = raw.regions.iter().map(PciBar::try_from);
    all.push(PciDevice {
        bus: raw.bus,
        slot: raw.slot,
        function: raw.function,
        vendor: raw.id.vendor,
        device: raw.id.device,
        class: raw.class_info.class,
        id: raw.qdev_id,
        bars: bars.collect::<Result<_, _>>()?,
        secondary_bus: raw.pci_bridge.as_ref().map(|bridge| bridge.bus.secondary),
    });
    for behind in raw.pci_bridge.into_iter().flat_map(|bridge| bridge.devices) {
        push(behind, all)?;
    }
    Ok(())
}

impl TryFrom<&RawRegion> for PciBar {
    type Error = QmpError;

    fn try_from(raw: &RawRegion) -> Result<Self, QmpError> {
        let kind = match raw.kind.as_str() {
            "io" => BarKind::Io,
            "memory" => BarKind::Memory,
            other => return Err(QmpError::Unexpected(format!("a BAR of type {other}"))),
        };
        Ok(Self {
            bar: raw.bar,
            // QEMU prints all ones, a -1, for a BAR that is not mapped.
            address: u64::try_from(raw.address).ok(),
            size: raw.size,
            prefetch: raw.prefetch,
            mem64: raw.mem_type_64,
            kind,
        })
    }
}

#[derive(Deserialize)]
struct RawBus {
    devices: Vec<RawDevice>,
}

#[derive(Deserialize)]
struct RawDevice {
    bus: u8,
    slot: u8,
    function: u8,
    class_info: RawClass,
    id: RawId,
    #[serde(default)]
    qdev_id: String,
    #[serde(default)]
    regions: Vec<RawRegion>,
    pci_bridge: Option<RawBridge>,
}

#[derive(Deserialize)]
struct RawClass {
    class: u16,
}

#[derive(Deserialize)]
struct RawId {
    vendor: u16,
    device: u16,
}

#[derive(Deserialize)]
struct RawRegion {
    bar: u8,
    #[serde(rename = "type")]
    kind: String,
    address: i64,
    size: u64,
    #[serde(default)]
    prefetch: bool,
    #[serde(default)]
    mem_type_64: bool,
}

#[derive(Deserialize)]
struct RawBridge {
    bus: RawBridgeBus,
    #[serde(default)]
    devices: Vec<RawDevice>,
}

#[derive(Deserialize)]
struct RawBridgeBus {
    secondary: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of QEMU 7.2's answer, shortened.
    fn answer() -> Value {
        json!([{"bus": 0, "devices": [
            {"bus": 0, "slot": 3, "function": 0, "qdev_id": "bridge", "irq_pin": 1,
             "class_info": {"class": 1540, "desc": "PCI bridge"},
             "id": {"vendor": 6966, "device": 12},
             "regions": [],
             "pci_bridge": {"bus": {"number": 0, "secondary": 1, "subordinate": 1},
                "devices": [
                    {"bus": 1, "slot": 0, "function": 0, "qdev_id": "",
                     "class_info": {"class": 1280},
                     "id": {"vendor": 6900, "device": 4368, "subsystem": 4352},
                     "regions": [
                        {"bar": 0, "type": "memory", "address": -1, "size": 256,
                         "prefetch": false, "mem_type_64": false},
                        {"bar": 2, "type": "memory", "address": 4294967296u64, "size": 68719476736u64,
                         "prefetch": true, "mem_type_64": true},
                        {"bar": 4, "type": "io", "address": 49152, "size": 32}]}]}}]}])
    }

    #[test]
    fn functions_behind_bridges_are_listed_with_their_bars() {
        let all = flatten(answer()).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(
            (all[0].id.as_str(), all[0].secondary_bus),
            ("bridge", Some(1))
        );
        let device = &all[1];
        assert_eq!(
            (device.bus, device.vendor, device.device),
            (1, 0x1af4, 0x1110)
        );
        assert_eq!((device.class, device.secondary_bus), (0x0500, None));
        assert_eq!(device.bars[0].address, None);
        let expected = PciBar {
            bar: 2,
            address: Some(1 << 32),
            size: 64 << 30,
            prefetch: true,
            mem64: true,
            kind: BarKind::Memory,
        };
        assert_eq!(device.bars[1], expected);
        assert_eq!(device.bars[2].kind, BarKind::Io);
    }

    #[test]
    fn another_shape_is_an_error() {
        assert!(flatten(json!([{"bus": 0}])).is_err());
        let mut odd = answer();
        odd[0]["devices"][0]["regions"] =
            json!([{"bar": 0, "type": "dma", "address": 0, "size": 1}]);
        assert!(flatten(odd).is_err());
    }
}
