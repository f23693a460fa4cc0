// SPDX-License-Identifier: MIT OR Apache-2.0
//! Machines with an ivshmem device in all the places where one can be, for trials of any kind.

use std::path::Path;

use crate::qemu::{option_value, Guest};
use crate::trials::same;
use ivshmem_host::admin::socket_beside;
use ivshmem_host::server::{Backing, Config, Ending, RunningServer, Server};
use libtest_mimic::Failed;
use tempfile::TempDir;

/// Where on the PCI bus the device sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On bus 0 of `pc`.
    Pc,
    /// On bus 0 of `q35`.
    Q35,
    /// Behind a PCIe root port of `q35`.
    RootPort,
    /// Behind a PCI bridge on bus 0 of `pc`.
    Bridge,
    /// Behind a PCI bridge behind a PCIe-to-PCI bridge behind a root port.
    Nested,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 5] = [
        Self::Pc,
        Self::Q35,
        Self::RootPort,
        Self::Bridge,
        Self::Nested,
    ];

    /// Returns its name in the names of trials.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pc => "pc",
            Self::Q35 => "q35",
            Self::RootPort => "root-port",
            Self::Bridge => "pci-bridge",
            Self::Nested => "nested-bridges",
        }
    }

    /// Adds the way to this place, and the device at its end.
    pub fn put(self, guest: Guest, device: &str) -> Guest {
        match self {
            Self::Pc => guest.machine("pc").device(device),
            Self::Q35 => guest.machine("q35").device(device),
            Self::RootPort => guest
                .machine("q35")
                .device("pcie-root-port,id=root,chassis=1,slot=1")
                .device(&format!("{device},bus=root")),
            Self::Bridge => guest
                .machine("pc")
                .device("pci-bridge,id=bridge,chassis_nr=1")
                .device(&format!("{device},bus=bridge,addr=3")),
            Self::Nested => guest
                .machine("q35")
                .device("pcie-root-port,id=root,chassis=1,slot=1")
                .device("pcie-pci-bridge,id=outer,bus=root")
                .device("pci-bridge,id=inner,chassis_nr=2,bus=outer,addr=1")
                .device(&format!("{device},bus=inner,addr=0x1f")),
        }
    }
}

/// Adds an `ivshmem-plain` with memory of its own of `size`, such as `1M`.
pub fn plain(guest: Guest, place: Place, size: &str) -> Guest {
    // Without reserve=off a large region would need that much free memory.
    let guest = guest.object(&format!(
        "memory-backend-ram,id=memory,size={size},reserve=off"
    ));
    place.put(guest, "ivshmem-plain,memdev=memory,id=ivshmem")
}

/// Adds an `ivshmem-plain` whose memory is a file.
pub fn plain_on(guest: Guest, place: Place, file: &Path, size_bytes: u64) -> Guest {
    let guest = guest.object(&format!(
        "memory-backend-file,id=memory,share=on,size={size_bytes},mem-path={}",
        option_value(file)
    ));
    place.put(guest, "ivshmem-plain,memdev=memory,id=ivshmem")
}

/// A server of this workspace, in a thread of the trial, in a folder of its own.
#[derive(Debug)]
pub struct TestServer {
    /// The running server.
    pub server: RunningServer,
    /// Vectors of each client.
    pub vectors: u16,
    _folder: TempDir,
}

impl TestServer {
    /// Starts a server of `size_bytes` and `vectors`.
    ///
    /// # Errors
    ///
    /// - No folder, or the server does not start.
    pub fn start(size_bytes: u64, vectors: u16) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let config = Config::new(folder.path().join("socket"), size_bytes, vectors);
        Self::spawn(config, folder)
    }

    /// Starts a server whose memory is a file, for [`TestServer::plain`] too.
    ///
    /// # Errors
    ///
    /// - No folder, or the server does not start.
    pub fn start_on_file(size_bytes: u64, vectors: u16) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let mut config = Config::new(folder.path().join("socket"), size_bytes, vectors);
        config.backing = Backing::File(folder.path().join("memory"));
        Self::spawn(config, folder)
    }

    fn spawn(config: Config, folder: TempDir) -> Result<Self, Failed> {
        let vectors = config.vectors;
        Ok(Self {
            server: Server::spawn(config)?,
            vectors,
            _folder: folder,
        })
    }

    /// Has another server take over, which its clients are not to notice.
    ///
    /// # Errors
    ///
    /// - It does not, and the old one has gone on and ends now.
    pub fn hand_over(self) -> Result<Self, Failed> {
        let admin = socket_beside(self.server.socket());
        let next = Server::take_over(&admin, |_| {})?.into_running()?;
        same("end of the server", self.server.wait()?, Ending::HandedOver)?;
        Ok(Self {
            server: next,
            ..self
        })
    }

    /// Adds an `ivshmem-plain` with this server's memory.
    ///
    /// # Errors
    ///
    /// - The memory has no file.
    pub fn plain(&self, guest: Guest, place: Place) -> Result<Guest, Failed> {
        let config = self.server.config();
        let Backing::File(path) = &config.backing else {
            return Err("the server's memory is no file".into());
        };
        Ok(plain_on(guest, place, path, config.size_bytes))
    }

    /// Adds an `ivshmem-doorbell` that is a client of this server.
    pub fn doorbell(&self, guest: Guest, place: Place) -> Guest {
        let path = option_value(self.server.socket());
        let guest = guest.chardev(&format!("socket,id=server,path={path}"));
        let device = format!(
            "ivshmem-doorbell,chardev=server,vectors={},id=ivshmem",
            self.vectors
        );
        place.put(guest, &device)
    }
}
