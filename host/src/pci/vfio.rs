// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device in VFIO's hands: registers, memory and interrupts, without root.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use ivshmem::registers::BLOCK_LEN;
use ivshmem::Flavour;
use rustix::event::{eventfd, EventfdFlags};
use rustix::io::Errno;
use vfio_bindings::bindings::vfio;

use super::device::{Found, Hold};
use super::error::{OpenError, VfioStep};
use super::ioctl;
use super::registers::Window;
use super::sysfs::{Function, Places};
use super::MOST_VECTORS;
use crate::mapping::{MapError, Mapping};

/// Offset of the Command register in configuration space, and its bits for answering at memory BARs and for sending messages.
const COMMAND: u64 = 4;
const MEMORY_AND_MASTER: u16 = 1 << 1 | 1 << 2;

/// Opens a function that VFIO has.
pub(super) fn open(places: &Places, function: &Function) -> Result<Found, OpenError> {
    let address = function.address;
    let failed = |step| {
        move |error| OpenError::Vfio {
            address,
            step,
            error: Some(error),
        }
    };
    let refused = |step| OpenError::Vfio {
        address,
        step,
        error: None,
    };
    let flavour = function.flavour()?;
    let path = function.group(places).ok_or(refused(VfioStep::Group))?;
    let group = open_file(&path)?;
    let container = open_file(&places.dev.join("vfio/vfio"))?;
    let version = ioctl::api_version(&container).map_err(failed(VfioStep::Version))?;
    if version != vfio::VFIO_API_VERSION {
        return Err(refused(VfioStep::Version));
    }
    if !ioctl::is_viable(&group).map_err(failed(VfioStep::Viable))? {
        return Err(refused(VfioStep::Viable));
    }
    ioctl::set_container(&group, container.as_fd()).map_err(failed(VfioStep::Container))?;
    let has_iommu = !path.to_string_lossy().contains("noiommu-");
    let iommu = if has_iommu {
        vfio::VFIO_TYPE1v2_IOMMU
    } else {
        vfio::VFIO_NOIOMMU_IOMMU
    };
    ioctl::set_iommu(&container, iommu).map_err(failed(VfioStep::Iommu))?;
    // An address has no byte 0.
    let name = CString::new(address.to_string()).map_err(|_| refused(VfioStep::Device))?;
    let device = ioctl::device(&group, &name).map_err(failed(VfioStep::Device))?;
    let device = File::from(device);

    set_command(&device).map_err(failed(VfioStep::Command))?;
    let memory = ioctl::region(&device, vfio::VFIO_PCI_BAR2_REGION_INDEX);
    let memory = memory.map_err(failed(VfioStep::Regions))?;
    if memory.size == 0 {
        return Err(OpenError::NoMemory { address });
    }
    if memory.flags & vfio::VFIO_REGION_INFO_FLAG_MMAP == 0 {
        return Err(refused(VfioStep::Regions));
    }
    let map = |region: &vfio::vfio_region_info| Mapping::part(&device, region.offset, region.size);
    let memory = map(&memory).map_err(|error| OpenError::Map { address, error })?;
    let registers = registers(&device, map).map_err(failed(VfioStep::Regions))?;
    let vectors = match flavour {
        Flavour::Plain => Vec::new(),
        _ => listen(&device).map_err(failed(VfioStep::Vectors))?,
    };
    Ok(Found {
        flavour,
        registers,
        memory,
        vectors,
        hold: Hold::Vfio([container.into(), group.into(), device.into()]),
    })
}

fn open_file(path: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.map_err(|error| OpenError::file(path, &error))
}

/// Has the device answer at its BARs and send messages, which interrupts are.
fn set_command(device: &File) -> Result<(), Errno> {
    let config = ioctl::region(device, vfio::VFIO_PCI_CONFIG_REGION_INDEX)?;
    let at = config.offset.saturating_add(COMMAND);
    let errno = |error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut bytes = [0; 2];
    device.read_exact_at(&mut bytes, at).map_err(errno)?;
    let command = u16::from_le_bytes(bytes) | MEMORY_AND_MASTER;
    device
        .write_all_at(&command.to_le_bytes(), at)
        .map_err(errno)
}

/// Finds the registers; `None` if the device has none.
fn registers(
    device: &File,
    map: impl Fn(&vfio::vfio_region_info) -> Result<Mapping, MapError>,
) -> Result<Option<Window>, Errno> {
    let region = ioctl::region(device, vfio::VFIO_PCI_BAR0_REGION_INDEX)?;
    if region.size < BLOCK_LEN {
        return Ok(None);
    }
    if region.flags & vfio::VFIO_REGION_INFO_FLAG_MMAP != 0 {
        // The whole page is the device's, where it may be mapped.
        let page = vfio::vfio_region_info {
            size: region.size.next_multiple_of(crate::size::MIN_BYTES),
            ..region
        };
        if let Some(window) = map(&page)
            .ok()
            .and_then(|mapping| Window::mapped(mapping, 0))
        {
            return Ok(Some(window));
        }
    }
    let file = device.try_clone();
    let file = file.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(Some(Window::File {
        file,
        offset: region.offset,
    }))
}

/// Has each vector ring an eventfd.
fn listen(device: &File) -> Result<Vec<OwnedFd>, Errno> {
    let count = ioctl::vectors(device, vfio::VFIO_PCI_MSIX_IRQ_INDEX)?;
    let count = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(MOST_VECTORS);
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let eventfds: Vec<OwnedFd> = (0..count)
        .map(|_| eventfd(0, flags))
        .collect::<Result<_, _>>()?;
    let borrowed: Vec<_> = eventfds.iter().map(AsFd::as_fd).collect();
    ioctl::listen(device, vfio::VFIO_PCI_MSIX_IRQ_INDEX, &borrowed)?;
    Ok(eventfds)
}
