// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the server says.

use super::Device;
use crate::server::{Change, Client, Fed};
use crate::{
    Descriptor, Generation, Host, Kind, Notice, Properties, PropertyError, Role, ServerError,
};

impl<H: Host> Device<H> {
    /// Returns how many bytes to read from the server's connection at most: those missing to the end of a message.
    ///
    /// A descriptor on a socket belongs to the message in whose bytes it lies, so no read may reach past that
    /// message. 0 for a device without a server.
    pub fn wanted(&self) -> usize {
        self.client.as_ref().map_or(0, |client| client.wanted())
    }

    /// Takes bytes from the server, at most [`Device::wanted`], with the descriptors that came along.
    ///
    /// Messages that mean nothing are told to the host and change nothing, as in QEMU.
    ///
    /// # Errors
    ///
    /// What makes QEMU fail to start or, until 2.3, exit. The connection has to be given up, and with it a device that
    /// is not realized, which never will be; a historic one can go on, unlike its QEMU:
    ///
    /// - modern, before the device [is realized](Self::is_realized): any [`ServerError`];
    /// - QEMU 2.3: [`ServerError::MemoryTooSmall`], [`ServerError::NotMemory`] and [`ServerError::Listen`].
    pub fn receive(
        &mut self,
        bytes: &[u8],
        descriptors: impl IntoIterator<Item = H::Descriptor>,
        host: &mut H,
    ) -> Result<(), ServerError> {
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        client.attach(descriptors);
        self.feed(bytes, host)
    }

    /// Takes notice that the server has closed the connection.
    ///
    /// A device that has its memory stays as it is: IDs, peers and doorbells go on.
    ///
    /// # Errors
    ///
    /// - [`ServerError::Gone`]: a modern device has no memory yet. (QEMU 7.2 spins for ever here.)
    pub fn server_gone(&mut self, host: &mut H) -> Result<(), ServerError> {
        if !self.is_realized() {
            return Err(ServerError::Gone);
        }
        host.notice(Notice::ServerGone);
        Ok(())
    }

    fn take_memory(&mut self, descriptor: H::Descriptor, host: &mut H) -> Result<(), ServerError> {
        let size = sent_size(&self.properties, &descriptor)?;
        if self.properties.kind == Kind::Doorbell && self.properties.role == Role::Master {
            // A master is the first client, so that there is one.
            match self.client.as_ref().and_then(Client::id) {
                Some(id) if id != 0 => return Err(ServerError::NotFirst { id }),
                _ => {}
            }
        }
        let hidden = self.properties.generation == Generation::V2_3 && descriptor.number() == 0;
        let memory = host.map(descriptor, size).map_err(ServerError::Map)?;
        self.plug_memory(memory, size);
        self.position_hidden = hidden;
        if let Some(client) = &mut self.client {
            client.memory_taken();
        }
        Ok(())
    }

    fn take_vector(&mut self, peer: u16, vector: u16, host: &mut H) -> Result<(), ServerError> {
        self.offer(peer, vector, host);
        let Some(client) = &self.client else {
            return Ok(());
        };
        // Vectors that come before the own ID are taken for a stranger's, which only the historic protocol allows.
        if client.id() != Some(peer) {
            return Ok(());
        }
        let Some(event) = client.event(peer, vector) else {
            return Ok(());
        };
        host.listen(vector, event)
            .map_err(|error| ServerError::Listen { vector, error })?;
        // The guest may have unmasked it long ago.
        if let Some(message) = self.msix.as_ref().and_then(|msix| msix.route(vector)) {
            host.route(vector, Some(message));
        }
        Ok(())
    }
}

impl<H: Host> Fed<H> for Device<H> {
    fn is_fatal(&self, error: &ServerError) -> bool {
        match self.properties.generation {
            Generation::Modern => !self.is_realized(),
            Generation::V2_5 => false,
            Generation::V2_3 => matches!(
                error,
                ServerError::MemoryTooSmall { .. }
                    | ServerError::NotMemory
                    | ServerError::Listen { .. }
            ),
        }
    }

    fn step(&mut self, bytes: &mut &[u8], host: &mut H) -> Result<(), ServerError> {
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        match client.take(bytes)? {
            Change::Nothing => Ok(()),
            Change::Memory(descriptor) => self.take_memory(descriptor, host),
            Change::Vector { peer, vector } => self.take_vector(peer, vector, host),
            Change::Left { peer, events } => {
                for (vector, event) in (0..).zip(&events) {
                    self.withdraw(peer, vector, event, host);
                }
                Ok(())
            }
        }
    }
}

/// Returns how much of the memory that a server has sent becomes the device's.
pub(crate) fn sent_size(
    properties: &Properties,
    descriptor: &impl Descriptor,
) -> Result<u64, ServerError> {
    let has = descriptor.len_bytes().ok_or(ServerError::NotMemory)?;
    properties.memory_size(has).map_err(|error| match error {
        PropertyError::MemoryTooSmall { size_bytes, .. } => ServerError::MemoryTooSmall {
            has,
            needs: size_bytes,
        },
        _ => ServerError::MemorySize { has },
    })
}
