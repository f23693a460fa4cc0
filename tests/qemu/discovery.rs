// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of discovery: what the driver finds is what QEMU itself reports over QMP.

use std::collections::BTreeMap;

use libtest_mimic::Failed;
use xtask::qemu::{Guest, Vm};
use xtask::qmp::PciDevice;

use crate::guests::{plain, Place, TestServer};
use crate::lab::{field, hear, number, same, Lab, Need, PATIENCE};

const SIZE: u64 = 1 << 20;
const VECTORS: u16 = 3;
const LARGE: u64 = 64 << 30;

pub fn trials() -> Vec<Need> {
    let mut trials = Vec::new();
    for place in Place::ALL {
        let name = place.name();
        trials.push(Need::new(
            format!("discovery::plain_on_{name}"),
            move |lab| {
                let guest = |append| plain(lab.guest(append), place, "1M");
                discover(&guest("run=discover hold"), SIZE, 0)?;
                guest("run=plain").spawn()?.finish(PATIENCE)?;
                Ok(())
            },
        ));
        trials.push(Need::new(
            format!("discovery::doorbell_on_{name}"),
            move |lab| {
                let server = TestServer::start(SIZE, VECTORS)?;
                let guest = |append| server.doorbell(lab.guest(append), place);
                discover(&guest("run=discover hold"), SIZE, VECTORS)?;
                // The first machine had ID 0; no ID is given out twice while a client that saw it lives.
                let second = guest("run=puppet").spawn()?;
                let id = number(field(&hear(&second, "ready")?, "id")?)?;
                let vm = guest(&format!("run=registers id={}", id + 1)).spawn()?;
                vm.finish(PATIENCE)?;
                second.send_line("quit")?;
                second.finish(PATIENCE)?;
                Ok(())
            },
        ));
    }
    for place in [Place::Pc, Place::Q35] {
        let name = place.name();
        trials.push(Need::new(
            format!("discovery::plain_of_64_gib_on_{name}"),
            move |lab| {
                discover(
                    &plain(lab.guest("run=discover hold"), place, "64G"),
                    LARGE,
                    0,
                )
            },
        ));
        trials.push(Need::new(
            format!("discovery::doorbell_of_64_gib_on_{name}"),
            move |lab| {
                let server = TestServer::start(LARGE, VECTORS)?;
                let guest = server.doorbell(lab.guest("run=discover hold"), place);
                discover(&guest, LARGE, VECTORS)
            },
        ));
    }
    for place in Place::ALL {
        let name = place.name();
        trials.push(Need::new(
            format!("discovery::lspci_agrees_with_qmp_on_{name}"),
            move |lab| lspci(&plain(lab.guest("mode=lspci hold"), place, "16M")),
        ));
    }
    trials.push(Need::new("discovery::bars_of_2_gib", |lab: &Lab| {
        discover(
            &plain(lab.guest("run=discover hold"), Place::Q35, "2G"),
            2 << 30,
            0,
        )
    }));
    trials
}

/// Compares what `run=discover` says with QEMU's view of the device.
pub fn discover(guest: &Guest, size: u64, vectors: u16) -> Result<(), Failed> {
    let vm = guest.clone().spawn()?;
    let said = hear(&vm, "device")?;
    let msix = match vectors {
        0 => None,
        _ => Some(hear(&vm, "msix")?),
    };
    let device = device(&vm)?;
    let address = format!(
        "0000:{:02x}:{:02x}.{}",
        device.bus, device.slot, device.function
    );
    same("address", field(&said, "address")?, &address)?;
    same("revision", field(&said, "revision")?, "1")?;
    same("class", field(&said, "class")?, "050000")?;
    same("interrupt pin", field(&said, "pin")?, "0")?;
    same("vectors", number(field(&said, "vectors")?)?, vectors.into())?;
    let registers = region(field(&said, "registers")?)?;
    same("registers", registers, bar(&device, 0)?)?;
    same("size of the registers", registers.1, 256)?;
    let memory = region(field(&said, "memory")?)?;
    same("memory", memory, bar(&device, 2)?)?;
    same("size of the memory", memory.1, size)?;
    if let Some(msix) = msix {
        let table = region(field(&msix, "table")?)?;
        same("msi-x bar", table, bar(&device, 1)?)?;
        same(
            "pending bits",
            number(field(&msix, "pending")?)?,
            table.0 + 0x800,
        )?;
    }
    vm.send_line("go")?;
    vm.finish(PATIENCE)?;
    Ok(())
}

