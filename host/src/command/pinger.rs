// SPDX-License-Identifier: MIT OR Apache-2.0
//! Being a member that wants nothing but its messages back, for the commands that ping.

use std::process;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::{OpenError, PING_PREFIX};
use ivshmem_host::channel::{Channels, JoinError, Neighbour, Options, Pings};

use super::interrupt::Interrupt;
use super::membership::Membership;
use super::output::log;
use super::target::{NoMember, Target};
use super::{Exit, Failure};

/// How long to look for the one who is to be pinged, unless told.
pub(super) const SEARCH: Duration = Duration::from_secs(1);

/// How often.
const GLANCE: Duration = Duration::from_millis(20);

/// How often to look whether the memory has become a region: each time all clients of a server hear of one more.
const RETRY: Duration = Duration::from_millis(250);

/// For how long to look for an answer in the manner of those who never sleep.
pub(super) const FOR_EVER: Duration = Duration::from_secs(3600);

/// Joins. What is no region yet stays what it is, and is looked at until `end`.
pub(super) fn join(
    membership: &Membership,
    spin: Duration,
    end: Instant,
    interrupt: &Interrupt,
) -> Result<Channels, JoinError> {
    let options = Options::new(&format!("{PING_PREFIX}{}", process::id()))
        .format(None)
        .pings(Pings::Ignored)
        .spin(spin);
    loop {
        match membership.join(options.clone()) {
            // The member makes it a region when it comes.
            Err(JoinError::Region(OpenError::NotFormatted))
                if Instant::now() < end && !interrupt.came() =>
            {
                thread::sleep(RETRY);
            }
            result => return result,
        }
    }
}

/// Looks for a member that lives until `end`. One that is there and shows no sign of life is returned all the same.
pub(super) fn search(
    channels: &Channels,
    target: Target,
    end: Instant,
    interrupt: &Interrupt,
) -> Result<Option<Neighbour>, Failure> {
    loop {
        let found = target.find(channels).map_err(Failure::new)?;
        let is_over = Instant::now() >= end || interrupt.came();
        if is_over || found.is_some_and(|peer| peer.lives) {
            return Ok(found);
        }
        thread::sleep(GLANCE);
    }
}

/// Says what there is if nobody could be joined. If the memory is no region: peers that know nothing of channels, perhaps.
pub(super) fn explain_no_region(
    membership: &Membership,
    target: Target,
    error: JoinError,
) -> Result<Exit, Failure> {
    let JoinError::Region(error) = error else {
        return Err(membership.explain(error));
    };
    if let (Some(id), None) = (target.id, &membership.shm_file) {
        let peer = membership.socket.connect()?;
        if peer.vectors_of(id).is_some() {
            log(NoMember(id));
            return Ok(Exit::No);
        }
    }
    match error {
        OpenError::NotFormatted => {
            log("nobody has made this memory a region yet, so nobody can answer");
            Ok(Exit::No)
        }
        error => Err(membership.explain(JoinError::Region(error))),
    }
}
