// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line of `ivshmem-device`.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ivshmem_device::adapters::Protocol;
use ivshmem_device::Generation;

/// QEMU's historic inter-VM shared memory device (ivshmem, revision 0) for the QEMUs of today.
#[derive(Debug, Parser)]
// Without arguments: an error like any other, not the help on stderr.
#[command(name = "ivshmem-device", version, arg_required_else_help = false)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Proxy(ProxyArguments),
}

const PROXY_NOTES: &str = "\
Devices, as QEMU's -device took them until 3.1:
  ivshmem,chardev=PATH,size=1M    the memory of the server whose socket is at PATH
  ivshmem,shm=NAME,size=1M        a POSIX shared memory object, created if absent
with size (MiB, or with M or G; default 4M), vectors (how many eventfds of each
peer are kept; default 1) and role. A comma in a value is doubled. use64=0 and
msi=off are the defaults here, because x-pci-proxy-dev has neither BARs of 64
bits nor MSI-X: the device interrupts by its line (INTx).

QEMU needs KVM with an interrupt controller in the kernel for that line (with
-accel kvm,kernel-irqchip=split or =on; there is no line with TCG), and memory
it can share to be quiet. For example, with a server of today:
  ivshmem server --socket /tmp/ivshmem.sock --size 1M --vectors 1 &
  ivshmem-device proxy --device ivshmem,chardev=/tmp/ivshmem.sock,size=1M -- \\
    qemu-system-x86_64 -accel kvm -m 128 \\
      -object memory-backend-memfd,id=ram,size=128M,share=on \\
      -M pc,memory-backend=ram ...

COMMAND gets -device x-pci-proxy-dev,fd=N appended for each device. To place the
devices yourself, write fd={} for each in turn:
  ... -device x-pci-proxy-dev,fd={},addr=5
With --fd there is no COMMAND: the n-th --fd is for the n-th --device, and is the
other end of what a QEMU has as fd=N, or got by QMP getfd.

The guest's accesses to the memory are trapped one by one (some 10 microseconds
each) and atomic operations are not atomic across machines.

One process serves any number of devices, and each is on its own: if its server
goes or sends nonsense, that is said on stderr and the guest keeps the device; if
its QEMU goes, it ends. The process ends with the last device or with COMMAND.
SIGTERM or SIGINT (Ctrl-C) ends it, too; COMMAND is sent SIGTERM and waited for,
and killed at a second signal.

Exit status: that of COMMAND (128 + N if signal N ended it); without COMMAND 0
after all QEMUs have gone or after a signal. 2 if it could not start, or if a
QEMU sent what is no request.";

/// Lend devices to QEMU through x-pci-proxy-dev.
#[derive(Debug, Args)]
#[command(after_help = PROXY_NOTES, after_long_help = PROXY_NOTES)]
pub(crate) struct ProxyArguments {
    /// A device to lend, by its properties; may be given several times.
    #[arg(long = "device", value_name = "DEVICE", required = true)]
    pub(crate) devices: Vec<String>,

    /// Inherited stream socket to the QEMU of the device of the same rank.
    #[arg(
        long = "fd",
        value_name = "N",
        value_parser = clap::value_parser!(i32).range(0..),
        allow_negative_numbers = true,
        conflicts_with = "program"
    )]
    pub(crate) descriptors: Vec<i32>,

    /// Whose behaviour the devices have: about QEMU 2.3, or 2.5.
    #[arg(long, value_enum, default_value_t = GenerationName::V2_5)]
    pub(crate) generation: GenerationName,

    /// What the servers speak: "0" is protocol version 0 of all servers since QEMU 2.5, whose
    /// version message is checked and kept from the device, which knows no versions; "none" is
    /// the protocol before versions, which all goes to the device.
    #[arg(long, value_enum, default_value_t = ProtocolName::Version0)]
    pub(crate) protocol: ProtocolName,

    /// Tell on stderr what happens.
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// A QEMU to start with the devices, with its arguments.
    #[arg(last = true, value_name = "COMMAND", id = "program")]
    pub(crate) command: Vec<OsString>,
}

/// The name of a generation that has the historic device.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GenerationName {
    #[value(name = "2.3")]
    V2_3,
    #[value(name = "2.5")]
    V2_5,
}

impl From<GenerationName> for Generation {
    fn from(name: GenerationName) -> Self {
        match name {
            GenerationName::V2_3 => Self::V2_3,
            GenerationName::V2_5 => Self::V2_5,
        }
    }
}

/// The name of a protocol.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProtocolName {
    #[value(name = "0")]
    Version0,
    #[value(name = "none")]
    Unversioned,
}

impl From<ProtocolName> for Protocol {
    fn from(name: ProtocolName) -> Self {
        match name {
            ProtocolName::Version0 => Self::Version0,
            ProtocolName::Unversioned => Self::Unversioned,
        }
    }
}

/// Renders an error of the command line as one line.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let words = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let message = words.strip_prefix("error: ").unwrap_or(&words);
    format!("{message} (try --help)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
