// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem run`: guests that share memory, without their user knowing QEMU's options.

mod guests;
mod plan;

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ivshmem_host::protocol::MAX_VECTORS;
use ivshmem_host::server::{Config, RunningServer, Server};
use ivshmem_host::size;

use self::plan::{Boot, Plan, Sharing};
use super::doctor::{self, Level, ServerView};
use super::output::{log, print};
use super::place::{DEFAULT_SOCKET, SOCKET_VARIABLE};
use super::{Exit, Failure};

/// The environment variable that chooses the accelerator.
const ACCELERATOR_VARIABLE: &str = "IVSHMEM_ACCEL";

/// Size and vectors of a group that nobody has said anything about.
const DEFAULT_BYTES: u64 = 4 << 20;
const DEFAULT_VECTORS: u16 = 2;

const EXAMPLE: &str = "\
Examples:
  ivshmem run --kernel my-kernel.elf --append 'name=guest-{N}'
  ivshmem run --guests 3 --shm-file /dev/shm/ivshmem --kernel bzImage --append console=ttyS0 -- -initrd initrd.img
  ivshmem run --print --disk disk.qcow2 --socket /tmp/ivshmem.sock

The serial port of each guest goes to stdout, its name before each line; their stdin is empty. Nothing but the
serial port and the ivshmem device is in the machines: what else they need goes behind --.
Ctrl-C ends all that was started. IVSHMEM_QEMU names another QEMU, IVSHMEM_ACCEL an accelerator.

Exit status: 0 if all guests ended with 0, else the highest of their statuses (128 + N if signal N
ended one); 2 if they could not be started.";

/// Start guests that share memory, or print QEMU's command line for each.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    /// How many guests.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    guests: u16,

    /// Kernel image that they boot, an ELF file with a PVH note or a bzImage.
    #[arg(long, value_name = "IMAGE", required_unless_present = "disk")]
    kernel: Option<PathBuf>,

    /// Disk image that they boot; qcow2 if its name says so, else raw. What they write is not kept.
    #[arg(long, value_name = "IMAGE", conflicts_with = "kernel")]
    disk: Option<PathBuf>,

    /// Command line of the kernel; {N} is the number of the guest, from 1. Given several times, the
    /// first is the first guest's, and so on; the last is that of all others.
    #[arg(
        long,
        value_name = "WORDS",
        requires = "kernel",
        allow_hyphen_values = true
    )]
    append: Vec<String>,

    /// Join the server at this socket; if nobody listens there, serve there as long as the guests
    /// run [default: $IVSHMEM_SOCKET, else /run/ivshmem/ivshmem.sock if somebody listens
    /// there, else one of its own].
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Share this file instead, without a server and interrupts (ivshmem-plain). It is created if absent.
    #[arg(long = "shm-file", visible_alias = "plain", value_name = "PATH", conflicts_with_all = ["socket", "vectors"])]
    plain: Option<PathBuf>,

    /// Size of the shared memory: bytes, or a number with K, M, G or T, a power of two [default: that of
    /// the server or file if there is one, else 4M].
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    size: Option<u64>,

    /// Interrupt vectors of each guest [default: those of the server if there is one, else 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_VECTORS)))]
    vectors: Option<u16>,

    /// Machine type.
    #[arg(long, value_enum, default_value_t = Machine::Pc)]
    machine: Machine,

    /// Memory of each guest's own, as QEMU's -m has it: MiB, or a number with K, M, G or T.
    #[arg(long, value_name = "SIZE", default_value = "128M")]
    memory: String,

    /// Accelerator [default: $IVSHMEM_ACCEL, else KVM where the processor has it and /dev/kvm opens, else TCG].
    #[arg(long, value_enum)]
    accel: Option<Accelerator>,

    /// Print the command lines, for a shell, and start nothing.
    #[arg(long)]
    print: bool,

    /// Further arguments for each QEMU; {N} is the number of the guest.
    #[arg(last = true, value_name = "QEMU ARGUMENTS")]
    extra: Vec<String>,
}

