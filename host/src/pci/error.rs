// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a device cannot be opened.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ivshmem::DeviceError;
use rustix::io::Errno;

use super::address::{Address, BadAddress};
use crate::mapping::MapError;

/// A failure to open a device of a Linux guest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The text is no address.
    Address(BadAddress),
    /// There is no such function.
    NoFunction {
        /// Where.
        address: Address,
    },
    /// The function is something else than an ivshmem device.
    OtherDevice {
        /// Where.
        address: Address,
        /// Its Vendor ID.
        vendor: u16,
        /// Its Device ID.
        device: u16,
    },
    /// A driver of the kernel has the device.
    OtherDriver {
        /// Where.
        address: Address,
        /// The driver's name.
        driver: String,
    },
    /// The device has no memory: BAR 2 is missing, or firmware and kernel have given it no addresses.
    NoMemory {
        /// Where.
        address: Address,
    },
    /// A file cannot be opened, read or written.
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: Errno,
    },
    /// A file of sysfs does not say what it should.
    Text {
        /// Its path.
        path: PathBuf,
        /// What it says.
        text: String,
    },
    /// The kernel does not let the device answer.
    NotEnabled {
        /// Where.
        address: Address,
    },
    /// The memory cannot be mapped.
    Map {
        /// Where.
        address: Address,
        /// Why.
        error: MapError,
    },
    /// VFIO does not take the device.
    Vfio {
        /// Where.
        address: Address,
        /// What was tried.
        step: VfioStep,
        /// Why; none if it was refused in words.
        error: Option<Errno>,
    },
    /// The device itself does not work.
    Device {
        /// Where.
        address: Address,
        /// How.
        error: DeviceError,
    },
}

/// A step on the way to a device under VFIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VfioStep {
    /// Finding the device's IOMMU group.
    Group,
    /// Talking to the VFIO that this library knows.
    Version,
    /// All of the group being in VFIO's hands.
    Viable,
    /// Attaching the group.
    Container,
    /// Using the IOMMU.
    Iommu,
    /// Opening the device.
    Device,
    /// Finding the BARs.
    Regions,
    /// Turning memory and bus mastering on.
    Command,
    /// Having the vectors ring eventfds.
    Vectors,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::NoFunction { address } => write!(
                f,
                "no pci function {address}; lspci -D -d 1af4:1110 shows where the ivshmem devices are"
            ),
            Self::OtherDevice {
                address,
                vendor,
                device,
            } => write!(
                f,
                "{address} is no ivshmem device (1af4:1110) but {vendor:04x}:{device:04x}; \
                 lspci -D -d 1af4:1110 shows where those are"
            ),
            Self::OtherDriver { address, driver } => write!(
                f,
                "the driver {driver} has {address}; free it with: \
                 echo {address} > /sys/bus/pci/devices/{address}/driver/unbind"
            ),
            Self::NoMemory { address } => write!(
                f,
                "{address} has no shared memory (bar 2); see dmesg for why it got no addresses"
            ),
            Self::File { path, error } => {
                write!(f, "cannot use {}: {error}", path.display())?;
                match *error {
                    Errno::ACCESS | Errno::PERM if path.starts_with("/dev") => write!(
                        f,
                        "; have the administrator give you the file (chown)"
                    ),
                    Errno::ACCESS | Errno::PERM => write!(
                        f,
                        "; this takes root and a kernel that is not locked down, or vfio (docs/linux-guests.md)"
                    ),
                    Errno::BUSY => write!(f, "; another program uses it"),
                    _ => Ok(()),
                }
            }
            Self::Text { path, text } => {
                write!(f, "{} says {text:?}, which makes no sense", path.display())
            }
            Self::NotEnabled { address } => write!(
                f,
                "{address} does not decode memory, and the kernel does not turn that on; see dmesg"
            ),
            Self::Map { address, error } => write!(f, "{address}: {error}"),
            Self::Vfio {
                address,
                step,
                error,
            } => {
                write!(f, "{address} cannot be used by vfio: {step}")?;
                error.map_or(Ok(()), |error| write!(f, " ({error})"))
            }
            Self::Device { address, error } => write!(f, "{address}: {error}"),
        }
    }
}

impl fmt::Display for VfioStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => {
                "it is in no iommu group; give the machine an iommu, or, where the kernel can do without, \
                 echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode and bind it again"
            }
            Self::Version => "its version is not known here",
            Self::Viable => "others of its iommu group have drivers of the kernel; bind all to vfio-pci",
            Self::Container => "the group cannot be attached",
            Self::Iommu => {
                "the iommu is refused; without interrupt remapping it takes \
                 echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
            }
            Self::Device => "the device cannot be opened",
            Self::Regions => "its bars cannot be found",
            Self::Command => "memory and bus mastering cannot be turned on",
            Self::Vectors => "its vectors cannot be listened to",
        })
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Address(error) => Some(error),
            Self::Map { error, .. } => Some(error),
            Self::Device { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl OpenError {
    /// What `error` says about the file at `path`.
    pub(super) fn file(path: impl Into<PathBuf>, error: &io::Error) -> Self {
        Self::File {
            path: path.into(),
            error: Errno::from_io_error(error).unwrap_or(Errno::IO),
        }
    }
}

impl From<BadAddress> for OpenError {
    fn from(error: BadAddress) -> Self {
        Self::Address(error)
    }
}
