// SPDX-License-Identifier: MIT OR Apache-2.0
//! An open device: its registers, its memory and the eventfds of its vectors ([`Device`]).
#![allow(unsafe_code)]

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ivshmem::{DeviceError, Flavour, Interrupts, Ivshmem, Parts, PeerId, Quirks, VectorIndex};

use super::address::Address;
use super::error::OpenError;
use super::registers::Window;
use super::sysfs::Enabled;
use crate::mapping::Mapping;

/// An ivshmem device of this machine, which is a guest.
#[derive(Debug)]
pub(crate) struct Device {
    /// Before the memory that it has a view of.
    ivshmem: Ivshmem<Window>,
    id: Option<PeerId>,
    mapping: Arc<Mapping>,
    /// Rung by the device's vectors, from 0 on; none if they are not listened to.
    vectors: Vec<Arc<OwnedFd>>,
    /// For its `drop`.
    _hold: Hold,
}

/// What keeps a device usable.
#[derive(Debug)]
pub(super) enum Hold {
    /// That it decodes memory, if it did not before.
    Sysfs(#[allow(dead_code, reason = "for its drop")] Option<Enabled>),
    /// Container, group and device of VFIO. With the last of them closed the kernel puts the device back.
    Vfio(#[allow(dead_code, reason = "for its drop")] [OwnedFd; 3]),
}

/// What was found of a device.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) flavour: Flavour,
    pub(super) registers: Option<Window>,
    pub(super) memory: Mapping,
    pub(super) vectors: Vec<OwnedFd>,
    pub(super) hold: Hold,
}

impl Device {
    pub(super) fn new(address: Address, found: Found) -> Result<Self, OpenError> {
        let mapping = Arc::new(found.memory);
        // SAFETY: the view goes into `ivshmem`, which stands before its mapping and whose memory is never asked for.
        let shared_memory = unsafe { Mapping::lasting_memory(&mapping) };
        let interrupts = match found.flavour {
            Flavour::Plain => Interrupts::None,
            _ => Interrupts::Kernel,
        };
        let parts = Parts {
            flavour: found.flavour,
            registers: found.registers,
            shared_memory,
            interrupts,
            quirks: Quirks::empty(),
        };
        // SAFETY: 1. all parts are of the function at `address`; no driver of the kernel has it but VFIO, which has given it to this
        // process alone, and a second program that opens it by sysfs does to it only what a peer may do; 2. registers and memory
        // are mapped as long as this value lives, since it has both mappings.
        let ivshmem = unsafe { Ivshmem::new(parts) };
        let id = match ivshmem.position() {
            Ok(id) => Some(id),
            Err(DeviceError::Lacks { .. }) => None,
            Err(error) => return Err(OpenError::Device { address, error }),
        };
        Ok(Self {
            ivshmem,
            id,
            mapping,
            vectors: found.vectors.into_iter().map(Arc::new).collect(),
            _hold: found.hold,
        })
    }

    /// Returns the ID that the server gave this machine; `None` on `ivshmem-plain`.
    pub(crate) const fn id(&self) -> Option<PeerId> {
        self.id
    }

    pub(crate) const fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    pub(crate) fn vectors(&self) -> &[Arc<OwnedFd>] {
        &self.vectors
    }

    pub(crate) fn ring(&self, peer: PeerId, vector: VectorIndex) -> Result<(), DeviceError> {
        self.ivshmem.ring(peer, vector)
    }
}
