// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads on cores of their own, and how far apart the cores are at the moment.
//!
//! On a virtual machine the host moves the cores between placements (two threads of one core, two cores of one cache, apart), so a
//! line of cache takes 50 to 600 ns from one to the other, and that for seconds. What is compared has to be measured in one
//! placement, and only a bare ping-pong before and after tells which it was.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};

/// Round trips of the reference: 0.5 to 5 ms.
const TURNS: u64 = 8_000;

/// Two cores that this program may use.
#[derive(Clone, Copy, Debug)]
pub struct Cores([usize; 2]);

impl Cores {
    /// Takes the first two.
    pub fn take() -> Result<Self, String> {
        let allowed = sched_getaffinity(None).map_err(|error| format!("the affinity: {error}"))?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        match (cores.next(), cores.next()) {
            (Some(first), Some(second)) => Ok(Self([first, second])),
            _ => Err("two cores are needed".into()),
        }
    }

    /// Runs `here` on the first core, in this thread, and `there` on the second; both begin when both are there.
    pub fn run<T, U: Send>(
        self,
        here: impl FnOnce() -> T,
        there: impl FnOnce() -> U + Send,
    ) -> (T, U) {
        let present = AtomicU64::new(0);
        let meet = || {
            present.fetch_add(1, Ordering::SeqCst);
            while present.load(Ordering::SeqCst) < 2 {
                // The other one may have begun on this core.
                thread::yield_now();
            }
        };
        pin(self.0[0]);
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                pin(self.0[1]);
                meet();
                there()
            });
            meet();
            let result = here();
            (result, other.join().expect("the other thread"))
        })
    }

    /// Returns how far apart the cores are, in nanoseconds of a round trip of two lines.
    pub fn distance(self) -> f64 {
        let lines = [(); 2].map(|()| Apart(AtomicU64::new(0)));
        let ([ask, answer], turns) = ([&lines[0].0, &lines[1].0], 1..=TURNS);
        let (elapsed, ()) = self.run(
            || {
                let start = Instant::now();
                for turn in turns.clone() {
                    ask.store(turn, Ordering::Release);
                    wait_for(answer, turn);
                }
                start.elapsed()
            },
            || {
                for turn in turns.clone() {
                    wait_for(ask, turn);
                    answer.store(turn, Ordering::Release);
                }
            },
        );
        elapsed.as_nanos() as f64 / TURNS as f64
    }
}

/// Something on lines of its own, which processors fetch in pairs: what two threads write to on one line costs several times what is
/// measured here, and whether things share one would be the luck of an allocation.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Apart<T>(pub T);

/// Spins until `word` is `value`.
pub fn wait_for(word: &AtomicU64, value: u64) {
    while word.load(Ordering::Acquire) != value {
        spin_loop();
    }
}

/// Where the cores are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placement {
    /// Two threads of one core.
    Smt,
    /// Under one cache.
    Near,
    /// Apart.
    Far,
}

impl Placement {
    /// Tells it from the [distance](Cores::distance).
    pub const fn of(distance_ns: f64) -> Self {
        match distance_ns {
            ns if ns < 75.0 => Self::Smt,
            ns if ns < 300.0 => Self::Near,
            _ => Self::Far,
        }
    }

    /// Returns its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smt => "smt",
            Self::Near => "near",
            Self::Far => "far",
        }
    }
}

fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).expect("a core that was allowed");
}
