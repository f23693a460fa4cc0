// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine of arbitrary configuration spaces: enumeration, sizing, probe, attach and detach, assignment.

use ivshmem::pci::{
    assign, assign_behind, find, probe, AssignError, BarKind, Buses, ConfigSpace, Function,
};
use ivshmem::{attach_with, Attached};

use crate::bus::FuzzBus;
use crate::device::{call, shown};
use crate::input::Input;
use crate::kernel::FuzzKernel;
use crate::machine::{Machine, Plan, MAX_FUNCTIONS};

/// Buses that are looked at: the root and one behind each function.
const BUSES: usize = MAX_FUNCTIONS + 1;
/// Reads where there may be a function: one for each device, and for functions 1 to 7 of those that say so.
const PLACES: usize = BUSES * 32 + MAX_FUNCTIONS * 7;
/// Accesses of an enumeration: besides, some words of the header of each function.
const MAX_ENUMERATION: usize = PLACES + MAX_FUNCTIONS * 4;
/// Accesses of sizing: the class and the kind of header, and 15 for each BAR.
const MAX_SIZING: usize = 2 + 6 * 15;
/// Accesses of a walk over capabilities: 48 entries, and where they start.
const MAX_CAPABILITIES: usize = 3 + 48;
const MAX_PROBE: usize = MAX_SIZING + MAX_CAPABILITIES + 8;
/// Accesses of attaching besides probing.
const MAX_ATTACH: usize = MAX_PROBE + 24;
const MAX_DETACH: usize = 8;
/// Accesses of an assignment. Each bus is gone over twice, and once for each size there is of 6 BARs of each
/// function; each time its functions are sized, and some are placed, connected and turned on.
const MAX_ASSIGN: usize = 2 * MAX_ENUMERATION
    + (2 * BUSES + 6 * MAX_FUNCTIONS) * (32 + MAX_FUNCTIONS * (7 + MAX_SIZING + 40));
const MAX_CALLS: usize = 16;

/// How far an input got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Functions that were found at first.
    pub functions: usize,
    /// Devices that were attached, before and after assignment.
    pub attached: usize,
    /// Whether everything was given an address.
    pub assigned: bool,
}

/// Does everything with the machine that `data` describes.
///
/// # Panics
///
/// If a property does not hold.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let Machine { bus, plan, honest } = Machine::take(&mut input);
    let space = bus.space();
    let functions = look_around(&bus, &space);
    let mut reached = Reached {
        functions: functions.len(),
        attached: attach_all(&bus, &space, &plan, &mut input),
        assigned: false,
    };
    for function in &functions {
        let before = bus.words();
        let behind = bus.within(MAX_ASSIGN, || assign_behind(function));
        if let Err(AssignError::AlreadyAssigned { .. } | AssignError::NotABridge { .. }) =
            shown(behind)
        {
            bus.assert_unchanged(&before, "a refused assignment");
        }
    }
    let before = bus.words();
    let outcome = bus.within(MAX_ASSIGN, || assign(&space, Buses::ALL, &plan.windows));
    match shown(outcome) {
        Err(AssignError::AlreadyAssigned { .. }) => {
            bus.assert_unchanged(&before, "a refused assignment");
        }
        _ if honest => check_assigned(&space, &plan),
        _ => {}
    }
    reached.assigned = outcome.is_ok();
    reached.attached += attach_all(&bus, &space, &plan, &mut input);
    reached
}

/// Enumerates, and looks at everything that a function tells of itself.
fn look_around<'c>(
    bus: &FuzzBus,
    space: &'c ConfigSpace<&'c FuzzBus>,
) -> Vec<Function<'c, &'c FuzzBus>> {
    let before = bus.words();
    let all: Vec<_> = bus.within(MAX_ENUMERATION, || space.functions().collect());
    let functions: Vec<_> = all
        .into_iter()
        .filter_map(|item| shown(item).ok())
        .collect();
    for function in &functions {
        bus.within(MAX_SIZING, || {
            for bar in function.bars() {
                let _ = shown(bar);
            }
        });
        for index in 0..8 {
            let _ = bus.within(MAX_SIZING, || shown(function.bar(index)));
        }
        bus.within(MAX_CAPABILITIES, || {
            for capability in function.capabilities() {
                let _ = shown(capability);
            }
        });
        let _ = bus.within(MAX_CAPABILITIES + 3, || shown(function.msix()));
        let _ = bus.within(MAX_PROBE, || shown(probe(function)));
    }
    bus.assert_unchanged(&before, "looking around");
    functions
}

