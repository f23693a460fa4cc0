// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server that comes: it takes all, or nothing.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{getrlimit, Resource};
use serde::Deserialize;

use super::super::config::Config;
use super::super::desk::{Birth, Desk, EntranceParts};
use super::super::limits::{ClientLimit, RESERVED};
use super::super::lock::Lock;
use super::super::named_file::{FileName, NamedFile};
use super::super::registry::Registry;
use super::super::socket::ListenerParts;
use super::super::stop::Stop;
use super::super::turns::Turns;
use super::super::Server;
use super::error::{Objection, TakeOverError};
use super::state::{Header, State, FORMAT};
use super::wire::{Wire, WireError, BATCH};
use super::{answer, LIMIT, MAGIC, MAX_STATE_LEN};
use crate::admin::HANDOVER;
use crate::deadline::Deadline;
use crate::dial::{dial, DialError};
use crate::eventfd::take;

/// The most that is read of why there is no handover, in bytes.
const MAX_COMPLAINT_LEN: usize = 1 << 12;

impl Server {
    /// Takes over from the server whose admin socket is at `admin`: its sockets, its memory, its clients and what
    /// they have still to be told. Nobody notices, but that for a moment nobody is served. The other one ends.
    ///
    /// `adjust` is called with the running server's settings. Of these only [`Config::max_clients`] may be changed.
    ///
    /// # Errors
    ///
    /// Any [`TakeOverError`]. The running server goes on then, unless that is what has ended.
    pub fn take_over(
        admin: &Path,
        adjust: impl FnOnce(&mut Config),
    ) -> Result<Self, TakeOverError> {
        let deadline = Deadline::after(LIMIT);
        let socket = dial(admin, deadline).map_err(|error| match error {
            DialError::Timeout => TakeOverError::TimedOut,
            DialError::System(error) => TakeOverError::Connect {
                path: admin.to_owned(),
                error,
            },
        })?;
        let wire = Wire::new(socket, deadline);
        // One that does not listen to the end may have said why.
        let _ = wire.send(format!("{HANDOVER}\n").as_bytes(), &[]);
        receive_magic(&wire).map_err(|reason| TakeOverError::Declined {
            path: admin.to_owned(),
            reason,
        })?;
        Self::receive(wire, adjust)
    }

    /// Takes what comes behind the magic.
    pub(super) fn receive(
        mut wire: Wire,
        adjust: impl FnOnce(&mut Config),
    ) -> Result<Self, TakeOverError> {
        let parts = Parts::receive(&wire, adjust).inspect_err(|error| {
            // It may be gone itself; then there is nobody to be told.
            let _ = wire.send(&[objection(error).code()], &[]);
        })?;
        if take(&parts.token) != Ok(true) {
            return Err(TakeOverError::TimedOut);
        }
        // From here on this is the server, and the other one only has to know it. If that has died, all the better.
        let _ = wire.send(&[answer::TAKEN], &[]);
        wire.extend(Deadline::after(LIMIT));
        if matches!(wire.receive(&mut [0]), Err(WireError::TimedOut)) {
            let _ = wire.send(&[answer::SERVING], &[]);
        }
        Ok(parts.assemble())
    }
}

/// All that makes a server, before it is one: to drop it changes nothing for anybody.
struct Parts {
    config: Config,
    client_limit: ClientLimit,
    stop: Stop,
    token: OwnedFd,
    memory: Arc<OwnedFd>,
    memory_file: Option<FileName>,
    listener: ListenerParts,
    entrances: Vec<EntranceParts>,
    birth: Birth,
    registry: Registry,
}

impl Parts {
    fn receive(wire: &Wire, adjust: impl FnOnce(&mut Config)) -> Result<Self, TakeOverError> {
        let mut state = receive_state(wire)?;
        let running = state.config.clone();
        adjust(&mut state.config);
        state.config = state.config.to_absolute();
        check_unchanged(&running, &state.config)?;
        let settings = |error| TakeOverError::Settings(error);
        state
            .config
            .check()
            .map_err(|error| settings(error.into()))?;
        let client_limit = ClientLimit::of_process(
            state.config.vectors,
            state.config.max_clients,
            state.config.other_descriptors(),
        )
        .map_err(settings)?;
        check_limit(state.descriptors())?;
        let failed = |error| TakeOverError::System {
            step: "create an eventfd and an epoll instance",
            error,
        };
        let (stop, turns) = (Stop::new().map_err(failed)?, Turns::new().map_err(failed)?);
        wire.send(&[answer::NEXT], &[])?;
        let mut descriptors = receive_descriptors(wire, state.descriptors())?.into_iter();
        let first = || {
            let (token, memory) = (descriptors.next()?, descriptors.next()?);
            let listener = ListenerParts::of(state.listener, &mut descriptors)?;
            let entrances = state.entrances.into_iter();
            let entrances = entrances.map(|saved| EntranceParts::of(saved, &mut descriptors));
            let entrances = entrances.collect::<Option<Vec<_>>>()?;
            Some((token, Arc::new(memory), listener, entrances))
        };
        let (token, memory, listener, entrances) = first().ok_or(TakeOverError::Contents)?;
        let registry = Registry::restore(
            turns,
            Arc::clone(&memory),
            state.config.vectors,
            client_limit.clients,
            state.registry,
            descriptors,
        )
        .ok_or(TakeOverError::Contents)?;
        Ok(Self {
            config: state.config,
            client_limit,
            stop,
            token,
            memory,
            memory_file: state.memory_file,
            listener,
            entrances,
            birth: Birth::at(state.started),
            registry,
        })
    }

