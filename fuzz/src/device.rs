// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of every method of a device.

use std::task::Poll;

use ivshmem::{
    DeviceError, InterruptStatus, Ivshmem, MsiMessage, PeerId, Registers, VectorError, VectorIndex,
};

use crate::input::Input;

/// A call that was made, as far as its result is to be checked.
#[derive(Debug)]
pub enum Call {
    Position(Result<PeerId, DeviceError>),
    Ring(PeerId, VectorIndex, Result<(), DeviceError>),
    /// Times that the closure said to go on.
    WaitReady(u32),
    Acknowledge(Result<Option<InterruptStatus>, DeviceError>),
    Other,
}

/// Calls the method that the next bytes say.
pub fn call<R: Registers>(device: &Ivshmem<R>, input: &mut Input<'_>) -> Call {
    match input.take::<u8>() % 12 {
        0 => return Call::Position(shown(device.position())),
        1 => {
            let (peer, vector) = (PeerId(input.take()), VectorIndex(input.take()));
            return Call::Ring(peer, vector, shown(device.ring(peer, vector)));
        }
        2 => {
            let rounds = u32::from(input.take::<u8>() % 8);
            let mut gone_on = 0;
            let _ = shown(device.wait_ready(|| {
                let go_on = gone_on < rounds;
                gone_on += u32::from(go_on);
                go_on
            }));
            return Call::WaitReady(gone_on);
        }
        3 => return Call::Acknowledge(shown(device.intx().map(|intx| intx.acknowledge()))),
        4 => {
            if let Poll::Ready(result) = device.poll_ready() {
                let _ = shown(result);
            }
        }
        5 => set_line(device, input),
        6 => {
            let vector = VectorIndex(input.take::<u8>().into());
            let message = MsiMessage::x86(input.take(), input.take());
            let set = |message| on_table(device, |table| table.set_message(vector, message));
            message.map(set);
        }
        7..=10 => change_vector(device, input),
        _ => memory(device, input),
    }
    Call::Other
}

fn set_line<R: Registers>(device: &Ivshmem<R>, input: &mut Input<'_>) {
    let Ok(intx) = shown(device.intx()) else {
        return;
    };
    match input.take::<u8>() % 4 {
        0 => intx.enable(),
        1 => intx.disable(),
        2 => intx.set_mask(intx.mask()),
        _ => intx.raise(InterruptStatus::from_bits_retain(input.take())),
    }
}

fn change_vector<R: Registers>(device: &Ivshmem<R>, input: &mut Input<'_>) {
    let how = input.take::<u8>();
    let vector = VectorIndex(input.take());
    on_table(device, |table| match how % 5 {
        0 => table.mask(vector),
        1 => table.unmask(vector),
        2 => table.clear_message(vector),
        3 => table.is_masked(vector).map(drop),
        _ => table.is_pending(vector).map(drop),
    });
}

fn on_table<R: Registers>(
    device: &Ivshmem<R>,
    change: impl FnOnce(&ivshmem::MsixTable<R>) -> Result<(), VectorError>,
) {
    if let Ok(table) = shown(device.msix()) {
        let _ = shown(change(table));
    }
}

fn memory<R: Registers>(device: &Ivshmem<R>, input: &mut Input<'_>) {
    // Near the end, whatever the length is, or anywhere.
    let memory = device.memory();
    let distance = usize::from(input.take::<u8>());
    let offset = match input.take::<u8>() % 3 {
        0 => memory.len().wrapping_sub(distance),
        1 => distance,
        _ => input.take::<u64>() as usize,
    };
    let len = usize::from(input.take::<u8>());
    let mut bytes = [0; 256];
    let inside = offset
        .checked_add(len)
        .is_some_and(|end| end <= memory.len());
    let read = shown(memory.read(offset, &mut bytes[..len]));
    assert_eq!(read.is_ok(), inside, "{len} bytes at {offset:#x}");
    let written = shown(memory.write(offset, &bytes[..len]));
    assert_eq!(written.is_ok(), inside, "{len} bytes at {offset:#x}");
    let filled = memory.fill(offset, len, 0x5a);
    assert_eq!(filled.is_ok(), inside, "{len} bytes at {offset:#x}");
    let _ = shown(memory.atomic_u32(offset));
    let _ = shown(memory.atomic_u64(offset));
}

/// Formats an error, which must not fail either.
pub fn shown<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, E> {
    if let Err(error) = &result {
        assert!(!error.to_string().is_empty());
    }
    result
}
