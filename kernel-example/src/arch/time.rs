// SPDX-License-Identifier: MIT OR Apache-2.0
//! The clock: the time stamp counter, calibrated once by the 8254 timer.

use core::{arch::x86_64::_rdtsc, fmt};

use spin::Once;
use x86_64::instructions::port::Port;

/// The input frequency of the 8254 in hertz.
const PIT_HZ: u64 = 1_193_182;

/// The time measured in one round, in PIT periods: about 5 ms.
const PIT_COUNT: u16 = 5966;

/// An interruption in a round can only make it look longer, so the shortest round counts, as
/// soon as the next shortest is longer by no more than one part in `AGREEMENT`.
const AGREEMENT: u64 = 1000;

/// When agreement is no longer hoped for: after about 100 ms.
const MAX_ROUNDS: usize = 20;

/// When a round is given up, in TSC ticks: about a second at 4 GHz.
const ROUND_LIMIT_TICKS: u64 = 1 << 32;

const PIT_CHANNEL_0: u16 = 0x40;
const PIT_COMMAND: u16 = 0x43;

/// Channel 0, low then high byte, mode 0: the output rises when the count ends.
///
/// Channel 2 would want port 0x61, which QEMU's microvm has not. The interrupt of channel 0 is masked.
const PIT_ONE_SHOT: u8 = 0x30;

/// Latches the status of channel 0, to be read from its port.
const PIT_LATCH_STATUS: u8 = 0xe2;

/// The status when the count has ended: the output in bit 7, over the mode as it was written.
const PIT_ENDED: u8 = 1 << 7 | PIT_ONE_SHOT;

const NS_PER_SECOND: u64 = 1_000_000_000;

static CLOCK: Once<Clock> = Once::new();

struct Clock {
    /// The counter at calibration: the clock's zero.
    start: u64,
    /// Nanoseconds per tick, times 2 to the 32.
    scale: u64,
}

/// Reads the time stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and ring 0 may use it.
    unsafe { _rdtsc() }
}

/// Converts a number of TSC ticks to nanoseconds; 0 before [`init`].
pub fn ns(ticks: u64) -> u64 {
    CLOCK.get().map_or(0, |clock| {
        ((u128::from(ticks) * u128::from(clock.scale)) >> 32) as u64
    })
}

/// Returns the nanoseconds since [`init`]; 0 before it.
pub fn now_ns() -> u64 {
    CLOCK
        .get()
        .map_or(0, |clock| ns(tsc().saturating_sub(clock.start)))
}

/// Measures the frequency of the time stamp counter and starts the clock.
///
/// # Errors
///
/// - [`ClockError::PitStopped`]: the 8254 does not count.
/// - [`ClockError::TscStopped`]: the time stamp counter does not count.
pub fn init() -> Result<(), ClockError> {
    let (mut shortest, mut next) = (measure_round()?, u64::MAX);
    for _ in 1..MAX_ROUNDS {
        let round = measure_round()?;
        next = next.min(round.max(shortest));
        shortest = shortest.min(round);
        if next - shortest <= shortest / AGREEMENT {
            break;
        }
    }
    let round_ns = u64::from(PIT_COUNT) * NS_PER_SECOND / PIT_HZ;
    let scale = (round_ns << 32)
        .checked_div(shortest)
        .ok_or(ClockError::TscStopped)?;
    CLOCK.call_once(|| Clock {
        start: tsc(),
        scale,
    });
    log::info!(
        "time stamp counter at {} kHz",
        shortest * 1_000_000 / round_ns
    );
    Ok(())
}

/// Returns the TSC ticks that pass in [`PIT_COUNT`] periods of the 8254, never too few.
fn measure_round() -> Result<u64, ClockError> {
    write(PIT_COMMAND, PIT_ONE_SHOT);
    let [low, high] = PIT_COUNT.to_le_bytes();
    write(PIT_CHANNEL_0, low);
    let start = tsc();
    write(PIT_CHANNEL_0, high);
    loop {
        write(PIT_COMMAND, PIT_LATCH_STATUS);
        // Where there is no 8254 behind the port, all bits read the same.
        let ended = read(PIT_CHANNEL_0) == PIT_ENDED;
        let ticks = tsc().saturating_sub(start);
        if ended {
            return Ok(ticks);
        }
        if ticks > ROUND_LIMIT_TICKS {
            return Err(ClockError::PitStopped { ticks });
        }
    }
}

fn read(port: u16) -> u8 {
    // SAFETY: the port is one of the 8254; reading has no effect outside it.
    unsafe { Port::new(port).read() }
}

fn write(port: u16, value: u8) {
    // SAFETY: the ports are those of the 8254; the interrupt of channel 0 is masked since `pic::init`.
    unsafe { Port::new(port).write(value) };
}

/// Why there is no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockError {
    /// The 8254 timer did not end its count.
    PitStopped {
        /// The TSC ticks waited.
        ticks: u64,
    },
    /// The time stamp counter did not move while the 8254 counted.
    TscStopped,
}

impl fmt::Display for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PitStopped { ticks } => write!(
                f,
                "the 8254 timer did not end a count of {PIT_COUNT} within {ticks} TSC ticks: the clock needs one"
            ),
            Self::TscStopped => write!(
                f,
                "the time stamp counter stands still: the clock needs it"
            ),
        }
    }
}
