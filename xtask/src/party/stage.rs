// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server, guests A and B, and this process as a peer: [`Stage`].

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use ivshmem::{PeerId, SharedMemory};
use ivshmem_host::mapping::Mapping;
use ivshmem_host::peer::Peer;
use ivshmem_host::server::{Config, RunningServer, Server};
use ivshmem_scenarios::demo::Role;
use tempfile::TempDir;

use super::error::PartyError;
use super::guests::Guests;
use super::host::HostSide;
use super::interrupt::Interrupt;
use crate::progress::Step;
use crate::qemu::option_value;
use crate::tools::Tools;

/// Vectors of each peer.
pub const VECTORS: u16 = 2;
/// How long a guest may take to boot or to end.
pub(super) const BOOT_LIMIT: Duration = Duration::from_secs(30);

/// Everybody, in the order in which they have to end.
#[derive(Debug)]
pub struct Stage {
    /// Guests A and B.
    pub guests: Guests,
    /// IDs of guests A and B.
    pub ids: (PeerId, PeerId),
    /// This process.
    pub peer: RefCell<Peer>,
    /// Its ID.
    pub host_id: PeerId,
    mapping: Mapping,
    server: RunningServer,
    _folder: TempDir,
    interrupt: Interrupt,
}

impl Stage {
    /// Starts a server with `size_bytes` of memory, boots guests A and B into `mode`, and joins.
    ///
    /// # Errors
    ///
    /// - What did not work; nothing that was started is left.
    pub fn set(
        tools: &Tools,
        kernel: &Path,
        mode: &str,
        size_bytes: u64,
    ) -> Result<Self, PartyError> {
        let interrupt = Interrupt::watch()?;
        let folder = TempDir::with_prefix("ivshmem-party-")?;
        let socket = folder.path().join("socket");
        let server = Server::spawn(Config::new(&socket, size_bytes, VECTORS))?;
        println!(
            "server  {} MiB of shared memory, {VECTORS} vectors for each peer",
            size_bytes >> 20
        );
        let step = Step::start("booting guests A and B");
        let device = [
            "-chardev".into(),
            format!("socket,id=server,path={}", option_value(&socket)),
            "-device".into(),
            format!("ivshmem-doorbell,chardev=server,vectors={VECTORS}"),
        ];
        let guests = Guests::boot(tools, kernel, mode, &device, &server, &interrupt)?;
        let ids = (guests.ready(Role::A)?, guests.ready(Role::B)?);
        step.done("booted guests A and B");
        let mut peer = Peer::connect(&socket)?;
        let wired = |peer: &Peer| {
            [ids.0, ids.1]
                .iter()
                .all(|&id| peer.vectors_of(id) == Some(VECTORS.into()))
        };
        if !peer.wait_until(BOOT_LIMIT, wired)? {
            return Err(PartyError::NotWired);
        }
        println!("A       guest, peer {}", ids.0);
        println!("B       guest, peer {}", ids.1);
        let host_id = peer.id().ok_or(PartyError::NotWired)?;
        println!("host    this process, peer {host_id}\n");
        Ok(Self {
            guests,
            ids,
            peer: RefCell::new(peer),
            host_id,
            mapping: Mapping::of(server.memory())?,
            server,
            _folder: folder,
            interrupt,
        })
    }

    /// Returns the shared memory.
    #[must_use]
    pub fn memory(&self) -> SharedMemory<'_> {
        self.mapping.memory()
    }

    /// Returns this process's side.
    pub fn host(&self) -> HostSide<'_> {
        HostSide::new(&self.peer, &self.interrupt)
    }

    /// Waits until the guests have passed, and ends the rest.
    ///
    /// # Errors
    ///
    /// - A guest has failed, or does not end.
    pub fn close(self) -> Result<(), PartyError> {
        self.guests.finish()?;
        self.server.stop()?;
        Ok(())
    }
}
