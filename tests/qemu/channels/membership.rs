// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of members that come in any order, die, return and leave, with doorbells and without.

use ivshmem::channel::Format;
use libtest_mimic::Failed;
use xtask::qemu::Vm;

use super::host::{self, HostMember};
use super::voice::{all_said, has_said, hear, progress, says, Voice};
use super::{member, VECTORS};
use crate::guests::{Place, TestServer};
use crate::lab::{Lab, Need, PATIENCE};

const SIZE: u64 = 1 << 20;

/// Slots for all members of a trial, and one that is free.
const SLOTS: u16 = 4;

/// What every member formats a blank region as.
const fn format(slots: u16) -> Format {
    Format {
        slots,
        ring_log2: Some(12),
    }
}

pub fn trials() -> Vec<Need> {
    let mut trials = vec![
        Need::new("channels::a_killed_guest_returns", killed),
        Need::new("channels::a_guest_that_leaves_is_not_missed", leaves),
    ];
    let orders = [
        [Kind::Doorbell, Kind::Plain, Kind::Host],
        [Kind::Plain, Kind::Host, Kind::Doorbell],
        [Kind::Host, Kind::Doorbell, Kind::Plain],
    ];
    for order in orders {
        let [first, ..] = order;
        let name = format!(
            "channels::whoever_is_first_formats_such_as_{}",
            first.name()
        );
        trials.push(Need::new(name, move |lab| start(lab, order)));
    }
    trials
}

/// What kind of member.
#[derive(Clone, Copy)]
enum Kind {
    /// A guest that can be rung.
    Doorbell,
    /// A guest that polls.
    Plain,
    /// This process.
    Host,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Doorbell => "doorbell",
            Self::Plain => "plain",
            Self::Host => host::NAME,
        }
    }
}

/// Boots a member of a crowd that has a doorbell, or has none.
fn boot(lab: &Lab, server: &TestServer, name: &str, kind: Kind) -> Result<Vm, Failed> {
    boot_among(lab, server, name, kind, SLOTS)
}

/// As [`boot`], in a region for so many.
fn boot_among(
    lab: &Lab,
    server: &TestServer,
    name: &str,
    kind: Kind,
    slots: u16,
) -> Result<Vm, Failed> {
    let guest = member(lab, name, &format!("what=crowd slots={slots} ring=12"));
    let vm = match kind {
        Kind::Plain => server.plain(guest, Place::Pc)?,
        Kind::Doorbell | Kind::Host => server.doorbell(guest, Place::Q35),
    };
    let vm = vm.spawn()?;
    hear(&vm, "joined", &[])?;
    Ok(vm)
}

/// Has a guest leave, and demands that it passes.
fn leave(vm: &Vm) -> Result<(), Failed> {
    vm.send_line("leave")?;
    vm.finish(PATIENCE)?;
    Ok(())
}

/// Demands that nobody got a wrong message, lost its slot, or lost a connection but those to `peer`.
fn undisturbed_but(voices: &[&dyn Voice], peer: &str) -> Result<(), Failed> {
    for voice in voices {
        all_said(*voice, "forged", |_| false)?;
        all_said(*voice, "evicted", |_| false)?;
        all_said(*voice, "broken", |line| {
            says(line, "broken", &[("peer", peer)]) && !says(line, "broken", &[("error", "none")])
        })?;
    }
    Ok(())
}

/// Members of all kinds start one after the other, and all talk with all.
fn start(lab: &Lab, order: [Kind; 3]) -> Result<(), Failed> {
    let server = TestServer::start_on_file(SIZE, VECTORS)?;
    let mut members: Vec<Box<dyn Voice>> = Vec::new();
    for kind in order {
        members.push(match kind {
            Kind::Host => Box::new(HostMember::join(&server, format(SLOTS))?),
            kind => Box::new(boot(lab, &server, kind.name(), kind)?),
        });
    }
    for one in &members {
        for other in order.iter().filter(|other| other.name() != one.name()) {
            // In whatever order the two come.
            for _ in 0..2 {
                progress(one.as_ref(), other.name(), "1")?;
            }
        }
    }
    let voices: Vec<&dyn Voice> = members.iter().map(AsRef::as_ref).collect();
    undisturbed_but(&voices, "nobody")
}

/// A guest is killed in the middle of its traffic: everybody notices, goes on, and talks with its next life.
fn killed(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start_on_file(SIZE, VECTORS)?;
    let a = boot(lab, &server, "a", Kind::Doorbell)?;
    let b = boot(lab, &server, "b", Kind::Doorbell)?;
    let c = boot(lab, &server, "c", Kind::Plain)?;
    let host = HostMember::join(&server, format(SLOTS))?;
    let others: [&dyn Voice; 3] = [&b, &c, &host];
    for voice in others {
        progress(voice, "a", "1")?;
    }
    a.kill();
    for voice in others {
        hear(voice, "event", &[("kind", "Died"), ("peer", "a")])?;
    }
    for (voice, other) in others.into_iter().zip(["c", host::NAME, "b"]) {
        progress(voice, other, "1")?;
    }
    let a = boot(lab, &server, "a", Kind::Doorbell)?;
    for voice in others {
        let again = [("kind", "Restarted"), ("peer", "a"), ("incarnation", "2")];
        hear(voice, "event", &again)?;
        progress(voice, "a", "2")?;
        let broken = [
            ("peer", "a"),
            ("incarnation", "1"),
            ("error", "PeerRestarted"),
        ];
        has_said(voice, "broken", &broken)?;
        progress(&a, voice.name(), "1")?;
    }
    undisturbed_but(&others, "a")?;
    undisturbed_but(&[&a], "nobody")
}

/// A guest leaves: everybody is told, goes on, and talks with it when it is back.
fn leaves(lab: &Lab) -> Result<(), Failed> {
    // So that there is but one slot to return to.
    let slots = 3;
    let server = TestServer::start_on_file(SIZE, VECTORS)?;
    let boot = |name, kind| boot_among(lab, &server, name, kind, slots);
    let a = boot("a", Kind::Doorbell)?;
    let b = boot("b", Kind::Plain)?;
    let host = HostMember::join(&server, format(slots))?;
    let others: [&dyn Voice; 2] = [&b, &host];
    for voice in others {
        progress(voice, "a", "1")?;
    }
    leave(&a)?;
    for voice in others {
        hear(voice, "event", &[("kind", "Left"), ("peer", "a")])?;
        let broken = [("peer", "a"), ("incarnation", "1"), ("error", "PeerGone")];
        has_said(voice, "broken", &broken)?;
    }
    progress(&b, host::NAME, "1")?;
    progress(&host, "b", "1")?;
    let a = boot("a", Kind::Doorbell)?;
    for voice in others {
        let again = [("kind", "Joined"), ("peer", "a"), ("incarnation", "2")];
        hear(voice, "event", &again)?;
        progress(voice, "a", "2")?;
    }
    undisturbed_but(&others, "a")?;
    host.leave()?;
    hear(&b, "event", &[("kind", "Left"), ("peer", host::NAME)])?;
    leave(&b)?;
    hear(&a, "event", &[("kind", "Left"), ("peer", "b")])?;
    leave(&a)
}
