// SPDX-License-Identifier: MIT OR Apache-2.0
//! The step that saves a device and loads it again, as it was or with a change.

use ivshmem_device::{Bar, State, StateError};

use super::machine::Machine;

/// The most bytes of a state.
const MAX_STATE: usize = 33_312;

/// Saves the device and loads that into it, with the bits of `change` inverted in the byte `at` of it.
pub fn check(machine: &mut Machine, at: u16, change: u8) {
    let (device, host) = (&mut machine.device, &mut machine.host);
    let Ok(state) = device.save().map_err(check_error) else {
        return;
    };
    let mut bytes = state.to_bytes();
    assert!(bytes.len() <= MAX_STATE);
    let at = usize::from(at) % bytes.len();
    bytes[at] ^= change;
    // The last byte may also be missing.
    let end = bytes.len() - usize::from(change == 0xff);
    let changed = State::from_bytes(&bytes[..end]).map_err(check_error);
    if change == 0 {
        assert_eq!(changed.as_ref(), Ok(&state));
    }
    let before = (host.line, host.line_changes, host.routes.clone());
    let loaded = changed.and_then(|state| device.load(&state, host).map_err(check_error));
    match loaded {
        Ok(()) => {
            assert!(end == bytes.len(), "a state without its end is loaded");
            // Where MSI-X takes the place of the registers, these are not saved, and with them goes an interrupt.
            let has_registers = !(machine.has_line() && machine.bar_len(Bar::Msix) != 0);
            let again = machine.device.save().map(|state| state.to_bytes());
            let same = again == Ok(bytes) || change != 0 || !has_registers;
            assert!(same, "what is loaded is not what was saved");
        }
        Err(_) => {
            assert!(change != 0, "what was saved is not loaded");
            let after = (host.line, host.line_changes, host.routes.clone());
            assert_eq!(before, after, "a refused state changes something");
            assert_eq!(host.messages, []);
            assert_eq!(device.save().as_ref(), Ok(&state));
        }
    }
}

fn check_error(error: StateError) -> StateError {
    assert!(!error.to_string().is_empty());
    error
}
