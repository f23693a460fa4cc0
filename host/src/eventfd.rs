// SPDX-License-Identifier: MIT OR Apache-2.0
//! Vectors as the eventfds that they are: ringing one, and taking what was rung.
//!
//! The counter and its mode belong to all who hold the eventfd: QEMU 7.2, for one, makes every descriptor that it
//! receives blocking, for everybody. So nothing here relies on `O_NONBLOCK`, but for one case: adding to a counter that is
//! full. Only a host process that means harm fills one, and a virtual machine cannot.

use std::io::IoSliceMut;
use std::os::fd::AsFd;

use rustix::io::{preadv2, retry_on_intr, write, Errno, ReadWriteFlags};

/// Rings: adds 1 to the counter, in one system call.
pub(crate) fn ring(eventfd: impl AsFd) -> Result<(), Errno> {
    match retry_on_intr(|| write(&eventfd, &1_u64.to_ne_bytes())) {
        // AGAIN: the counter is full, so it has been rung already.
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sets the counter to zero, and returns whether it was above. Never waits (Linux 5.8 or later).
pub(crate) fn take(eventfd: impl AsFd) -> Result<bool, Errno> {
    let mut counter = [0; 8];
    let read = retry_on_intr(|| {
        preadv2(
            &eventfd,
            &mut [IoSliceMut::new(&mut counter)],
            // From where the file is, which for an eventfd is nowhere.
            u64::MAX,
            ReadWriteFlags::NOWAIT,
        )
    });
    match read {
        Ok(read) => Ok(read > 0),
        // Not rung, or somebody else who has the eventfd was quicker.
        Err(Errno::AGAIN) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{eventfd, EventfdFlags};

    /// A read that relies on the mode would wait for ever here.
    #[test]
    fn taking_never_waits_whatever_the_mode_is() {
        for mode in [EventfdFlags::empty(), EventfdFlags::NONBLOCK] {
            let vector = eventfd(0, mode).unwrap();
            assert_eq!(take(&vector), Ok(false));
            ring(&vector).unwrap();
            ring(&vector).unwrap();
            assert_eq!(take(&vector), Ok(true), "rings coalesce");
            assert_eq!(take(&vector), Ok(false));
        }
    }

    #[test]
    fn a_full_counter_counts_as_rung() {
        let vector = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        write(&vector, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        assert_eq!(ring(&vector), Ok(()));
        assert_eq!(take(&vector), Ok(true));
    }
}
