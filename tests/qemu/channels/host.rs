// SPDX-License-Identifier: MIT OR Apache-2.0
//! A member of a crowd in this process.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use ivshmem::channel::{Format, Name};
use ivshmem_host::mapping::Mapping;
use ivshmem_host::peer::Peer;
use ivshmem_scenarios::traffic::mingle;
use libtest_mimic::Failed;
use xtask::party::{HostSide, Interrupt};

use super::voice::Voice;
use crate::guests::TestServer;
use crate::lab::PATIENCE;

/// The name of this process as a member.
pub const NAME: &str = "host";

/// A member and the thread that it lives in, which ends with it.
pub struct HostMember {
    said: Arc<Said>,
    leave: Interrupt,
    thread: Option<JoinHandle<Result<(), Failed>>>,
}

/// What the member has said.
#[derive(Default)]
struct Said {
    state: Mutex<Lines>,
    more: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    used: usize,
}

impl HostMember {
    /// Joins as a client of `server`.
    pub fn join(server: &TestServer, format: Format) -> Result<Self, Failed> {
        let peer = RefCell::new(Peer::connect(server.server.socket())?);
        let mapping = Mapping::of(server.server.memory())?;
        let said = Arc::<Said>::default();
        let leave = Interrupt::default();
        let (shared, leaves) = (Arc::clone(&said), leave.clone());
        let thread = thread::spawn(move || {
            // It never wants to end in the middle of something, as a user would.
            let never = Interrupt::default();
            let side = HostSide::new(&peer, &never);
            let name = Name::new(NAME);
            let result = mingle(mapping.memory(), &format, &side, name, |_| {
                shared.say(side.take_shown());
                Ok(if leaves.came() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            });
            shared.say(side.take_shown());
            result.map_err(|failure| failure.as_str().into())
        });
        Ok(Self {
            said,
            leave,
            thread: Some(thread),
        })
    }

    /// Leaves.
    pub fn leave(mut self) -> Result<(), Failed> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Failed> {
        self.leave.raise();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err("the host's member has panicked".into()),
            None => Ok(()),
        }
    }
}

impl Drop for HostMember {
    fn drop(&mut self) {
        // Whoever wants to know how it ended has it leave.
        let _ = self.end();
    }
}

impl Said {
    fn say(&self, lines: Vec<String>) {
        if !lines.is_empty() {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.lines.extend(lines);
            self.more.notify_all();
        }
    }
}

impl Voice for HostMember {
    fn wait(&self, wanted: &dyn Fn(&str) -> bool) -> Result<String, Failed> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.said.state.lock()?;
        loop {
            while let Some(line) = state.lines.get(state.used).cloned() {
                state.used += 1;
                if wanted(&line) {
                    return Ok(line);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("the host's member said only {:#?}", state.lines).into());
            }
            state = self.said.more.wait_timeout(state, left)?.0;
        }
    }

    fn lines(&self) -> Vec<String> {
        let state = self.said.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    fn name(&self) -> &str {
        NAME
    }
}
