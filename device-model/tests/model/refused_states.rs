// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that are not saved, and states that are not loaded.

use ivshmem_device::{Bar, Device, Generation, Kind, Level, Properties, Role, State, StateError};

use crate::bench::{Bench, Diary, TestMemory, SIZE};
use crate::saving::{device, flavours, load, master, plain, save, set_up, shm, without_msi};

/// What there is to see of a device, but its status, which reading clears.
fn view(bench: &mut Bench) -> (Vec<u8>, u32, Level) {
    let state = save(bench).to_bytes();
    (state, bench.register(0), bench.device.line())
}

#[test]
fn a_peer_is_neither_saved_nor_loaded() {
    for properties in flavours() {
        let state = device(&properties).device.save().unwrap();
        let peer = Properties {
            role: Role::Peer,
            ..properties
        };
        let mut bench = device(&peer);
        assert_eq!(bench.device.save(), Err(StateError::Peer), "{peer}");
        assert_eq!(load(&mut bench, &state), Err(StateError::Peer), "{peer}");
    }
}

#[test]
fn auto_is_master_with_a_memory_backend_or_as_the_first_of_the_server() {
    let auto = |properties| Properties {
        role: Role::Auto,
        ..properties
    };
    let mut bench = device(&auto(plain()));
    let state = bench.device.save().unwrap();
    assert_eq!(load(&mut bench, &state), Ok(()));

    let doorbell = auto(master(Generation::Modern));
    let mut first = Bench::member(&doorbell, 0);
    let state = first.device.save().unwrap();
    assert_eq!(load(&mut first, &state), Ok(()));

    let mut second = Bench::member(&doorbell, 1);
    let refused = StateError::NotFirst { id: Some(1) };
    assert_eq!(second.device.save(), Err(refused));
    assert_eq!(load(&mut second, &state), Err(refused));
}

#[test]
fn a_device_without_memory_is_neither_saved_nor_loaded_unless_historic() {
    let modern = master(Generation::Modern);
    let state = device(&modern).device.save().unwrap();
    let mut bench = Bench::new(&modern);
    assert_eq!(bench.device.save(), Err(StateError::Unrealized));
    assert_eq!(load(&mut bench, &state), Err(StateError::Unrealized));
    let historic = Bench::new(&master(Generation::V2_5));
    assert_eq!(historic.device.save().map(|state| state.version()), Ok(1));
}

/// Loads a state and returns the error, having seen that nothing came of it.
fn refusal(properties: &Properties, state: &State) -> StateError {
    let mut bench = device(properties);
    set_up(&mut bench);
    let before = view(&mut bench);
    let error = load(&mut bench, state).unwrap_err();
    assert_eq!(bench.acts(), []);
    assert_eq!(view(&mut bench), before);
    error
}

#[test]
fn each_generation_reads_its_versions() {
    let state = |generation| save(&device(&master(generation)));
    let old = state(Generation::V2_3);
    let new = state(Generation::V2_5);
    let refused = |version, generation| StateError::VersionOfGeneration {
        version,
        generation,
    };
    let found = refusal(&master(Generation::V2_3), &new);
    assert_eq!(found, refused(1, Generation::V2_3));
    let found = refusal(&master(Generation::Modern), &old);
    assert_eq!(found, refused(0, Generation::Modern));
    let found = refusal(&master(Generation::Modern), &new);
    let differs = StateError::KindDiffers {
        saved: Kind::Legacy,
        device: Kind::Doorbell,
    };
    assert_eq!(found, differs);

    for flavour in [master, without_msi, shm] {
        let mut source = device(&flavour(Generation::V2_3));
        set_up(&mut source);
        let mut destination = device(&flavour(Generation::V2_5));
        load(&mut destination, &save(&source)).unwrap();
        let has_msix = destination.device.bar_len(Bar::Msix).is_some();
        let level = if has_msix { Level::Low } else { Level::High };
        assert_eq!(destination.device.line(), level);
    }
}

#[test]
fn a_state_of_other_properties_is_refused() {
    for generation in Generation::ALL {
        let properties = master(generation);
        let state = save(&device(&properties));
        let one = Properties {
            vectors: 1,
            ..properties.clone()
        };
        let differs = |saved, device| StateError::VectorsDiffer { saved, device };
        assert_eq!(refusal(&one, &state), differs(2, 1));
        if generation != Generation::Modern {
            assert_eq!(refusal(&without_msi(generation), &state), differs(2, 0));
            let intx = save(&device(&without_msi(generation)));
            assert_eq!(refusal(&properties, &intx), differs(0, 2));
            let narrow = Properties {
                use64: false,
                ..properties
            };
            let differs = StateError::ConfigDiffers {
                offset: 0x18,
                saved: 0xc,
                device: 0x8,
            };
            assert_eq!(refusal(&narrow, &state), differs);
        }
    }
}

#[test]
fn a_state_of_a_larger_memory_is_refused() {
    let mut larger: Device<Diary> =
        Device::with_memory(&plain(), TestMemory::new(1, 2 * SIZE)).unwrap();
    larger.reset(&mut Diary::default());
    let differs = StateError::MemoryDiffers {
        saved: 2 * SIZE,
        device: SIZE,
    };
    assert_eq!(refusal(&plain(), &larger.save().unwrap()), differs);

    // Version 0 does not say, but a BAR that cannot be there does.
    let size = |size_bytes| Properties {
        size_bytes,
        ..shm(Generation::V2_3)
    };
    let mut smaller: Device<Diary> =
        Device::with_memory(&size(SIZE), TestMemory::new(1, SIZE)).unwrap();
    let address = 0xfeb0_0000_u32.to_le_bytes();
    smaller.write_config(0x18, &address, &mut Diary::default());
    let state = smaller.save().unwrap();
    let mut destination: Device<Diary> =
        Device::with_memory(&size(2 * SIZE), TestMemory::new(1, 2 * SIZE)).unwrap();
    let differs = StateError::ConfigDiffers {
        offset: 0x1a,
        saved: 0xb0,
        device: 0,
    };
    let result = destination.load(&state, &mut Diary::default());
    assert_eq!(result, Err(differs));
}

#[test]
fn each_byte_of_configuration_space_is_taken_or_refused() {
    for properties in flavours() {
        let mut bench = device(&properties);
        let bytes = save(&bench).to_bytes();
        let historic = properties.generation == Generation::V2_3;
        let start = if historic { 12 } else { 24 };
        let mut taken = Vec::new();
        for offset in 0..256 {
            let mut changed = bytes.clone();
            changed[start + offset] ^= 0xff;
            let state = State::from_bytes(&changed).unwrap();
            let before = view(&mut bench);
            bench.acts();
            match load(&mut bench, &state) {
                Ok(()) => {
                    taken.push(offset);
                    assert_eq!(save(&bench).to_bytes(), changed, "{offset:#x}");
                }
                Err(StateError::ConfigDiffers { offset: found, .. }) => {
                    assert_eq!(found, offset);
                    assert_eq!(bench.acts(), []);
                    assert_eq!(view(&mut bench), before);
                }
                Err(error) => panic!("{offset:#x}: {error}"),
            }
        }
        // The rest of the header has bits that no guest can write in each byte.
        let writable = |offset: &usize| matches!(offset, 0x0c | 0x10..=0x27 | 0x3c | 0x40..);
        assert!(taken.iter().all(writable), "{taken:x?}");
        assert!([0x0c, 0x13, 0x3c, 0xff]
            .iter()
            .all(|offset| taken.contains(offset)));
    }
}
