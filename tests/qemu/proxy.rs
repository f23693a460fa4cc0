// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of the device of revision 0, which no QEMU has any more: a model of it, lent to QEMU by `ivshmem-device proxy`.
//!
//! QEMU 7.2 delivers the line of such a device under KVM only, and each event once only if the I/O APIC is
//! its own (`kernel-irqchip=split`). Where /dev/kvm does not open, these trials are ignored.

mod program;
mod server;

use std::os::fd::OwnedFd;

use ivshmem::{PeerId, VectorIndex};
use ivshmem_scenarios::pattern;
use libtest_mimic::Failed;
use serde_json::json;
use xtask::accelerator::AcceleratorKind;
use xtask::qemu::{Guest, Marker, Vm};

use crate::guests::TestServer;
use crate::lab::{field, hear, number, same, with_kvm, Lab, Need, PATIENCE};
use crate::peers::{id_of, join, Puppet};
use program::{Generation, Protocol, Proxy};
use server::{Client, LegacyServer};

const SIZE: u64 = 1 << 20;

/// Scenarios of one device.
const SCENARIOS: [&str; 5] = [
    "registers",
    "intx-deliver",
    "intx-mask",
    "intx-status",
    "intx-coalesce",
];

/// A machine, the generation of device that it is given, and the ID that its server gives: one that the driver lets
/// ring itself, and one that it does not.
#[derive(Clone, Copy)]
struct Setting {
    machine: &'static str,
    generation: Generation,
    id: u16,
}

const SETTINGS: [Setting; 2] = [
    Setting {
        machine: "pc",
        generation: Generation::V2_3,
        id: 0,
    },
    Setting {
        machine: "q35",
        generation: Generation::V2_5,
        id: 7,
    },
];

pub fn trials() -> Vec<Need> {
    let mut trials = vec![
        trial("two_guests_on_one_server", two_guests),
        trial("unplugged_and_plugged_in_again", hot_plug),
        trial("a_dead_proxy_does_not_end_the_guest", dead),
    ];
    for setting in SETTINGS {
        let on = |name| format!("{name}_on_{}", setting.machine);
        trials.extend([
            trial(&on("late"), move |lab| late(lab, setting)),
            trial(&on("intx-shared"), move |lab| shared(lab, setting)),
            trial(&on("line_with_a_stranger"), move |lab| {
                stranger(lab, setting)
            }),
            trial(&on("machine_reset"), move |lab| reset(lab, setting)),
        ]);
        for scenario in SCENARIOS {
            trials.push(trial(&on(scenario), move |lab| {
                alone(lab, setting, scenario)
            }));
        }
    }
    trials
}

/// A trial of this module.
fn trial(name: &str, run: impl FnOnce(&Lab) -> Result<(), Failed> + Send + 'static) -> Need {
    Need::where_possible(format!("proxy::{name}"), move |lab| with_kvm(|| run(lab)))
}

/// A machine under KVM in the set-up that takes each event once, without any addresses assigned by firmware.
fn guest(lab: &Lab, machine: &str, append: &str) -> Guest {
    lab.guest(append)
        .append("assign")
        .accelerator(AcceleratorKind::Kvm)
        .machine(format!("{machine},kernel-irqchip=split,memory-backend=ram"))
        // QEMU tells the proxy of the guest's memory, so it must be possible to share it.
        .object("memory-backend-memfd,id=ram,size=128M,share=on")
        .args(["-bios", "qboot.rom"])
}

/// The slots of devices, which share a line on `pc` and on `q35`.
const SLOTS: [u8; 2] = [2, 6];

/// Machines, and the devices of one server and one proxy that they have.
struct Lent {
    server: LegacyServer,
    clients: Vec<Client>,
    proxy: Proxy,
    sockets: Vec<OwnedFd>,
}

impl Lent {
    /// Has devices that are connected to a server which has not said a word.
    fn silent(setting: Setting, count: u16) -> Result<Self, Failed> {
        let server = LegacyServer::start(SIZE)?;
        let (proxy, sockets) = Proxy::start(
            setting.generation,
            Protocol::Unversioned,
            &server.socket(),
            count.into(),
        )?;
        let clients = (setting.id..)
            .take(count.into())
            .map(|id| server.accept(id));
        Ok(Self {
            clients: clients.collect::<Result<_, _>>()?,
            server,
            proxy,
            sockets,
        })
    }

