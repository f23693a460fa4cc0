// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must compile and what errors say: the device in a `static`, types nameable, foreign registers; and what registers mean.

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use std::task::Poll;

use ivshmem::{
    Attached, DeviceError, Feature, Flavour, InterruptStatus, Interrupts, Ivshmem, MsiMessage,
    MsixTable, Parts, PeerId, Quirks, Registers, SharedMemory, VectorError, VectorIndex,
};

/// A kernel keeps the device in a static and uses it from everywhere.
static DEVICE: OnceLock<Attached> = OnceLock::new();

/// Registers that a kernel reaches without pointers.
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

fn device<R: Registers>(registers: R, flavour: Flavour, interrupts: Interrupts<R>) -> Ivshmem<R> {
    let memory = Box::leak(Box::new([0_u64; 8]));
    let base = std::ptr::NonNull::from(memory).cast();
    // SAFETY: leaked, so valid for ever, and referenced nowhere else.
    let shared_memory = unsafe { SharedMemory::new(base, 64) };
    let parts = Parts {
        flavour,
        registers: Some(registers),
        shared_memory,
        interrupts,
        quirks: Quirks::empty(),
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
fn position_tells_not_ready_from_gone_and_nonsense() {
    let registers = Words::new(4);
    let device = device(&registers, Flavour::Doorbell, Interrupts::Kernel);
    for (position, doorbell, expected) in [
        (0, 0, Ok(PeerId(0))),
        (65535, 0, Ok(PeerId(65535))),
        (65536, 0, Err(DeviceError::BadPosition { value: 65536 })),
        (!0, 0, Err(DeviceError::NotReady)),
        (!0, !0, Err(DeviceError::Gone)),
    ] {
        registers.write(8, position);
        registers.write(12, doorbell);
        assert_eq!(device.position(), expected);
    }
}

#[test]
fn a_kernel_that_programs_vectors_itself_has_id_and_doorbell() {
    let registers = Words::new(4);
    registers.write(8, 7);
    let device = device(&registers, Flavour::Doorbell, Interrupts::Kernel);
    assert_eq!(device.position(), Ok(PeerId(7)));
    device.ring(PeerId(0xffff), VectorIndex(255)).unwrap();
    assert_eq!(registers.read(12), 0xffff_00ff);
    let vector = VectorIndex(256);
    let refused = DeviceError::VectorTooLarge { vector };
    assert_eq!(device.ring(PeerId(1), vector), Err(refused));
    assert_eq!(registers.read(12), 0xffff_00ff, "nothing was rung");
    let lacks = DeviceError::Lacks {
        flavour: Flavour::Doorbell,
        feature: Feature::Msix,
    };
    assert_eq!(device.msix().map(drop), Err(lacks));
}

#[test]
fn flat_has_vector_0_only() {
    let registers = Words::new(4);
    registers.write(8, 3);
    let device = device(&registers, Flavour::Flat, Interrupts::Kernel);
    assert_eq!(device.position(), Ok(PeerId(3)));
    device.ring(PeerId(2), VectorIndex(0)).unwrap();
    assert_eq!(registers.read(12), 0x0002_0000);
    let vector = VectorIndex(1);
    let refused = DeviceError::VectorTooLarge { vector };
    assert_eq!(device.ring(PeerId(2), vector), Err(refused));
}

#[test]
fn revision_0_becomes_ready_while_the_guest_runs() {
    let registers = Words::new(4);
    registers.write(8, !0);
    let legacy = device(&registers, Flavour::Legacy, Interrupts::Line);
    assert_eq!(legacy.poll_ready(), Poll::Pending);
    let looks = Cell::new(0);
    let give_up = || {
        looks.set(looks.get() + 1);
        looks.get() < 5
    };
    assert_eq!(legacy.wait_ready(give_up), Err(DeviceError::NotReady));
    assert_eq!(looks.get(), 5);
    let arrive = || {
        registers.write(8, 2);
        true
    };
    assert_eq!(legacy.wait_ready(arrive), Ok(()));
    assert_eq!(legacy.position(), Ok(PeerId(2)));
    registers.write(8, !0);
    registers.write(12, !0);
    assert_eq!(legacy.wait_ready(|| true), Err(DeviceError::Gone));
    let modern = device(&registers, Flavour::Plain, Interrupts::None);
    assert_eq!(modern.poll_ready(), Poll::Ready(Ok(())));
}

#[test]
fn revision_0_does_not_ring_itself_where_there_may_be_no_server() {
    let registers = Words::new(4);
    let device = device(&registers, Flavour::Legacy, Interrupts::Line);
    let ring = |peer| device.ring(PeerId(peer), VectorIndex(0));
    assert_eq!(ring(0), Err(DeviceError::NoServer));
    assert_eq!(registers.read(12), 0, "nothing was rung");
    assert_eq!(ring(1), Ok(()));
    registers.write(8, 1);
    assert_eq!(ring(0), Ok(()));
}

/// Registers whose status clears when it is read.
struct StatusClears(Words);

impl Registers for StatusClears {
    fn read(&self, offset: usize) -> u32 {
        let value = self.0.read(offset);
        if offset == 4 {
            self.0.write(4, 0);
        }
        value
    }

    fn write(&self, offset: usize, value: u32) {
        self.0.write(offset, value);
    }
}

#[test]
fn the_line_is_acknowledged_by_reading_whatever_bits_are_set() {
    let registers = StatusClears(Words::new(4));
    let device = device(&registers, Flavour::Legacy, Interrupts::Line);
    let intx = device.intx().unwrap();
    intx.enable();
    assert_eq!(intx.mask(), InterruptStatus::all());
    assert_eq!(intx.acknowledge(), None, "another device on the line");
    // Two doorbells coalesced, as historic QEMU shows them.
    registers.write(4, 2);
    let bits = InterruptStatus::from_bits_retain(2);
    assert_eq!(intx.acknowledge(), Some(bits));
    assert_eq!(intx.acknowledge(), None);
    intx.raise(InterruptStatus::all());
    assert_eq!(intx.acknowledge(), Some(InterruptStatus::all()));
    registers.write(4, !0);
    registers.write(12, !0);
    assert_eq!(
        intx.acknowledge(),
        None,
        "a device that is gone raised nothing"
    );
    intx.disable();
    assert_eq!(registers.read(0), 0);
}

#[test]
fn a_vector_is_never_unmasked_without_a_message() {
    let table = Words::new(8);
    let msix = MsixTable::new(&table, &table, 2);
    let vector = VectorIndex(1);
    table.write(0x1c, 0x100);
    assert_eq!(msix.unmask(vector), Err(VectorError::NoMessage { vector }));
    let message = MsiMessage::x86(2, 0x41).unwrap();
    msix.set_message(vector, message).unwrap();
    assert_eq!(msix.is_masked(vector), Ok(true));
    assert_eq!(table.read(0x10), 0xfee0_2000);
    assert_eq!(table.read(0x18), 0x41);
    msix.unmask(vector).unwrap();
    assert_eq!(table.read(0x1c), 0x100, "reserved bits survive");
    msix.mask(vector).unwrap();
    assert_eq!(table.read(0x1c), 0x101);
    msix.clear_message(vector).unwrap();
    assert_eq!(msix.unmask(vector), Err(VectorError::NoMessage { vector }));
    // SAFETY: goes nowhere.
    let high = unsafe { MsiMessage::new(1 << 32, 0) }.unwrap();
    msix.set_message(vector, high).unwrap();
    assert_eq!(msix.unmask(vector), Ok(()), "the upper half counts, too");
    for word in [0x10, 0x14] {
        table.write(word, !0);
    }
    assert_eq!(msix.unmask(vector), Err(VectorError::Gone { vector }));
    let beyond = VectorIndex(2);
    let refused = VectorError::NoSuchVector {
        vector: beyond,
        vectors: 2,
    };
    assert_eq!(msix.unmask(beyond), Err(refused));
    assert_eq!(msix.is_pending(beyond), Err(refused));
}

#[test]
fn messages_that_no_interrupt_controller_takes_are_refused() {
    assert_eq!(MsiMessage::x86(0, 31), None, "an exception");
    assert!(MsiMessage::x86(0, 32).is_some());
    for address in [0, 0xfee0_0001, 0xfee0_0002] {
        // SAFETY: goes nowhere.
        assert_eq!(unsafe { MsiMessage::new(address, 0) }, None);
    }
}

#[test]
fn a_dropped_table_leaves_no_vector_live() {
    let table = Words::new(8);
    let msix = MsixTable::new(&table, &table, 2);
    for vector in [0, 1].map(VectorIndex) {
        let message = MsiMessage::x86(0, 0x40).unwrap();
        msix.set_message(vector, message).unwrap();
        msix.unmask(vector).unwrap();
    }
    drop(msix);
    for entry in [0, 0x10] {
        assert_eq!(table.read(entry), 0);
        assert_eq!(table.read(entry + 0xc) & 1, 1);
    }
}

thread_local! {
    /// The table that `Interrupted` registers belong to.
    static TABLE: Cell<Option<&'static MsixTable<Interrupted>>> = const { Cell::new(None) };
}

/// A table that an interrupt handler meets at each write, and wants to unmask.
struct Interrupted(Words);

impl Registers for Interrupted {
    fn read(&self, offset: usize) -> u32 {
        self.0.read(offset)
    }

    fn write(&self, offset: usize, value: u32) {
        self.0.write(offset, value);
        if let Some(table) = TABLE.take() {
            let vector = VectorIndex(0);
            assert_eq!(table.unmask(vector), Err(VectorError::Busy { vector }));
            assert_eq!(table.mask(vector), Ok(()), "masking is always possible");
            TABLE.set(Some(table));
        }
    }
}

#[test]
fn a_handler_cannot_unmask_a_half_written_message() {
    let words = || Interrupted(Words::new(4));
    let table: &'static _ = Box::leak(Box::new(MsixTable::new(words(), words(), 1)));
    TABLE.set(Some(table));
    let vector = VectorIndex(0);
    let message = MsiMessage::x86(0, 0x40).unwrap();
    table.set_message(vector, message).unwrap();
    table.clear_message(vector).unwrap();
    TABLE.set(None);
    table.set_message(vector, message).unwrap();
    assert_eq!(table.unmask(vector), Ok(()));
}

#[test]
fn pending_bits_are_found_in_the_second_word_too() {
    let pending = Words::new(4);
    let table = Words::new(16 * 4);
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
