// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem doctor`: looks at everything that makes ivshmem not work, and says what to do.
//!
//! Each check is a function from what it looks at to findings, with its unit test on planted input. A check writes
//! nothing and changes nothing; the one exception is that a server without an admin socket is joined for a moment.

mod access;
mod confinement;
mod file_system;
mod finding;
mod limits;
mod memory;
mod pci;
mod qemu;
mod region;
mod report;
mod rights;
mod server;
mod socket;
mod status;
mod world;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ivshmem_host::peer::ConnectError;

use self::access::{Purpose, User};
use self::finding::Code;
use self::qemu::check::{check as check_parsed, Servers};
use self::qemu::line::Line;
use self::qemu::program;
use self::region::{Words, LIFE_LIMIT};
use self::socket::{Interest, Listening};
use self::world::World;
use super::output::print;
use super::place::{DEFAULT_SOCKET, SOCKET_VARIABLE};
use super::{Exit, Failure};

pub(super) use self::finding::{Finding, Level};
pub(super) use self::qemu::options::size_bytes;
pub(super) use self::server::ServerView;

const EXAMPLE: &str = "\
Examples:
  ivshmem doctor                                       # this machine, and the usual server
  ivshmem doctor --socket /tmp/ivshmem.sock --user libvirt-qemu
  ivshmem doctor -- qemu-system-x86_64 -device ivshmem-plain,memdev=m ...

Each finding is a line: how bad (ok, hint, warning, error), a code, where, what; and what to do.
docs/doctor.md has each code.

Exit status: 0 if nothing is wrong (there may be hints), 1 if there is an error or a warning,
2 if the doctor could not do its work.";

/// Find what makes ivshmem not work: rights, sizes, servers, QEMU and its command line.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    /// Look at the server at this socket [default: $IVSHMEM_SOCKET, else /run/ivshmem/ivshmem.sock,
    /// unless a file or a command line is given].
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Look at this file of shared memory, as of ivshmem-plain.
    #[arg(long, value_name = "PATH", conflicts_with = "socket")]
    shm_file: Option<PathBuf>,

    /// Ask whether this user may, too, such as the one that machines run as (libvirt-qemu, qemu).
    /// May be given several times [default: the user of this process].
    #[arg(long, value_name = "NAME")]
    user: Vec<String>,

    /// Leave out findings with this code, such as D504. May be given several times.
    #[arg(long, value_name = "CODE", value_parser = parse_code)]
    ignore: Vec<Code>,

    /// Print one JSON document.
    #[arg(long)]
    json: bool,

    /// Leave out what is as it should be.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,

    /// A command line of QEMU to look at. It is not run; the program is asked for its version and devices.
    #[arg(last = true, value_name = "QEMU COMMAND LINE")]
    command: Vec<OsString>,
}

fn parse_code(text: &str) -> Result<Code, String> {
    Code::value_variants()
        .iter()
        .copied()
        .find(|code| code.to_string().eq_ignore_ascii_case(text))
        .ok_or_else(|| "there is no such code; they are in docs/doctor.md, such as D504".to_owned())
}

/// Looks, and reports.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let mut users = vec![User::current()];
    for name in &arguments.user {
        let user = User::named(name).ok_or_else(|| {
            Failure::new(format!(
                "there is no user '{name}' on this machine; see getent passwd"
            ))
        })?;
        users.push(user);
    }
    let mut findings = Examination {
        world: World::real(),
        users,
        servers: BTreeMap::new(),
        findings: Vec::new(),
    }
    .examine(&arguments);
    findings.retain(|finding| !arguments.ignore.contains(&finding.code));
    let exit = if report::wrong(&findings) {
        Exit::No
    } else {
        Exit::Success
    };
    if arguments.json {
        let text = report::json(&findings)
            .map_err(|error| Failure::new(format!("cannot write JSON: {error}")))?;
        print(text.as_bytes())?;
    } else {
        if arguments.quiet {
            findings.retain(|finding| finding.code.level() != Level::Ok);
        }
        print(report::text(&findings).as_bytes())?;
    }
    Ok(exit)
}

/// Checks a command line that is about to be run, given what is known of the servers that it names.
pub(super) fn check_line(words: &[OsString], servers: &Servers<'_>) -> Vec<Finding> {
    Line::parse(words).map_or_else(Vec::new, |line| check_parsed(&line, servers))
}

/// Returns what the server at `path` says of itself, if one is there.
pub(super) fn server_at(path: &Path) -> Option<ServerView> {
    socket::look(path, Interest::Usual).ok()?;
    let asked = status::ask(path).ok().map(|(_, view)| view);
    asked.or_else(|| server::join(path).ok().map(|(_, view)| view))
}

/// Returns QEMU's program, as the doctor would look at it.
pub(super) fn qemu_program() -> PathBuf {
    program::program().0
}