    /// Has devices that their server has set up.
    fn new(setting: Setting, count: u16) -> Result<Self, Failed> {
        let lent = Self::silent(setting, count)?;
        for client in &lent.clients {
            client.set_up(&lent.server)?;
        }
        Ok(lent)
    }

    /// Adds all devices to a machine.
    fn put(&mut self, guest: Guest) -> Guest {
        let sockets = self.sockets.drain(..).zip(SLOTS);
        sockets.fold(guest, |guest, (socket, slot)| {
            let options = format!("x-pci-proxy-dev,id=ivshmem{slot},addr={slot}");
            guest.device_over(&options, socket)
        })
    }

    /// Rings as the guest asks for it, until it has passed.
    fn obey(&self, vm: &Vm) -> Result<(), Failed> {
        loop {
            let order = |line: &str| line.starts_with("@ ring ") || line.starts_with("== ");
            let line = vm.wait_line(order, PATIENCE)?;
            if line.starts_with("== ") {
                vm.finish(PATIENCE)?;
                return Ok(());
            }
            let index = usize::try_from(number(field(&line, "device")?)?)?;
            let client = self.clients.get(index).ok_or("no such device")?;
            client.ring(number(field(&line, "count")?)?)?;
            vm.send_line("rung")?;
        }
    }
}

fn alone(lab: &Lab, setting: Setting, scenario: &str) -> Result<(), Failed> {
    let mut lent = Lent::new(setting, 1)?;
    let run = format!("run={scenario} id={}", setting.id);
    let vm = lent.put(guest(lab, setting.machine, &run)).spawn()?;
    lent.obey(&vm)
}

/// Plays the host's part of `late`, whose documentation has the numbers.
fn late(lab: &Lab, setting: Setting) -> Result<(), Failed> {
    let mut lent = Lent::silent(setting, 1)?;
    let run = format!("run=late id={}", setting.id);
    let vm = lent.put(guest(lab, setting.machine, &run)).spawn()?;
    hear(&vm, "early")?;
    let memory = lent.server.mapping().memory();
    memory.write(0, &pattern::word(0x1a7e, 0).to_le_bytes())?;
    lent.clients[0].set_up(&lent.server)?;
    vm.send_line("sent")?;
    vm.finish(PATIENCE)?;
    let last = memory.len() - pattern::WORD;
    let mut word = [0; pattern::WORD];
    memory.read(last, &mut word)?;
    let expected = pattern::word(0x1a7f, last as u64);
    same("the last word", u64::from_le_bytes(word), expected)
}

fn shared(lab: &Lab, setting: Setting) -> Result<(), Failed> {
    let mut lent = Lent::new(setting, 2)?;
    let guest = guest(lab, setting.machine, "run=intx-shared");
    let vm = lent.put(guest).spawn()?;
    lent.obey(&vm)
}

/// A device that is no ivshmem on the same line.
fn stranger(lab: &Lab, setting: Setting) -> Result<(), Failed> {
    let mut lent = Lent::new(setting, 1)?;
    let guest = guest(lab, setting.machine, "mode=edu");
    let guest = lent.put(guest).device(&format!("edu,addr={}", SLOTS[1]));
    let vm = guest.spawn()?;
    let shared = hear(&vm, "shared")?;
    for asked in ["foreign", "edu_foreign"] {
        same(asked, number(field(&shared, asked)?)? > 0, true)?;
    }
    vm.finish(PATIENCE)?;
    Ok(())
}

fn reset(lab: &Lab, setting: Setting) -> Result<(), Failed> {
    let mut lent = Lent::new(setting, 1)?;
    let guest = guest(lab, setting.machine, "run=puppet");
    let puppet = attached(lent.put(guest))?;
    lent.clients[0].ring(1)?;
    puppet.arrived(0, 1)?;
    puppet.order("poke 4096 77", "poked")?;
    let mut qmp = puppet.vm.qmp(PATIENCE)?;
    // Machines of trials end when they would start again; this one shall not.
    qmp.execute("set-action", &json!({ "reboot": "reset" }))?;
    qmp.execute("system_reset", &json!({}))?;
    let id = number(field(&hear(&puppet.vm, "ready")?, "id")?)?;
    same("ID after the reset", id, setting.id.into())?;
    let word = puppet.order("peek 4096", "peeked")?;
    same("memory after the reset", field(&word, "value")?, "77")?;
    lent.clients[0].ring(1)?;
    puppet.arrived(0, 1)?;
    puppet.quit()
}