/// A machine type of QEMU that has a PCI bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Machine {
    /// The classic PC.
    Pc,
    /// The PC with PCI Express.
    Q35,
    /// A small machine without firmware menus; its guests assign BARs themselves.
    Microvm,
}

/// How QEMU runs a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Accelerator {
    /// By the processor's own virtualization.
    Kvm,
    /// By translation, which works everywhere.
    Tcg,
}

/// Starts the guests and waits for their end, or prints them.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let place = Place::find(&arguments)?;
    let plan = plan(&arguments, &place)?;
    if arguments.print {
        if let (
            Place::Server {
                socket, view: None, ..
            },
            Sharing::Socket { vectors, bytes, .. },
        ) = (&place, &plan.sharing)
        {
            log(format_args!(
                "start a server first: ivshmem server --socket {} --size {bytes} --vectors {vectors}",
                socket.display()
            ));
        }
        check(&plan, &place)?;
        let lines: Result<String, Failure> = (1..=plan.guests)
            .map(|number| plan.shell_line(number).map(|line| line + "\n"))
            .collect();
        print(lines?.as_bytes())?;
        return Ok(Exit::Success);
    }
    // Caught before there is anything to end.
    let signals = guests::Signals::catch()?;
    let _server = prepare(&plan, &place)?;
    check(&plan, &place)?;
    guests::run(&plan, signals)
}

/// Where the shared memory comes from.
#[derive(Debug)]
enum Place {
    /// A server: one that is there, or one to be started.
    Server {
        socket: PathBuf,
        view: Option<ServerView>,
        /// The directory of a socket of its own, removed at the end.
        _own: Option<tempfile::TempDir>,
    },
    /// A file.
    File(PathBuf),
}

impl Place {
    fn find(arguments: &Arguments) -> Result<Self, Failure> {
        if let Some(path) = &arguments.plain {
            return Ok(Self::File(path.clone()));
        }
        let named = arguments
            .socket
            .clone()
            .or_else(|| std::env::var_os(SOCKET_VARIABLE).map(PathBuf::from));
        let server = |socket: PathBuf, own| Self::Server {
            view: doctor::server_at(&socket),
            socket,
            _own: own,
        };
        let usual = server(named.clone().unwrap_or_else(|| DEFAULT_SOCKET.into()), None);
        let somebody = matches!(usual, Self::Server { view: Some(_), .. });
        if named.is_some() || somebody || arguments.print {
            return Ok(usual);
        }
        let own = tempfile::Builder::new()
            .prefix("ivshmem-run-")
            .tempdir()
            .map_err(|error| {
                Failure::new(format!(
                    "cannot create a directory for the socket: {error}; use --socket PATH"
                ))
            })?;
        Ok(server(own.path().join("ivshmem.sock"), Some(own)))
    }
}

fn plan(arguments: &Arguments, place: &Place) -> Result<Plan, Failure> {
    let sharing = match place {
        Place::Server { socket, view, .. } => {
            let view = view.as_ref();
            let there = view.and_then(|view| view.bytes);
            if let (Some(wanted), Some(there)) = (
                arguments.size,
                there.filter(|there| arguments.size != Some(*there)),
            ) {
                return Err(Failure::new(format!(
                    "the server at {} has {there} bytes, not {wanted}; leave --size out, or start another server",
                    socket.display()
                )));
            }
            Sharing::Socket {
                path: socket.clone(),
                bytes: there.or(arguments.size).unwrap_or(DEFAULT_BYTES),
                vectors: arguments
                    .vectors
                    .or(view.and_then(|view| view.vectors))
                    .unwrap_or(DEFAULT_VECTORS),
            }
        }
        Place::File(path) => {
            let there = std::fs::metadata(path).ok().map(|metadata| metadata.len());
            Sharing::File {
                path: path.clone(),
                bytes: arguments
                    .size
                    .or(there.filter(|&bytes| bytes > 0))
                    .unwrap_or(DEFAULT_BYTES),
            }
        }
    };
    if doctor::size_bytes(&arguments.memory).is_none() {
        return Err(Failure::new(format!(
            "--memory {}: not a size; write MiB, or a number with K, M, G or T, such as 128M",
            arguments.memory
        )));
    }
    let boot = match (&arguments.kernel, &arguments.disk) {
        (_, Some(disk)) => Boot::Disk(disk.clone()),
        (kernel, None) => Boot::Kernel {
            image: kernel.clone().unwrap_or_default(),
            append: arguments.append.clone(),
        },
    };
    Ok(Plan {
        qemu: doctor::qemu_program(),
        guests: arguments.guests,
        boot,
        sharing,
        machine: match arguments.machine {
            Machine::Pc => "pc",
            Machine::Q35 => "q35",
            // Without pcie there is no PCI bus.
            Machine::Microvm => "microvm,pcie=on",
        },
        memory: arguments.memory.clone(),
        accelerator: accelerator(arguments.accel)?,
        extra: arguments.extra.clone(),
    })
}

