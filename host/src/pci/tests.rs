// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opening devices of a made-up sysfs, whose BARs are files.

use std::fs::{self, File};
use std::os::unix::fs::{symlink, FileExt};
use std::path::PathBuf;

use ivshmem::{DeviceError, PeerId, VectorIndex};
use rustix::io::Errno;
use tempfile::TempDir;

use super::sysfs::{find_all, Places};
use super::{open_at, Address, Device, OpenError, VfioStep};
use crate::mapping::MapError;

const BARS: &str = "0x00000000febf1400 0x00000000febf14ff 0x0000000000040200\n\
    0x00000000febf2000 0x00000000febf2fff 0x0000000000040200\n\
    0x00000000fe000000 0x00000000fe00ffff 0x000000000014220c\n\
    0x0000000000000000 0x0000000000000000 0x0000000000000000\n";

/// A machine with an ivshmem-doorbell, all right unless a test changes a file.
struct Machine {
    folder: TempDir,
    places: Places,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            sysfs: folder.path().join("sys"),
            dev: folder.path().join("dev"),
        };
        let machine = Self { folder, places };
        fs::create_dir_all(machine.file("")).unwrap();
        machine.write("vendor", "0x1af4\n");
        machine.write("device", "0x1110\n");
        machine.write("revision", "0x01\n");
        machine.write("resource", BARS);
        machine.write("enable", "0\n");
        let config = [0xf4, 0x1a, 0x10, 0x11, 0x03, 0x01, 0, 0];
        fs::write(machine.file("config"), config).unwrap();
        for (bar, bytes) in [("resource0", 0x2000), ("resource2", 0x10000)] {
            File::create(machine.file(bar))
                .unwrap()
                .set_len(bytes)
                .unwrap();
        }
        machine.poke("resource0", 0x408, 5);
        machine
    }

    fn file(&self, name: &str) -> PathBuf {
        let devices = self.places.sysfs.join("bus/pci/devices");
        devices.join("0000:00:05.0").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn poke(&self, name: &str, at: u64, value: u32) {
        let file = File::options().write(true).open(self.file(name)).unwrap();
        file.write_all_at(&value.to_le_bytes(), at).unwrap();
    }

    fn peek(&self, name: &str, at: u64) -> u32 {
        let mut bytes = [0; 4];
        let file = File::open(self.file(name)).unwrap();
        file.read_exact_at(&mut bytes, at).unwrap();
        u32::from_le_bytes(bytes)
    }

    fn bind(&self, driver: &str) {
        symlink(format!("../drivers/{driver}"), self.file("driver")).unwrap();
    }

    fn open(&self) -> Result<Device, OpenError> {
        open_at(&self.places, address())
    }

    fn error(&self) -> OpenError {
        let error = self.open().unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
        error
    }
}

fn address() -> Address {
    "00:05.0".parse().unwrap()
}

#[test]
fn a_device_without_a_driver_is_used_through_its_files() {
    let machine = Machine::new();
    let device = machine.open().unwrap();
    assert_eq!(device.id(), Some(PeerId(5)));
    assert!(device.vectors().is_empty(), "nobody rings by sysfs");
    device
        .mapping()
        .memory()
        .write(0xfff8, b"the end.")
        .unwrap();
    assert_eq!(device.mapping().memory().len(), 0x10000);
    assert_eq!(
        machine.peek("resource2", 0xfff8),
        u32::from_le_bytes(*b"the ")
    );
    device.ring(PeerId(3), VectorIndex(1)).unwrap();
    assert_eq!(machine.peek("resource0", 0x40c), 0x0003_0001);
    let vector = VectorIndex(256);
    let too_large = Err(DeviceError::VectorTooLarge { vector });
    assert_eq!(device.ring(PeerId(3), vector), too_large);
    drop(device);
    assert_eq!(
        fs::read(machine.file("enable")).unwrap(),
        b"0\n",
        "it did answer"
    );
    assert_eq!(find_all(&machine.places), [address()]);
}

#[test]
fn plain_has_memory_and_neither_id_nor_doorbell() {
    let machine = Machine::new();
    let lines: Vec<_> = BARS.lines().collect();
    let none = "0x0000000000000000 0x0000000000000000 0x0000000000000000";
    machine.write("resource", &[lines[0], none, lines[2]].join("\n"));
    let device = machine.open().unwrap();
    assert_eq!(device.id(), None);
    let ring = device.ring(PeerId(0), VectorIndex(0));
    assert!(matches!(ring, Err(DeviceError::Lacks { .. })));
    // As of one device model of ACRN.
    machine.write("resource", &[none, none, lines[2]].join("\n"));
    assert_eq!(machine.open().unwrap().id(), None);
}

