// SPDX-License-Identifier: MIT OR Apache-2.0
//! Our own segments, and the task state with the stacks of the worst exceptions.
//!
//! An exception that may mean "the stack is unusable" gets a stack of its own
//! from the interrupt stack table, or its frame could not be printed. None of
//! those handlers returns, so a stack that is entered twice is no loss.

use spin::Once;
use x86_64::{
    instructions::{
        segmentation::{Segment, CS, DS, ES, SS},
        tables::load_tss,
    },
    structures::{
        gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector},
        tss::TaskStateSegment,
    },
};

use super::stack::GuardedStack;

const STACK_BYTES: usize = 32 * 1024;

/// The exceptions with a stack of their own, each with its index in the interrupt stack
/// table: NMI, double fault, stack fault, page fault, machine check.
const OWN_STACKS: [(u8, u16); 5] = [(2, 0), (8, 1), (12, 2), (14, 3), (18, 4)];

/// The stacks in the order of their indexes in the interrupt stack table.
pub static STACKS: [GuardedStack<STACK_BYTES>; OWN_STACKS.len()] =
    [const { GuardedStack::new() }; OWN_STACKS.len()];

static TASK_STATE: Once<TaskStateSegment> = Once::new();
static TABLE: Once<Selectors> = Once::new();

struct Selectors {
    table: GlobalDescriptorTable,
    code: SegmentSelector,
    data: SegmentSelector,
    task_state: SegmentSelector,
}

/// Returns the index in the interrupt stack table that `vector` uses, if any.
pub fn stack_index(vector: u8) -> Option<u16> {
    OWN_STACKS
        .iter()
        .find(|(owner, _)| *owner == vector)
        .map(|(_, index)| *index)
}

/// Replaces the segments of the boot code by our own.
pub fn init() {
    let task_state = TASK_STATE.call_once(|| {
        let mut task_state = TaskStateSegment::new();
        // By value: the structure is packed, so its fields cannot be borrowed.
        let mut tops = task_state.interrupt_stack_table;
        for (top, stack) in tops.iter_mut().zip(&STACKS) {
            *top = stack.top();
        }
        task_state.interrupt_stack_table = tops;
        task_state
    });
    let selectors = TABLE.call_once(|| {
        let mut table = GlobalDescriptorTable::new();
        let code = table.append(Descriptor::kernel_code_segment());
        let data = table.append(Descriptor::kernel_data_segment());
        let task_state = table.append(Descriptor::tss_segment(task_state));
        Selectors {
            table,
            code,
            data,
            task_state,
        }
    });
    selectors.table.load();
    // SAFETY: the selector is that of a 64-bit ring 0 code segment in the loaded table.
    unsafe { CS::set_reg(selectors.code) };
    // SAFETY: the selector is that of a writable data segment in the loaded table.
    unsafe { SS::set_reg(selectors.data) };
    // SAFETY: as for `SS`.
    unsafe { DS::set_reg(selectors.data) };
    // SAFETY: as for `SS`.
    unsafe { ES::set_reg(selectors.data) };
    // SAFETY: the selector is that of a task state that is `'static` and not yet in use.
    unsafe { load_tss(selectors.task_state) };
}
