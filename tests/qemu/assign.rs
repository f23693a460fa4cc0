// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials on machines whose firmware gives no addresses, of devices plugged in later, and of both
//! configuration mechanisms.

use libtest_mimic::Failed;
use serde_json::json;
use xtask::qemu::option_value;

use crate::discovery::{bar, device, discover};
use crate::guests::{plain, Place, TestServer};
use crate::lab::{field, hear, number, same, Lab, Need, PATIENCE};

const SIZE: u64 = 1 << 20;
const VECTORS: u16 = 3;
const LARGE: u64 = 64 << 30;

/// Firmware that leaves every BAR of `pc` and `q35` without an address.
const QBOOT: [&str; 2] = ["-bios", "qboot.rom"];

/// A machine with PCI and without any firmware that knows of it.
const MICROVM: &str = "microvm,pcie=on";

pub fn trials() -> Vec<Need> {
    let mut trials = Vec::new();
    for place in Place::ALL {
        let name = place.name();
        trials.push(Need::new(
            format!("assign::without_firmware_on_{name}"),
            move |lab| {
                let server = TestServer::start(SIZE, VECTORS)?;
                let bare = |run: &str| lab.guest(&format!("{run} assign")).args(QBOOT);
                let guest = |run: &str| server.doorbell(bare(run), place);
                discover(&guest("run=discover hold"), SIZE, VECTORS)?;
                guest("run=msix-deliver").spawn()?.finish(PATIENCE)?;
                guest("run=memory-ends").spawn()?.finish(PATIENCE)?;
                let large = plain(bare("run=discover hold"), place, "64G");
                discover(&large, LARGE, 0)?;
                plain(bare("run=memory-ends"), place, "64G")
                    .spawn()?
                    .finish(PATIENCE)?;
                Ok(())
            },
        ));
    }
    trials.push(Need::new("assign::microvm", |lab| {
        let server = TestServer::start(SIZE, VECTORS)?;
        let guest = |run: &str| {
            // The machine named last counts.
            server.doorbell(lab.guest(run), Place::Pc).machine(MICROVM)
        };
        discover(&guest("run=discover hold"), SIZE, VECTORS)?;
        for run in ["msix-deliver", "msix-mask", "memory-ends", "detach"] {
            guest(&format!("run={run}")).spawn()?.finish(PATIENCE)?;
        }
        let large = |run: &str| {
            lab.guest(run)
                .machine(MICROVM)
                .args([
                    "-object",
                    "memory-backend-ram,id=memory,size=64G,reserve=off",
                ])
                .device("ivshmem-plain,memdev=memory,id=ivshmem")
        };
        discover(&large("run=discover hold"), LARGE, 0)?;
        large("run=memory-ends").spawn()?.finish(PATIENCE)?;
        large("mode=selftest what=time").spawn()?.finish(PATIENCE)?;
        Ok(())
    }));
    for place in [Place::Pc, Place::Nested] {
        trials.push(Need::new(
            format!("assign::two_devices_on_{}", place.name()),
            move |lab| two_devices(lab, place),
        ));
    }
    trials.push(Need::new("assign::firmware_goes_first", |lab| {
        let guest = plain(lab.guest("run=discover hold assign"), Place::RootPort, "1M");
        discover(&guest, SIZE, 0)
    }));
    trials.push(Need::new("assign::what_does_not_fit_is_said", |lab| {
        // Larger than what the default processor can address.
        let guest = lab.guest("run=discover assign").args(QBOOT);
        let vm = plain(guest, Place::Pc, "1T").spawn()?;
        let said = |line: &str| line.contains("no space is left for bar 2 of 0000:00:0");
        vm.wait_line(said, PATIENCE)?;
        vm.wait_exit(PATIENCE)?;
        Ok(())
    }));
    trials.push(Need::new("assign::ecam_and_ports_show_the_same", |lab| {
        let lines = |config: &str| -> Result<Vec<String>, Failed> {
            let guest = lab.guest(&format!("mode=lspci config={config}"));
            let outcome = plain(guest, Place::Nested, "16M")
                .spawn()?
                .finish(PATIENCE)?;
            let shown = outcome.lines.into_iter();
            Ok(shown.filter(|line| line.starts_with("@ ")).collect())
        };
        let (cam, ecam) = (lines("cam")?, lines("ecam")?);
        same("many lines", cam.len() > 20, true)?;
        same("lines", ecam, cam)
    }));
    trials.push(Need::new("assign::hot_plug_behind_a_root_port", hot_plug));
    trials
}

