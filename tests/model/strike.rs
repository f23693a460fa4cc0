// SPDX-License-Identifier: MIT OR Apache-2.0
//! Things that happen in the middle of any access: each access of a whole [`life`], one after the other.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};

use crate::course::Course;
use crate::descriptor::Shared;
use crate::life::{life, ABSENT};
use crate::machine::TIME_LIMIT;
use crate::setup::{Setup, FIRST, SIZE, VECTORS};
use crate::slot::Slot;
use crate::table::failed;

/// What is said of a device that is gone, by whoever finds out: the scenarios, the [`life`], or the driver.
const CAUSES: [&str; 5] = [
    "no ivshmem device (1af4:1110) on any bus",
    ABSENT,
    "the function is gone; it was unplugged while it was probed",
    "the device is gone; it was unplugged",
    "reads all ones; the device was unplugged",
];
/// What is said where registers read 0: that a table does not keep what is written to it.
const FORGETFUL: [&str; 2] = [
    "is not masked after clearing",
    "has no message; set one before it is unmasked",
];

/// After every how many accesses a new device is plugged in: the driver keeps nothing that could hinder it.
const REPLUG: usize = 8;

/// Something that happens to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// It is pulled out.
    Unplug,
    /// The machine is reset.
    Reset,
    /// Its server ends. What it has sent before arrives.
    ServerEnds,
    /// All its peers leave, and another one joins.
    PeersChange,
}

impl Strike {
    pub fn strike(self, slots: &mut BTreeMap<u8, Slot>) {
        if self == Self::Unplug {
            for (_, slot) in std::mem::take(slots) {
                slot.unplug();
            }
        }
        for slot in slots.values_mut() {
            match (self, slot.id().zip(slot.hub())) {
                (Self::Reset, _) => slot.device.reset(&mut slot.wires),
                (Self::ServerEnds, Some((_, hub))) => hub.end(),
                (Self::PeersChange, Some((id, hub))) => hub.replace_peers(id, VECTORS),
                _ => {}
            }
        }
    }
}

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for flavour in Setup::flavours() {
        let mut add = |what: &str, course, trial: fn(Setup) -> Result<(), Failed>| {
            let name = format!("strike::{}_{what}_at_any_access", flavour.name());
            let setup = Setup {
                id: 5,
                course,
                ..Setup::new(flavour)
            };
            trials.push(Trial::test(name, move || trial(setup)));
        };
        add("reads_ones", Course::Prompt, |setup| gone(setup, !0));
        add("reads_zero", Course::Prompt, |setup| gone(setup, 0));
        add("reset", Course::Prompt, reset);
        if flavour.has_server() {
            add("gone_under_interrupts", Course::AtOnce, |setup| {
                gone(setup, !0)
            });
            add("server_ends", Course::Prompt, |setup| {
                borne(setup, Strike::ServerEnds)
            });
            add("peers_change", Course::AtOnce, |setup| {
                borne(setup, Strike::PeersChange)
            });
        }
    }
    trials
}

/// The device is pulled out: the driver ends in time and says that it is gone, and a new one in its place works.
fn gone(setup: Setup, absent: u32) -> Result<(), Failed> {
    at_any_access(setup, Strike::Unplug, absent, |strike| {
        match strike.result {
            // Detaching a device that is gone is no failure.
            Ok(()) if strike.is_at_end => {}
            Ok(()) => return Err("nobody noticed".into()),
            Err(failure) => named(failure, absent)?,
        }
        if strike.access % REPLUG != 0 {
            return Ok(());
        }
        let machine = strike.machine;
        setup.plug(&machine.board, &machine.hub, machine.memory, FIRST)?;
        life(machine).map(drop).map_err(failed)
    })
}

/// The machine is reset without the driver's knowledge: the driver ends in time, and a new one works after the next.
fn reset(setup: Setup) -> Result<(), Failed> {
    at_any_access(setup, Strike::Reset, !0, |strike| {
        strike.machine.board.strike(Strike::Reset);
        life(strike.machine).map(drop).map_err(failed)
    })
}

/// Something happens that does not concern the driver.
fn borne(setup: Setup, strike: Strike) -> Result<(), Failed> {
    at_any_access(setup, strike, !0, |strike| Ok(strike.result?))
}

/// What has become of a life.
struct Struck<'m> {
    access: usize,
    machine: &'m crate::machine::ModelMachine,
    result: Result<(), &'m str>,
    /// Whether the driver was detaching the device when it happened.
    is_at_end: bool,
}

fn at_any_access(
    setup: Setup,
    strike: Strike,
    absent: u32,
    check: impl Fn(Struck<'_>) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let memory = Shared::new(SIZE)?;
    let undisturbed = setup.power_on(memory)?;
    let before_detach = life(&undisturbed).map_err(failed)?;
    let whole = undisturbed.board.reached();
    // A driver that does nothing but ask whether the device is ready asks twice a tick.
    let most = undisturbed.board.accesses() + 2 * TIME_LIMIT as usize;
    for access in 1..=whole {
        let machine = setup.power_on(memory)?;
        let board = &machine.board;
        board.set_absent(absent);
        board.strike_at(access, strike);
        let result = life(&machine);
        let result = result
            .as_ref()
            .map(|_| ())
            .map_err(|failure| failure.as_str());
        let accesses = board.accesses();
        let verdict = if accesses > most {
            Err(format!("{accesses} accesses, {most} are too many").into())
        } else {
            check(Struck {
                access,
                machine: &machine,
                result,
                is_at_end: access > before_detach,
            })
        };
        verdict.map_err(|error| {
            let text = error.message().unwrap_or_default();
            format!("at access {access} of {whole} ({result:?}): {text}")
        })?;
    }
    Ok(())
}

/// Fails unless a failure names its cause.
fn named(failure: &str, absent: u32) -> Result<(), String> {
    let forgetful: &[_] = if absent == 0 { &FORGETFUL } else { &[] };
    let mut causes = CAUSES.iter().chain(forgetful);
    if causes.any(|cause| failure.contains(cause)) {
        return Ok(());
    }
    Err("this does not tell that the device is gone".into())
}
