// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who serves which interrupt vector, and what has arrived.
//!
//! Message interrupts are numbered by *slots*: slot n has the vector 0x40 + n.
//! A handler counts, calls the function registered for its slot if there is
//! one, and ends the interrupt; nothing in here prints, unless the interrupt was not
//! expected at all, which ends the run.

use core::{
    fmt, mem, ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

use crate::arch::{apic, exceptions, stubs::Frame};

/// The number of slots for message interrupts.
pub const SLOTS: u8 = 0xa0;

/// The vector of slot 0.
const FIRST_SLOT_VECTOR: u8 = 0x40;

/// The vector behind that of the last slot.
const SLOTS_END_VECTOR: u8 = FIRST_SLOT_VECTOR + SLOTS;

/// The vector of the local APIC timer's periodic tick.
pub const TICK_VECTOR: u8 = 0xf0;

/// The vector of the local APIC's spurious interrupt.
pub const SPURIOUS_VECTOR: u8 = 0xff;

static COUNTS: [AtomicU32; SLOTS as usize] = [const { AtomicU32::new(0) }; SLOTS as usize];

/// Invariant: each is null or was a `fn(u8)`.
static HANDLERS: [AtomicPtr<()>; SLOTS as usize] =
    [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS as usize];

/// Invariant: at most `SLOTS`.
static ALLOCATED: AtomicU32 = AtomicU32::new(0);
static TICKS: AtomicU32 = AtomicU32::new(0);
static SPURIOUS: AtomicU32 = AtomicU32::new(0);

/// Takes `count` slots in a row, for good, and returns the first one.
///
/// # Errors
///
/// - [`NoSlots`]: fewer are left.
pub fn allocate(count: u8) -> Result<u8, NoSlots> {
    ALLOCATED
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            taken
                .checked_add(count.into())
                .filter(|taken| *taken <= SLOTS.into())
        })
        .map(|first| first as u8)
        .map_err(|taken| NoSlots {
            asked: count,
            left: SLOTS - taken as u8,
        })
}

/// Returns the vector of `slot`, or nothing if no such slot is allocated.
pub fn vector(slot: u8) -> Option<u8> {
    (u32::from(slot) < ALLOCATED.load(Ordering::Relaxed)).then(|| FIRST_SLOT_VECTOR + slot)
}

/// Returns how often the interrupt of `slot` has arrived, modulo 2 to the 32; 0 for a slot
/// that there is not.
pub fn count(slot: u8) -> u32 {
    COUNTS
        .get(usize::from(slot))
        .map_or(0, |count| count.load(Ordering::Acquire))
}

/// Has `handler` called with the slot's number at each interrupt of `slot`, after it was
/// counted, with interrupts off. It must be short, and must not print.
pub fn set_handler(slot: u8, handler: fn(u8)) {
    if let Some(place) = HANDLERS.get(usize::from(slot)) {
        place.store(handler as *mut (), Ordering::Release);
    }
}

/// Returns how often the periodic tick has come, modulo 2 to the 32.
pub fn ticks() -> u32 {
    TICKS.load(Ordering::Relaxed)
}

/// Returns how often the local APIC has reported a spurious interrupt.
pub fn spurious() -> u32 {
    SPURIOUS.load(Ordering::Relaxed)
}

/// Handles every interrupt and exception; called by the stubs alone.
pub extern "C" fn dispatch(frame: &Frame) {
    match frame.vector as u8 {
        vector @ FIRST_SLOT_VECTOR..SLOTS_END_VECTOR => {
            let slot = vector - FIRST_SLOT_VECTOR;
            if u32::from(slot) >= ALLOCATED.load(Ordering::Relaxed) {
                exceptions::fatal(frame);
            }
            arrive(slot);
            apic::end_of_interrupt();
        }
        TICK_VECTOR => {
            TICKS.fetch_add(1, Ordering::Relaxed);
            apic::end_of_interrupt();
        }
        // The APIC expects no end of a spurious interrupt: none is in service.
        SPURIOUS_VECTOR => {
            SPURIOUS.fetch_add(1, Ordering::Relaxed);
        }
        _ => exceptions::fatal(frame),
    }
}

fn arrive(slot: u8) {
    COUNTS[usize::from(slot)].fetch_add(1, Ordering::Release);
    let handler = HANDLERS[usize::from(slot)].load(Ordering::Acquire);
    if !handler.is_null() {
        // SAFETY: what is not null was stored by `set_handler` from a `fn(u8)`.
        let handler = unsafe { mem::transmute::<*mut (), fn(u8)>(handler) };
        handler(slot);
    }
}

/// Too few slots are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSlots {
    asked: u8,
    left: u8,
}

impl fmt::Display for NoSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} interrupt vectors were asked for, and {} of {SLOTS} are left",
            self.asked, self.left
        )
    }
}