#[test]
fn what_is_no_ivshmem_device_is_not_touched() {
    let machine = Machine::new();
    let address: Address = "0000:00:06.0".parse().unwrap();
    let error = open_at(&machine.places, address).unwrap_err();
    assert_eq!(error, OpenError::NoFunction { address });
    machine.write("device", "0x1000\n");
    let other = OpenError::OtherDevice {
        address: self::address(),
        vendor: 0x1af4,
        device: 0x1000,
    };
    assert_eq!(machine.error(), other);
    assert!(find_all(&machine.places).is_empty());
    machine.write("device", "0x11100\n");
    assert!(matches!(machine.error(), OpenError::Text { .. }));
}

#[test]
fn a_device_that_a_driver_has_is_left_to_it() {
    let machine = Machine::new();
    machine.bind("uio_ivshmem");
    let driver = "uio_ivshmem".to_owned();
    let address = address();
    assert_eq!(machine.error(), OpenError::OtherDriver { address, driver });
}

#[test]
fn bars_that_make_no_sense_are_refused() {
    let machine = Machine::new();
    let bar0 = BARS.lines().next().unwrap();
    for (bar2, missing) in [
        (
            "0x0000000000000000 0x000000000000ffff 0x0000000000040200",
            true,
        ),
        (
            "0x000000000000c000 0x000000000000c0ff 0x0000000000040101",
            true,
        ),
        (
            "0x00000000fe000000 0x00000000fe00ffff 0x0000000020040200",
            true,
        ),
        (
            "0x00000000fe000000 0x00000000fdffffff 0x0000000000040200",
            true,
        ),
        (
            "0x00000000fe000000 0x00000000fd000000 0x0000000000040200",
            false,
        ),
        ("0x00000000fe000000 0x00000000fe00ffff", false),
        (
            "0x0000000000000001 0xffffffffffffffff 0x0000000000040200",
            false,
        ),
    ] {
        machine.write("resource", &format!("{bar0}\n{bar0}\n{bar2}\n"));
        let error = machine.error();
        match error {
            OpenError::NoMemory { .. } => assert!(missing, "{bar2}"),
            OpenError::Map { error, .. } => assert!(matches!(
                error,
                MapError::TooSmall { bytes: 0 } | MapError::TooLarge { .. }
            )),
            _ => assert!(matches!(error, OpenError::Text { .. }), "{bar2}: {error}"),
        }
    }
}

/// The made-up kernel does not turn decoding on, and the bit is found as it was.
#[test]
fn a_device_that_stays_silent_is_an_error() {
    let machine = Machine::new();
    let command = machine.peek("config", 4);
    machine.poke("config", 4, command & !2);
    let address = address();
    assert_eq!(machine.error(), OpenError::NotEnabled { address });
    assert_eq!(machine.peek("config", 4), command & !2);
    assert_eq!(
        fs::read(machine.file("enable")).unwrap(),
        b"0",
        "taken back"
    );
}

#[test]
fn a_device_that_is_gone_has_no_id() {
    let machine = Machine::new();
    machine.poke("resource0", 0x408, !0);
    machine.poke("resource0", 0x40c, !0);
    let (address, error) = (address(), DeviceError::Gone);
    assert_eq!(machine.error(), OpenError::Device { address, error });
}

#[test]
fn what_vfio_lacks_is_said() {
    let machine = Machine::new();
    machine.bind("vfio-pci");
    let no_group = OpenError::Vfio {
        address: address(),
        step: VfioStep::Group,
        error: None,
    };
    assert_eq!(machine.error(), no_group);

    let group = machine.folder.path().join("groups/7");
    fs::create_dir_all(&group).unwrap();
    symlink(&group, machine.file("iommu_group")).unwrap();
    let absent = |name: &str| OpenError::File {
        path: machine.places.dev.join("vfio").join(name),
        error: Errno::NOENT,
    };
    assert_eq!(machine.error(), absent("7"));
    fs::write(group.join("name"), "vfio-noiommu\n").unwrap();
    assert_eq!(machine.error(), absent("noiommu-7"));

    fs::create_dir_all(machine.places.dev.join("vfio")).unwrap();
    for name in ["vfio/noiommu-7", "vfio/vfio"] {
        File::create(machine.places.dev.join(name)).unwrap();
    }
    let no_vfio = OpenError::Vfio {
        address: address(),
        step: VfioStep::Version,
        error: Some(Errno::NOTTY),
    };
    assert_eq!(machine.error(), no_vfio);
}
