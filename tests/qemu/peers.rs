// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials with several machines and a host peer on one server.

use std::time::Duration;

use ivshmem::{PeerId, VectorIndex};
use ivshmem_host::peer::Peer;
use libtest_mimic::Failed;
use serde_json::json;
use xtask::qemu::Vm;

use crate::guests::{Place, TestServer};
use crate::lab::{field, hear, number, same, Lab, Need, PATIENCE};

const VECTORS: u16 = 2;

pub fn trials() -> Vec<Need> {
    vec![
        Need::new(
            "peers::two_guests_and_the_host_ring_each_other",
            everyone_rings_everyone,
        ),
        Need::new("peers::the_survivor_of_a_killed_guest_works_on", survivor),
        Need::new("peers::guests_outlive_the_server", outlive),
        Need::new("peers::a_burst_coalesces_and_is_not_lost", burst),
        Need::new("peers::a_guest_attaches_again_after_a_machine_reset", reset),
    ]
}

/// A guest that does what it is told.
pub struct Puppet {
    pub vm: Vm,
    pub id: PeerId,
}

impl Puppet {
    /// Boots a guest on `server` and waits until its driver is attached.
    pub fn boot(lab: &Lab, server: &TestServer, name: &str) -> Result<Self, Failed> {
        let guest = lab.guest("run=puppet").name(name);
        let vm = server.doorbell(guest, Place::Pc).spawn()?;
        let id = number(field(&hear(&vm, "ready")?, "id")?)?;
        Ok(Self {
            vm,
            id: PeerId(u16::try_from(id)?),
        })
    }

    /// Gives an order and waits for its answer.
    pub fn order(&self, order: &str, answer: &str) -> Result<String, Failed> {
        self.vm.send_line(order)?;
        hear(&self.vm, answer)
    }

    pub fn ring(&self, peer: PeerId, vector: u16, times: u32) -> Result<(), Failed> {
        self.order(&format!("ring {peer} {vector} {times}"), "rang")?;
        Ok(())
    }

    /// Waits until a vector's handler has run `count` times, and returns how often it has.
    pub fn arrived(&self, vector: u16, count: u32) -> Result<u64, Failed> {
        let answer = self.order(&format!("await {vector} {count}"), "arrived")?;
        number(field(&answer, "count")?)
    }

    pub fn count(&self, vector: u16) -> Result<u64, Failed> {
        number(field(
            &self.order(&format!("count {vector}"), "count")?,
            "n",
        )?)
    }

    pub fn quit(self) -> Result<(), Failed> {
        self.vm.send_line("quit")?;
        self.vm.finish(PATIENCE)?;
        Ok(())
    }
}

/// Returns the ID that a server has given this process.
pub fn id_of(host: &Peer) -> Result<PeerId, Failed> {
    host.id().ok_or_else(|| "a server gives an ID".into())
}

/// Joins as a host peer and waits until all vectors, its own and those of `others`, can be rung.
pub fn join(server: &TestServer, others: &[PeerId]) -> Result<Peer, Failed> {
    let mut peer = Peer::connect(server.server.socket())?;
    let all = |peer: &Peer| {
        let rung = |&other| peer.vectors_of(other) == Some(VECTORS.into());
        peer.vectors() == usize::from(VECTORS) && others.iter().all(rung)
    };
    if !peer.wait_until(PATIENCE, all)? {
        return Err("the host peer does not see everybody".into());
    }
    Ok(peer)
}

fn everyone_rings_everyone(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    let a = Puppet::boot(lab, &server, "a")?;
    let b = Puppet::boot(lab, &server, "b")?;
    let host = join(&server, &[a.id, b.id])?;
    same(
        "IDs are distinct",
        a.id != b.id && b.id != id_of(&host)?,
        true,
    )?;
    for (vector, rounds) in [(0, 1), (1, 1), (0, 2)] {
        a.ring(b.id, vector, 1)?;
        same(
            "b",
            b.arrived(vector, 2 * rounds - 1)?,
            u64::from(2 * rounds - 1),
        )?;
        host.ring(b.id, VectorIndex(vector))?;
        same("b", b.arrived(vector, 2 * rounds)?, u64::from(2 * rounds))?;
        b.ring(a.id, vector, 1)?;
        a.arrived(vector, 2 * rounds - 1)?;
        host.ring(a.id, VectorIndex(vector))?;
        a.arrived(vector, 2 * rounds)?;
        for guest in [&a, &b] {
            guest.ring(id_of(&host)?, vector, 1)?;
            same(
                "the host is rung",
                host.wait(VectorIndex(vector), PATIENCE)?,
                true,
            )?;
        }
    }
    // What was written before a doorbell is there when it rings.
    a.order("poke 4096 77", "poked")?;
    a.ring(b.id, 0, 1)?;
    b.arrived(0, 5)?;
    same(
        "word",
        field(&b.order("peek 4096", "peeked")?, "value")?,
        "77",
    )?;
    same("b's vector 1", b.count(1)?, 2)?;
    a.quit()?;
    b.quit()
}

