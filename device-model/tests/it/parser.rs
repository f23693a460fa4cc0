// SPDX-License-Identifier: MIT OR Apache-2.0
//! The proxy's requests out of bytes in any pieces.

use ivshmem_device::proxy::{Parser, Reply, Request, RequestError, Space, HEADER_LEN};
use proptest::prelude::*;

use crate::support::request;

/// One of each kind, with the number of its descriptors and what it means.
fn messages() -> Vec<(Vec<u8>, u32, Request<u32>)> {
    let config = [0x10, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 4, 0, 0, 0];
    let mut bar = [0; 24];
    bar[..8].copy_from_slice(&0xfebf_f00c_u64.to_le_bytes());
    bar[8..16].copy_from_slice(&0x1_0000_u64.to_le_bytes());
    bar[16] = 2;
    let io = bar;
    bar[20] = 1;
    let (address, len) = (0xfebf_f00c, 2);
    let read = |space| Request::ReadBar {
        address,
        len,
        space,
    };
    vec![
        (request(0, &[7; 192]), 8, Request::Memory),
        (request(0, &[7; 192]), 0, Request::Memory),
        (
            request(6, &[]),
            2,
            Request::Interrupt {
                event: 0,
                resample: 1,
            },
        ),
        (
            request(3, &config),
            0,
            Request::ReadConfig {
                offset: 0x10,
                len: 4,
            },
        ),
        (
            request(2, &config),
            0,
            Request::WriteConfig {
                offset: 0x10,
                value: 0xffff_ffff,
                len: 4,
            },
        ),
        (request(7, &[]), 0, Request::Reset),
        (request(5, &bar), 0, read(Space::Memory)),
        (request(5, &io), 0, read(Space::Io)),
        (
            request(4, &bar),
            0,
            Request::WriteBar {
                address,
                value: 0x1_0000,
                len,
                space: Space::Memory,
            },
        ),
    ]
}

/// Feeds a message in two pieces, with its descriptors on one of them.
fn take(
    parser: &mut Parser<u32>,
    bytes: &[u8],
    descriptors: u32,
) -> Result<Option<Request<u32>>, RequestError> {
    for descriptor in 0..descriptors {
        parser.attach(descriptor)?;
    }
    let mut rest = bytes;
    let taken = parser.take(&mut rest);
    if taken.is_ok() {
        assert_eq!(rest, [0; 0], "nothing is left");
    }
    taken
}

#[test]
fn every_message_is_taken_at_every_split() {
    let mut parser = Parser::new();
    for (bytes, descriptors, expected) in messages() {
        for split in 1..bytes.len() {
            for on_second in [0, 1] {
                let (first, second) = bytes.split_at(split);
                let on_first = descriptors * (1 - on_second);
                assert_eq!(take(&mut parser, first, on_first), Ok(None));
                let whole = take(&mut parser, second, descriptors * on_second);
                assert_eq!(whole.unwrap().as_ref(), Some(&expected), "at {split}");
            }
        }
    }
}

#[test]
fn single_bytes_make_messages() {
    let mut parser = Parser::new();
    for (bytes, descriptors, expected) in messages() {
        let (last, all_but_last) = bytes.split_last().unwrap();
        for (index, byte) in all_but_last.iter().enumerate() {
            let here = if index == 0 { descriptors } else { 0 };
            assert_eq!(take(&mut parser, &[*byte], here), Ok(None));
        }
        assert_eq!(take(&mut parser, &[*last], 0), Ok(Some(expected)));
    }
}

#[test]
fn no_read_reaches_past_a_message() {
    let mut parser = Parser::<u32>::new();
    let mut rest: &[u8] = &request(3, &[0; 12]);
    assert_eq!(parser.wanted(), HEADER_LEN);
    for wanted in [16, 12] {
        let (part, later) = rest.split_at(parser.wanted());
        assert_eq!(part.len(), wanted);
        let is_whole = parser.take(&mut &part[..]).unwrap().is_some();
        assert_eq!(is_whole, later.is_empty());
        rest = later;
    }
    assert_eq!(parser.wanted(), HEADER_LEN);
}

#[test]
fn several_messages_in_one_piece_come_one_by_one() {
    let bytes = [request(7, &[]), request(3, &[0; 12])].concat();
    let (mut parser, mut rest) = (Parser::<u32>::new(), &bytes[..]);
    assert_eq!(parser.take(&mut rest), Ok(Some(Request::Reset)));
    let expected = Request::ReadConfig { offset: 0, len: 0 };
    assert_eq!(parser.take(&mut rest), Ok(Some(expected)));
    assert_eq!(parser.take(&mut rest), Ok(None));
}

#[test]
fn what_is_no_request_is_named() {
    for command in [1, 8, -1, i32::MIN, i32::MAX] {
        let error = RequestError::Command { command };
        assert_eq!(
            take(&mut Parser::new(), &request(command, &[])[..16], 0),
            Err(error)
        );
    }
    for (command, expected) in [(0, 192), (2, 12), (3, 12), (4, 24), (5, 24), (6, 0), (7, 0)] {
        for found in [expected as u64 + 1, 1, u64::MAX, 1 << 32] {
            let mut header = request(command, &[]);
            header[8..].copy_from_slice(&found.to_le_bytes());
            let error = RequestError::Size {
                command,
                found,
                expected,
            };
            // By the header alone: nothing of such a size is waited for.
            assert_eq!(take(&mut Parser::new(), &header, 0), Err(error));
        }
    }
    for (command, len, found) in [
        (6, 0, 0),
        (6, 0, 1),
        (6, 0, 3),
        (3, 12, 1),
        (4, 24, 2),
        (7, 0, 1),
    ] {
        let bytes = request(command, &vec![0; len]);
        let error = RequestError::Descriptors {
            command,
            found: found as usize,
        };
        assert_eq!(take(&mut Parser::new(), &bytes, found), Err(error));
    }
    let too_many = take(&mut Parser::new(), &request(0, &[0; 192]), 9);
    assert_eq!(too_many, Err(RequestError::TooManyDescriptors));
}

#[test]
fn answers_are_as_qemu_expects_them() {
    let value = [
        1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0xf4, 0x1a, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(Reply::Value(0x1af4).to_bytes(), value);
    let done = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(Reply::Done.to_bytes(), done);
}

proptest! {
    #[test]
    fn arbitrary_bytes_end_in_requests_or_errors(
        pieces in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..64), 0_u32..4, 0_i32..9, 0_u64..256),
            0..16,
        ),
    ) {
        let mut parser = Parser::new();
        for (noise, descriptors, command, size) in pieces {
            // Half-way plausible, so that payloads are reached.
            let mut bytes = request(command, &[]);
            bytes[8..].copy_from_slice(&size.to_le_bytes());
            bytes.extend(noise);
            let mut rest = &bytes[..];
            for descriptor in 0..descriptors {
                let _ = parser.attach(descriptor);
            }
            while !rest.is_empty() {
                let before = rest.len();
                prop_assert!((1..=208).contains(&parser.wanted()));
                if parser.take(&mut rest).is_err() {
                    parser = Parser::new();
                }
                prop_assert!(rest.len() < before, "every step consumes");
            }
        }
    }
}
