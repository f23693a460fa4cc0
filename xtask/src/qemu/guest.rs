// SPDX-License-Identifier: MIT OR Apache-2.0
//! The description of a virtual machine, and QEMU's command line for it.

use super::outcome::{Report, VmError, VmErrorKind};
use super::process;
use super::vm::{Vm, QMP_SOCKET, QTEST_SOCKET};
use crate::accelerator::AcceleratorKind;
use crate::command_line::shell_line;
use crate::tools::{Tools, UefiFirmware};
use command_fds::{CommandFdExt, FdMapping};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

/// The number in QEMU of the first descriptor that it inherits; high, so that it is not one that
/// the child needs until it has become QEMU.
const FIRST_INHERITED: RawFd = 100;

/// A machine that is not running yet: what it runs, and what it runs on.
#[derive(Debug, Clone)]
#[must_use = "a guest does nothing until it is spawned"]
pub struct Guest {
    qemu: PathBuf,
    accelerator: AcceleratorKind,
    boot: Boot,
    name: String,
    machine: String,
    memory_mib: u32,
    append: Vec<String>,
    extra: Vec<OsString>,
    /// What QEMU inherits, with numbers from [`FIRST_INHERITED`] on.
    inherited: Vec<Arc<OwnedFd>>,
    lifetime: Duration,
}

/// What the processor does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Boot {
    /// It boots this ELF file.
    Kernel(PathBuf),
    /// It runs this firmware, which boots this disk image.
    Uefi(UefiFirmware, PathBuf),
    /// Nothing, ever; the devices are driven over the qtest protocol.
    Frozen,
}

/// Where COM1 goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serial {
    /// Pipes of ours.
    Pipes,
    /// The user's terminal.
    Terminal,
}

impl Guest {
    /// Describes a machine of the type `pc` with 128 MiB, which may live for a minute.
    pub fn new(tools: &Tools, kernel: impl Into<PathBuf>) -> Self {
        Self::booting(tools, Boot::Kernel(kernel.into()))
    }

    /// Describes such a machine whose processor never runs, so that neither firmware nor kernel touch the
    /// devices: [`Qtest`](crate::qtest::Qtest) drives them, over [`Vm::qtest_socket`].
    pub fn frozen(tools: &Tools) -> Self {
        // Debian's QEMU has no accelerator `qtest`; a TCG that is never let go does the same.
        Self::booting(tools, Boot::Frozen).accelerator(AcceleratorKind::Tcg)
    }

    /// Describes such a machine of the type `q35` that boots a disk image by UEFI. The kernel
    /// command line is in the image. Neither the image nor the firmware's variables keep what
    /// the machine writes to them.
    pub fn uefi(tools: &Tools, firmware: &UefiFirmware, image: impl Into<PathBuf>) -> Self {
        Self::booting(tools, Boot::Uefi(firmware.clone(), image.into())).machine("q35")
    }

    fn booting(tools: &Tools, boot: Boot) -> Self {
        Self {
            qemu: tools.qemu.path.clone(),
            accelerator: tools.accelerator.kind,
            boot,
            name: "guest".into(),
            machine: "pc".into(),
            memory_mib: 128,
            append: Vec::new(),
            extra: Vec::new(),
            inherited: Vec::new(),
            lifetime: Duration::from_secs(60),
        }
    }

    /// Names the machine; errors and logs use the name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the machine type and its options, such as `q35` or `pc,usb=off`.
    pub fn machine(mut self, machine: impl Into<String>) -> Self {
        self.machine = machine.into();
        self
    }

    /// Sets the accelerator, which is otherwise that of the tools.
    pub const fn accelerator(mut self, accelerator: AcceleratorKind) -> Self {
        self.accelerator = accelerator;
        self
    }

    /// Sets the size of the guest's RAM in MiB.
    pub const fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// Adds words to the kernel command line.
    pub fn append(mut self, words: impl Into<String>) -> Self {
        self.append.push(words.into());
        self
    }

