// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds of a device whatever happens to it, and what each step that writes may change.

use ivshmem_device::{Bar, Generation, Level};

use super::image::{Image, CAPABILITY, CONFIG};
use super::machine::Machine;
use super::steps::Step;

const REGISTERS_LEN: u64 = 256;
pub const INTERRUPT_MASK: u64 = 0;
pub const INTERRUPT_STATUS: u64 = 4;
const POSITION: u64 = 8;
const DOORBELL: u64 = 0xc;

/// Checks a step that has been taken.
pub fn check(machine: &mut Machine, step: &Step, before: &Image, after: &Image) {
    always(machine, after);
    let messages = machine.host.messages.len();
    match step {
        Step::Event { vector, counter } => event(machine, *vector, *counter, before, after),
        Step::Reset => reset(machine, before, after),
        Step::WriteConfig { .. } | Step::WriteBar { .. } => {
            // Whatever is no longer pending was sent, if the function may send.
            assert!(after.pending() <= before.pending(), "{step:?}");
            let sent = before.pending() - after.pending();
            let expected = if after.is_bus_master() { sent } else { 0 };
            assert_eq!(messages, expected, "{step:?}");
            written(machine, step, before, after);
        }
        Step::ReadBar { .. } => {
            // Reading may clear the status, which is seen in configuration space.
            assert!(before.msix == after.msix, "{step:?}");
            assert_eq!(messages, 0, "{step:?}");
        }
        Step::Load { .. } => assert!(messages <= usize::from(after.vectors())),
        _ => {
            assert!(before == after, "{step:?}");
            assert_eq!(messages, 0, "{step:?}");
        }
    }
    if !matches!(
        step,
        Step::WriteBar {
            bar: Bar::Registers,
            ..
        }
    ) {
        assert!(machine.host.rung.is_empty(), "{step:?} rings");
    }
}

/// Checks what holds at any moment.
fn always(machine: &mut Machine, image: &Image) {
    let first = machine.first.as_ref().expect("a realized device was seen");
    for at in (0..CONFIG).filter(|&at| !is_bar(at)) {
        let changed = (image.config[at] ^ first.config[at]) & !writable(at, image.msix.is_some());
        assert_eq!(changed, 0, "byte {at:#x} of configuration space");
    }
    bars(machine, image);
    let (line, told) = (machine.device.line(), machine.host.line);
    assert_eq!(line, told, "the line");
    assert_eq!(line == Level::High, image.line(), "the line");
    assert!(machine.has_line() || !image.is_asserted());
    let mut pending = 0;
    for vector in 0..image.vectors() {
        let route = image.route(vector);
        assert_eq!(machine.host.owed, None, "a route was not told");
        let told = machine.host.routes.get(&vector).copied();
        assert_eq!(route, told, "the route of {vector}");
        let waits = image.is_pending(vector);
        assert!(!waits || route.is_none(), "{vector} is pending and live");
        pending += usize::from(waits);
    }
    assert_eq!(pending, image.pending(), "bits of no vector are pending");
    assert_eq!(register(machine, DOORBELL), 0);
    let id = machine.device.id();
    assert_eq!(register(machine, POSITION), id.map_or(!0, u32::from));
}

const fn is_bar(at: usize) -> bool {
    matches!(at, 0x10..=0x27)
}

/// Returns the bits of a byte of configuration space that change, BARs aside.
const fn writable(at: usize, has_msix: bool) -> u8 {
    match at {
        // Command: I/O, memory, bus master, SERR, INTx disable.
        0x04 => 0x07,
        0x05 => 0x05,
        // Status: interrupt.
        0x06 => 0x08,
        // Cache line size, interrupt line.
        0x0c | 0x3c => 0xff,
        // Enable and function mask.
        0x43 if has_msix => 0xc0,
        0x40..=0x4b if has_msix => 0,
        0x40.. => 0xff,
        _ => 0,
    }
}

/// Checks the BARs' own bits, and which bus addresses each of them claims.
fn bars(machine: &Machine, image: &Image) {
    for bar in Bar::ALL {
        let offset = 0x10 + 4 * bar.index();
        let low = image.dword(offset);
        let Some(size) = machine.device.bar_len(bar) else {
            assert_eq!(low, 0, "{bar:?} is not there");
            continue;
        };
        let flags = match bar {
            Bar::Memory if !machine.has_line() || machine.properties.use64 => 0xc,
            Bar::Memory => 0x8,
            _ => 0,
        };
        assert_eq!(low & (size - 1) as u32 | low & 0xf, flags, "{bar:?}");
        if flags == 0xc {
            let high = image.dword(offset + 4);
            assert_eq!(high & ((size - 1) >> 32) as u32, 0, "{bar:?}");
        }
        let start = address(image, bar);
        for near in [start.wrapping_sub(1), start, start.wrapping_add(size)] {
            decode(machine, image, near);
        }
        decode(machine, image, start.wrapping_add(size - 1));
    }
    assert_eq!(image.dword(0x20) | image.dword(0x24), 0, "bars 4 and 5");
}

fn address(image: &Image, bar: Bar) -> u64 {
    let offset = 0x10 + 4 * bar.index();
    let low = image.dword(offset);
    let high = if low & 0x4 == 0 {
        0
    } else {
        image.dword(offset + 4)
    };
    u64::from(high) << 32 | u64::from(low & !0xf)
}

