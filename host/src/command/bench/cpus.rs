// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the two threads of a measurement run: [`Cpus`].

use std::fmt;
use std::panic;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::io::Errno;
use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};

use crate::command::Failure;

/// The CPUs of two threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cpus {
    /// One thread on each.
    Two([usize; 2]),
    /// Both on the same: there is no other, or nothing else was asked for.
    One(usize),
    /// Wherever the system has them.
    Free,
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Two([one, other]) => write!(f, "on CPUs {one} and {other}"),
            Self::One(cpu) => write!(
                f,
                "both on CPU {cpu}, so nothing that has to be awake is measured"
            ),
            Self::Free => write!(f, "on no CPUs in particular"),
        }
    }
}

impl Cpus {
    /// Takes those asked for, else the first two that this process may use, if it may choose.
    pub(super) fn choose(asked: Option<[usize; 2]>) -> Result<Self, Failure> {
        if let Some(cpus) = asked {
            for cpu in cpus {
                try_out(cpu).map_err(|error| {
                    Failure::new(format!(
                        "cannot run on CPU {cpu}: {error}; see Cpus_allowed_list in /proc/self/status for those that can be used"
                    ))
                })?;
            }
            return Ok(match cpus {
                [one, other] if one == other => Self::One(one),
                cpus => Self::Two(cpus),
            });
        }
        let Ok(allowed) = sched_getaffinity(None) else {
            return Ok(Self::Free);
        };
        let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        Ok(match (cpus.next(), cpus.next()) {
            (Some(cpu), None) => Self::One(cpu),
            (Some(one), Some(other)) if [one, other].map(try_out) == [Ok(()), Ok(())] => {
                Self::Two([one, other])
            }
            _ => Self::Free,
        })
    }

    /// Leaves one thread where the system has it, if there is more than one CPU.
    pub(super) const fn freed(self) -> Self {
        match self {
            Self::One(cpu) => Self::One(cpu),
            Self::Two(_) | Self::Free => Self::Free,
        }
    }

    /// Whether both threads can be awake at once.
    pub(super) const fn has_two(self) -> bool {
        !matches!(self, Self::One(_))
    }

    /// Returns their numbers; of both threads, or of none.
    pub(super) fn numbers(self) -> Option<[usize; 2]> {
        match self {
            Self::Two(cpus) => Some(cpus),
            Self::One(cpu) => Some([cpu; 2]),
            Self::Free => None,
        }
    }

    /// Runs `here` in this thread, which stays on its CPU, and `there` in another. Both begin when both are there.
    pub(super) fn run<T>(
        self,
        here: impl FnOnce() -> Result<T, Failure>,
        there: impl FnOnce() -> Result<(), Failure> + Send,
    ) -> Result<T, Failure> {
        let present = AtomicU32::new(0);
        let begin = |index: usize| {
            if let Some(cpu) = self.numbers().and_then(|cpus| cpus.get(index).copied()) {
                // It was tried out.
                let _ = pin(cpu);
            }
            present.fetch_add(1, Ordering::AcqRel);
            while present.load(Ordering::Acquire) < 2 {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            let other = thread::Builder::new()
                .name("bench".to_owned())
                .spawn_scoped(scope, || {
                    begin(1);
                    there()
                })
                .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
            begin(0);
            let result = here();
            match other.join() {
                Ok(ended) => ended.and(result),
                Err(panic) => panic::resume_unwind(panic),
            }
        })
    }
}

fn pin(cpu: usize) -> Result<(), Errno> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(Errno::INVAL);
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)
}

/// Runs on a CPU for a moment, in a thread of its own: this one may become the parent of others that are not to be there.
fn try_out(cpu: usize) -> Result<(), Errno> {
    thread::scope(|scope| {
        let pinned = thread::Builder::new().spawn_scoped(scope, || pin(cpu));
        match pinned.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => panic::resume_unwind(panic),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_are_allowed_are_taken_and_others_are_refused() {
        let allowed = sched_getaffinity(None).unwrap();
        let cpus: Vec<_> = (0..CpuSet::MAX_CPU)
            .filter(|&c| allowed.is_set(c))
            .collect();
        let chosen = Cpus::choose(None).unwrap();
        match cpus[..] {
            [cpu] => assert_eq!(chosen, Cpus::One(cpu)),
            [one, other, ..] => assert_eq!(chosen, Cpus::Two([one, other])),
            [] => unreachable!("this runs somewhere"),
        }
        assert_eq!(chosen.has_two(), cpus.len() > 1);
        let first = cpus[0];
        assert_eq!(Cpus::choose(Some([first; 2])).unwrap(), Cpus::One(first));
        for absent in [CpuSet::MAX_CPU - 1, CpuSet::MAX_CPU, usize::MAX] {
            let Failure(line) = Cpus::choose(Some([first, absent])).unwrap_err();
            assert!(
                line.starts_with(&format!("cannot run on CPU {absent}: ")),
                "{line}"
            );
        }
    }

    #[test]
    fn both_sides_run_and_either_may_fail() {
        let failed = || Err(Failure::new("broken"));
        let cpus = Cpus::choose(None).unwrap();
        assert_eq!(cpus.run(|| Ok(3), || Ok(())).unwrap(), 3);
        assert!(cpus.run(|| Ok(3), failed).is_err());
        assert!(cpus
            .run(|| Err::<(), _>(Failure::new("broken")), || Ok(()))
            .is_err());
    }
}