/// Boots with two doorbells of two servers and compares all BARs with QEMU's view.
fn two_devices(lab: &Lab, place: Place) -> Result<(), Failed> {
    let (first, second) = (
        TestServer::start(SIZE, VECTORS)?,
        TestServer::start(16 * SIZE, 2 * VECTORS)?,
    );
    let guest = lab.guest("mode=lspci hold assign").args(QBOOT);
    let path = option_value(second.server.socket());
    let guest = first
        .doorbell(guest, place)
        .chardev(&format!("socket,id=second,path={path}"))
        .device(&format!(
            "ivshmem-doorbell,chardev=second,vectors={},id=other",
            second.vectors
        ));
    crate::discovery::lspci(&guest)?;
    let vm = guest.spawn()?;
    hear(&vm, "end")?;
    let mut spans = Vec::new();
    for device in vm.qmp(PATIENCE)?.query_pci()? {
        if (device.vendor, device.device) == (0x1af4, 0x1110) {
            for index in 0..3 {
                spans.push(bar(&device, index)?);
            }
        }
    }
    same("BARs with addresses", spans.len(), 6)?;
    spans.sort_unstable();
    for pair in spans.windows(2) {
        same("overlap", pair[0].0 + pair[0].1 > pair[1].0, false)?;
    }
    vm.send_line("go")?;
    vm.finish(PATIENCE)?;
    Ok(())
}

/// Plugs a doorbell in behind a root port and takes it out again.
///
/// Once only: QEMU 7.2 never takes its handlers off a doorbell's descriptors, and dies of
/// them when its chardev is removed, as it must be before the next device can come.
fn hot_plug(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(SIZE, VECTORS)?;
    let vm = lab
        .guest("mode=hotplug")
        .machine("q35")
        .device("pcie-root-port,id=root,chassis=1,slot=1")
        .spawn()?;
    hear(&vm, "ready")?;
    let path = server.server.socket();
    let backend = json!({"type": "socket", "data": {
        "addr": {"type": "unix", "data": {"path": path}}, "server": false}});
    let mut qmp = vm.qmp(PATIENCE)?;
    qmp.execute("chardev-add", &json!({"id": "server", "backend": backend}))?;
    qmp.execute(
        "device_add",
        &json!({"driver": "ivshmem-doorbell", "id": "ivshmem", "bus": "root",
            "chardev": "server", "vectors": VECTORS}),
    )?;
    // One connection at a time.
    drop(qmp);
    vm.send_line("plugged")?;
    let assigned = hear(&vm, "assigned")?;
    hear(&vm, "works")?;
    let seen = device(&vm)?;
    let said = |key| number(field(&assigned, key)?);
    same("registers", said("registers")?, bar(&seen, 0)?.0)?;
    same("memory", said("memory")?, bar(&seen, 2)?.0)?;
    vm.send_line("unplug")?;
    hear(&vm, "detached")?;
    let mut qmp = vm.qmp(PATIENCE)?;
    qmp.execute("device_del", &json!({"id": "ivshmem"}))?;
    vm.send_line("eject")?;
    qmp.wait_event("DEVICE_DELETED", PATIENCE)?;
    hear(&vm, "gone")?;
    vm.send_line("end")?;
    vm.finish(PATIENCE)?;
    Ok(())
}