/// Returns whether KVM can be used here.
pub(super) fn kvm_works() -> bool {
    program::kvm(&World::real()).is_ok()
}

/// What has been looked at so far.
struct Examination {
    world: World,
    users: Vec<User>,
    servers: BTreeMap<PathBuf, ServerView>,
    findings: Vec<Finding>,
}

impl Examination {
    fn examine(mut self, arguments: &Arguments) -> Vec<Finding> {
        let line = Line::parse(&arguments.command);
        self.findings.extend(memory::check_machine(&self.world));
        for (path, interest) in sockets(arguments, line.as_ref()) {
            self.examine_socket(&path, interest);
        }
        for path in arguments.shm_file.iter() {
            self.examine_file(path);
        }
        for (path, bytes) in line.iter().flat_map(Line::files) {
            if path.is_file() && arguments.shm_file.as_deref() != Some(path) {
                self.examine_file(path);
            }
            // What a missing one means is said of the command line.
            if let (false, Some(bytes)) = (path.exists(), bytes) {
                let findings = file_system::check_future(&self.world, path, bytes);
                self.findings.extend(findings);
            }
        }
        self.examine_qemu(line.as_ref());
        self.findings.extend(pci::check(&self.world));
        self.findings
    }

    fn examine_socket(&mut self, path: &Path, interest: Interest) {
        if let Err(finding) = socket::look(path, interest) {
            self.findings.push(finding);
            self.examine_lock(path, Listening::No);
            return;
        }
        let before = self.findings.len();
        self.examine_rights(path, Purpose::Connect);
        let reckoned = report::wrong(self.findings.get(before..).unwrap_or_default());
        let result = status::ask(path).or_else(|opaque| {
            let (mut findings, view) = server::join(path)?;
            findings.push(status::opaque(path, &opaque));
            Ok((findings, view))
        });
        match result {
            Ok((findings, view)) => {
                self.findings.extend(findings);
                self.findings.extend(limits::check(path, &view));
                self.servers.insert(path.to_owned(), view);
                self.examine_lock(path, Listening::Yes);
            }
            Err(ConnectError::Open { error, .. }) => {
                let finding = socket::unconnected(path, error);
                let denied = finding.code == Code::SocketDenied;
                // Who may not connect, by the modes, has been told why.
                if !(denied && reckoned) {
                    self.findings.push(finding);
                }
                if !denied {
                    self.examine_lock(path, Listening::No);
                }
            }
            Err(error) => {
                self.findings.push(server::refusal(path, &error));
                self.examine_lock(path, Listening::Yes);
            }
        }
    }

    fn examine_lock(&mut self, path: &Path, listening: Listening) {
        let lock = socket::check_lock(&self.world, path, listening);
        self.findings.extend(lock);
    }

    fn examine_file(&mut self, path: &Path) {
        self.findings.extend(memory::check(&self.world, path));
        if path.is_file() {
            self.examine_rights(path, Purpose::Map);
            // Who may not read it has been told so.
            if let Ok(words) = File::open(path).and_then(Words::of) {
                self.findings
                    .extend(region::check(path, &words, LIFE_LIMIT));
            }
        }
    }

    fn examine_rights(&mut self, path: &Path, purpose: Purpose) {
        for user in &self.users {
            self.findings.extend(access::check(path, purpose, user));
        }
        self.findings.extend(access::check_openness(path));
        self.findings
            .extend(confinement::check(&self.world, path, purpose));
    }

    fn examine_qemu(&mut self, line: Option<&Line>) {
        let (program, need) = match line {
            Some(line) => (line.program().to_owned(), program::Need::Named),
            None => program::program(),
        };
        self.findings.extend(program::check(&program, need));
        self.findings.extend(program::check_kvm(&self.world, line));
        if let Some(line) = line {
            let servers = |path: &Path| self.servers.get(path).cloned();
            let findings = check_parsed(line, &servers);
            self.findings.extend(findings);
        }
    }
}

/// Returns the sockets to be looked at.
fn sockets(arguments: &Arguments, line: Option<&Line>) -> Vec<(PathBuf, Interest)> {
    let named = arguments.socket.iter().map(PathBuf::as_path);
    let of_line = line.into_iter().flat_map(Line::sockets);
    let mut sockets: Vec<_> = named
        .chain(of_line)
        .map(|path| (path.to_owned(), Interest::Named))
        .collect();
    sockets.dedup();
    if sockets.is_empty() && line.is_none() && arguments.shm_file.is_none() {
        sockets.push(match std::env::var_os(SOCKET_VARIABLE) {
            Some(path) => (path.into(), Interest::Named),
            None => (DEFAULT_SOCKET.into(), Interest::Usual),
        });
    }
    sockets
}