/// Waits until the driver in a puppet is attached.
fn attached(guest: Guest) -> Result<Puppet, Failed> {
    let vm = guest.spawn()?;
    let id = number(field(&hear(&vm, "ready")?, "id")?)?;
    let id = PeerId(u16::try_from(id)?);
    Ok(Puppet { vm, id })
}

/// Two guests of one proxy, one with today's device, and the host, on a server of today.
fn two_guests(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(SIZE, 2)?;
    let socket = server.server.socket();
    let (_proxy, sockets) = Proxy::start(Generation::V2_5, Protocol::Version0, socket, 2)?;
    let mut guests = Vec::new();
    for (socket, machine) in sockets.into_iter().zip(["pc", "q35"]) {
        let guest = guest(lab, machine, "run=puppet").name(machine);
        guests.push(attached(guest.device_over("x-pci-proxy-dev", socket))?);
    }
    guests.push(Puppet::boot(lab, &server, "modern")?);
    let ids: Vec<_> = guests.iter().map(|guest| guest.id).collect();
    let host = join(&server, &ids)?;
    guests[0].order("poke 4096 77", "poked")?;
    for (index, guest) in guests.iter().enumerate() {
        let word = guest.order("peek 4096", "peeked")?;
        same("the first guest's word", field(&word, "value")?, "77")?;
        let others = guests
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        for (_, other) in others {
            let before = other.count(0)?;
            guest.ring(other.id, 0, 1)?;
            other.arrived(0, u32::try_from(before)? + 1)?;
        }
        let before = guest.count(0)?;
        host.ring(guest.id, VectorIndex(0))?;
        guest.arrived(0, u32::try_from(before)? + 1)?;
        guest.ring(id_of(&host)?, 1, 1)?;
        same(
            "the host is rung",
            host.wait(VectorIndex(1), PATIENCE)?,
            true,
        )?;
    }
    for guest in &guests {
        same("events", guest.count(0)?, guests.len() as u64)?;
    }
    guests.into_iter().try_for_each(Puppet::quit)
}

/// Plugs one device in and out, then the other of the same proxy.
fn hot_plug(lab: &Lab) -> Result<(), Failed> {
    let mut lent = Lent::new(SETTINGS[1], 2)?;
    let vm = guest(lab, "pc", "mode=hotplug").spawn()?;
    hear(&vm, "ready")?;
    for socket in lent.sockets.drain(..) {
        let mut qmp = vm.qmp(PATIENCE)?;
        qmp.getfd("socket", &socket)?;
        // QEMU's copy is to be the last, so that its end shows.
        drop(socket);
        let device =
            json!({"driver": "x-pci-proxy-dev", "id": "ivshmem", "addr": "2", "fd": "socket"});
        qmp.execute("device_add", &device)?;
        vm.send_line("plugged")?;
        hear(&vm, "works")?;
        vm.send_line("unplug")?;
        hear(&vm, "detached")?;
        qmp.execute("device_del", &json!({"id": "ivshmem"}))?;
        vm.send_line("eject")?;
        qmp.wait_event("DEVICE_DELETED", PATIENCE)?;
        hear(&vm, "gone")?;
    }
    same("the proxy's end", lent.proxy.wait()?.code(), Some(0))?;
    vm.send_line("end")?;
    vm.finish(PATIENCE)?;
    Ok(())
}

/// Ends the proxy under a running guest, which finds its device gone.
fn dead(lab: &Lab) -> Result<(), Failed> {
    let mut lent = Lent::new(SETTINGS[0], 1)?;
    let puppet = attached(lent.put(guest(lab, "pc", "run=puppet")))?;
    drop(lent.proxy);
    puppet.vm.send_line("position")?;
    match puppet.vm.wait_exit(PATIENCE)?.marker {
        Some(Marker::Fail(reason)) => same("the guest says", reason.contains("gone"), true),
        other => Err(format!("marker {other:?} instead of == FAIL").into()),
    }
}
