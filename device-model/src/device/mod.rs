// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device as a PCI function: [`Device`].

mod access;
mod bars;
mod interrupts;
mod messages;
mod saving;

use crate::pci::{BarKind, ConfigSpace, Identity, Layout, MsixTable};
use crate::registers::{self, Registers};
use crate::server::Client;
use crate::{Host, Kind, Level, Memory, Properties, PropertyError, Source};

pub use bars::Bar;
pub(crate) use messages::sent_size;

/// An ivshmem device: `ivshmem`, `ivshmem-plain` or `ivshmem-doorbell`.
///
/// What happens to it comes in by its methods, what it does goes out by the [`Host`] that is passed to
/// them. Nothing in it waits.
///
/// ```text
/// guest:   read_config, write_config, read_bar, write_bar ─┐      ┌─ message, line
/// server:  receive, server_gone ───────────────────────────┼─ Device ─ listen, map
/// peers:   event ──────────────────────────────────────────┘      └─ ring
/// ```
#[derive(Debug)]
pub struct Device<H: Host> {
    properties: Properties,
    config: ConfigSpace,
    registers: Registers,
    msix: Option<MsixTable>,
    /// The connection to the server, where the memory comes from one.
    client: Option<Client<H::Descriptor>>,
    memory: Option<H::Memory>,
    /// QEMU 2.3 takes memory with descriptor 0 for none, as far as `IVPosition` is concerned.
    position_hidden: bool,
    /// What the host was told last.
    line: Level,
}

impl<H: Host> Device<H> {
    /// Creates a device whose server sends the shared memory, `chardev` among its properties.
    ///
    /// A historic device is there at once and gets its memory while the guest runs. A modern one [is
    /// realized](Self::is_realized) when the memory has come; no guest may see it before.
    ///
    /// # Errors
    ///
    /// - [`PropertyError`]: the properties do not fit together, or name another source of the memory.
    pub fn new(properties: &Properties) -> Result<Self, PropertyError> {
        properties.check()?;
        match (properties.kind, &properties.source) {
            (Kind::Flat, _) => return Err(PropertyError::NotPci),
            (_, Source::Chardev(_)) => {}
            (_, Source::Shm(_) | Source::Memdev(_)) => return Err(PropertyError::NeedsMemory),
        }
        let mut device = Self::unrealized(properties);
        device.client = Some(Client::new(
            properties.generation,
            properties.vectors,
            properties.ioeventfd,
        ));
        Ok(device)
    }

    /// Creates a device on memory that the caller has opened: what the properties `shm` or `memdev` name.
    ///
    /// # Errors
    ///
    /// - [`PropertyError`]: the properties do not fit together, name a server, or the memory does not fit them.
    pub fn with_memory(properties: &Properties, memory: H::Memory) -> Result<Self, PropertyError> {
        properties.check()?;
        match (properties.kind, &properties.source) {
            (Kind::Flat, _) => return Err(PropertyError::NotPci),
            (_, Source::Shm(_) | Source::Memdev(_)) => {}
            (_, Source::Chardev(_)) => return Err(PropertyError::NeedsServer),
        }
        let size = properties.memory_size(memory.len_bytes())?;
        let mut device = Self::unrealized(properties);
        device.plug_memory(memory, size);
        Ok(device)
    }

    fn unrealized(properties: &Properties) -> Self {
        let historic = properties.generation.is_historic();
        let mut config = ConfigSpace::new(&Identity {
            vendor: 0x1af4,
            device: 0x1110,
            subsystem_vendor: 0x1af4,
            subsystem: 0x1100,
            revision: if historic { 0 } else { 1 },
            // A RAM controller.
            class: 0x05_0000,
            // The historic device has a pin even where it has MSI-X.
            interrupt_pin: u8::from(historic),
        });
        config.set_bar(Bar::Registers.index(), BarKind::Memory32, registers::LEN);
        let vectors = properties.msix_vectors();
        if let Some(vectors) = vectors {
            let layout = Layout::of(vectors);
            let bar = Bar::Msix.index();
            config.set_bar(bar, BarKind::Memory32, layout.bar_len.into());
            config.add_msix(vectors, bar as u8, layout.pending_offset);
        }
        let mut device = Self {
            properties: properties.clone(),
            config,
            registers: Registers::default(),
            msix: vectors.map(MsixTable::new),
            client: None,
            memory: None,
            position_hidden: false,
            line: Level::Low,
        };
        if historic {
            // Here the BAR comes before the memory.
            device.set_memory_bar(properties.size_bytes);
        }
        device
    }

    fn set_memory_bar(&mut self, size: u64) {
        let kind = if self.properties.generation.is_historic() && !self.properties.use64 {
            BarKind::Prefetchable32
        } else {
            BarKind::Prefetchable64
        };
        // QEMU 2.3 accepts a size of 0, and then has no BAR.
        if size != 0 {
            self.config.set_bar(Bar::Memory.index(), kind, size);
        }
    }

    /// Puts memory behind BAR 2, of which the guest sees `size` bytes.
    fn plug_memory(&mut self, memory: H::Memory, size: u64) {
        if self.memory.is_none() && !self.properties.generation.is_historic() {
            self.set_memory_bar(size);
        }
        self.memory = Some(memory);
    }

    /// Returns whether the device is complete, so that a guest may see it.
    pub fn is_realized(&self) -> bool {
        self.properties.generation.is_historic() || self.memory.is_some()
    }

    /// Returns the device's ID among its peers, as `IVPosition` shows it: none before the memory is there.
    pub fn id(&self) -> Option<u16> {
        match &self.client {
            // Not an ID, but what the register reads.
            None => Some(0),
            Some(client) if self.memory.is_some() && !self.position_hidden => client.id(),
            Some(_) => None,
        }
    }

    /// Returns what the device was made from.
    pub const fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Returns the shared memory, once it is there.
    pub const fn memory(&self) -> Option<&H::Memory> {
        self.memory.as_ref()
    }

    /// Returns the level of the interrupt line.
    pub const fn line(&self) -> Level {
        self.line
    }

    /// Brings the device back to its state after power-on, as a reset of the machine does. The shared memory, the ID
    /// and the peers stay, and no peer or server learns of it.
    ///
    /// The historic devices keep the Interrupt Mask.
    pub fn reset(&mut self, host: &mut H) {
        self.registers.status = 0;
        if !self.properties.generation.is_historic() {
            self.registers.mask = 0;
        }
        self.config.reset();
        if let Some(msix) = &mut self.msix {
            msix.reset();
        }
        self.update_vectors(host);
        self.update_line(host);
    }

    /// Takes the device out of the machine: gives back what [`Host::attach_ioeventfd`] and [`Host::route`] were told,
    /// and lets the line go. Every descriptor and the memory are closed with it.
    ///
    /// QEMU 2.3 kept them open; nothing that a guest or a peer could see comes of that, so the model does not.
    pub fn unplug(mut self, host: &mut H) {
        self.reset(host);
        for (peer, vector, event) in self.client.iter().flat_map(Client::events) {
            self.withdraw(peer, vector, event, host);
        }
    }
}

/// What the properties say about the parts.
impl Properties {
    /// Returns the size of the MSI-X table, where there is one: the historic device has it only with a server.
    fn msix_vectors(&self) -> Option<u16> {
        let has = match self.kind {
            Kind::Legacy => self.msi && matches!(self.source, Source::Chardev(_)),
            Kind::Doorbell => true,
            Kind::Plain | Kind::Flat => false,
        };
        has.then(|| u16::try_from(self.vectors).ok()).flatten()
    }
}
