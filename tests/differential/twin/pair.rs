// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine and a model, before they are compared: [`Booting`], then [`Pair`].

use std::fs;
use std::io;
use std::time::Duration;
use std::time::Instant;

use ivshmem_device::{Bar, Device, ServerError};
use libtest_mimic::Failed;
use tempfile::TempDir;
use xtask::qemu::{Guest, Vm};
use xtask::qtest::Batch;

use crate::files::Files;
use crate::lab::{Lab, PATIENCE};
use crate::model::{File, World};
use crate::rig::{home, write, Board, Rig, Width, RAM_LEN};
use crate::server::{Connection, FakeServer};

/// A machine takes thousands of sequences, and the search for a small one among those that fail.
const LIFETIME: Duration = Duration::from_secs(600);

/// One call of the server's, and what comes with its first byte.
#[derive(Clone, Debug, Default)]
pub struct Send {
    pub bytes: Vec<u8>,
    pub files: Vec<File>,
}

/// A machine that starts.
pub struct Booting {
    pub vm: Vm,
    pub folder: TempDir,
    board: Board,
    ram: fs::File,
    connection: Option<Connection>,
}

impl Booting {
    /// Starts a machine whose device is no client.
    pub fn alone(
        lab: &Lab,
        board: Board,
        device: &str,
        add: impl FnOnce(Guest, &TempDir) -> Result<Guest, Failed>,
    ) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("ram");
        let ram = fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        ram.set_len(RAM_LEN)?;
        let guest = board.put(add(lab.guest().lifetime(LIFETIME), &folder)?, &path, device);
        Ok(Self {
            vm: guest.spawn()?,
            folder,
            board,
            ram,
            connection: None,
        })
    }

    /// Starts a machine whose device waits for what its server, the character device `server`, says.
    pub fn client(lab: &Lab, board: Board, device: &str) -> Result<Self, Failed> {
        let mut server = None;
        let mut booting = Self::alone(lab, board, device, |guest, folder| {
            let server = server.insert(FakeServer::start(folder.path())?);
            Ok(server.chardev(guest))
        })?;
        if let Some(server) = server {
            booting.connection = Some(server.accept(&booting.vm)?);
        }
        Ok(booting)
    }

    /// Says something to QEMU.
    pub fn tell(&self, send: &Send, files: &Files) -> io::Result<()> {
        tell(self.connection.as_ref(), send, files)
    }

    /// Waits until the machine is complete, and makes a pair of it and a model.
    pub fn pair(self, device: Device<World>, world: World, files: Files) -> Result<Pair, Failed> {
        Ok(Pair {
            rig: Rig::take_over(self.vm, self.board, self.ram)?,
            board: self.board,
            device,
            world,
            files,
            connection: self.connection,
            _folder: self.folder,
        })
    }
}

/// Says something to a model, as a socket would give it.
pub fn tell_model(
    device: &mut Device<World>,
    world: &mut World,
    send: &Send,
) -> Result<(), ServerError> {
    let mut bytes = &send.bytes[..];
    let mut files = send.files.clone();
    while !bytes.is_empty() {
        let (now, later) = bytes.split_at(bytes.len().min(device.wanted()));
        device.receive(now, files.drain(..), world)?;
        bytes = later;
    }
    Ok(())
}

fn tell(connection: Option<&Connection>, send: &Send, files: &Files) -> io::Result<()> {
    let descriptors = send.files.iter().map(|file| files.descriptor(file.number));
    let descriptors = descriptors.collect::<io::Result<Vec<_>>>()?;
    let connection = connection.ok_or(io::ErrorKind::NotConnected)?;
    connection.send(&send.bytes, &descriptors)
}

/// A machine and a model that are in the same state.
pub struct Pair {
    pub rig: Rig,
    pub board: Board,
    pub device: Device<World>,
    pub world: World,
    pub files: Files,
    connection: Option<Connection>,
    _folder: TempDir,
}

impl Pair {
    /// Says something to both.
    pub fn tell(&mut self, send: &Send) -> Result<(), Failed> {
        tell(self.connection.as_ref(), send, &self.files)?;
        tell_model(&mut self.device, &mut self.world, send)?;
        Ok(())
    }

    /// Closes the server's end of the connection.
    pub fn hang_up(&mut self) -> Result<(), Failed> {
        self.connection = None;
        self.device.server_gone(&mut self.world)?;
        Ok(())
    }

    /// Waits until QEMU has taken in all that the server said: rings `peer`, of which the server told last, until its eventfd
    /// `event` rings.
    pub fn wait_for(&mut self, peer: u16, event: File) -> Result<(), Failed> {
        let deadline = Instant::now() + PATIENCE;
        let registers = home(Bar::Registers);
        while Instant::now() < deadline {
            let mut batch = Batch::default();
            self.board
                .write_config(&mut batch, 0x10, Width::Long, registers);
            self.board.write_config(&mut batch, 0x04, Width::Word, 2);
            write(
                &mut batch,
                registers + 0xc,
                Width::Long,
                u64::from(peer) << 16,
            );
            self.rig.run(&batch)?;
            if self.files.take_count(event.number)? != 0 {
                return Ok(());
            }
        }
        Err(format!("the last peer cannot be rung\n{}", self.rig.vm.report()).into())
    }
}
