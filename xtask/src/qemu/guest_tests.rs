// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unit tests of QEMU's command line.

use super::*;
use crate::accelerator::Accelerator;
use crate::toolchain::{KernelToolchain, Route, RustVersion};
use crate::tools::QemuProgram;

fn tools() -> Tools {
    Tools {
        qemu: QemuProgram {
            path: "/q".into(),
            version: "7.2.22".into(),
        },
        accelerator: Accelerator {
            kind: AcceleratorKind::Tcg,
            reason: "a test".into(),
        },
        kernel: KernelToolchain {
            route: Route::Active,
            version: RustVersion(1, 95, 0),
        },
        uefi: None,
    }
}

#[test]
fn the_command_line_has_what_was_asked_for() {
    let guest = Guest::new(&tools(), "/k")
        .name("a,b")
        .machine("q35")
        .memory_mib(64)
        .append("run=x")
        .append("list")
        .device("ivshmem-plain,memdev=m");
    let line = shell_line(&guest.command(Serial::Pipes, Some(Path::new("/t"))));
    for part in [
        "/q -name a,,b ",
        " -machine q35 -accel tcg -m 64M ",
        " -chardev stdio,id=com1,signal=off -serial chardev:com1 ",
        " -device isa-debug-exit,iobase=0xf4,iosize=4 ",
        ",path=/t/qmp ",
        " -kernel /k -append 'run=x list' -device ivshmem-plain,memdev=m",
    ] {
        assert!(line.contains(part), "{part} is in {line}");
    }
}

#[test]
fn a_device_over_a_socket_names_what_is_inherited() {
    let sockets = || std::os::unix::net::UnixStream::pair().unwrap();
    let (near, _far) = sockets();
    let (second, _far) = sockets();
    let guest = Guest::new(&tools(), "/k")
        .device_over("x,id=a", near.into())
        .device_over("x,id=b", second.into());
    let line = shell_line(&guest.command(Serial::Pipes, None));
    let devices = " -device x,id=a,fd=100 -device x,id=b,fd=101";
    assert!(line.contains(devices), "{line}");
    // And these are what a child finds there.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "test -S /proc/self/fd/100 && test -S /proc/self/fd/101",
    ]);
    guest.hand_over(&mut command).unwrap();
    assert!(command.status().unwrap().success());
}

#[test]
fn a_uefi_machine_leaves_firmware_and_image_as_they_are() {
    let firmware = UefiFirmware {
        code: "/code".into(),
        variables: "/vars".into(),
    };
    let line = shell_line(&Guest::uefi(&tools(), &firmware, "/a,b").command(Serial::Pipes, None));
    assert!(!line.contains("-kernel"), "{line}");
    for part in [
        " -machine q35 ",
        " -drive if=pflash,readonly=on,format=raw,file=/code ",
        " -drive if=pflash,snapshot=on,format=raw,file=/vars ",
        " -drive if=ide,snapshot=on,format=raw,file=/a,,b",
    ] {
        assert!(line.contains(part), "{part} is in {line}");
    }
}

#[test]
fn a_frozen_machine_has_no_kernel_and_is_driven_over_a_socket() {
    let guest = Guest::frozen(&tools());
    let line = shell_line(&guest.command(Serial::Pipes, Some(Path::new("/t"))));
    assert!(!line.contains("-kernel"), "{line}");
    for part in [
        " -accel tcg ",
        " -S -chardev socket,id=qtest,server=on,wait=off,path=/t/qtest ",
        " -object qtest,id=protocol,chardev=qtest,log=/dev/null",
    ] {
        assert!(line.contains(part), "{part} is in {line}");
    }
}

#[test]
fn a_terminal_gets_ctrl_c_and_no_control_socket() {
    let line = shell_line(&Guest::new(&tools(), "/k").command(Serial::Terminal, None));
    assert!(line.contains("signal=on"));
    assert!(!line.contains("qmp"));
    assert!(!line.contains("-append"));
}
