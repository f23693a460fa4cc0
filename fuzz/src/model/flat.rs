// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem-flat`, to which the same steps happen as far as it has them.

use ivshmem_device::{Flat, Level, Properties};

use super::host::{check_error, FuzzHost};
use super::steps::{Carried, Step};
use super::stream::{handshake, Stream};
use super::{Header, Reached, Target, MAX_STEPS};
use crate::input::Input;

const REGISTERS_LEN: u64 = 16;
const POSITION: u64 = 8;
const DOORBELL: u64 = 0xc;

/// A device and whom it is connected to.
struct Board {
    vectors: u32,
    device: Flat<FuzzHost>,
    host: FuzzHost,
    stream: Stream,
}

/// Does with a device what `input` says.
pub fn run(
    properties: &Properties,
    header: Header,
    target: Target,
    input: &mut Input<'_>,
) -> Reached {
    let Ok(device) = Flat::new(properties) else {
        return Reached::default();
    };
    let mut board = Board {
        vectors: properties.vectors,
        device,
        host: FuzzHost {
            refuses_memory: header.refuses_memory,
            refuses_vectors_from: header.refuses_vectors_from,
            ..FuzzHost::default()
        },
        stream: Stream::default(),
    };
    let mut reached = Reached::default();
    let mut going_on = true;
    if target.connected {
        let messages = handshake(properties, properties.vectors.min(3) as usize, header);
        going_on = messages
            .iter()
            .all(|(number, carried)| board.receive(&number.to_le_bytes(), carried));
    }
    while going_on && !input.is_empty() && reached.steps < MAX_STEPS {
        let step = Step::take(target.kinds, input, |_| REGISTERS_LEN);
        reached.steps += 1;
        going_on = board.step(&step);
        reached.rung += std::mem::take(&mut board.host.rung).len();
    }
    reached.realized = board.device.is_realized();
    reached.line_changes = board.host.line_changes;
    reached.listening = board.host.listening.len();
    reached.notices = board.host.notices;
    let Board { device, stream, .. } = board;
    drop(device);
    assert_eq!(stream.descriptors.live(), 0, "descriptors are left");
    reached
}

impl Board {
    /// Takes a step, if there is such a one; `false` when the device has to be given up.
    fn step(&mut self, step: &Step) -> bool {
        match step {
            Step::ReadBar { offset, .. } => self.read(*offset),
            Step::WriteBar { offset, bytes, .. } => self.write(*offset, bytes),
            Step::Event { vector, .. } => self.event(*vector),
            Step::ServerGone => {
                let realized = self.device.is_realized();
                let gone = self.device.server_gone(&mut self.host);
                assert_eq!(gone.is_ok(), realized, "{gone:?}");
            }
            Step::Message { number, carried } => {
                let rest = vec![0; self.stream.missing() % size_of::<i64>()];
                return (rest.is_empty() || self.receive(&rest, &[]))
                    && self.receive(&number.to_le_bytes(), carried);
            }
            Step::Bytes { bytes, carried, .. } => return self.receive(bytes, carried),
            _ => {}
        }
        true
    }

    fn receive(&mut self, bytes: &[u8], carried: &[Carried]) -> bool {
        let opened = self.stream.open(carried);
        let realized = self.device.is_realized();
        let result = self.device.receive(bytes, opened, &mut self.host);
        self.stream.note(bytes);
        if let Err(error) = &result {
            check_error(error);
            assert!(!realized, "{error:?} is returned");
            return false;
        }
        assert_eq!(self.device.wanted(), self.stream.missing());
        true
    }

    fn read(&self, offset: u64) {
        let value = self.device.read_register(offset);
        let expected = match (offset, self.device.id()) {
            (POSITION, Some(id)) => id.into(),
            (POSITION, None) => !0,
            _ => 0,
        };
        assert_eq!(value, expected, "register {offset:#x}");
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let Ok(word) = bytes.try_into() else {
            return;
        };
        let value = u32::from_le_bytes(word);
        self.device.write_register(offset, value, &mut self.host);
        for serial in &self.host.rung {
            assert_eq!(offset & !3, DOORBELL);
            assert!(value & 0xffff < self.vectors, "{value:#x} rings");
            let number = self.stream.number(*serial);
            assert_eq!(number, Some(i64::from(value >> 16)), "{value:#x} rings it");
        }
        assert!(self.host.rung.len() <= 1);
    }

    fn event(&mut self, vector: u16) {
        let before = self.host.line_changes;
        self.device.event(vector, &mut self.host);
        let pulse = if vector == 0 { 2 } else { 0 };
        assert_eq!(self.host.line_changes - before, pulse, "event of {vector}");
        assert_eq!(self.host.line, Level::Low);
    }
}
