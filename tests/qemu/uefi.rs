// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trial of the kernel as a UEFI application. That `cargo xtask image` works is a trial of its own, in xtask.

use std::time::Duration;

use libtest_mimic::{Completion, Failed};
use xtask::image;
use xtask::kernel::{self, Profile};
use xtask::qemu::Guest;
use xtask::trials::with_firmware;

use crate::guests::{Place, TestServer};
use crate::lab::{Lab, Need};

/// The firmware takes seconds to start, without KVM and beside other machines many.
const PATIENCE: Duration = Duration::from_secs(100);

pub fn trials() -> Vec<Need> {
    vec![Need::where_possible(
        "uefi::doorbell_takes_interrupts",
        interrupts,
    )]
}

fn interrupts(lab: &Lab) -> Result<Completion, Failed> {
    with_firmware(&lab.tools, |firmware| {
        let folder = tempfile::tempdir()?;
        let disk = folder.path().join("disk.img");
        let elf = kernel::build(&lab.tools, Profile::Release)?;
        image::write(&elf, "run=msix-deliver", &disk)?;
        let server = TestServer::start(1 << 20, 3)?;
        let guest = Guest::uefi(&lab.tools, firmware, &disk).lifetime(2 * PATIENCE);
        let vm = server.doorbell(guest, Place::Q35).spawn()?;
        vm.finish(PATIENCE)?;
        Ok(())
    })
}
