// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must compile and what errors say: the device in a `static`, types nameable, foreign registers; and the register semantics.

use std::cell::RefCell;
use std::sync::OnceLock;

use ivshmem::{
    Attached, DeviceError, InterruptBits, Ivshmem, MsiMessage, MsixTable, Parts, PeerId, Registers,
    SharedMemory, VectorError, VectorIndex,
};

/// A kernel keeps the device in a static and uses it from everywhere.
static DEVICE: OnceLock<Attached> = OnceLock::new();

/// Registers that a kernel reaches without pointers.
#[derive(Default)]
struct Words(RefCell<Vec<u32>>);

impl Words {
    fn new(len: usize) -> Self {
        Self(RefCell::new(vec![0; len]))
    }
}

impl Registers for Words {
    fn read(&self, offset: usize) -> u32 {
        self.0.borrow()[offset / 4]
    }

    fn write(&self, offset: usize, value: u32) {
        self.0.borrow_mut()[offset / 4] = value;
    }
}

fn device<'a>(registers: &'a Words, revision: u8, msix: Option<&'a Words>) -> Ivshmem<&'a Words> {
    let memory = Box::leak(Box::new([0_u64; 8]));
    let base = std::ptr::NonNull::from(memory).cast();
    // SAFETY: leaked, so valid for ever, and referenced nowhere else.
    let shared_memory = unsafe { SharedMemory::new(base, 64) };
    let parts = Parts {
        revision,
        registers,
        shared_memory,
        msix: msix.map(|words| MsixTable::new(words, words, 2)),
    };
    // SAFETY: a device made of ordinary memory.
    unsafe { Ivshmem::new(parts) }
}

#[test]
fn the_device_can_be_static_and_shared() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&DEVICE);
    assert!(DEVICE.get().is_none());
}

#[test]
fn position_tells_not_ready_from_nonsense() {
    let registers = Words::new(4);
    let table = Words::new(8);
    let device = device(&registers, 1, Some(&table));
    for (raw, position) in [
        (0, Ok(PeerId(0))),
        (65535, Ok(PeerId(65535))),
        (65536, Err(DeviceError::BadPosition { value: 65536 })),
        (!0, Err(DeviceError::NotReady)),
    ] {
        registers.write(8, raw);
        assert_eq!(device.position(), position);
    }
}

#[test]
fn registers_are_where_the_specification_has_them() {
    let registers = Words::new(4);
    let device = device(&registers, 0, None);
    device.set_interrupt_mask(InterruptBits::all());
    assert_eq!(registers.read(0), !0);
    registers.write(4, 2);
    assert_eq!(
        device.take_interrupt_status(),
        InterruptBits::from_bits_retain(2),
        "bits without a name are kept"
    );
    device.set_interrupt_status(InterruptBits::PEER);
    assert_eq!(registers.read(4), 1);
    assert_eq!(device.interrupt_mask(), InterruptBits::all());
    device.ring(PeerId(0xffff), VectorIndex(255)).unwrap();
    assert_eq!(registers.read(12), 0xffff_00ff);
    assert_eq!(
        device.ring(PeerId(1), VectorIndex(256)),
        Err(DeviceError::VectorTooLarge {
            vector: VectorIndex(256)
        })
    );
    assert_eq!(registers.read(12), 0xffff_00ff, "nothing was rung");
}

#[test]
fn a_vector_is_never_unmasked_without_a_message() {
    let registers = Words::new(4);
    let table = Words::new(8);
    let device = device(&registers, 1, Some(&table));
    let msix = device.msix().unwrap();
    let vector = VectorIndex(1);
    table.write(0x1c, 0x100);
    assert_eq!(msix.unmask(vector), Err(VectorError::NoMessage { vector }));
    msix.set_message(vector, MsiMessage::x86(2, 0x41)).unwrap();
    assert_eq!(msix.is_masked(vector), Ok(true));
    assert_eq!(table.read(0x10), 0xfee0_2000);
    assert_eq!(table.read(0x18), 0x41);
    msix.unmask(vector).unwrap();
    assert_eq!(table.read(0x1c), 0x100, "reserved bits survive");
    msix.mask(vector).unwrap();
    assert_eq!(table.read(0x1c), 0x101);
    msix.clear_message(vector).unwrap();
    assert_eq!(msix.unmask(vector), Err(VectorError::NoMessage { vector }));
    let beyond = VectorIndex(2);
    let refused = VectorError::NoSuchVector {
        vector: beyond,
        vectors: 2,
    };
    assert_eq!(msix.unmask(beyond), Err(refused));
    assert_eq!(msix.is_pending(beyond), Err(refused));
}

#[test]
fn pending_bits_are_found_in_the_second_word_too() {
    let table = Words::new(16 * 4);
    let pending = Words::new(4);
    let msix = MsixTable::new(&table, &pending, 16);
    pending.write(0, 1 << 15);
    assert_eq!(msix.is_pending(VectorIndex(15)), Ok(true));
    assert_eq!(msix.is_pending(VectorIndex(14)), Ok(false));
    let table = Words::new(64 * 4);
    let msix = MsixTable::new(&table, &pending, 64);
    pending.write(4, 1 << 31);
    assert_eq!(msix.is_pending(VectorIndex(63)), Ok(true));
    assert_eq!(msix.is_pending(VectorIndex(31)), Ok(false));
}
