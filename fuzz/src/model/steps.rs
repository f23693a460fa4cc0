// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can happen to a device, one thing at a time.

use ivshmem_device::Bar;

use crate::input::Input;

/// The longest access in bytes.
const MAX_ACCESS: u8 = 65;
/// The most bytes and descriptors that come from the server at once.
const MAX_BYTES: u8 = 25;
const MAX_DESCRIPTORS: u8 = 4;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Step {
    ReadConfig {
        offset: u16,
        len: usize,
    },
    WriteConfig {
        offset: u16,
        bytes: Vec<u8>,
    },
    Decode {
        address: u64,
    },
    ReadBar {
        bar: Bar,
        offset: u64,
        len: usize,
    },
    WriteBar {
        bar: Bar,
        offset: u64,
        bytes: Vec<u8>,
    },
    Event {
        vector: u16,
        counter: u64,
    },
    Reset,
    /// A whole message from the server, where none has begun.
    Message {
        number: i64,
        carried: Vec<Carried>,
    },
    /// Any bytes from the server, in pieces that the device wants, or all at once.
    Bytes {
        bytes: Vec<u8>,
        carried: Vec<Carried>,
        at_once: bool,
    },
    ServerGone,
    /// The device is saved, and loads what was saved with one byte changed.
    Load {
        at: u16,
        change: u8,
    },
}

/// A descriptor that comes with bytes from the server.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// Its size; none for an eventfd.
    pub len_bytes: Option<u64>,
    pub number: i32,
}

impl Step {
    /// Takes what happens next: one of `kinds`, each of which is one of the steps above, counted from 0.
    pub fn take(kinds: &[u8], input: &mut Input<'_>, bar_len: impl Fn(Bar) -> u64) -> Self {
        let how: u8 = input.take();
        match kinds[usize::from(how) % kinds.len()] {
            0 => Self::ReadConfig {
                offset: config_offset(input),
                len: access_len(input),
            },
            1 => {
                let offset = config_offset(input);
                let len = access_len(input);
                let bytes = input.bytes(len);
                Self::WriteConfig { offset, bytes }
            }
            2 => Self::Decode {
                address: input.take(),
            },
            3 => {
                let (bar, offset) = place(input, bar_len);
                let len = access_len(input);
                Self::ReadBar { bar, offset, len }
            }
            4 => {
                let (bar, offset) = place(input, bar_len);
                let len = access_len(input);
                let bytes = input.bytes(len);
                Self::WriteBar { bar, offset, bytes }
            }
            5 => Self::Event {
                vector: few_or_any(input),
                counter: few_or_any(input).into(),
            },
            6 => Self::Reset,
            7 => Self::Message {
                number: match input.take::<i8>() {
                    i8::MIN => input.take(),
                    few => few.into(),
                },
                carried: carried(input),
            },
            8 => {
                let at_once = input.take::<u8>().is_multiple_of(4);
                let len = usize::from(input.take::<u8>() % MAX_BYTES);
                Self::Bytes {
                    bytes: input.bytes(len),
                    carried: carried(input),
                    at_once,
                }
            }
            9 => Self::ServerGone,
            _ => Self::Load {
                at: input.take(),
                change: input.take(),
            },
        }
    }
}

fn few_or_any(input: &mut Input<'_>) -> u16 {
    match input.take::<u8>() {
        0xff => input.take(),
        few => few.into(),
    }
}

fn config_offset(input: &mut Input<'_>) -> u16 {
    few_or_any(input)
}

/// Most accesses are of 4 bytes, or else of 1, 2 or 8.
fn access_len(input: &mut Input<'_>) -> usize {
    match input.take::<u8>() {
        0 => 4,
        power @ 1..=3 => [1, 2, 8][usize::from(power) - 1],
        any => usize::from(any % MAX_ACCESS),
    }
}

/// An offset near the beginning or the end of a BAR, or anywhere.
fn place(input: &mut Input<'_>, bar_len: impl Fn(Bar) -> u64) -> (Bar, u64) {
    let how: u8 = input.take();
    let bar = Bar::ALL[usize::from(how) % 3];
    let offset = match how / 3 % 4 {
        0 => input.take::<u8>().into(),
        1 => input.take::<u16>().into(),
        2 => bar_len(bar).wrapping_sub(input.take::<u8>().into()),
        _ => input.take(),
    };
    (bar, offset)
}

fn carried(input: &mut Input<'_>) -> Vec<Carried> {
    let count = input.take::<u8>() % MAX_DESCRIPTORS;
    let one = |_| {
        let what: u8 = input.take();
        Carried {
            len_bytes: match what {
                0 => None,
                // Powers of two, and sizes near them.
                1..=63 => Some(1 << what),
                64..=127 => Some((1 << (what - 64)) - 1),
                128..=191 => Some((1 << (what - 128)) + 1),
                _ => Some(input.take()),
            },
            // Descriptor 0 is one that QEMU 2.3 mistakes.
            number: i32::from(what % 8),
        }
    };
    (0..count).map(one).collect()
}
