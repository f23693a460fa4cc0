// SPDX-License-Identifier: MIT OR Apache-2.0
//! COM1: lines out, whole even when a panic interrupts one, and lines in.
//!
//! There is one processor, and the port is locked with interrupts off. So a
//! lock that is found taken belongs to code that cannot go on: a `Display`
//! that prints, or an exception or panic in the middle of a line. Waiting for
//! it would never end; such text goes out at once, on a line of its own.

use core::{
    fmt::{self, Write},
    hint,
};

use spin::Mutex;
use uart_16550::{backend::PioBackend, spec::registers::LSR, Config, Uart16550};
use x86_64::instructions::interrupts::without_interrupts;

use crate::arch::{cpu, time};

const PORT_NUMBER: u16 = 0x3f8;

/// How long the port may take no byte before text is dropped, in TSC ticks (the clock is not
/// calibrated when the first line is printed): about 4 s at 4 GHz.
const STALL_TICKS: u64 = 1 << 34;

static PORT: Mutex<Port> = Mutex::new(Port::new());

/// The serial port.
struct Port {
    uart: Uart16550<PioBackend>,
    /// Whether the port took no byte for `STALL_TICKS` and has taken none since.
    stalled: bool,
}

impl Port {
    const fn new() -> Self {
        // SAFETY: the port is COM1's on every PC, and nothing but this module uses it.
        let uart = match unsafe { Uart16550::new_port(PORT_NUMBER) } {
            Ok(uart) => uart,
            Err(_) => panic!("COM1 is a valid port"),
        };
        Self {
            uart,
            stalled: false,
        }
    }

    /// Waits until `ready` holds, but not for ever.
    fn wait(&mut self, ready: impl Fn(&mut Self) -> bool) -> bool {
        let start = time::tsc();
        while !ready(self) {
            if self.stalled || time::tsc().saturating_sub(start) > STALL_TICKS {
                self.stalled = true;
                return false;
            }
            hint::spin_loop();
        }
        self.stalled = false;
        true
    }
}

impl Write for Port {
    /// Sends `text`. Bytes that the other side does not take for seconds are dropped, so that
    /// the run can end.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut left = text.as_bytes();
        while !left.is_empty() && self.wait(|port| port.uart.ready_to_send().is_ok()) {
            left = &left[self.uart.send_bytes(left)..];
        }
        Ok(())
    }
}

/// Sets the port up.
///
/// # Errors
///
/// - [`NoSerialPort`]: there is no 16550 at COM1, or it does not work.
pub fn init() -> Result<(), NoSerialPort> {
    PORT.lock()
        .uart
        .init(Config::DEFAULT)
        .map_err(|_| NoSerialPort)
}

/// Prints one line; see [`println!`](crate::println).
pub fn print_line(line: fmt::Arguments<'_>) {
    without_interrupts(|| match PORT.try_lock() {
        Some(mut port) => send_line(&mut port, "", line),
        None => send_line(&mut Port::new(), "\n", line),
    });
}

fn send_line(port: &mut Port, before: &str, line: fmt::Arguments<'_>) {
    // Nothing can be done about a `Display` that fails: `Port` itself never does.
    let _ = port.write_fmt(format_args!("{before}{line}\n"));
}

/// Waits until all bytes have left the port.
pub fn drain() {
    without_interrupts(|| {
        let empty = |port: &mut Port| port.uart.lsr().contains(LSR::TRANSMITTER_EMPTY);
        match PORT.try_lock() {
            Some(mut port) => port.wait(empty),
            None => Port::new().wait(empty),
        }
    });
}

/// Returns whether the host has begun to say something.
pub fn has_input() -> bool {
    PORT.lock().uart.ready_to_receive().is_ok()
}

/// Reads a line into `buffer` and returns it without its end (`\n` or `\r\n`).
///
/// Halts while nothing comes. Nothing is lost meanwhile: QEMU holds back what does not fit
/// the port's FIFO of 16 bytes. What the host sends before [`init`] may be lost, so it must
/// wait to be asked.
///
/// # Errors
///
/// The line, or what has come of it, is gone then.
///
/// - [`ReadLineError::Timeout`]: no whole line came before `deadline_ns` on the clock
///   [`time::now_ns`].
/// - [`ReadLineError::TooLong`]: the line is longer than `buffer`.
/// - [`ReadLineError::NotText`]: the line is not UTF-8.
pub fn read_line(buffer: &mut [u8], deadline_ns: u64) -> Result<&str, ReadLineError> {
    let mut length = 0;
    loop {
        let mut received = None;
        cpu::wait_until(deadline_ns, || {
            received = PORT.lock().uart.try_receive_byte().ok();
            received.is_some()
        });
        match received {
            None => return Err(ReadLineError::Timeout { received: length }),
            Some(b'\n') => break,
            Some(byte) => {
                if let Some(place) = buffer.get_mut(length) {
                    *place = byte;
                }
                length += 1;
            }
        }
    }
    let room = buffer.len();
    let line = buffer
        .get(..length)
        .ok_or(ReadLineError::TooLong { length, room })?;
    let line = core::str::from_utf8(line).map_err(|error| ReadLineError::NotText {
        offset: error.valid_up_to(),
    })?;
    Ok(line.strip_suffix('\r').unwrap_or(line))
}

/// Prints one line of text over COM1, never mixed with another.
///
/// What the host parses begins with `@ `, a word, and `key=value` pairs.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {
        $crate::serial::print_line(::core::format_args!($($argument)*))
    };
}

/// There is no working serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSerialPort;

impl fmt::Display for NoSerialPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no 16550 answers at {PORT_NUMBER:#x}: give the machine a serial port (qemu -serial)"
        )
    }
}

/// Why a line could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLineError {
    /// The deadline passed.
    Timeout {
        /// The bytes that had come of the line.
        received: usize,
    },
    /// The line does not fit.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The bytes there were room for.
        room: usize,
    },
    /// The line is not UTF-8.
    NotText {
        /// The offset of the first wrong byte.
        offset: usize,
    },
}

impl fmt::Display for ReadLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { received } => write!(
                f,
                "the host sent no whole line in time, only {received} bytes of one"
            ),
            Self::TooLong { length, room } => write!(
                f,
                "the host sent a line of {length} bytes, more than the {room} there is room for"
            ),
            Self::NotText { offset } => {
                write!(f, "the host sent a line that is not UTF-8 at byte {offset}")
            }
        }
    }
}
