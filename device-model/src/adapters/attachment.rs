// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device with all that it needs of the system: [`Attachment`].

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;

use super::connection::{Protocol, Received};
use super::events::{Readers, Ready};
use super::{
    open_memory_file, open_shm, ConnectError, Connection, ConnectionError, FdHost, MemoryError,
    Wiring,
};
use crate::{
    Bar, Device, Notice, Properties, PropertyError, ServerError, Source, State, StateError,
};

/// A device, its server's connection and its own eventfds, behind one descriptor.
///
/// Poll [`AsFd::as_fd`] for reading, in whatever loop the program has, and call [`Attachment::handle`] when it is ready
/// (level triggered: what is not dealt with yet makes it ready again). What the guest does goes to the methods
/// named after that.
///
/// ```
/// use ivshmem_device::adapters::{Attachment, Protocol, Wiring};
/// use ivshmem_device::{Bar, Generation, Level, MsiMessage, Notice, Properties};
///
/// struct Machine;
///
/// impl Wiring for Machine {
///     fn message(&mut self, message: MsiMessage) {
///         // Write message.data to message.address of the guest, as with KVM_SIGNAL_MSI.
///     }
///     fn line(&mut self, level: Level) {
///         // Set the pin of the interrupt controller.
///     }
///     fn notice(&mut self, notice: Notice) {
///         eprintln!("{notice}");
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let name = "/ivshmem-example";
/// let text = format!("ivshmem,shm={name},size=1M");
/// let properties = Properties::parse(Generation::V2_5, &text)?;
/// let mut device = Attachment::open(&properties, Protocol::Version0, Machine)?;
/// # rustix::shm::unlink(name)?;
/// device.write_bar(Bar::Memory, 0, b"hello");
/// let mut id = [0; 4];
/// device.read_bar(Bar::Registers, 0x08, &mut id);
/// assert_eq!(id, [0; 4]);
/// # Ok(())
/// # }
/// ```
///
/// A modern device with a server is not complete before the server has sent the memory: poll and handle until
/// [`Device::is_realized`], then start the guest.
#[derive(Debug)]
pub struct Attachment<W: Wiring> {
    device: Device<FdHost<W>>,
    host: FdHost<W>,
    connection: Option<Connection>,
}

impl<W: Wiring> Attachment<W> {
    /// Opens what the properties name: the socket of a server (`chardev`), a POSIX object (`shm`) or a file (`memdev`).
    /// `protocol` matters only for a server.
    ///
    /// # Errors
    ///
    /// - [`OpenError::Properties`]: they do not fit together, or do not fit the memory.
    /// - [`OpenError::Connect`], [`OpenError::Memory`]: what they name cannot be had.
    /// - [`OpenError::System`]: the system has no descriptor left.
    pub fn open(properties: &Properties, protocol: Protocol, wiring: W) -> Result<Self, OpenError> {
        properties.check()?;
        let memory = match &properties.source {
            Source::Chardev(path) => {
                let connection = Connection::open(Path::new(path))?;
                return Self::connect(properties, connection, protocol, wiring);
            }
            Source::Shm(name) => open_shm(name, properties.size_bytes)?,
            Source::Memdev(path) => open_memory_file(Path::new(path))?,
        };
        let mut host = FdHost::new(wiring).map_err(OpenError::System)?;
        let device = Device::with_memory(properties, memory)?;
        host.show_memory(device.memory());
        Ok(Self {
            device,
            host,
            connection: None,
        })
    }

    /// Attaches a device to a server that `connection` is connected to.
    ///
    /// # Errors
    ///
    /// - [`OpenError::Properties`]: they do not fit together, or name no server.
    /// - [`OpenError::System`]: the system has no descriptor left.
    pub fn connect(
        properties: &Properties,
        mut connection: Connection,
        protocol: Protocol,
        wiring: W,
    ) -> Result<Self, OpenError> {
        let device = Device::new(properties)?;
        if properties.generation.is_historic() && protocol == Protocol::Version0 {
            connection.strip_version();
        }
        let mut host = FdHost::new(wiring).map_err(OpenError::System)?;
        if device.bar_len(Bar::Msix).is_none() {
            // Its events have to come to its registers.
            host.set_readers(Readers::Device);
        }
        host.watch_server(&connection).map_err(OpenError::System)?;
        Ok(Self {
            device,
            host,
            connection: Some(connection),
        })
    }

