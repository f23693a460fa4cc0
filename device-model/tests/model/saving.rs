// SPDX-License-Identifier: MIT OR Apache-2.0
//! Saving and loading: what goes along, and what does not.

use ivshmem_device::{
    Bar, Generation, Kind, Level, MsiMessage, Properties, Role, Source, State, StateError,
};

use crate::bench::{with_server, Act, Bench};

const COMMAND: u16 = 0x04;
const BAR0: u16 = 0x10;
const INTERRUPT_LINE: u16 = 0x3c;
/// Message Control of the capability at 0x40.
const CONTROL: u16 = 0x42;
const ENABLE: [u8; 2] = [0, 0x80];
const MASK: u64 = 0;
const STATUS: u64 = 4;
const PENDING: u64 = 0x800;

const MESSAGE: MsiMessage = MsiMessage {
    address: 0xfee0_1000,
    data: 0x41,
};

/// The device of a generation, master, with two vectors if it has MSI-X.
pub fn master(generation: Generation) -> Properties {
    Properties {
        vectors: 2,
        role: Role::Master,
        ..with_server(generation)
    }
}

pub fn without_msi(generation: Generation) -> Properties {
    Properties {
        msi: false,
        ..master(generation)
    }
}

pub fn shm(generation: Generation) -> Properties {
    Properties {
        source: Source::Shm("memory".into()),
        ..master(generation)
    }
}

pub fn plain() -> Properties {
    Properties {
        role: Role::Master,
        ..Properties::plain("memory")
    }
}

/// A device that is ready for a guest; the first of its server where there is one.
pub fn device(properties: &Properties) -> Bench {
    match properties.source {
        Source::Chardev(_) => Bench::member(properties, 0),
        Source::Shm(_) | Source::Memdev(_) => Bench::alone(properties),
    }
}

/// Every flavour that can be saved.
pub fn flavours() -> Vec<Properties> {
    let mut flavours = vec![master(Generation::Modern), plain()];
    for generation in [Generation::V2_3, Generation::V2_5] {
        flavours.extend([master(generation), without_msi(generation), shm(generation)]);
    }
    flavours
}

/// Does what a driver does: the registers are set, vector 0 is unmasked, vector 1 is masked and pending.
pub fn set_up(bench: &mut Bench) {
    bench.set_config(COMMAND, &[6, 0]);
    bench.set_config(BAR0, &0xfebf_0000_u32.to_le_bytes());
    bench.set_config(INTERRUPT_LINE, &[11]);
    bench.set_register(MASK, 0xff);
    bench.set_register(STATUS, 5);
    if bench.device.bar_len(Bar::Msix).is_some() {
        bench.set_config(CONTROL, &ENABLE);
        for entry in [0, 16] {
            bench.write(Bar::Msix, entry, &MESSAGE.address.to_le_bytes());
            bench.write(Bar::Msix, entry + 8, &MESSAGE.data.to_le_bytes());
        }
        bench.write(Bar::Msix, 12, &[0; 4]);
        bench.event(1, 1);
    }
    bench.acts();
}

pub fn save(bench: &Bench) -> State {
    let state = bench.device.save().unwrap();
    // By way of its bytes, as a machine would.
    State::from_bytes(&state.to_bytes()).unwrap()
}

pub fn load(bench: &mut Bench, state: &State) -> Result<(), StateError> {
    bench.device.load(state, &mut bench.diary)
}

/// Everything of a device that a guest can read without changing it.
fn view(bench: &mut Bench) -> Vec<u32> {
    let config = (0..256).step_by(4).map(|offset| bench.config(offset));
    let mut words: Vec<u32> = config.collect();
    words.push(bench.register(MASK));
    for offset in (0..0x1000).step_by(4) {
        words.push(u32::from_le_bytes(bench.read(Bar::Msix, offset)));
    }
    words
}

#[test]
fn a_loaded_device_is_as_the_guest_left_it() {
    for properties in flavours() {
        let mut source = device(&properties);
        set_up(&mut source);
        let state = save(&source);
        let version = u16::from(properties.generation != Generation::V2_3);
        assert_eq!((state.version(), state.kind()), (version, properties.kind));

        let mut destination = device(&properties);
        load(&mut destination, &state).unwrap();
        let historic_msix =
            properties.kind == Kind::Legacy && destination.device.bar_len(Bar::Msix).is_some();
        if historic_msix {
            // These did not go along.
            source.set_register(MASK, 0);
            source.set_register(STATUS, 0);
        }
        assert_eq!(view(&mut destination), view(&mut source), "{properties}");
        let status = if historic_msix { 0 } else { 5 };
        assert_eq!(destination.register(STATUS), status, "{properties}");
    }
}

