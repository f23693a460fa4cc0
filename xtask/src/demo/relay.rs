// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last act: a file comes from A through B, and B is killed on the way.

use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ivshmem_scenarios::demo::{
    collect, dismiss, Collected, Digest, Hex, Hop, Porter, Role, CHUNK, PIECE, PIECES,
};
use ivshmem_scenarios::Failure;
use serde_json::{json, Value};

use super::Host;
use crate::party::{HostBell, PartyError, Stage};

/// Where B is killed: pieces that the host has, and messages of the next.
const KILL_AT: (usize, usize) = (PIECES / 2, PIECE / CHUNK / 2);

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    digest: Digest,
    /// Pieces that were here when B was killed.
    before: usize,
    /// From the death of B to the first message of its next life.
    pause: Duration,
    /// All of it, without the pause.
    moving: Duration,
}

/// Collects the file, kills B in the middle of it, and boots it again.
pub fn run<'m>(
    stage: &'m Stage,
    host: Host<'m>,
    porter: &mut Porter<'m, Host<'m>>,
    mut b: Hop<'m, HostBell<'m>>,
) -> Result<Transfer, PartyError> {
    let failed = |failure| stage.guests.explain(failure);
    let show = || {
        for line in host.take_shown() {
            println!("{line}");
        }
        stage.guests.show();
    };
    println!("\nhost: I want A's file, through B");
    let mut collected = Collected::nothing();
    let mut start = None;
    let whole = collect(porter, &mut b, &mut collected, |collected, message| {
        show();
        if message > 0 {
            // A hashes the whole file first.
            start.get_or_insert_with(Instant::now);
        }
        if (collected.pieces(), message) < KILL_AT {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    if whole.map_err(|stop| failed(stop.into()))?.is_some() {
        return Err(failed(Failure::from("the file came whole before B died")));
    }
    let killed = Instant::now();
    let first = start.map(|start| killed - start).unwrap_or_default();
    let before = collected.pieces();
    stage.guests.kill_b();
    println!("host: I have {before} pieces of {PIECES}, checked, and half of the next; now I kill guest B (kill -9)");
    porter.mourn(Role::B).map_err(failed)?;
    show();
    println!("host: I boot guest B again");
    stage.guests.boot_b_again("act=relay")?;
    let met = porter.meet_again(b).map_err(failed);
    show();
    b = met?;
    let mut pause = None;
    let whole = collect(porter, &mut b, &mut collected, |_, message| {
        if message > 0 {
            pause.get_or_insert_with(|| killed.elapsed());
        }
        show();
        ControlFlow::Continue(())
    });
    let digest = whole
        .map_err(|stop| failed(stop.into()))?
        .ok_or_else(|| failed(Failure::from("the file did not come whole")))?;
    let pause = pause.unwrap_or_default();
    let moving = first + killed.elapsed() - pause;
    dismiss(porter, &mut b).map_err(failed)?;
    show();
    let transfer = Transfer {
        digest,
        before,
        pause,
        moving,
    };
    println!("host: {transfer}");
    Ok(transfer)
}

impl Transfer {
    fn mib_per_second(self) -> f64 {
        // What was half there came twice.
        let bytes = (PIECES * PIECE + PIECE / 2) as f64;
        bytes / f64::from(1 << 20) / self.moving.as_secs_f64()
    }

    /// Returns the figures for programs.
    pub fn to_json(self) -> Value {
        json!({
            "bytes": PIECES * PIECE,
            "sha256": Hex(&self.digest).to_string(),
            "pieces": PIECES,
            "pieces_before_the_kill": self.before,
            "pause_ms": u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX),
            "mib_per_second": self.mib_per_second(),
        })
    }
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "A's file is here, {} MiB at {:.1} MiB/s, SHA-256 {}; B was away for {:.1} s",
            (PIECES * PIECE) >> 20,
            self.mib_per_second(),
            Hex(&self.digest),
            self.pause.as_secs_f64()
        )
    }
}
