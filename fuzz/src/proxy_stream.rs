// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stream from QEMU to the remote end of its proxy device: any messages, in any pieces and with any descriptors.

use allocation_counter::measure;
use ivshmem_device::proxy::{Parser, Request, RequestError, Space, HEADER_LEN};

use crate::input::Input;
use crate::model::{Descriptors, FuzzDescriptor};

/// Bytes of the longest message, and descriptors of the message with the most.
const MAX_LEN: usize = HEADER_LEN + 192;
const MAX_DESCRIPTORS: usize = 8;
/// Bytes that a parser may allocate: for its descriptors, and as many again while they move.
const HELD: u64 = 2 * 1024;
/// Payload of each command that is QEMU's to send; command 1 is the remote's.
const PAYLOADS: [(i32, usize); 7] = [(0, 192), (2, 12), (3, 12), (4, 24), (5, 24), (6, 0), (7, 0)];

/// How far an input got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Messages that were understood.
    pub messages: usize,
    /// Descriptors that were sent.
    pub descriptors: u64,
    /// Whether the stream had to be given up.
    pub refused: bool,
}

/// QEMU's end, and the parser at the other.
#[derive(Default)]
struct Link {
    parser: Parser<FuzzDescriptor>,
    descriptors: Descriptors,
    /// The message that is not complete yet.
    begun: Vec<u8>,
    reached: Reached,
}

/// Sends a parser what `data` says.
///
/// # Panics
///
/// If a property does not hold.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let mut link = Link::default();
    while !input.is_empty() && !link.reached.refused {
        let how: u8 = input.take();
        let carried = usize::from(how / 4 % 16);
        let bytes = if how.is_multiple_of(4) {
            let len = input.take::<u8>() % 64;
            input.bytes(len.into())
        } else {
            message(&mut input)
        };
        // All at once, or in pieces of some length.
        let piece = match input.take::<u8>() {
            0 => usize::MAX,
            len => len.into(),
        };
        let sent = link.send(&bytes, carried, piece);
        link.reached.refused = sent.is_err();
    }
    let Link {
        parser,
        descriptors,
        reached,
        ..
    } = link;
    drop(parser);
    assert_eq!(descriptors.live(), 0, "descriptors are left");
    Reached {
        descriptors: descriptors.opened(),
        ..reached
    }
}

/// Takes a message of a command that there is, with a payload of the right length; or both may be any.
pub(crate) fn message(input: &mut Input<'_>) -> Vec<u8> {
    let which = usize::from(input.take::<u8>());
    let (command, len) = match PAYLOADS.get(which) {
        Some(&(command, len)) => (command, len as u64),
        None => (input.take(), input.take()),
    };
    let mut bytes = Vec::from(i32::to_le_bytes(command));
    bytes.extend([which as u8; 4]);
    bytes.extend(len.to_le_bytes());
    bytes.extend(input.bytes(len.min(256) as usize));
    bytes
}

impl Link {
    /// Sends bytes in pieces of `piece` bytes, the first with `carried` descriptors.
    fn send(&mut self, bytes: &[u8], carried: usize, piece: usize) -> Result<(), RequestError> {
        let opened: Vec<_> = (0..carried)
            .map(|_| self.descriptors.open(None, 3))
            .collect();
        for descriptor in opened {
            let attached = self.parser.attach(descriptor);
            attached.inspect_err(check_error)?;
        }
        assert!(self.descriptors.live() <= MAX_DESCRIPTORS);
        let mut rest = bytes;
        while !rest.is_empty() {
            let wanted = self.parser.wanted();
            assert!((1..=MAX_LEN - self.begun.len()).contains(&wanted));
            // One who reads more than is wanted may give it all the same.
            let (now, later) = rest.split_at(rest.len().min(piece));
            let mut left = now;
            while !left.is_empty() {
                self.take(&mut left)?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Lets the parser take from the front of `bytes`, which it has to if there are any.
    fn take(&mut self, bytes: &mut &[u8]) -> Result<(), RequestError> {
        let before = *bytes;
        let parser = &mut self.parser;
        let mut taken = Ok(None);
        let used = measure(|| taken = parser.take(bytes));
        assert!(used.bytes_max <= HELD, "{} bytes", used.bytes_max);
        let len = before.len() - bytes.len();
        assert!(len > 0, "nothing is taken");
        self.begun.extend(&before[..len]);
        match taken {
            Ok(None) => assert!(self.begun.len() < MAX_LEN),
            Ok(Some(request)) => {
                check(&self.begun, &request);
                self.begun.clear();
                self.reached.messages += 1;
            }
            Err(error) => {
                check_error(&error);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Checks what was made of a whole message.
fn check(message: &[u8], request: &Request<FuzzDescriptor>) {
    let number = |offset: usize, len: usize| {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&message[offset..offset + len]);
        u64::from_le_bytes(bytes)
    };
    let command = number(0, 4) as i32;
    let payload = message.len() - HEADER_LEN;
    assert_eq!(number(8, 8), payload as u64);
    assert!(PAYLOADS.contains(&(command, payload)));
    let payload_u32 = |offset| number(HEADER_LEN + offset, 4) as u32;
    let payload_u64 = |offset| number(HEADER_LEN + offset, 8);
    let space = || match message[HEADER_LEN + 20] {
        0 => Space::Io,
        _ => Space::Memory,
    };
    let expected = match command {
        0 => Request::Memory,
        2 => Request::WriteConfig {
            offset: payload_u32(0),
            value: payload_u32(4),
            len: payload_u32(8),
        },
        3 => Request::ReadConfig {
            offset: payload_u32(0),
            len: payload_u32(8),
        },
        4 => Request::WriteBar {
            address: payload_u64(0),
            value: payload_u64(8),
            len: payload_u32(16),
            space: space(),
        },
        5 => Request::ReadBar {
            address: payload_u64(0),
            len: payload_u32(16),
            space: space(),
        },
        7 => Request::Reset,
        _ => {
            let Request::Interrupt { event, resample } = request else {
                panic!("command {command} gives {request:?}");
            };
            assert!(
                event.serial < resample.serial,
                "the descriptors are swapped"
            );
            return;
        }
    };
    assert_eq!(*request, expected);
}

fn check_error(error: &RequestError) {
    assert!(!error.to_string().is_empty());
}
