// SPDX-License-Identifier: MIT OR Apache-2.0
//! A PCI function as sysfs shows it: [`Function`].

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ivshmem::pci::{DEVICE_ID, VENDOR_ID};
use ivshmem::Flavour;

use super::address::Address;
use super::error::OpenError;

/// The driver that hands devices to programs.
pub(super) const VFIO_DRIVER: &str = "vfio-pci";

/// Offset of the Command register in configuration space, and the bit that lets a device answer at its memory BARs.
const COMMAND: u64 = 4;
const MEMORY_SPACE: u16 = 1 << 1;

/// Of a BAR in the file `resource` (`<linux/ioport.h>`): it is memory; it has no address yet.
const IORESOURCE_MEM: u64 = 0x200;
const IORESOURCE_UNSET: u64 = 0x2000_0000;

/// Where the kernel shows devices; elsewhere in tests.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) sysfs: PathBuf,
    pub(super) dev: PathBuf,
}

impl Places {
    pub(super) fn system() -> Self {
        Self {
            sysfs: "/sys".into(),
            dev: "/dev".into(),
        }
    }
}

/// A memory BAR with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) start: u64,
    pub(super) bytes: u64,
}

/// An ivshmem function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) address: Address,
    folder: PathBuf,
    bars: [Option<Bar>; 6],
}

impl Function {
    /// Finds the function at `address`, and checks what it is.
    pub(super) fn find(places: &Places, address: Address) -> Result<Self, OpenError> {
        let folder = devices(places).join(address.to_string());
        if !folder.is_dir() {
            return Err(OpenError::NoFunction { address });
        }
        let mut function = Self {
            address,
            folder,
            bars: [None; 6],
        };
        let vendor = function.number("vendor")?;
        let device = function.number("device")?;
        if (vendor, device) != (VENDOR_ID, DEVICE_ID) {
            return Err(OpenError::OtherDevice {
                address,
                vendor,
                device,
            });
        }
        function.bars = function.read_bars()?;
        Ok(function)
    }

    /// Returns the driver that has it.
    pub(super) fn driver(&self) -> Option<String> {
        self.link("driver")
    }

    /// Returns its IOMMU group's number, and the file by which VFIO gives it out.
    pub(super) fn group(&self, places: &Places) -> Option<PathBuf> {
        let number = self.link("iommu_group")?;
        // Without an IOMMU VFIO makes groups of its own, under other names.
        let name = fs::read_to_string(self.folder.join("iommu_group/name"));
        let prefix = match name.as_deref().map(str::trim_end) {
            Ok("vfio-noiommu") => "noiommu-",
            _ => "",
        };
        Some(places.dev.join("vfio").join(format!("{prefix}{number}")))
    }

    /// Returns the kind of the device. MSI-X tells them apart, and its table is all that BAR 1 ever has.
    pub(super) fn flavour(&self) -> Result<Flavour, OpenError> {
        let has_msix = self.bar(1).is_some();
        // Of those without, only revision 0 could have a line, which cannot be waited for here.
        Ok(Flavour::of_pci(self.number::<u8>("revision")?, has_msix, 0))
    }

    pub(super) fn bar(&self, index: usize) -> Option<Bar> {
        self.bars.get(index).copied().flatten()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Opens a file for reading and writing.
    pub(super) fn open(&self, name: &str) -> Result<File, OpenError> {
        let path = self.path(name);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        file.map_err(|error| OpenError::file(path, &error))
    }

    /// Has the device answer at its BARs, as long as what this returns lives. Nothing is done if it does anyway.
    pub(super) fn enable(&self) -> Result<Option<Enabled>, OpenError> {
        let config = self.open("config")?;
        let failed = |error| OpenError::file(self.path("config"), &error);
        if command(&config).map_err(failed)? & MEMORY_SPACE != 0 {
            return Ok(None);
        }
        let path = self.path("enable");
        // The kernel counts those who want it.
        fs::write(&path, "1").map_err(|error| OpenError::file(&path, &error))?;
        let enabled = Enabled { path, config };
        if command(&enabled.config).map_err(failed)? & MEMORY_SPACE == 0 {
            let address = self.address;
            return Err(OpenError::NotEnabled { address });
        }
        Ok(Some(enabled))
    }

    /// Returns the name of what a link leads to.
    fn link(&self, name: &str) -> Option<String> {
        let target = fs::read_link(self.folder.join(name)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    fn text(&self, name: &str) -> Result<String, OpenError> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(|error| OpenError::file(path, &error))
    }

    fn nonsense(&self, name: &str, text: &str) -> OpenError {
        OpenError::Text {
            path: self.path(name),
            text: text.to_owned(),
        }
    }

    /// Reads a number such as `0x1af4`.
    fn number<N: TryFrom<u64>>(&self, name: &str) -> Result<N, OpenError> {
        let text = self.text(name)?;
        let number = hexadecimal(text.trim_end()).and_then(|number| N::try_from(number).ok());
        number.ok_or_else(|| self.nonsense(name, &text))
    }

    /// Reads the BARs: a line of start, end and flags for each resource, the BARs first.
    fn read_bars(&self) -> Result<[Option<Bar>; 6], OpenError> {
        let text = self.text("resource")?;
        let mut bars = [None; 6];
        for (bar, line) in bars.iter_mut().zip(text.lines()) {
            *bar = parse_bar(line).ok_or_else(|| self.nonsense("resource", line))?;
        }
        Ok(bars)
    }
}

/// A device that decodes memory because we wanted it. Dropping it leaves the device as it was found; a program that is killed
/// leaves it decoding.
#[derive(Debug)]
pub(super) struct Enabled {
    path: PathBuf,
    config: File,
}

impl Drop for Enabled {
    fn drop(&mut self) {
        // The kernel takes back its count and leaves the bit. Nobody could do anything about a failure.
        let _ = fs::write(&self.path, "0");
        if let Ok(command) = command(&self.config) {
            let command = command & !MEMORY_SPACE;
            let _ = self.config.write_all_at(&command.to_le_bytes(), COMMAND);
        }
    }
}

fn command(config: &File) -> std::io::Result<u16> {
    let mut bytes = [0; 2];
    config.read_exact_at(&mut bytes, COMMAND)?;
    Ok(u16::from_le_bytes(bytes))
}

/// Returns the addresses of all ivshmem functions, ascending.
pub(super) fn find_all(places: &Places) -> Vec<Address> {
    let entries = fs::read_dir(devices(places)).into_iter().flatten();
    let names = entries.flatten().map(|entry| entry.file_name());
    let addresses = names.filter_map(|name| name.to_str()?.parse().ok());
    let mut found: Vec<Address> = addresses
        .filter(|&address| Function::find(places, address).is_ok())
        .collect();
    found.sort_unstable();
    found
}

fn devices(places: &Places) -> PathBuf {
    places.sysfs.join(Path::new("bus/pci/devices"))
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Reads a line of the file `resource`; nothing for a BAR that is not memory, or not there.
fn parse_bar(line: &str) -> Option<Option<Bar>> {
    let mut numbers = line.split(' ').map(hexadecimal);
    let mut next = || numbers.next().flatten();
    let (start, end, flags) = (next()?, next()?, next()?);
    if start == 0 || flags & IORESOURCE_MEM == 0 || flags & IORESOURCE_UNSET != 0 {
        return Some(None);
    }
    let bytes = end.checked_sub(start)?.checked_add(1)?;
    Some(Some(Bar { start, bytes }))
}