fn accelerator(wanted: Option<Accelerator>) -> Result<&'static str, Failure> {
    let variable = std::env::var_os(ACCELERATOR_VARIABLE).filter(|value| !value.is_empty());
    let accelerator = match (wanted, variable) {
        (Some(accelerator), _) => accelerator,
        (None, Some(value)) if value == "kvm" => Accelerator::Kvm,
        (None, Some(value)) if value == "tcg" => Accelerator::Tcg,
        (None, Some(value)) => {
            return Err(Failure::new(format!(
                "{ACCELERATOR_VARIABLE}={}: must be tcg or kvm",
                value.to_string_lossy()
            )));
        }
        (None, None) if doctor::kvm_works() => Accelerator::Kvm,
        (None, None) => Accelerator::Tcg,
    };
    Ok(match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg => "tcg",
    })
}

/// Sees to it that server or file are there; a server that is started ends with what is returned.
fn prepare(plan: &Plan, place: &Place) -> Result<Option<RunningServer>, Failure> {
    match (&plan.sharing, place) {
        (Sharing::Socket { path, .. }, Place::Server { view: Some(_), .. }) => {
            log(format_args!("using the server at {}", path.display()));
            Ok(None)
        }
        (
            Sharing::Socket {
                path,
                bytes,
                vectors,
            },
            _,
        ) => {
            let config = Config::new(path, *bytes, *vectors);
            let server = Server::spawn(config).map_err(Failure::new)?;
            log(format_args!(
                "serving {bytes} bytes and {vectors} vectors at {} until the guests end",
                path.display()
            ));
            Ok(Some(server))
        }
        (Sharing::File { path, bytes }, _) => {
            create(path, *bytes)?;
            Ok(None)
        }
    }
}

/// Creates a file of shared memory, for the user alone, unless there is one.
fn create(path: &Path, bytes: u64) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error| {
        Failure::new(format!(
            "cannot create {}: {error}; choose a path such as /dev/shm/ivshmem",
            path.display()
        ))
    };
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Ok(file) => file.set_len(bytes).map_err(failed),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Has the doctor look at the lines. What is wrong goes to stderr; an error keeps the guests from being started.
fn check(plan: &Plan, place: &Place) -> Result<(), Failure> {
    let view = match place {
        Place::Server {
            view: Some(view), ..
        } => Some(view.clone()),
        _ => None,
    };
    let words: Vec<OsString> = plan.words(1);
    let findings = doctor::check_line(&words, &|_| view.clone());
    let mut errors = 0;
    for finding in findings {
        let level = finding.code.level();
        if level >= Level::Warning {
            log(format_args!(
                "{level} {} {}: {}; {}",
                finding.code, finding.place, finding.what, finding.cure
            ));
        }
        errors += usize::from(level == Level::Error);
    }
    if errors > 0 {
        return Err(Failure::new(format!(
            "{errors} of these would keep the guests from starting or sharing; correct the arguments"
        )));
    }
    Ok(())
}