fn survivor(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    let a = Puppet::boot(lab, &server, "a")?;
    let b = Puppet::boot(lab, &server, "b")?;
    let mut host = join(&server, &[a.id, b.id])?;
    a.ring(b.id, 0, 1)?;
    b.arrived(0, 1)?;
    a.vm.kill();
    let left = |peer: &Peer| peer.vectors_of(a.id).is_none();
    same(
        "the host peer sees it leave",
        host.wait_until(PATIENCE, left)?,
        true,
    )?;
    same("clients", server.server.wait_for_clients(2, PATIENCE), true)?;
    // A doorbell to the dead is harmless, and everything else goes on.
    b.ring(a.id, 0, 100)?;
    host.ring(b.id, VectorIndex(1))?;
    b.arrived(1, 1)?;
    b.ring(id_of(&host)?, 1, 1)?;
    same(
        "the host is rung",
        host.wait(VectorIndex(1), PATIENCE)?,
        true,
    )?;
    // A newcomer gets an ID that nobody has had, and talks to the survivor.
    let c = Puppet::boot(lab, &server, "c")?;
    same("a new ID", c.id > id_of(&host)?, true)?;
    c.ring(b.id, 0, 1)?;
    b.arrived(0, 2)?;
    b.ring(c.id, 1, 1)?;
    c.arrived(1, 1)?;
    b.quit()?;
    c.quit()
}

fn outlive(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    let a = Puppet::boot(lab, &server, "a")?;
    let b = Puppet::boot(lab, &server, "b")?;
    a.ring(b.id, 0, 1)?;
    b.arrived(0, 1)?;
    server.server.stop()?;
    // Told to leave, the peers' doorbells are gone; memory, own doorbell and the machines are not.
    a.order("poke 64 1234", "poked")?;
    same(
        "word",
        field(&b.order("peek 64", "peeked")?, "value")?,
        "1234",
    )?;
    a.ring(b.id, 1, 1)?;
    b.ring(b.id, 1, 1)?;
    b.arrived(1, 1)?;
    a.quit()?;
    b.quit()
}

fn burst(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    let a = Puppet::boot(lab, &server, "a")?;
    let b = Puppet::boot(lab, &server, "b")?;
    let host = join(&server, &[a.id, b.id])?;
    let rung = 10_000;
    a.ring(b.id, 0, rung)?;
    a.ring(b.id, 1, 1)?;
    b.arrived(1, 1)?;
    let count = b.count(0)?;
    if !(1..=u64::from(rung)).contains(&count) {
        return Err(format!("{rung} doorbells made {count} interrupts").into());
    }
    a.ring(id_of(&host)?, 0, rung)?;
    let vector = VectorIndex(0);
    same("the host is rung", host.wait(vector, PATIENCE)?, true)?;
    same("all at once", host.wait(vector, Duration::ZERO)?, false)?;
    a.quit()?;
    b.quit()
}

fn reset(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    let a = Puppet::boot(lab, &server, "a")?;
    a.ring(a.id, 0, 1)?;
    a.arrived(0, 1)?;
    a.order("poke 4096 77", "poked")?;
    let mut qmp = a.vm.qmp(PATIENCE)?;
    // Machines of trials end when they would start again; this one shall not.
    qmp.execute("set-action", &json!({ "reboot": "reset" }))?;
    qmp.execute("system_reset", &json!({}))?;
    let id = number(field(&hear(&a.vm, "ready")?, "id")?)?;
    same("ID after the reset", id, a.id.0.into())?;
    let word = a.order("peek 4096", "peeked")?;
    same("memory after the reset", field(&word, "value")?, "77")?;
    a.ring(a.id, 1, 1)?;
    a.arrived(1, 1)?;
    let host = join(&server, &[a.id])?;
    host.ring(a.id, VectorIndex(0))?;
    a.arrived(0, 1)?;
    a.quit()
}
