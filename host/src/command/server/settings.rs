// SPDX-License-Identifier: MIT OR Apache-2.0
//! From arguments to the configuration of a server, new or taken over.

use std::net::SocketAddr;

use ivshmem_host::server::{AdminSocket, Config};

use super::Arguments;

impl Arguments {
    /// Returns the configuration of a new server.
    pub(super) fn config(&self) -> Config {
        // Without them there is only a handover, as the command line says.
        let (size, vectors) = (self.size.unwrap_or(0), self.vectors.unwrap_or(0));
        let mut config = Config::new(&self.socket.socket, size, vectors);
        config.admin = match &self.admin {
            Some(path) => AdminSocket::At(path.clone()),
            None if self.no_admin => AdminSocket::Off,
            None => AdminSocket::Beside,
        };
        self.adjust(&mut config);
        config
    }

    /// Writes what was asked for into `config`, and leaves the rest as it is.
    pub(super) fn adjust(&self, config: &mut Config) {
        config.size_bytes = self.size.unwrap_or(config.size_bytes);
        config.vectors = self.vectors.unwrap_or(config.vectors);
        if let Some(clients) = self.max_peers {
            config.max_clients = Some(clients.into());
        }
        let access = &mut config.access;
        access.mode = self.mode.map_or(access.mode, |mode| mode.0);
        access.owner = self.owner.clone().or(access.owner.take());
        access.group = self.group.clone().or(access.group.take());
        // Port 0 is any, also that which the running server has got.
        let fits = |address: SocketAddr, running: SocketAddr| {
            address == running || (address.port() == 0 && address.ip() == running.ip())
        };
        if let Some(address) = self.metrics {
            if !config.metrics.is_some_and(|running| fits(address, running)) {
                config.metrics = Some(address);
            }
        }
        self.memory.adjust(config);
    }

    /// Returns the path of the admin socket of the server to take over from.
    pub(super) fn admin_path(&self) -> std::path::PathBuf {
        let beside = || ivshmem_host::admin::socket_beside(&self.socket.socket);
        self.admin.clone().unwrap_or_else(beside)
    }
}
