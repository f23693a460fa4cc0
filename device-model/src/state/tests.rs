// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the bytes: where what is, and anything else in their place.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A configuration space in which each byte tells where it is.
fn config() -> [u8; CONFIG_LEN] {
    core::array::from_fn(|index| index as u8)
}

const REGISTERS: Registers = Registers {
    mask: 0x0403_0201,
    status: 0x0807_0605,
};

/// What QEMU 2.3 keeps of a device without MSI-X.
fn intx() -> State {
    State {
        origin: None,
        config: config(),
        vectors: 0,
        msix: Vec::new(),
        registers: Some(REGISTERS),
    }
}

/// What is kept of an `ivshmem-doorbell` of two vectors, of which the second is pending.
fn doorbell() -> State {
    let mut msix = vec![0xab; 32];
    msix.extend([2, 0, 0, 0, 0, 0, 0, 0]);
    State {
        origin: Some(Origin {
            kind: Kind::Doorbell,
            memory_bytes: 1 << 20,
        }),
        vectors: 2,
        msix,
        ..intx()
    }
}

/// What is kept of a historic device with MSI-X.
fn historic_msix(origin: Option<Origin>) -> State {
    State {
        origin,
        registers: None,
        ..doorbell()
    }
}

fn all() -> [State; 6] {
    let origin = |kind| {
        Some(Origin {
            kind,
            memory_bytes: 0x10_0000,
        })
    };
    let plain = State {
        origin: origin(Kind::Plain),
        ..intx()
    };
    let legacy = State {
        origin: origin(Kind::Legacy),
        ..intx()
    };
    let legacy_msix = historic_msix(origin(Kind::Legacy));
    [
        intx(),
        historic_msix(None),
        legacy,
        legacy_msix,
        plain,
        doorbell(),
    ]
}

#[test]
fn every_byte_of_version_0_is_where_it_is_said_to_be() {
    let bytes = intx().to_bytes();
    assert_eq!(bytes[..12], *b"ivshmem\0\0\0\0\0");
    assert_eq!(bytes[12..268], config());
    assert_eq!(bytes[268..], [5, 6, 7, 8, 1, 2, 3, 4]);

    let bytes = historic_msix(None).to_bytes();
    assert_eq!(bytes[..12], *b"ivshmem\0\0\0\x02\0");
    assert_eq!(bytes[12..268], config());
    assert_eq!(bytes[268..300], [0xab; 32]);
    assert_eq!(bytes[300..], [2, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn every_byte_of_version_1_is_where_it_is_said_to_be() {
    let bytes = doorbell().to_bytes();
    assert_eq!(bytes[..16], *b"ivshmem\0\x01\0\x02\0\x02\0\0\0");
    assert_eq!(bytes[16..24], [0, 0, 0x10, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[24..280], config());
    assert_eq!(bytes[280..312], [0xab; 32]);
    assert_eq!(
        bytes[312..],
        [2, 0, 0, 0, 0, 0, 0, 0, 5, 6, 7, 8, 1, 2, 3, 4]
    );

    let [.., legacy, legacy_msix, plain, _] = all().map(|state| state.to_bytes());
    assert_eq!((legacy[12], legacy.len()), (0, 288));
    assert_eq!((legacy_msix[12], legacy_msix.len()), (0, 320));
    assert_eq!((plain[12], plain.len()), (1, 288));
}

#[test]
fn what_was_saved_is_what_is_loaded() {
    for state in all() {
        assert_eq!(State::from_bytes(&state.to_bytes()), Ok(state));
    }
    let largest = State {
        vectors: 2048,
        msix: vec![0xff; MsixTable::saved_len(2048)],
        ..doorbell()
    };
    let bytes = largest.to_bytes();
    assert_eq!(bytes.len(), 33312);
    assert_eq!(State::from_bytes(&bytes), Ok(largest));
}

#[test]
fn an_end_at_any_byte_is_told_with_its_field() {
    for state in all() {
        let bytes = state.to_bytes();
        let mut fields = Vec::new();
        for len in 0..bytes.len() {
            let Err(StateError::Truncated {
                field,
                offset,
                needs,
                has,
            }) = State::from_bytes(&bytes[..len])
            else {
                panic!("{len} bytes of {} are taken", bytes.len());
            };
            assert_eq!(offset + has, len, "{field}");
            assert!(has < needs, "{field}");
            if !fields.contains(&(field, offset, needs)) {
                fields.push((field, offset, needs));
            }
        }
        // Each begins where the one before ends.
        let end = fields.iter().fold(0, |end, (field, offset, needs)| {
            assert_eq!(*offset, end, "{field}");
            offset + needs
        });
        assert_eq!(end, bytes.len());
    }
}

#[test]
fn what_a_field_cannot_be_is_told_with_what_it_is() {
    let changed = |at: usize, byte: u8| {
        let mut bytes = doorbell().to_bytes();
        bytes[at] = byte;
        State::from_bytes(&bytes)
    };
    let found = *b"ivshmam\0";
    assert_eq!(changed(5, b'a'), Err(StateError::Magic { found }));
    assert_eq!(changed(8, 2), Err(StateError::Version { found: 2 }));
    assert_eq!(changed(9, 1), Err(StateError::Version { found: 0x101 }));
    let too_many = StateError::TooManyVectors { found: 0x0802 };
    assert_eq!(changed(11, 8), Err(too_many));
    assert_eq!(changed(12, 3), Err(StateError::UnknownKind { found: 3 }));
    let unknown = StateError::UnknownKind { found: 0x0100_0002 };
    assert_eq!(changed(15, 1), Err(unknown));
    let pending = |vector| Err(StateError::Pending { vector, vectors: 2 });
    assert_eq!(changed(312, 4), pending(2));
    assert_eq!(changed(319, 0x80), pending(63));

    let mut bytes = doorbell().to_bytes();
    bytes.push(0);
    let too_long = StateError::TooLong { end: 328, has: 329 };
    assert_eq!(State::from_bytes(&bytes), Err(too_long));
}

#[test]
fn messages_say_what_and_where() {
    let bytes = doorbell().to_bytes();
    let message = |bytes: &[u8]| State::from_bytes(bytes).unwrap_err().to_string();
    assert_eq!(
        message(&bytes[..100]),
        "the state ends in the configuration space at byte 24: 76 of its 256 bytes are there"
    );
    assert_eq!(
        message(&[0; 400]),
        "this is no state of an ivshmem device, it begins with [0, 0, 0, 0, 0, 0, 0, 0]"
    );
    let differs = StateError::ConfigDiffers {
        offset: 0x18,
        saved: 0xc,
        device: 8,
    };
    assert!(differs.to_string().starts_with(
        "byte 0x18 of configuration space is 0x0c in the state and 0x08 in the device"
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_taken_as_they_are_or_refused(
        which in 0..6_usize,
        changes in prop::collection::vec((0..330_usize, any::<u8>()), 0..4),
        len in 0..400_usize,
    ) {
        let mut bytes = all()[which].to_bytes();
        for (at, byte) in changes {
            if let Some(cell) = bytes.get_mut(at) {
                *cell = byte;
            }
        }
        if len < bytes.len() {
            bytes.truncate(len);
        }
        if let Ok(state) = State::from_bytes(&bytes) {
            prop_assert_eq!(state.to_bytes(), bytes);
        }
    }
}