/// Checks which BAR claims `at`: the first that reaches there, of those that do not end where their addresses do.
pub fn decode(machine: &Machine, image: &Image, at: u64) {
    let expected = Bar::ALL.into_iter().find_map(|bar| {
        let start = address(image, bar);
        let last = start.checked_add(machine.device.bar_len(bar)?.checked_sub(1)?)?;
        let is64 = image.dword(0x10 + 4 * bar.index()) & 0x4 != 0;
        let limit = if is64 { u64::MAX } else { u32::MAX.into() };
        let claims = image.decodes() && start != 0 && last < limit;
        (claims && (start..=last).contains(&at)).then(|| (bar, at - start))
    });
    assert_eq!(machine.device.decode(at), expected, "address {at:#x}");
}

/// Reads a register other than the status, which changes nothing.
pub fn register(machine: &mut Machine, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    let (device, host) = (&mut machine.device, &mut machine.host);
    device.read_bar(Bar::Registers, offset, &mut bytes, host);
    u32::from_le_bytes(bytes)
}

/// Checks what an event did.
fn event(machine: &mut Machine, vector: u16, counter: u64, before: &Image, after: &Image) {
    let messages = std::mem::take(&mut machine.host.messages);
    if before.msix.is_none() {
        if machine.has_line() {
            let mask = register(machine, INTERRUPT_MASK);
            let asserted = mask & u32::from(counter as u8) != 0;
            assert_eq!(after.is_asserted(), asserted, "event {counter}");
        } else {
            assert!(before == after);
        }
        assert_eq!(messages, []);
        return;
    }
    let route = before.route(vector);
    let sent = route.filter(|_| before.is_bus_master());
    assert_eq!(messages, sent.as_slice(), "event of {vector}");
    let modern = machine.properties.generation == Generation::Modern;
    let lost = modern && !before.is_msix_enabled();
    let waits = route.is_none() && !lost && vector < before.vectors();
    if waits {
        assert!(after.is_pending(vector), "event of {vector}");
    }
    let more = usize::from(waits && !before.is_pending(vector));
    assert_eq!(after.pending(), before.pending() + more);
    assert!(before.config == after.config);
    machine.host.messages = messages;
}

/// Checks what a reset did.
fn reset(machine: &mut Machine, before: &Image, after: &Image) {
    assert_eq!(machine.host.messages, []);
    assert_eq!(after.pending(), 0);
    assert!(!after.is_asserted() && !after.is_msix_enabled() && !after.decodes());
    assert!(Bar::ALL.iter().all(|&bar| address(after, bar) == 0));
    let storage = if after.msix.is_some() {
        CAPABILITY + 12
    } else {
        CAPABILITY
    };
    assert_eq!(before.config[storage..], after.config[storage..]);
    if !machine.has_line() {
        assert_eq!(register(machine, INTERRUPT_MASK), 0);
    }
    assert_eq!(register(machine, INTERRUPT_STATUS), 0);
}

/// Checks what a write did, where that is simple to say.
fn written(machine: &mut Machine, step: &Step, before: &Image, after: &Image) {
    match step {
        Step::WriteConfig { offset, bytes } => {
            assert!(before.table() == after.table(), "{step:?}");
            let range = usize::from(*offset)..usize::from(*offset) + bytes.len();
            for at in (0..CONFIG).filter(|at| !range.contains(at)) {
                assert_eq!(before.config[at], after.config[at], "{at:#x} by {step:?}");
            }
        }
        Step::WriteBar {
            bar: Bar::Registers,
            offset,
            bytes,
        } => {
            assert!(before.msix == after.msix, "{step:?}");
            rung(machine, *offset, bytes);
            if let (INTERRUPT_MASK, Ok(word)) = (*offset, bytes.as_slice().try_into()) {
                assert_eq!(register(machine, INTERRUPT_MASK), u32::from_le_bytes(word));
            }
        }
        Step::WriteBar {
            bar: Bar::Msix,
            offset,
            ..
        } => {
            assert!(before.config == after.config, "{step:?}");
            if *offset >= u64::from(after.vectors()) * 16 {
                assert!(before.msix == after.msix, "{step:?} behind the table");
            }
        }
        Step::WriteBar {
            bar: Bar::Memory,
            offset,
            bytes,
        } => {
            assert!(before == after, "{step:?}");
            let end = offset.checked_add(bytes.len() as u64);
            let inside = end.is_some_and(|end| end <= machine.bar_len(Bar::Memory));
            let is_there = machine.device.memory().is_some();
            if inside && is_there && bytes.len() <= 64 {
                let mut read = vec![0; bytes.len()];
                let (device, host) = (&mut machine.device, &mut machine.host);
                device.read_bar(Bar::Memory, *offset, &mut read, host);
                assert_eq!(read, *bytes, "{step:?}");
            }
        }
        _ => {}
    }
}

/// Checks what a write to the registers rang.
fn rung(machine: &Machine, offset: u64, bytes: &[u8]) {
    let rung = &machine.host.rung;
    let end = offset.saturating_add(bytes.len() as u64);
    let reaches = offset < DOORBELL + 4 && end > DOORBELL;
    assert!(reaches || rung.is_empty(), "{bytes:?} at {offset:#x} rings");
    assert!(offset >= REGISTERS_LEN || rung.len() <= bytes.len());
    let (DOORBELL, Ok(word)) = (offset, bytes.try_into()) else {
        return;
    };
    let value = u32::from_le_bytes(word);
    for serial in rung {
        let number = machine.stream.number(*serial);
        assert_eq!(number, Some(i64::from(value >> 16)), "{value:#x} rings it");
    }
    // What the hypervisor may do instead of the device is what the device does.
    if let Some(serial) = machine.host.attached.get(&value) {
        assert_eq!(*rung, [*serial], "{value:#x}");
    }
}
