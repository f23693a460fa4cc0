// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of VFIO, `<linux/vfio.h>`: each with what it takes and gives.
#![allow(unsafe_code)]

use std::ffi::{c_void, CStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;
use rustix::ioctl::{ioctl, opcode, Ioctl, IoctlOutput, Opcode};
use vfio_bindings::bindings::vfio;

const GET_API_VERSION: u8 = 0;
const SET_IOMMU: u8 = 2;
const GROUP_GET_STATUS: u8 = 3;
const GROUP_SET_CONTAINER: u8 = 4;
const GROUP_GET_DEVICE_FD: u8 = 6;
const DEVICE_GET_REGION_INFO: u8 = 8;
const DEVICE_GET_IRQ_INFO: u8 = 9;
const DEVICE_SET_IRQS: u8 = 10;

/// A call that reads and writes what `argument` points to, and gives a number.
struct Call {
    number: u8,
    argument: *mut c_void,
}

// SAFETY: 1. `opcode` is unique to VFIO's calls, whose numbers are `_IO(VFIO_TYPE, VFIO_BASE + number)`; 2. the output is the
// number that the call gives, no memory; 3. `IS_MUTATING` is true; 4. whether the argument is what the call takes
// is for the callers of `call`, each of which says why.
unsafe impl Ioctl for Call {
    type Output = IoctlOutput;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::none(vfio::VFIO_TYPE, vfio::VFIO_BASE as u8 + self.number)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<IoctlOutput> {
        Ok(output)
    }
}

/// Makes a call.
///
/// # Safety
///
/// `argument` must be what VFIO's call of this number takes: a number, or a pointer to memory of the size that it reads and
/// writes, as long as it lasts.
unsafe fn call(fd: impl AsFd, number: u8, argument: *mut c_void) -> Result<IoctlOutput, Errno> {
    // SAFETY: the caller promises that the argument fits the number; on another file than VFIO's the kernel refuses the opcode.
    unsafe { ioctl(fd, Call { number, argument }) }
}

/// Returns the version of VFIO behind a container.
pub(super) fn api_version(container: impl AsFd) -> Result<u32, Errno> {
    // SAFETY: it takes nothing.
    let version = unsafe { call(container, GET_API_VERSION, ptr::null_mut()) }?;
    Ok(version.unsigned_abs())
}

/// Has the groups of a container use this kind of IOMMU.
pub(super) fn set_iommu(container: impl AsFd, kind: u32) -> Result<(), Errno> {
    // SAFETY: it takes a number.
    unsafe {
        call(
            container,
            SET_IOMMU,
            ptr::without_provenance_mut(kind as usize),
        )
    }
    .map(drop)
}

/// Returns whether all devices of a group are in VFIO's hands.
pub(super) fn is_viable(group: impl AsFd) -> Result<bool, Errno> {
    let mut status = vfio::vfio_group_status {
        argsz: size_of::<vfio::vfio_group_status>() as u32,
        flags: 0,
    };
    // SAFETY: it takes a `vfio_group_status` with its size.
    unsafe { call(group, GROUP_GET_STATUS, ptr::from_mut(&mut status).cast()) }?;
    Ok(status.flags & vfio::VFIO_GROUP_FLAGS_VIABLE != 0)
}

/// Attaches a group to a container.
pub(super) fn set_container(group: impl AsFd, container: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut container: RawFd = container.as_raw_fd();
    // SAFETY: it takes a pointer to a descriptor.
    unsafe {
        call(
            group,
            GROUP_SET_CONTAINER,
            ptr::from_mut(&mut container).cast(),
        )
    }
    .map(drop)
}

/// Opens a device of a group.
pub(super) fn device(group: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: it takes a string that ends with 0, and only reads it.
    let device = unsafe { call(group, GROUP_GET_DEVICE_FD, name.as_ptr().cast_mut().cast()) }?;
    // SAFETY: the call gives a new descriptor, which is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(device) })
}

/// Returns where a region of a device is, and what can be done with it.
pub(super) fn region(device: impl AsFd, index: u32) -> Result<vfio::vfio_region_info, Errno> {
    let mut info = vfio::vfio_region_info {
        argsz: size_of::<vfio::vfio_region_info>() as u32,
        index,
        ..Default::default()
    };
    // SAFETY: it takes a `vfio_region_info` with its size, and writes no more than that.
    unsafe {
        call(
            device,
            DEVICE_GET_REGION_INFO,
            ptr::from_mut(&mut info).cast(),
        )
    }?;
    Ok(info)
}

/// Returns how many vectors of a kind a device has.
pub(super) fn vectors(device: impl AsFd, index: u32) -> Result<u32, Errno> {
    let mut info = vfio::vfio_irq_info {
        argsz: size_of::<vfio::vfio_irq_info>() as u32,
        index,
        ..Default::default()
    };
    // SAFETY: it takes a `vfio_irq_info` with its size.
    unsafe { call(device, DEVICE_GET_IRQ_INFO, ptr::from_mut(&mut info).cast()) }?;
    Ok(info.count)
}

/// Has the first vectors of a kind ring eventfds.
pub(super) fn listen(
    device: impl AsFd,
    index: u32,
    eventfds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    // A `vfio_irq_set` is five numbers of 32 bits, and the descriptors, of as many, behind them.
    const HEADER: usize = size_of::<vfio::vfio_irq_set>() / size_of::<u32>();
    let count = eventfds.len() as u32;
    let size = (HEADER + eventfds.len()) * size_of::<u32>();
    let flags = vfio::VFIO_IRQ_SET_DATA_EVENTFD | vfio::VFIO_IRQ_SET_ACTION_TRIGGER;
    let mut set = vec![size as u32, flags, index, 0, count];
    debug_assert_eq!(set.len(), HEADER);
    set.extend(eventfds.iter().map(|fd| fd.as_raw_fd().cast_unsigned()));
    // SAFETY: it takes a `vfio_irq_set` with its size, as laid out above, and only reads it.
    unsafe { call(device, DEVICE_SET_IRQS, set.as_mut_ptr().cast()) }.map(drop)
}