    /// Deals with what is ready: the server's messages and rings of the own vectors, a bounded part of them. Never
    /// waits.
    ///
    /// That the server has closed the connection is a [`Notice`].
    ///
    /// # Errors
    ///
    /// [`ConnectionError`]: the connection was given up. The device goes on without it, also where
    /// [`Device::receive`] says that QEMU 2.3 ends, unless it is not [realized](Device::is_realized): then it never will be,
    /// and has to be given up too.
    pub fn handle(&mut self) -> Result<(), ConnectionError> {
        let ready = self.host.ready().map_err(ConnectionError::Poll)?;
        for what in ready {
            match what {
                Ready::Server => self.receive()?,
                Ready::Vector(vector) => match self.host.take(vector) {
                    Ok(Some(counter)) => self.device.event(vector, counter, &mut self.host),
                    Ok(None) => {}
                    Err(error) => {
                        let error = ServerError::Listen { vector, error };
                        self.host.wiring_mut().notice(Notice::Server(error));
                    }
                },
            }
        }
        Ok(())
    }

    /// Takes one piece of a message from the server.
    fn receive(&mut self) -> Result<(), ConnectionError> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let result = match connection.receive(self.device.wanted()) {
            Ok(Received::Nothing) => return Ok(()),
            Ok(Received::Piece {
                bytes,
                len,
                descriptors,
            }) => {
                let bytes = bytes.get(..len).unwrap_or(&bytes);
                match self.device.receive(bytes, descriptors, &mut self.host) {
                    Ok(()) => return Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            Ok(Received::End) => self.device.server_gone(&mut self.host).map_err(Into::into),
            Err(error) => Err(error),
        };
        self.host.forget_server(connection);
        self.connection = None;
        result
    }

    /// Returns whether the server may still send something.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Returns the device.
    #[must_use]
    pub const fn device(&self) -> &Device<FdHost<W>> {
        &self.device
    }

    /// Returns the wiring.
    #[must_use]
    pub const fn wiring(&self) -> &W {
        self.host.wiring()
    }

    /// Returns the wiring, to change it.
    pub fn wiring_mut(&mut self) -> &mut W {
        self.host.wiring_mut()
    }

    /// As [`Device::read_config`].
    pub fn read_config(&self, offset: u16, bytes: &mut [u8]) {
        self.device.read_config(offset, bytes);
    }

    /// As [`Device::write_config`].
    pub fn write_config(&mut self, offset: u16, bytes: &[u8]) {
        self.device.write_config(offset, bytes, &mut self.host);
    }

    /// As [`Device::read_bar`].
    pub fn read_bar(&mut self, bar: Bar, offset: u64, bytes: &mut [u8]) {
        self.device.read_bar(bar, offset, bytes, &mut self.host);
    }

    /// As [`Device::write_bar`].
    pub fn write_bar(&mut self, bar: Bar, offset: u64, bytes: &[u8]) {
        self.device.write_bar(bar, offset, bytes, &mut self.host);
    }

    /// As [`Device::reset`].
    pub fn reset(&mut self) {
        self.device.reset(&mut self.host);
    }

    /// As [`Device::load`]; [`Device::save`] can be called by [`Attachment::device`].
    ///
    /// # Errors
    ///
    /// - [`StateError`]: the state is not of such a device. It is as before.
    pub fn load(&mut self, state: &State) -> Result<(), StateError> {
        self.device.load(state, &mut self.host)
    }

    /// Takes the device out of the machine, as [`Device::unplug`], closes its connection, and returns the wiring, which
    /// was told to take everything back. An attachment that is just dropped tells nobody.
    pub fn unplug(mut self) -> W {
        self.host.show_memory(None);
        self.device.unplug(&mut self.host);
        self.host.into_wiring()
    }
}

impl<W: Wiring> AsFd for Attachment<W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.host.as_fd()
    }
}

/// Why a device could not be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The properties are wrong.
    Properties(PropertyError),
    /// The server cannot be connected to.
    Connect(ConnectError),
    /// The shared memory cannot be opened.
    Memory(MemoryError),
    /// The system has nothing to wait with.
    System(Errno),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Properties(error) => error.fmt(f),
            Self::Connect(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
            Self::System(error) => write!(f, "cannot wait for events of the device: {error}"),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Properties(error) => Some(error),
            Self::Connect(error) => Some(error),
            Self::Memory(error) => Some(error),
            Self::System(error) => Some(error),
        }
    }
}

impl From<PropertyError> for OpenError {
    fn from(error: PropertyError) -> Self {
        Self::Properties(error)
    }
}

impl From<ConnectError> for OpenError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<MemoryError> for OpenError {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error)
    }
}