#[test]
fn the_line_is_up_again_where_there_is_one() {
    for generation in [Generation::V2_3, Generation::V2_5] {
        for properties in [without_msi(generation), shm(generation)] {
            let mut source = device(&properties);
            set_up(&mut source);
            assert_eq!(source.device.line(), Level::High);
            let mut destination = device(&properties);
            load(&mut destination, &save(&source)).unwrap();
            assert_eq!(destination.acts(), [Act::Line(Level::High)]);
            assert_eq!(destination.register(STATUS), 5);
            assert_eq!(destination.acts(), [Act::Line(Level::Low)]);

            let low = save(&device(&properties));
            load(&mut source, &low).unwrap();
            assert_eq!(source.acts(), [Act::Line(Level::Low)]);
        }
    }
}

#[test]
fn a_line_that_is_disabled_stays_down() {
    let properties = without_msi(Generation::V2_5);
    let mut source = device(&properties);
    set_up(&mut source);
    source.set_config(COMMAND, &[6, 4]);
    let mut destination = device(&properties);
    load(&mut destination, &save(&source)).unwrap();
    assert_eq!(destination.acts(), []);
    let interrupt_status = destination.config(COMMAND) >> 16 & 1 << 3;
    assert_ne!(interrupt_status, 0);
}

#[test]
fn vectors_are_in_use_again() {
    for generation in Generation::ALL {
        let properties = master(generation);
        let mut source = device(&properties);
        set_up(&mut source);
        let state = save(&source);

        // On a device that has other messages, and a vector in use that is not in the state.
        let mut destination = device(&properties);
        set_up(&mut destination);
        destination.write(Bar::Msix, 12, &[1, 0, 0, 0]);
        destination.write(Bar::Msix, 28, &[0; 4]);
        destination.acts();
        load(&mut destination, &state).unwrap();
        let mut acts = destination.acts();
        acts.retain(|act| !matches!(act, Act::Line(_)));
        let routes = [Act::Route(1, None), Act::Route(0, Some(MESSAGE))];
        assert_eq!(acts, routes, "{generation}");

        destination.event(0, 1);
        assert_eq!(destination.acts(), [Act::Message(MESSAGE)]);
        // What was pending before the move is delivered once, after it.
        assert_eq!(u32::from_le_bytes(destination.read(Bar::Msix, PENDING)), 2);
        destination.write(Bar::Msix, 28, &[0; 4]);
        let delivered = [Act::Route(1, Some(MESSAGE)), Act::Message(MESSAGE)];
        assert_eq!(destination.acts(), delivered, "{generation}");
        assert_eq!(u32::from_le_bytes(destination.read(Bar::Msix, PENDING)), 0);
    }
}

#[test]
fn what_is_pending_and_not_masked_is_delivered() {
    let properties = master(Generation::Modern);
    let mut source = device(&properties);
    set_up(&mut source);
    // Unmasks vector 1 behind the model's back: in no state that it saves is such a vector pending.
    let mut bytes = source.device.save().unwrap().to_bytes();
    bytes[280 + 28] = 0;
    let mut destination = device(&properties);
    let state = State::from_bytes(&bytes).unwrap();
    load(&mut destination, &state).unwrap();
    let acts = [
        Act::Route(0, Some(MESSAGE)),
        Act::Route(1, Some(MESSAGE)),
        Act::Message(MESSAGE),
    ];
    assert_eq!(destination.acts(), acts);
    // So it is where the vectors had those messages before.
    load(&mut destination, &state).unwrap();
    let gone = [Act::Route(0, None), Act::Route(1, None)];
    assert_eq!(destination.acts(), [&gone[..], &acts[..]].concat());
}

#[test]
fn id_peers_and_memory_are_those_of_the_destination() {
    for generation in [Generation::V2_3, Generation::V2_5] {
        let properties = master(generation);
        let mut source = device(&properties);
        source.write(Bar::Memory, 0, &[7; 4]);
        let mut destination = Bench::member(&properties, 9);
        destination.vectors(4, 1);
        destination.write(Bar::Memory, 0, &[8; 4]);
        load(&mut destination, &save(&source)).unwrap();
        assert_eq!(destination.device.id(), Some(9));
        assert_eq!(destination.read(Bar::Memory, 0), [8; 4]);
        destination.acts();
        destination.set_register(0xc, 4 << 16);
        assert_eq!(destination.acts(), [Act::Ring(40)]);
    }
}