    /// Makes the server. From now on it has the files.
    fn assemble(self) -> Server {
        let listener = self.listener.assemble();
        let mut registry = self.registry;
        registry.record_in(listener.lock().map(Lock::file));
        Server {
            listener,
            desk: Desk::new(self.entrances.into_iter().map(EntranceParts::assemble)),
            birth: self.birth,
            registry,
            memory: self.memory,
            memory_file: self.memory_file.map(NamedFile::restore),
            stop: self.stop,
            client_limit: self.client_limit,
            alive: None,
            config: self.config,
            predecessor: None,
        }
    }
}

/// Receives the magic, or else the reason why there is none.
fn receive_magic(wire: &Wire) -> Result<(), String> {
    let mut magic = [0; MAGIC.len()];
    match wire.receive(&mut magic) {
        Ok(_) if magic == MAGIC => return Ok(()),
        Ok(_) => {}
        Err(WireError::TimedOut) => return Err("it does not answer".to_owned()),
        Err(_) => return Err("it closed the connection".to_owned()),
    }
    // A complaint is a line of JSON.
    let mut text = magic.to_vec();
    let mut byte = [0];
    while text.len() < MAX_COMPLAINT_LEN && wire.receive(&mut byte).is_ok() {
        text.extend(byte);
    }
    let complaint = serde_json::from_slice::<Complaint>(&text);
    Err(complaint.map_or_else(|_| "it is another program".to_owned(), |c| c.error))
}

/// Why a server does not do what it is asked for.
#[derive(Deserialize)]
struct Complaint {
    error: String,
}

fn receive_state(wire: &Wire) -> Result<State, TakeOverError> {
    let mut len = [0; 8];
    wire.receive(&mut len)?;
    let len = u64::from_le_bytes(len);
    let len = usize::try_from(len.min(MAX_STATE_LEN + 1)).unwrap_or(usize::MAX);
    if len as u64 > MAX_STATE_LEN {
        return Err(TakeOverError::Contents);
    }
    let mut text = vec![0; len];
    wire.receive(&mut text)?;
    let header: Header = serde_json::from_slice(&text).map_err(|_| TakeOverError::Contents)?;
    if header.format != FORMAT {
        return Err(TakeOverError::Format {
            found: header.format,
        });
    }
    serde_json::from_slice(&text).map_err(|_| TakeOverError::Contents)
}

/// Receives `count` descriptors, and answers all batches but the last.
fn receive_descriptors(wire: &Wire, count: usize) -> Result<Vec<OwnedFd>, TakeOverError> {
    let mut descriptors = Vec::with_capacity(count);
    loop {
        let batch = wire.receive(&mut [0])?;
        if batch.len() != BATCH.min(count - descriptors.len()) {
            return Err(TakeOverError::Contents);
        }
        descriptors.extend(batch);
        if descriptors.len() == count {
            return Ok(descriptors);
        }
        wire.send(&[answer::NEXT], &[])?;
    }
}

/// Checks that this process may open `count` descriptors beside its own.
fn check_limit(count: usize) -> Result<(), TakeOverError> {
    let needed = RESERVED + count as u64;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => Err(TakeOverError::TooFewDescriptors { needed, limit }),
        _ => Ok(()),
    }
}

/// Checks that nothing is to be changed that clients have or that stands in the file system.
fn check_unchanged(running: &Config, wanted: &Config) -> Result<(), TakeOverError> {
    let differs = fixed(running)
        .into_iter()
        .zip(fixed(wanted))
        .find(|((_, running), (_, wanted))| running != wanted);
    match differs {
        Some(((setting, running), (_, wanted))) => Err(TakeOverError::Fixed {
            setting,
            running,
            wanted,
        }),
        None => Ok(()),
    }
}

/// Returns what of `config` a running server cannot change, with its names.
fn fixed(config: &Config) -> [(&'static str, String); 9] {
    let Config {
        socket,
        size_bytes,
        vectors,
        max_clients: _,
        access,
        memory_access,
        backing,
        file_at_end,
        admin: _,
        metrics,
    } = config;
    [
        ("socket", socket.display().to_string()),
        ("size", format!("{size_bytes} bytes")),
        ("number of vectors", vectors.to_string()),
        ("access", format!("{access:?}")),
        ("memory's access", format!("{memory_access:?}")),
        ("back end", backing.to_string()),
        ("memory file at the end", format!("{file_at_end:?}")),
        ("admin socket", path_or_none(config.admin_path())),
        ("address for metrics", format!("{metrics:?}")),
    ]
}

fn path_or_none(path: Option<PathBuf>) -> String {
    path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
}

/// Returns what the running server is told.
const fn objection(error: &TakeOverError) -> Objection {
    match error {
        TakeOverError::Format { .. } => Objection::Format,
        TakeOverError::Fixed { .. } | TakeOverError::Settings(_) => Objection::Settings,
        TakeOverError::TooFewDescriptors { .. } | TakeOverError::System { .. } => {
            Objection::Descriptors
        }
        _ => Objection::Contents,
    }
}
