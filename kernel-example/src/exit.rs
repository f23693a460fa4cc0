// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a run: one marker line, then QEMU's `isa-debug-exit`.

use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicU32, Ordering},
};

use x86_64::instructions::port::PortWriteOnly;

use crate::{arch::cpu, println, serial};

/// The port of `-device isa-debug-exit,iobase=0xf4,iosize=4`.
const DEBUG_EXIT_PORT: u16 = 0xf4;

/// QEMU exits with `(code << 1) | 1`: 33.
const PASS_CODE: u32 = 0x10;

/// QEMU exits with `(code << 1) | 1`: 35.
const FAIL_CODE: u32 = 0x11;

/// How many failures were reported, or begun to be.
static FAILURES: AtomicU32 = AtomicU32::new(0);

/// Ends the run with success: `== PASS` and QEMU's exit status 33.
pub fn pass() -> ! {
    println!("== PASS");
    serial::drain();
    leave(PASS_CODE)
}

/// Ends the run with `== FAIL` and `reason` on one line, and QEMU's exit status 35.
pub fn fail(reason: fmt::Arguments<'_>) -> ! {
    fail_after(|| (), reason)
}

/// Ends the run as [`fail`] does, after `report` has printed more.
///
/// Whatever fails while a failure is reported ends here again, so each time less is tried:
/// the second time only a marker, then nothing but to leave.
pub fn fail_after(report: impl FnOnce(), reason: fmt::Arguments<'_>) -> ! {
    match FAILURES.fetch_add(1, Ordering::Relaxed) {
        0 => {
            report();
            println!("== FAIL {}", OneLine(reason));
            serial::drain();
        }
        1 => {
            println!("== FAIL another failure while the first was reported");
            serial::drain();
        }
        _ => {}
    }
    leave(FAIL_CODE)
}

fn leave(code: u32) -> ! {
    // SAFETY: the port is that of the exit device, or nobody's.
    unsafe { PortWriteOnly::new(DEBUG_EXIT_PORT).write(code) };
    // Without the exit device the marker has to do.
    cpu::halt_forever()
}

/// A text with its line ends turned into spaces.
struct OneLine<'a>(fmt::Arguments<'a>);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Writer<'a, 'b>(&'a mut fmt::Formatter<'b>);

        impl Write for Writer<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for (index, part) in text.split(['\n', '\r']).enumerate() {
                    if index > 0 {
                        self.0.write_char(' ')?;
                    }
                    self.0.write_str(part)?;
                }
                Ok(())
            }
        }

        Writer(f).write_fmt(self.0)
    }
}
