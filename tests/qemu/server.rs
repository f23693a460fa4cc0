// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of the server with a live QEMU attached, which must survive what other clients do.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ivshmem::VectorIndex;
use ivshmem_host::peer::Peer;
use libtest_mimic::Failed;
use xtask::qemu::Vm;

use crate::guests::TestServer;
use crate::lab::{field, same, Lab, Need, PATIENCE};
use crate::peers::{id_of, join, Puppet};

const VECTORS: u16 = 2;

pub fn trials() -> Vec<Need> {
    vec![
        Need::new(
            "server::a_thousand_clients_come_and_go_under_a_live_guest",
            thousand,
        ),
        Need::new("server::sixty_four_clients_ring_a_live_guest", sixty_four),
        Need::new(
            "server::a_guest_joins_past_clients_that_never_read",
            never_read,
        ),
        Need::new("server::guests_do_not_notice_a_handover", handed_over),
    ]
}

fn thousand(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    let guest = Puppet::boot(lab, &server, "guest")?;
    let before = descriptors(&guest.vm)?;
    let socket = server.server.socket();
    for round in 0..1000 {
        if round % 3 == 0 {
            // Gone in the middle of the handshake, at another byte each time.
            let mut stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.read_exact(&mut vec![0; round % 40])?;
        } else {
            let peer = Peer::connect(socket)?;
            if round % 50 == 1 {
                peer.ring(guest.id, VectorIndex(0))?;
            }
        }
    }
    same("clients", server.server.wait_for_clients(1, PATIENCE), true)?;
    // The guest has taken in a thousand comings and goings if it can be rung, and ring, and be seen by a newcomer.
    let host = join(&server, &[guest.id])?;
    host.ring(guest.id, VectorIndex(1))?;
    guest.arrived(1, 1)?;
    guest.ring(id_of(&host)?, 0, 1)?;
    same(
        "the host is rung",
        host.wait(VectorIndex(0), PATIENCE)?,
        true,
    )?;
    same("rings on the way", guest.count(0)? >= 1, true)?;
    // Two doorbells to the host peer, and no trace of a thousand others.
    let after = descriptors(&guest.vm)?;
    same("descriptors of QEMU", after, before + usize::from(VECTORS))?;
    guest.quit()
}

/// Returns how many file descriptors a machine's QEMU has.
fn descriptors(vm: &Vm) -> Result<usize, Failed> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", vm.pid()))?.count())
}

fn sixty_four(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    let guest = Puppet::boot(lab, &server, "guest")?;
    let mut peers = Vec::new();
    for _ in 0..64 {
        peers.push(join(&server, &[guest.id])?);
    }
    for (peer, count) in peers.iter().zip(1..) {
        peer.ring(guest.id, VectorIndex(1))?;
        guest.arrived(1, count)?;
        guest.ring(id_of(peer)?, 1, 1)?;
        same("a peer is rung", peer.wait(VectorIndex(1), PATIENCE)?, true)?;
    }
    drop(peers);
    same("clients", server.server.wait_for_clients(1, PATIENCE), true)?;
    guest.ring(guest.id, 0, 1)?;
    guest.arrived(0, 1)?;
    guest.quit()
}

fn never_read(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    let socket = server.server.socket();
    let silent = (0..8)
        .map(|_| UnixStream::connect(socket))
        .collect::<Result<Vec<_>, _>>()?;
    same(
        "clients",
        server.server.wait_for_clients(silent.len(), PATIENCE),
        true,
    )?;
    let guest = Puppet::boot(lab, &server, "guest")?;
    // Enough news to fill the buffers of those that do not read.
    for _ in 0..300 {
        Peer::connect_within(socket, Duration::from_secs(5))?;
    }
    let host = join(&server, &[guest.id])?;
    host.ring(guest.id, VectorIndex(0))?;
    guest.arrived(0, 1)?;
    guest.quit()
}

fn handed_over(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    let a = Puppet::boot(lab, &server, "a")?;
    let b = Puppet::boot(lab, &server, "b")?;
    a.ring(b.id, 0, 1)?;
    b.arrived(0, 1)?;
    a.order("poke 64 1234", "poked")?;

    let server = server.hand_over()?;
    same("clients", server.server.clients(), 2)?;
    a.ring(b.id, 0, 1)?;
    b.arrived(0, 2)?;
    b.ring(a.id, 1, 1)?;
    a.arrived(1, 1)?;
    // Those who come afterwards, and the guests, learn of each other from the new server.
    let c = Puppet::boot(lab, &server, "c")?;
    let host = join(&server, &[a.id, b.id, c.id])?;
    let peek = c.order("peek 64", "peeked")?;
    same("word", field(&peek, "value")?, "1234")?;
    for (rings, guest) in [(2, &a), (1, &c)] {
        host.ring(guest.id, VectorIndex(1))?;
        guest.arrived(1, rings)?;
    }

    let server = server.hand_over()?;
    for guest in [&a, &b, &c] {
        guest.ring(host.id().ok_or("no ID")?, 0, 1)?;
        same(
            "the host is rung",
            host.wait(VectorIndex(0), PATIENCE)?,
            true,
        )?;
    }
    a.ring(c.id, 0, 1)?;
    c.arrived(0, 1)?;
    c.ring(a.id, 0, 1)?;
    a.arrived(0, 1)?;
    // A departure is told by the new server too: of the two guests left each still has the other.
    b.quit()?;
    same("clients", server.server.wait_for_clients(3, PATIENCE), true)?;
    c.ring(a.id, 0, 1)?;
    a.arrived(0, 2)?;
    a.quit()?;
    c.quit()
}