/// Attaches each device that can be, calls its methods, and gives it back. Returns how many there were.
fn attach_all<'c>(
    bus: &FuzzBus,
    space: &'c ConfigSpace<&'c FuzzBus>,
    plan: &Plan,
    input: &mut Input<'_>,
) -> usize {
    let devices: Vec<_> = bus.within(MAX_ENUMERATION, || find(space).collect());
    let mut attached = 0;
    for function in &devices {
        let mut kernel = FuzzKernel::new(*plan);
        let before = bus.words();
        let outcome = bus.within(MAX_ATTACH, || {
            attach_with(function, &mut kernel, plan.quirks)
        });
        match outcome {
            Ok(device) => {
                attached += 1;
                check_live(&device, &kernel);
                use_device(bus, &device, &devices, input);
                give_back(bus, device, function, &mut kernel, plan.dropped);
            }
            Err(error) => {
                let text = format!("{error:?}");
                assert_eq!(kernel.mapped(), 0, "mapped after {text}");
            }
        }
        if !plan.dropped {
            bus.assert_unchanged(&before, "attaching");
        }
    }
    attached
}

/// Checks that only vectors with a message are live.
fn check_live(device: &Attached, kernel: &FuzzKernel) {
    for_each_entry(device, kernel, |vector, [low, high, _, control]| {
        let message = low != 0 || high != 0;
        assert_eq!(message, kernel.has_message(vector), "vector {vector}");
        assert!(message || control & 1 != 0, "vector {vector} is live");
    });
}

fn use_device<'c>(
    bus: &FuzzBus,
    device: &Attached,
    functions: &[Function<'c, &'c FuzzBus>],
    input: &mut Input<'_>,
) {
    for _ in 0..input.take::<u8>() as usize % MAX_CALLS {
        // No call here goes to configuration space.
        bus.within(0, || call(device, input));
        let choice = usize::from(input.take::<u8>());
        // Often another device, which must be told apart.
        let function = &functions[choice / 4 % functions.len()];
        let _ = bus.within(3, || match choice % 4 {
            0 => shown(device.mask_all(function)),
            1 => shown(device.unmask_all(function)),
            2 => shown(device.ensure_present(function)),
            _ => Ok(()),
        });
    }
}

/// Detaches or drops the device, and checks that it is silent.
fn give_back<'c>(
    bus: &FuzzBus,
    device: Attached,
    function: &Function<'c, &'c FuzzBus>,
    kernel: &mut FuzzKernel,
    dropped: bool,
) {
    let msix = device.resources().msix;
    if dropped {
        bus.within(0, || drop(device));
    } else {
        // SAFETY: the same function and kernel as for attaching.
        bus.within(MAX_DETACH, || unsafe { device.detach(function, kernel) });
        assert_eq!(kernel.mapped(), 0, "mapped after detaching");
    }
    let Some(msix) = msix else {
        return;
    };
    for vector in 0..msix.capability.vectors {
        let [low, high, _, control] = entry(kernel, &msix, vector);
        assert_eq!((low, high, control & 1), (0, 0, 1), "vector {vector}");
    }
}

fn for_each_entry(device: &Attached, kernel: &FuzzKernel, check: impl Fn(u16, [u32; 4])) {
    if let Some(msix) = &device.resources().msix {
        for vector in 0..msix.capability.vectors {
            check(vector, entry(kernel, msix, vector));
        }
    }
}

/// Returns the four words of a vector in the MSI-X table.
fn entry(kernel: &FuzzKernel, msix: &ivshmem::pci::MsixResources, vector: u16) -> [u32; 4] {
    let at = u64::from(msix.capability.table.offset) + 16 * u64::from(vector);
    [0, 4, 8, 12].map(|word| kernel.word(msix.table_bar, at + word))
}

/// Checks that all that was given out lies in its window, and apart.
fn check_assigned(space: &ConfigSpace<&FuzzBus>, plan: &Plan) {
    let mut taken: Vec<(bool, u64, u64)> = Vec::new();
    let windows = &plan.windows;
    for function in space.functions().filter_map(Result::ok) {
        for bar in function.bars().flatten().filter(|bar| bar.address != 0) {
            let (start, end) = (bar.address, bar.address + bar.size);
            let io = bar.kind == BarKind::Io;
            let candidates = if io {
                [windows.io, None]
            } else {
                [Some(windows.memory32), windows.memory64]
            };
            let mut inside = candidates.iter().flatten();
            assert!(
                inside.any(|window| window.start <= start && end <= window.start + window.len),
                "{bar:x?} lies in no window"
            );
            assert_eq!(start % bar.size, 0, "{bar:x?} is not aligned");
            let apart = |&(other, first, last): &(bool, u64, u64)| {
                other != io || end <= first || last <= start
            };
            assert!(taken.iter().all(apart), "{bar:x?} overlaps");
            taken.push((io, start, end));
        }
    }
}
