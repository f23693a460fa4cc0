// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of a Linux guest whose program uses the library: by VFIO's interrupts, and by polling, with a bare-metal guest and with
//! this process.

use std::sync::OnceLock;
use std::time::Duration;

use ivshmem::channel::Format;
use libtest_mimic::{Completion, Failed};
use xtask::linux::{Linux, LinuxKernel};
use xtask::qemu::{Guest, Marker, Vm};
use xtask::suite::REQUIRE_LINUX;

use crate::channels::host::{HostMember, NAME as HOST};
use crate::channels::voice::{all_said, hear as hear_fields};
use crate::guests::{Place, TestServer};
use crate::lab::{field, hear_within, number, same, Lab, Need, PATIENCE};

/// Vectors of each peer.
const VECTORS: u16 = 2;

/// Messages with each of the others.
const MESSAGES: u64 = 500;

/// How long Linux may take for anything: it boots in 2 s here, on a machine that does nothing else.
const LINUX_PATIENCE: Duration = Duration::from_secs(90);

pub fn trials() -> Vec<Need> {
    vec![
        Need::where_possible("linux::vfio_rings_eventfds_of_a_user", |lab| {
            with_linux(|linux| vfio(lab, linux))
        }),
        Need::where_possible("linux::plain_has_channels_with_those_who_can_ring", |lab| {
            with_linux(|linux| plain(lab, linux))
        }),
        Need::where_possible("linux::sysfs_is_polled_and_left_as_found", |lab| {
            with_linux(|linux| sysfs(lab, linux))
        }),
    ]
}

/// Runs a trial that needs a Linux kernel. Without one it is ignored, or fails with `IVSHMEM_REQUIRE_LINUX`.
fn with_linux(run: impl FnOnce(&Linux) -> Result<(), Failed>) -> Result<Completion, Failed> {
    static LINUX: OnceLock<Result<Linux, String>> = OnceLock::new();
    let Some(kernel) = LinuxKernel::find() else {
        let reason = "no kernel for Linux guests; cargo xtask setup fetches it on Debian";
        if std::env::var_os(REQUIRE_LINUX).is_some() {
            return Err(reason.into());
        }
        return Ok(Completion::ignored_with(reason));
    };
    let prepare = || Linux::prepare(&kernel).map_err(|error| error.to_string());
    let linux = LINUX.get_or_init(prepare).as_ref();
    run(linux.map_err(String::as_str)?).map(|()| Completion::Completed)
}

/// Everybody that a Linux guest talks with.
struct Others {
    crowd: Vm,
    host: HostMember,
    server: TestServer,
}

impl Others {
    fn start(lab: &Lab) -> Result<Self, Failed> {
        let server = TestServer::start_on_file(1 << 20, VECTORS)?;
        let guest = lab
            .guest("mode=channel name=metal what=crowd slots=4 ring=12")
            .name("metal")
            .lifetime(2 * LINUX_PATIENCE);
        let crowd = server.doorbell(guest, Place::Pc).spawn()?;
        hear_within(&crowd, "joined", PATIENCE)?;
        let format = Format {
            slots: 4,
            ring_log2: Some(12),
        };
        let host = HostMember::join(&server, format)?;
        Ok(Self {
            crowd,
            host,
            server,
        })
    }

    /// Describes the Linux guest, whose device comes on top.
    fn linux(lab: &Lab, linux: &Linux, way: &str) -> Guest {
        linux
            .guest(&lab.tools)
            .name("linux")
            .lifetime(2 * LINUX_PATIENCE)
            .append(format!(
                "ivshmem.way={way} ivshmem.peers=metal,{HOST} ivshmem.messages={MESSAGES}"
            ))
    }

    fn boot(&self, lab: &Lab, linux: &Linux, way: &str) -> Result<Vm, Failed> {
        let guest = Self::linux(lab, linux, way);
        Ok(self.server.doorbell(guest, Place::Q35).spawn()?)
    }

    /// Waits until Linux has talked with everybody and has ended, and everybody is content.
    fn finish(self, vm: &Vm) -> Result<(), Failed> {
        for peer in ["metal", HOST] {
            let said = hear_within(vm, "exchanged", LINUX_PATIENCE)?;
            same("peer", field(&said, "peer")?, peer)?;
            println!("{said}");
        }
        // Linux has turned the machine off, so the verdict is all there is.
        let outcome = vm.wait_exit(LINUX_PATIENCE)?;
        if outcome.marker != Some(Marker::Pass) {
            return Err(vm.report().to_string().into());
        }
        let count = MESSAGES.to_string();
        let whole = [
            ("peer", "linux"),
            ("received", count.as_str()),
            ("error", "PeerGone"),
        ];
        hear_fields(&self.crowd, "broken", &whole)?;
        hear_fields(&self.host, "broken", &whole)?;
        all_said(&self.crowd, "forged", |_| false)?;
        all_said(&self.host, "forged", |_| false)?;
        self.host.leave()?;
        self.crowd.send_line("leave")?;
        self.crowd.finish(PATIENCE)?;
        Ok(())
    }
}

fn vfio(lab: &Lab, linux: &Linux) -> Result<(), Failed> {
    let others = Others::start(lab)?;
    let vm = others.boot(lab, linux, "vfio")?;
    let killed = hear_within(&vm, "killed", LINUX_PATIENCE)?;
    same("one that is killed", field(&killed, "said")?, "held")?;
    let peer = hear_within(&vm, "peer", LINUX_PATIENCE)?;
    same("user", field(&peer, "uid")?, "1000")?;
    same("vectors", number(field(&peer, "vectors")?)?, VECTORS.into())?;
    same("bytes", number(field(&peer, "bytes")?)?, 1 << 20)?;
    for vector in 0..VECTORS {
        let rung = hear_within(&vm, "rung", LINUX_PATIENCE)?;
        same("vector", number(field(&rung, "vector")?)?, vector.into())?;
    }
    let second = hear_within(&vm, "second", LINUX_PATIENCE)?;
    same("busy", second.ends_with("another program uses it"), true)?;
    others.finish(&vm)
}

fn plain(lab: &Lab, linux: &Linux) -> Result<(), Failed> {
    let others = Others::start(lab)?;
    let guest = Others::linux(lab, linux, "vfio");
    let vm = others.server.plain(guest, Place::Q35)?.spawn()?;
    let peer = hear_within(&vm, "peer", LINUX_PATIENCE)?;
    same("id", field(&peer, "id")?, "none")?;
    same("vectors", number(field(&peer, "vectors")?)?, 0)?;
    others.finish(&vm)
}

fn sysfs(lab: &Lab, linux: &Linux) -> Result<(), Failed> {
    let others = Others::start(lab)?;
    let vm = others.boot(lab, linux, "sysfs")?;
    let opened = hear_within(&vm, "opened", LINUX_PATIENCE)?;
    same("a silent device", field(&opened, "answers")?, "true")?;
    let refused = hear_within(&vm, "failed", LINUX_PATIENCE)?;
    same("a user is told", refused.contains("this takes root"), true)?;
    let peer = hear_within(&vm, "peer", LINUX_PATIENCE)?;
    same("user", field(&peer, "uid")?, "0")?;
    same("vectors", number(field(&peer, "vectors")?)?, 0)?;
    let mapped = hear_within(&vm, "mapped", LINUX_PATIENCE)?;
    same("caching", field(&mapped, "as")?, "uncached-minus")?;
    others.finish(&vm)
}
