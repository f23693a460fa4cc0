// SPDX-License-Identifier: MIT OR Apache-2.0
//! Saving and loading.

use super::{Bar, Device};
use crate::state::{Origin, State, StateError};
use crate::{Generation, Host, Kind, Role};

impl<H: Host> Device<H> {
    /// Saves what the guest has set up. [`State`] tells what is not in it.
    ///
    /// # Errors
    ///
    /// - [`StateError::Peer`], [`NotFirst`](StateError::NotFirst): the device is not the master of its memory.
    /// - [`StateError::Unrealized`]: it has none yet.
    pub fn save(&self) -> Result<State, StateError> {
        self.check_master()?;
        let historic = self.properties.generation.is_historic();
        let origin = Origin {
            kind: self.properties.kind,
            memory_bytes: self.memory_bytes(),
        };
        let msix = self.msix.as_ref();
        Ok(State {
            origin: (self.properties.generation != Generation::V2_3).then_some(origin),
            config: *self.config.bytes(),
            vectors: self.vectors(),
            msix: msix.map(|msix| msix.save()).unwrap_or_default(),
            registers: (!historic || msix.is_none()).then_some(self.registers),
        })
    }

    /// Makes the device one that was saved, on this host or another.
    ///
    /// Its vectors are in use again: the host is told their routes, and what is pending and not masked is delivered. The
    /// interrupt line follows the registers. The ID, the peers and the shared memory are the device's own.
    ///
    /// # Errors
    ///
    /// The device is as before, and the host has heard nothing.
    ///
    /// - Those of [`save`](Self::save).
    /// - [`StateError::VersionOfGeneration`], [`KindDiffers`](StateError::KindDiffers),
    ///   [`VectorsDiffer`](StateError::VectorsDiffer), [`MemoryDiffers`](StateError::MemoryDiffers),
    ///   [`ConfigDiffers`](StateError::ConfigDiffers): the state is that of another device.
    pub fn load(&mut self, state: &State, host: &mut H) -> Result<(), StateError> {
        self.check_master()?;
        self.check_origin(state)?;
        let config = self.config.restored(&state.config).map_err(|offset| {
            let at = |bytes: &[u8]| bytes.get(offset).copied().unwrap_or_default();
            StateError::ConfigDiffers {
                offset,
                saved: at(&state.config),
                device: at(self.config.bytes()),
            }
        })?;
        // What is live when the new state comes would not be seen to be unmasked by it.
        if let Some(msix) = &mut self.msix {
            msix.reset();
        }
        self.update_vectors(host);
        self.config = config;
        self.registers = state.registers.unwrap_or_default();
        if let Some(msix) = &mut self.msix {
            msix.load(&state.msix);
        }
        self.update_vectors(host);
        self.update_line(host);
        Ok(())
    }

    fn check_master(&self) -> Result<(), StateError> {
        let first = self.properties.kind != Kind::Doorbell || self.id() == Some(0);
        match self.properties.role {
            Role::Peer => Err(StateError::Peer),
            Role::Master | Role::Auto if !self.is_realized() => Err(StateError::Unrealized),
            Role::Master | Role::Auto if !first => Err(StateError::NotFirst { id: self.id() }),
            Role::Master | Role::Auto => Ok(()),
        }
    }

    fn check_origin(&self, state: &State) -> Result<(), StateError> {
        let version = state.version();
        let generation = self.properties.generation;
        let reads = match generation {
            Generation::V2_3 => 0..=0,
            Generation::V2_5 => 0..=1,
            Generation::Modern => 1..=1,
        };
        if !reads.contains(&version) {
            return Err(StateError::VersionOfGeneration {
                version,
                generation,
            });
        }
        let (saved, device) = (state.kind(), self.properties.kind);
        if saved != device {
            return Err(StateError::KindDiffers { saved, device });
        }
        let (saved, device) = (state.vectors, self.vectors());
        if saved != device {
            return Err(StateError::VectorsDiffer { saved, device });
        }
        let device = self.memory_bytes();
        let saved = state.origin.map_or(device, |origin| origin.memory_bytes);
        if saved != device {
            return Err(StateError::MemoryDiffers { saved, device });
        }
        Ok(())
    }

    /// Returns the size of the MSI-X table, 0 where there is none.
    fn vectors(&self) -> u16 {
        self.msix.as_ref().map_or(0, |msix| msix.vectors())
    }

    /// Returns the size of BAR 2, 0 where there is none.
    fn memory_bytes(&self) -> u64 {
        self.bar_len(Bar::Memory).unwrap_or(0)
    }
}
