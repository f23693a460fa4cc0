// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem-flat`, the device for boards without PCI: [`Flat`].
//!
//! 16 bytes of registers and the shared memory at addresses of the board's choice, and one line that is pulsed. Its
//! source in QEMU (10.0 and later) has a defect that every guest sees, so the model has it too: whatever the number of eventfds, only
//! vector 0 is ever delivered. Its other two, a doorbell whose vector is an unchecked index and a departure of the
//! device itself that frees a list it is not on, are ignored here.

use crate::device::sent_size;
use crate::registers::{Effect, Registers};
use crate::server::{Change, Client, Fed};
use crate::{Host, Kind, Level, Notice, Properties, PropertyError, ServerError};

/// The size of the register block in bytes.
const REGISTERS_LEN: u64 = 16;

/// An `ivshmem-flat` device.
#[derive(Debug)]
pub struct Flat<H: Host> {
    client: Client<H::Descriptor>,
    memory: Option<H::Memory>,
    properties: Properties,
}

impl<H: Host> Flat<H> {
    /// Creates a device whose server sends the shared memory.
    ///
    /// # Errors
    ///
    /// - [`PropertyError`]: the properties do not fit together, or are those of another kind.
    pub fn new(properties: &Properties) -> Result<Self, PropertyError> {
        properties.check()?;
        if properties.kind != Kind::Flat {
            return Err(PropertyError::NotFlat);
        }
        Ok(Self {
            client: Client::new(properties.generation, properties.vectors, false),
            memory: None,
            properties: properties.clone(),
        })
    }

    /// Returns whether the memory has come, before which no guest may see the device.
    pub const fn is_realized(&self) -> bool {
        self.memory.is_some()
    }

    /// Returns the device's ID among its peers.
    pub const fn id(&self) -> Option<u16> {
        self.client.id()
    }

    /// Returns the shared memory, once it is there.
    pub const fn memory(&self) -> Option<&H::Memory> {
        self.memory.as_ref()
    }

    /// Returns how many bytes to read from the server's connection at most.
    pub const fn wanted(&self) -> usize {
        self.client.wanted()
    }

    /// Takes bytes from the server, at most [`Flat::wanted`], with the descriptors that came along.
    ///
    /// # Errors
    ///
    /// - Any [`ServerError`] before the device [is realized](Self::is_realized); it has to be given up.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        descriptors: impl IntoIterator<Item = H::Descriptor>,
        host: &mut H,
    ) -> Result<(), ServerError> {
        self.client.attach(descriptors);
        self.feed(bytes, host)
    }

    /// Takes notice that the server has closed the connection.
    ///
    /// # Errors
    ///
    /// - [`ServerError::Gone`]: the device has no memory yet.
    pub fn server_gone(&mut self, host: &mut H) -> Result<(), ServerError> {
        if !self.is_realized() {
            return Err(ServerError::Gone);
        }
        host.notice(Notice::ServerGone);
        Ok(())
    }

    /// Takes an event: the eventfd of the own vector `vector` was read. The line is pulsed once.
    pub fn event(&mut self, vector: u16, host: &mut H) {
        if vector == 0 {
            host.line(Level::High);
            host.line(Level::Low);
        }
    }

    /// Reads a register by an access of 32 bits at a multiple of 4: the ID is the only one that is not 0.
    #[must_use]
    pub fn read_register(&self, offset: u64) -> u32 {
        // A block of its own with nothing stored in it, so reading changes nothing.
        Registers::default().read(offset, self.client.id()).0
    }

    /// Writes a register by an access of 32 bits at a multiple of 4: the Doorbell is the only one that does something.
    pub fn write_register(&mut self, offset: u64, value: u32, host: &mut H) {
        if offset >= REGISTERS_LEN {
            return;
        }
        if let Effect::Doorbell(doorbell) = Registers::default().write(offset, value, 4) {
            let (peer, _) = doorbell.target();
            // All 16 bits count here.
            if let Some(event) = self.client.event(peer, doorbell.value as u16) {
                host.ring(event);
            }
        }
    }

    fn follow(&mut self, change: Change<H::Descriptor>, host: &mut H) -> Result<(), ServerError> {
        match change {
            Change::Nothing | Change::Left { .. } => Ok(()),
            Change::Memory(descriptor) => self.take_memory(descriptor, host),
            Change::Vector { peer, vector } => {
                let own = self.client.id() == Some(peer) && vector == 0;
                match self.client.event(peer, vector).filter(|_| own) {
                    Some(event) => host
                        .listen(vector, event)
                        .map_err(|error| ServerError::Listen { vector, error }),
                    None => Ok(()),
                }
            }
        }
    }

    fn take_memory(&mut self, descriptor: H::Descriptor, host: &mut H) -> Result<(), ServerError> {
        let size = sent_size(&self.properties, &descriptor)?;
        let memory = host.map(descriptor, size).map_err(ServerError::Map)?;
        self.memory = Some(memory);
        self.client.memory_taken();
        Ok(())
    }
}

impl<H: Host> Fed<H> for Flat<H> {
    fn step(&mut self, bytes: &mut &[u8], host: &mut H) -> Result<(), ServerError> {
        let change = self.client.take(bytes)?;
        self.follow(change, host)
    }

    fn is_fatal(&self, _error: &ServerError) -> bool {
        !self.is_realized()
    }
}