/// Compares the IDs, classes and BARs of all functions with QEMU's view.
pub fn lspci(guest: &Guest) -> Result<(), Failed> {
    let vm = guest.clone().spawn()?;
    hear(&vm, "end")?;
    let mut guests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in vm.log() {
        if let Some(rest) = line.strip_prefix("@ function ") {
            guests.insert(field(rest, "address")?.into(), vec![rest.into()]);
        } else if let Some(rest) = line.strip_prefix("@ bar ") {
            let lines = guests.get_mut(field(rest, "address")?);
            lines.ok_or("a bar before its function")?.push(rest.into());
        }
    }
    let devices = vm.qmp(PATIENCE)?.query_pci()?;
    same("number of functions", guests.len(), devices.len())?;
    for device in &devices {
        let address = format!(
            "0000:{:02x}:{:02x}.{}",
            device.bus, device.slot, device.function
        );
        let lines = guests
            .get(&address)
            .ok_or_else(|| format!("no {address}"))?;
        let ids = format!("{:04x}:{:04x}", device.vendor, device.device);
        same(&address, field(&lines[0], "id")?, &ids)?;
        let class = format!("{:04x}", device.class);
        same(&address, &field(&lines[0], "class")?[..4], &class)?;
        // The ROM is no BAR, and host bridges are not sized.
        let expected: Vec<_> = device.bars.iter().filter(|bar| bar.bar < 6).collect();
        same(
            &format!("bars of {address}"),
            lines.len() - 1,
            expected.len(),
        )?;
        for (line, bar) in lines[1..].iter().zip(expected) {
            same(&address, number(field(line, "index")?)?, bar.bar.into())?;
            same(&address, number(field(line, "size")?)?, bar.size)?;
            if let Some(at) = bar.address {
                same(&address, number(field(line, "at")?)?, at)?;
            }
            let prefetchable = line.split(' ').any(|word| word == "prefetchable");
            same(&address, prefetchable, bar.prefetch)?;
            same(&address, field(line, "kind")? == "memory64", bar.mem64)?;
        }
    }
    vm.send_line("go")?;
    vm.finish(PATIENCE)?;
    Ok(())
}

/// Returns QEMU's view of the device called `ivshmem`.
pub fn device(vm: &Vm) -> Result<PciDevice, Failed> {
    let devices = vm.qmp(PATIENCE)?.query_pci()?;
    let found = devices.into_iter().find(|device| device.id == "ivshmem");
    let device = found.ok_or("QEMU does not know the device")?;
    same("IDs", (device.vendor, device.device), (0x1af4, 0x1110))?;
    Ok(device)
}

/// Returns address and size of a BAR.
pub fn bar(device: &PciDevice, index: u8) -> Result<(u64, u64), Failed> {
    let bar = device.bars.iter().find(|bar| bar.bar == index);
    let bar = bar.ok_or_else(|| format!("QEMU knows no bar {index}"))?;
    let address = bar.address.ok_or("the bar has no address")?;
    Ok((address, bar.size))
}

/// Returns address and size from `ADDRESS+SIZE`.
fn region(text: &str) -> Result<(u64, u64), Failed> {
    let (address, size) = text.split_once('+').ok_or("no + in a region")?;
    Ok((number(address)?, number(size)?))
}
