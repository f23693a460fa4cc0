// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory that a command looks into, without being a member there.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use ivshmem::channel::inspect::{Finding, Inspection, Source};
use ivshmem_host::admin::{Admin, AdminError};
use ivshmem_host::mapping::{MapError, View};
use ivshmem_host::peer::Peer;

use super::output::log;
use super::place::AdminArgument;
use super::Failure;

/// For how long something has to be wrong to be told: a member that lives puts right what others have stored late with its next
/// heartbeat, which comes each quarter of a second unless it was told otherwise.
const SETTLED: Duration = Duration::from_millis(300);

/// What to look into, to be flattened into a command's arguments.
#[derive(Clone, Debug, Args)]
pub(super) struct RegionArgument {
    #[command(flatten)]
    server: AdminArgument,

    /// Look into this file instead of a server's memory; a copy of a region will do. `-` reads it from stdin.
    #[arg(long, value_name = "PATH")]
    shm_file: Option<PathBuf>,
}

/// Memory to look into, and where it was found.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) memory: Memory,
    /// Where that is, for people.
    pub(super) place: String,
    /// The server whose memory it is, if it answers questions.
    pub(super) server: Option<Admin>,
}

/// Memory, or what once was in some.
#[derive(Debug)]
pub(super) enum Memory {
    /// The memory itself, mapped so that nothing can be written.
    View(View),
    /// What was read from a pipe, or from an empty file.
    Copy(Vec<u8>),
    /// That of a server that tells nothing without being joined.
    Joined(Box<Peer>),
}

impl Source for Memory {
    fn len(&self) -> usize {
        match self {
            Self::View(view) => view.len(),
            Self::Copy(bytes) => bytes.len(),
            Self::Joined(peer) => peer.memory().len(),
        }
    }

    fn load(&self, offset: usize) -> u64 {
        match self {
            Self::View(view) => view.load(offset),
            Self::Copy(bytes) => bytes.load(offset),
            Self::Joined(peer) => peer.memory().load(offset),
        }
    }
}

impl RegionArgument {
    /// Opens the memory.
    pub(super) fn open(&self) -> Result<Opened, Failure> {
        match &self.shm_file {
            Some(path) => open_file(path),
            None => self.open_server(),
        }
    }

    /// Asks the server for its memory. One that cannot be asked is joined.
    fn open_server(&self) -> Result<Opened, Failure> {
        let socket = &self.server.socket.socket;
        let server = self.server.server();
        let place = format!("the memory of the server at {}", socket.display());
        match server.memory() {
            Ok(fd) => Ok(Opened {
                memory: View::of(fd)
                    .map(Memory::View)
                    .map_err(|error| Failure::new(format!("cannot look into {place}: {error}")))?,
                place,
                server: Some(server),
            }),
            Err(AdminError::NoAdminSocket { .. }) => {
                log(format_args!(
                    "the server at {} has no admin socket: joining it for a moment, as a client",
                    socket.display()
                ));
                let peer = self.server.socket.connect()?;
                Ok(Opened {
                    memory: Memory::Joined(Box::new(peer)),
                    place,
                    server: None,
                })
            }
            Err(error) => Err(Failure::new(error)),
        }
    }
}

/// Opens a file, or reads what is not one.
fn open_file(path: &Path) -> Result<Opened, Failure> {
    let place = path.display().to_string();
    let opened = |memory, place| Opened {
        memory,
        place,
        server: None,
    };
    let failed = |error: std::io::Error| {
        let cure = match error.kind() {
            ErrorKind::PermissionDenied => "; be its owner or of its group",
            ErrorKind::NotFound => "; give the path of the file that holds the memory",
            _ => "",
        };
        Failure::new(format!("cannot look into {place}: {error}{cure}"))
    };
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(failed)?;
        return Ok(opened(Memory::Copy(bytes), "what was on stdin".to_owned()));
    }
    // Before it is opened: a pipe that nobody writes to would be waited for.
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    if kind.is_file() {
        let file = File::open(path).map_err(failed)?;
        let memory = map(file, &place)?;
        return Ok(opened(memory, place));
    }
    if kind.is_fifo() {
        let bytes = std::fs::read(path).map_err(failed)?;
        return Ok(opened(Memory::Copy(bytes), place));
    }
    Err(Failure::new(format!(
        "cannot look into {place}: it is no file; give the path of the file that holds the memory"
    )))
}

fn map(fd: impl std::os::fd::AsFd, place: &str) -> Result<Memory, Failure> {
    match View::of(fd) {
        Ok(view) => Ok(Memory::View(view)),
        Err(MapError::Empty) => Ok(Memory::Copy(Vec::new())),
        Err(error) => Err(Failure::new(format!("cannot look into {place}: {error}"))),
    }
}

/// Returns what is wrong in a region, and still is after a while.
pub(super) fn findings<S: Source>(inspection: &Inspection<S>) -> Vec<Finding> {
    let look = || {
        let mut found = Vec::new();
        inspection.check(|finding| found.push(finding));
        found
    };
    let mut found = look();
    if !found.is_empty() {
        thread::sleep(SETTLED);
        let still = look();
        found.retain(|finding| still.contains(finding));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_memory_is_refused_and_an_empty_file_is_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let refused = |path: &Path, end: &str| {
            let Failure(line) = open_file(path).unwrap_err();
            assert!(line.ends_with(end), "{line}");
        };
        refused(
            directory.path(),
            "it is no file; give the path of the file that holds the memory",
        );
        refused(
            Path::new("/dev/null"),
            "give the path of the file that holds the memory",
        );
        refused(
            &at("absent"),
            "give the path of the file that holds the memory",
        );
        std::fs::write(at("empty"), []).unwrap();
        assert_eq!(open_file(&at("empty")).unwrap().memory.len(), 0);
        std::fs::write(at("odd"), [1; 13]).unwrap();
        let odd = open_file(&at("odd")).unwrap().memory;
        assert_eq!(
            (odd.len(), odd.load(0), odd.load(8)),
            (13, 0x0101_0101_0101_0101, 0)
        );
    }
}
