// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trial of `cargo xtask image`: a machine boots what the command wrote, and finds its device.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use libtest_mimic::{Completion, Failed};
use tempfile::TempDir;
use xtask::guests::{plain, Place};
use xtask::kernel::{self, Profile};
use xtask::qemu::Guest;
use xtask::tools::Tools;
use xtask::trials::{self, same, with_firmware, Need};

/// UEFI firmware takes seconds to start, without KVM and beside other machines many.
const PATIENCE: Duration = Duration::from_secs(100);

fn main() -> ExitCode {
    let open = || {
        let tools = Tools::find().map_err(|missing| missing.to_string())?;
        kernel::build(&tools, Profile::Release).map_err(|error| error.to_string())?;
        Ok(tools)
    };
    let trial = Need::where_possible("image::what_the_command_writes_boots", boots);
    trials::main(open, [trial])
}

fn boots(tools: &Tools) -> Result<Completion, Failed> {
    with_firmware(tools, |firmware| {
        let folder = TempDir::new()?;
        let path = folder.path().join("disk.img");
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["image", "--append", "run=discover hold", "--output"])
            .arg(&path)
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        same(&errors, output.status.code(), Some(0))?;
        same("last line", text.lines().last().map(Path::new), Some(&path))?;

        let guest = Guest::uefi(tools, firmware, &path).lifetime(2 * PATIENCE);
        let vm = plain(guest, Place::Q35, "1M").spawn()?;
        let said = vm.wait_line(|line| line.starts_with("@ device "), PATIENCE)?;
        let devices = vm.qmp(PATIENCE)?.query_pci()?;
        let device = devices.iter().find(|device| device.id == "ivshmem");
        let bars = &device.ok_or("QEMU does not know the device")?.bars;
        let memory = bars
            .iter()
            .find(|bar| bar.bar == 2)
            .and_then(|bar| bar.address);
        let memory = memory.ok_or("QEMU knows no bar 2")?;
        // OVMF puts 64-bit BARs there, which SeaBIOS does only with large ones.
        same("bar 2 is above 4 GiB", memory >> 32 != 0, true)?;
        let expected = format!("memory={memory:#x}+0x100000");
        let found = said.split(' ').any(|word| word == expected);
        same(&format!("{expected} in {said}"), found, true)?;
        vm.send_line("go")?;
        vm.finish(PATIENCE)?;
        Ok(())
    })
}
