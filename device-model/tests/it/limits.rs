// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command where descriptors get scarce: what one server uses up, the guests of others must not miss.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::process::{prlimit, Pid, Resource, Rlimit};

use crate::command::{connected, device, Running};
use crate::support::{event, memory, try_send, Server};

/// A command that a shell starts with few descriptors of many.
fn with_low_limit() -> Command {
    let mut command = Command::new("sh");
    let script = "ulimit -S -n 100 && exec \"$0\" proxy \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_ivshmem-device")]);
    command.stdin(Stdio::null());
    command
}

/// Sets both limits of open descriptors, and returns the ones of before.
fn limit(running: &Running, descriptors: u64) -> Rlimit {
    let new = Rlimit {
        current: Some(descriptors),
        maximum: Some(descriptors),
    };
    prlimit(Some(Pid::from_child(&running.0)), Resource::Nofile, new).unwrap()
}

#[test]
fn a_server_that_uses_up_descriptors_ends_no_other_device() {
    let servers = [Server::new(), Server::new()];
    let texts = servers.each_ref().map(device);
    let (mut running, mut qemus) = Running::start_by(with_low_limit(), &texts, &[]);
    let [mut greedy, quiet] = servers.each_ref().map(|server| connected(server, 1));
    for qemu in &mut qemus {
        // The server has said what it has to say, and the loop runs.
        qemu.write_config(0x10, 0xfebf_0000, 4);
        qemu.write_config(0x04, 2, 2);
        crate::support::wait_for("the memory", || {
            (qemu.read(0xfebf_0008, 4) == 1).then_some(())
        });
    }
    let before = limit(&running, 200);
    assert_eq!(before.current, before.maximum, "raised at the start");
    assert!(before.current.is_none_or(|limit| limit > 200), "{before:?}");

    let vector = event();
    let mut peers = 2..60_000_i64;
    let is_cut_off = peers.any(|peer| {
        let sent = try_send(&greedy.0, &peer.to_le_bytes(), &[vector.as_fd()]);
        sent == Err(rustix::io::Errno::PIPE)
    });
    assert!(is_cut_off && greedy.is_closed());
    let line = running.lines().next().unwrap();
    assert!(
        line.contains(&texts[0]) && line.contains("200") && line.contains("keeps the device"),
        "{line}"
    );
    let file = memory(4096);
    for qemu in &mut qemus {
        qemu.sync_memory(&[file.as_fd(); 8]);
        let (interrupt, _resample) = qemu.set_irqfd();
        qemu.write(0xfebf_0000, 1, 4);
        qemu.write(0xfebf_0004, 1, 4);
        assert_eq!(crate::support::counter(&interrupt), 1, "the line rises");
    }
    drop((qemus, quiet));
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn only_a_request_that_needs_its_descriptors_misses_them() {
    let server = Server::new();
    let (mut running, mut qemus) = Running::start_by(with_low_limit(), &[device(&server)], &[]);
    let _client = connected(&server, 1);
    let qemu = &mut qemus[0];
    qemu.read_config(0, 4);
    // All that come from now on get lost.
    limit(&running, 3);
    let file = memory(4096);
    for _ in 0..2 {
        qemu.sync_memory(&[file.as_fd(); 8]);
        assert_eq!(qemu.read_config(0, 4), 0x1110_1af4);
    }
    let _line = qemu.set_irqfd();
    assert!(qemu.is_closed());
    let line = running.lines().next().unwrap();
    assert!(line.contains("descriptors got lost"), "{line}");
    assert_eq!(running.wait().code(), Some(2));
}