    /// Adds one argument to QEMU's command line.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.extra.push(argument.into());
        self
    }

    /// Adds arguments to QEMU's command line.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.extra.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds a `-device`.
    pub fn device(self, options: &str) -> Self {
        self.args(["-device", options])
    }

    /// Adds a `-device` whose other side is at the other end of `socket`: QEMU inherits it, and the option `fd` names it.
    pub fn device_over(mut self, options: &str, socket: OwnedFd) -> Self {
        let number = FIRST_INHERITED + self.inherited.len() as RawFd;
        self.inherited.push(Arc::new(socket));
        self.device(&format!("{options},fd={number}"))
    }

    /// Adds an `-object`.
    pub fn object(self, options: &str) -> Self {
        self.args(["-object", options])
    }

    /// Adds a `-chardev`.
    pub fn chardev(self, options: &str) -> Self {
        self.args(["-chardev", options])
    }

    /// Sets how long the machine may live. When the time is over, everything that waits for it
    /// fails.
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Starts the machine in the background.
    ///
    /// # Errors
    ///
    /// - QEMU or the machine's temporary folder cannot be had.
    pub fn spawn(self) -> Result<Vm, VmError> {
        let scratch = match tempfile::Builder::new().prefix("ivshmem-vm-").tempdir() {
            Ok(scratch) => scratch,
            Err(error) => return Err(self.start_error(error)),
        };
        let mut command = self.command(Serial::Pipes, Some(scratch.path()));
        if let Err(error) = self.hand_over(&mut command) {
            return Err(self.start_error(error));
        }
        // Ctrl-C is for us; we end our machines in order.
        command.process_group(0);
        Vm::start(self.name, command, self.lifetime, scratch)
    }

    /// Runs the machine with COM1 on the terminal and waits for its end, however long it takes.
    ///
    /// # Errors
    ///
    /// - QEMU cannot be started or waited for.
    pub fn run_on_terminal(&self) -> io::Result<ExitStatus> {
        // Ctrl-C reaches QEMU too, which then ends by itself and puts the terminal in order.
        let noticed = std::sync::Arc::default();
        let handler = signal_hook::flag::register(signal_hook::consts::SIGINT, noticed)?;
        let mut command = self.command(Serial::Terminal, None);
        let status = self
            .hand_over(&mut command)
            .and_then(|()| process::spawn(command))
            .and_then(|mut child| child.wait());
        signal_hook::low_level::unregister(handler);
        status
    }

    /// Has the command inherit copies of what is to be inherited; ours are closed with `self`.
    fn hand_over(&self, command: &mut Command) -> io::Result<()> {
        let mapping = |(child_fd, descriptor): (RawFd, &Arc<OwnedFd>)| {
            Ok(FdMapping {
                parent_fd: descriptor.try_clone()?,
                child_fd,
            })
        };
        let mappings = (FIRST_INHERITED..).zip(&self.inherited).map(mapping);
        command
            .fd_mappings(mappings.collect::<io::Result<_>>()?)
            .map_err(io::Error::other)?;
        Ok(())
    }

    fn start_error(&self, error: io::Error) -> VmError {
        VmError {
            kind: VmErrorKind::Start(error),
            report: Box::new(Report {
                name: self.name.clone(),
                command_line: shell_line(&self.command(Serial::Pipes, None)),
                status: None,
                serial: Vec::new(),
                stderr: Vec::new(),
            }),
        }
    }

    fn command(&self, serial: Serial, sockets: Option<&Path>) -> Command {
        let mut command = Command::new(&self.qemu);
        command.arg("-name").arg(option_value(&self.name));
        // Nothing but what stands here: neither default devices nor the user's settings.
        command.args(["-nodefaults", "-no-user-config"]);
        // No window, and no monitor that would share stdin with the guest.
        command.args(["-display", "none", "-monitor", "none"]);
        // A triple fault shall end the run instead of starting it again.
        command.arg("-no-reboot");
        command.args(["-machine", &self.machine]);
        command.args(["-accel", self.accelerator.name()]);
        command.args(["-m", &format!("{}M", self.memory_mib)]);
        // COM1. On pipes a Ctrl-C has no meaning; on a terminal it shall end QEMU.
        let signal = match serial {
            Serial::Pipes => "off",
            Serial::Terminal => "on",
        };
        command.args(["-chardev", &format!("stdio,id=com1,signal={signal}")]);
        command.args(["-serial", "chardev:com1"]);
        // The guest's way to end QEMU with a status: writing v gives 2v+1.
        command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        if let Some(folder) = sockets {
            // QEMU's own view, for comparison; it does not wait for anybody to ask.
            let path = option_value(folder.join(QMP_SOCKET));
            let chardev = format!("socket,id=qmp,server=on,wait=off,path={path}");
            command.args(["-chardev", &chardev]);
            command.args(["-mon", "chardev=qmp,mode=control"]);
        }
        match &self.boot {
            // An ELF with a PVH note, which QEMU boots without a boot loader.
            Boot::Kernel(kernel) => {
                command.arg("-kernel").arg(kernel);
            }
            Boot::Uefi(firmware, image) => {
                let drive = |options: &str, file: &Path| {
                    format!("{options},format=raw,file={}", option_value(file))
                };
                command.args(["-drive", &drive("if=pflash,readonly=on", &firmware.code)]);
                command.args([
                    "-drive",
                    &drive("if=pflash,snapshot=on", &firmware.variables),
                ]);
                command.args(["-drive", &drive("if=ide,snapshot=on", image)]);
            }
            Boot::Frozen => {
                command.arg("-S");
            }
        }
        if let (Boot::Frozen, Some(folder)) = (&self.boot, sockets) {
            let path = option_value(folder.join(QTEST_SOCKET));
            let chardev = format!("socket,id=qtest,server=on,wait=off,path={path}");
            command.args(["-chardev", &chardev]);
            // Without a place for its log QEMU writes every command to stderr.
            command.args(["-object", "qtest,id=protocol,chardev=qtest,log=/dev/null"]);
        }
        if !self.append.is_empty() {
            command.args(["-append", &self.append.join(" ")]);
        }
        command.args(&self.extra);
        command
    }
}

/// Returns a value as QEMU's option syntax wants it: a comma is doubled, else it would end the
/// value.
#[must_use]
pub fn option_value(value: impl AsRef<OsStr>) -> String {
    value.as_ref().to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
#[path = "guest_tests.rs"]
mod tests;
