// SPDX-License-Identifier: MIT OR Apache-2.0
//! The messages between QEMU's proxy and the remote, as bytes (QEMU 7.2, measured).

use std::fmt;

/// The length of a header in bytes.
pub const HEADER_LEN: usize = 16;
/// The length of the longest payload in bytes.
pub(super) const MAX_PAYLOAD_LEN: usize = 192;
/// The most descriptors of a message.
pub(super) const MAX_DESCRIPTORS: usize = 8;

/// The command of a reply.
const ANSWER: i32 = 1;

/// The commands of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Memory = 0,
    WriteConfig = 2,
    ReadConfig = 3,
    WriteBar = 4,
    ReadBar = 5,
    Interrupt = 6,
    Reset = 7,
}

impl Command {
    const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Memory,
            2 => Self::WriteConfig,
            3 => Self::ReadConfig,
            4 => Self::WriteBar,
            5 => Self::ReadBar,
            6 => Self::Interrupt,
            7 => Self::Reset,
            _ => return None,
        })
    }

    const fn payload_len(self) -> usize {
        match self {
            Self::Memory => MAX_PAYLOAD_LEN,
            Self::WriteConfig | Self::ReadConfig => 12,
            Self::WriteBar | Self::ReadBar => 24,
            Self::Interrupt | Self::Reset => 0,
        }
    }
}

/// What QEMU wants, with descriptors of type `F`. Lengths and addresses are as they came, unchecked.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<F> {
    /// The guest's memory has changed; its descriptors are closed.
    Memory,
    /// Here is the interrupt line.
    Interrupt {
        /// To be rung while the line is high.
        event: F,
        /// Rung by QEMU when the guest has ended the interrupt.
        resample: F,
    },
    /// Read configuration space.
    ReadConfig {
        /// Where, in bytes.
        offset: u32,
        /// How much, in bytes.
        len: u32,
    },
    /// Write configuration space.
    WriteConfig {
        /// Where, in bytes.
        offset: u32,
        /// What.
        value: u32,
        /// How much, in bytes.
        len: u32,
    },
    /// Read a BAR.
    ReadBar {
        /// The bus address.
        address: u64,
        /// How much, in bytes.
        len: u32,
        /// Of which kind the BAR is.
        space: Space,
    },
    /// Write a BAR.
    WriteBar {
        /// The bus address.
        address: u64,
        /// What.
        value: u64,
        /// How much, in bytes.
        len: u32,
        /// Of which kind the BAR is.
        space: Space,
    },
    /// Reset the device.
    Reset,
}

/// The kinds of bus address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Memory.
    Memory,
    /// I/O ports.
    Io,
}

/// The header of a request, with its payload to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header(Command);

impl Header {
    /// Checks a header.
    pub(super) fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, RequestError> {
        let number = field::<4>(bytes, 0) as i32;
        let found = field::<8>(bytes, 8);
        let command =
            Command::from_number(number).ok_or(RequestError::Command { command: number })?;
        let expected = command.payload_len();
        if found != expected as u64 {
            return Err(RequestError::Size {
                command: number,
                found,
                expected,
            });
        }
        Ok(Self(command))
    }

    /// Returns the length of the payload in bytes.
    pub(super) const fn payload_len(self) -> usize {
        self.0.payload_len()
    }

    /// Makes a request of a whole message.
    pub(super) fn request<F>(
        self,
        payload: &[u8],
        descriptors: Vec<F>,
    ) -> Result<Request<F>, RequestError> {
        let Self(command) = self;
        let found = descriptors.len();
        let unexpected = RequestError::Descriptors {
            command: command as i32,
            found,
        };
        if found != 0 && !matches!(command, Command::Memory | Command::Interrupt) {
            return Err(unexpected);
        }
        // Of configuration space.
        let offset = field::<4>(payload, 0) as u32;
        let config_len = field::<4>(payload, 8) as u32;
        // Of a BAR.
        let address = field::<8>(payload, 0);
        let bar_len = field::<4>(payload, 16) as u32;
        let space = match field::<1>(payload, 20) {
            0 => Space::Io,
            _ => Space::Memory,
        };
        Ok(match command {
            Command::Memory => Request::Memory,
            Command::ReadConfig => Request::ReadConfig {
                offset,
                len: config_len,
            },
            Command::WriteConfig => Request::WriteConfig {
                offset,
                value: field::<4>(payload, 4) as u32,
                len: config_len,
            },
            Command::ReadBar => Request::ReadBar {
                address,
                len: bar_len,
                space,
            },
            Command::WriteBar => Request::WriteBar {
                address,
                value: field::<8>(payload, 8),
                len: bar_len,
                space,
            },
            Command::Interrupt => {
                let [event, resample] = <[F; 2]>::try_from(descriptors).map_err(|_| unexpected)?;
                Request::Interrupt { event, resample }
            }
            Command::Reset => Request::Reset,
        })
    }
}

/// Returns the little-endian number of `N` bytes, at most 8, at `offset`; what is missing counts as 0.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> u64 {
    let mut number = [0; 8];
    let found = bytes.iter().skip(offset).take(N);
    for (place, byte) in number.iter_mut().zip(found) {
        *place = *byte;
    }
    u64::from_le_bytes(number)
}

/// An answer to QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// What was read, or 0 after a write.
    Value(u64),
    /// The reset is done.
    Done,
}

impl Reply {
    /// Returns the bytes of the message.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let value = match self {
            Self::Value(value) => Some(value.to_le_bytes()),
            Self::Done => None,
        };
        let payload = value.as_ref().map_or(&[][..], |value| &value[..]);
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
        bytes.extend(ANSWER.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend(payload);
        bytes
    }
}

/// A message that QEMU does not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no such command for a remote.
    Command {
        /// Its number.
        command: i32,
    },
    /// The payload is not as long as that of this command.
    Size {
        /// The command's number.
        command: i32,
        /// The announced length in bytes.
        found: u64,
        /// The right one.
        expected: usize,
    },
    /// The command does not have so many descriptors.
    Descriptors {
        /// The command's number.
        command: i32,
        /// How many came.
        found: usize,
    },
    /// More descriptors than any command has.
    TooManyDescriptors,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { command } => {
                write!(
                    f,
                    "qemu sent command {command}, which no remote device knows"
                )
            }
            Self::Size {
                command,
                found,
                expected,
            } => write!(
                f,
                "qemu sent command {command} with {found} bytes in place of {expected}"
            ),
            Self::Descriptors { command, found } => write!(
                f,
                "qemu sent command {command} with a wrong number of descriptors, {found}"
            ),
            Self::TooManyDescriptors => write!(
                f,
                "qemu sent more than {MAX_DESCRIPTORS} descriptors with one command"
            ),
        }
    }
}

impl core::error::Error for RequestError {}
