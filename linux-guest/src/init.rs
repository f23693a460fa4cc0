// SPDX-License-Identifier: MIT OR Apache-2.0
//! The init's part: it prepares the device, has the exchange done, and checks that the device is left as it was found.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{chown, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ivshmem_host::pci;
use ivshmem_host::peer::Peer;

use crate::{system, user, Failure};

/// Bit of the Command register that lets a device answer at its memory BARs.
const MEMORY_SPACE: u16 = 1 << 1;

pub fn run() -> Result<(), Failure> {
    system::mount_all()?;
    let address = *pci::find().first().ok_or("no ivshmem device")?;
    let folder = PathBuf::from(format!("/sys/bus/pci/devices/{address}"));
    println!("@ device address={address}");
    match system::word("ivshmem.way")?.as_str() {
        "sysfs" => by_sysfs(&folder, address),
        "vfio" => by_vfio(&folder, address),
        way => Err(format!("there is no way {way}").into()),
    }
}

/// No driver has it, and it does not even answer.
fn by_sysfs(folder: &Path, address: pci::Address) -> Result<(), Failure> {
    let found = system::command(folder)?;
    let silent = found & !MEMORY_SPACE;
    system::set_command(folder, silent)?;
    let peer = Peer::open_pci(&address.to_string())?;
    let answers = system::command(folder)? & MEMORY_SPACE != 0;
    println!(
        "@ opened id={:?} vectors={} answers={answers}",
        peer.id(),
        peer.vectors()
    );
    drop(peer);
    let left = (system::command(folder)?, enabled(folder)?);
    if left != (silent, 0) {
        return Err(
            format!("the device is left as {left:x?}, and was found as {silent:x}, 0").into(),
        );
    }
    system::set_command(folder, found)?;
    if spawn(address, user::USER).is_ok() {
        return Err("a user was let in".into());
    }
    spawn(address, 0)
}

/// VFIO has it, and gives it to a user.
fn by_vfio(folder: &Path, address: pci::Address) -> Result<(), Failure> {
    system::load_modules()?;
    system::tell(folder.join("driver_override"), "vfio-pci")?;
    system::tell("/sys/bus/pci/drivers_probe", &address.to_string())?;
    let driver = fs::read_link(folder.join("driver"))?;
    println!("@ bound driver={}", driver.display());
    let found = system::command(folder)?;
    let group = fs::read_link(folder.join("iommu_group"))?;
    let group = group.file_name().ok_or("a group without a number")?;
    let group = Path::new("/dev/vfio").join(group);
    chown(&group, Some(user::USER), None)?;
    let mode = fs::metadata("/dev/vfio/vfio")?.mode() & 0o777;
    println!("@ group file={} container_mode={mode:o}", group.display());
    kill_holder(folder, address)?;
    is_left_as(folder, found)?;
    spawn(address, user::USER)?;
    is_left_as(folder, found)
}

/// Checks the Command register behind a program that has used the device.
fn is_left_as(folder: &Path, found: u16) -> Result<(), Failure> {
    let left = system::command(folder)?;
    if left == found {
        return Ok(());
    }
    Err(format!("the Command register is left as {left:x}, and was found as {found:x}").into())
}

/// Has a process hold the device, and kills it in the middle.
fn kill_holder(folder: &Path, address: pci::Address) -> Result<(), Failure> {
    let mut command = process(user::HOLDS, address, user::USER);
    let mut holder = command.stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    let stdout = holder.stdout.take().ok_or("a pipe was asked for")?;
    BufReader::new(stdout).read_line(&mut said)?;
    let held = system::command(folder)?;
    holder.kill()?;
    holder.wait()?;
    println!("@ killed said={} command={held:x}", said.trim_end());
    Ok(())
}

/// Returns how many want the device to answer.
fn enabled(folder: &Path) -> Result<u32, Failure> {
    Ok(fs::read_to_string(folder.join("enable"))?.trim().parse()?)
}

/// Has the exchange done by a process of `user`.
fn spawn(address: pci::Address, user: u32) -> Result<(), Failure> {
    let status = process(user::USES, address, user).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("the user's process ended with {status}").into())
}

/// Describes a process of `user` that does what `role` says.
fn process(role: &str, address: pci::Address, user: u32) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([role, &address.to_string()]);
    command.uid(user).gid(user);
    command
}
