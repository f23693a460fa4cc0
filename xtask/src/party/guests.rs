// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests A and B: booted, listened to, and heard to the end.

use std::cell::{OnceCell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ivshmem::PeerId;
use ivshmem_host::server::RunningServer;
use ivshmem_scenarios::demo::Role;
use ivshmem_scenarios::Failure;

use super::error::PartyError;
use super::interrupt::Interrupt;
use super::stage::BOOT_LIMIT;
use crate::qemu::{field, Guest, Vm};
use crate::tools::Tools;

/// How long a guest may be silent. Its own limits are shorter and give better reasons.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// How often an interrupt is looked for.
const GLANCE: Duration = Duration::from_millis(50);

/// Guests A and B. Dropping them ends them.
#[derive(Debug)]
pub struct Guests {
    a: Listener,
    b: Listener,
    /// B's second life, if it has one.
    again: OnceCell<Listener>,
    recipe: Recipe,
    /// For the second life's lines.
    sender: Sender<(Role, String)>,
    /// What the guests say, in the order in which it came.
    lines: Receiver<(Role, String)>,
    /// What was said while something else was waited for.
    kept: RefCell<Vec<(Role, String)>>,
    interrupt: Interrupt,
}

/// How a guest is started.
#[derive(Debug)]
struct Recipe {
    tools: Tools,
    kernel: PathBuf,
    mode: String,
    device: Vec<String>,
}

/// A guest and the thread that listens to it.
#[derive(Debug)]
struct Listener {
    vm: Arc<Vm>,
    thread: Option<JoinHandle<()>>,
}

impl Guests {
    /// Boots both into `mode`, each with `device`; B when A has joined `server`, so that A has the lower ID.
    pub(super) fn boot(
        tools: &Tools,
        kernel: &Path,
        mode: &str,
        device: &[String],
        server: &RunningServer,
        interrupt: &Interrupt,
    ) -> Result<Self, PartyError> {
        let (sender, lines) = mpsc::channel();
        let recipe = Recipe {
            tools: tools.clone(),
            kernel: kernel.to_owned(),
            mode: mode.to_owned(),
            device: device.to_vec(),
        };
        let a = recipe.boot(Role::A, "", sender.clone())?;
        // If it does not join, waiting for it to be ready tells why.
        let deadline = Instant::now() + BOOT_LIMIT;
        while !server.wait_for_clients(1, GLANCE)
            && a.vm.status().is_none()
            && !interrupt.came()
            && Instant::now() < deadline
        {}
        let b = recipe.boot(Role::B, "", sender.clone())?;
        Ok(Self {
            a,
            b,
            again: OnceCell::new(),
            recipe,
            sender,
            lines,
            kept: RefCell::default(),
            interrupt: interrupt.clone(),
        })
    }

    /// Waits until `role` has attached its device, and returns its ID.
    ///
    /// # Errors
    ///
    /// Those of [`Guests::hear`].
    pub fn ready(&self, role: Role) -> Result<PeerId, PartyError> {
        let line = self.hear(role, "@ ready ")?;
        let id = field(&line, "id").and_then(|id| id.parse().ok());
        id.map(PeerId).ok_or(PartyError::Line(line))
    }

    /// Waits until `role` is ready to talk with the host.
    ///
    /// # Errors
    ///
    /// Those of [`Guests::hear`].
    pub fn free(&self, role: Role) -> Result<(), PartyError> {
        self.hear(role, "@ free ").map(drop)
    }

    /// Waits until `role` has shown a message from the host.
    ///
    /// # Errors
    ///
    /// Those of [`Guests::hear`].
    pub fn shown(&self, role: Role) -> Result<(), PartyError> {
        self.hear(role, "host -> ").map(drop)
    }

    /// Kills B as `kill -9` does.
    pub fn kill_b(&self) {
        self.b.vm.kill();
    }

    /// Boots B once more, with `more` behind the words of its command line.
    ///
    /// # Errors
    ///
    /// - It does not start.
    pub fn boot_b_again(&self, more: &str) -> Result<(), PartyError> {
        let b = self.recipe.boot(Role::B, more, self.sender.clone())?;
        // A third life is not asked for.
        let _ = self.again.set(b);
        Ok(())
    }

    /// Shows what guests have said meanwhile that is for people.
    pub fn show(&self) {
        let mut kept = self.kept.borrow_mut();
        for said in self.lines.try_iter() {
            show(&said.1);
            kept.push(said);
        }
    }

    /// Waits until both have passed and are gone.
    ///
    /// # Errors
    ///
    /// - One has failed, or does not end.
    pub fn finish(&self) -> Result<(), PartyError> {
        for role in [Role::A, Role::B] {
            self.listener(role).vm.finish(BOOT_LIMIT)?;
        }
        self.show();
        Ok(())
    }

    /// Returns the error for a conversation that broke off, with what the guests have to say to it.
    pub fn explain(&self, failure: Failure) -> PartyError {
        if self.interrupt.came() {
            return PartyError::Interrupted;
        }
        PartyError::Conversation(format!(
            "{}\n{}\n{}",
            failure.as_str(),
            self.a.vm.report(),
            self.listener(Role::B).vm.report()
        ))
    }

    fn listener(&self, role: Role) -> &Listener {
        match role {
            Role::B => self.again.get().unwrap_or(&self.b),
            _ => &self.a,
        }
    }

    /// Waits for a line of `role` that starts with `start`. Shows what guests have to show meanwhile.
    ///
    /// # Errors
    ///
    /// - It does not come, or Ctrl-C.
    pub fn hear(&self, role: Role, start: &str) -> Result<String, PartyError> {
        let wanted = |(speaker, line): &(Role, String)| *speaker == role && line.starts_with(start);
        let mut kept = self.kept.borrow_mut();
        if let Some(index) = kept.iter().position(wanted) {
            return Ok(kept.remove(index).1);
        }
        let vm = &self.listener(role).vm;
        let deadline = Instant::now() + SILENCE_LIMIT;
        // The machine's end is looked for before its lines, so that its last ones are not missed.
        while Instant::now() < deadline && !self.interrupt.came() {
            let ended = vm.status().is_some();
            match self.lines.recv_timeout(GLANCE) {
                Ok(said) => {
                    show(&said.1);
                    if wanted(&said) {
                        return Ok(said.1);
                    }
                    kept.push(said);
                }
                Err(RecvTimeoutError::Timeout) if !ended => {}
                Err(_) => break,
            }
        }
        if self.interrupt.came() {
            return Err(PartyError::Interrupted);
        }
        vm.finish(Duration::ZERO)?;
        Err(PartyError::Line(format!(
            "nothing that starts with `{start}`"
        )))
    }
}

/// Shows a line if it is for people: what a role says, to another or by itself.
fn show(line: &str) {
    if line.contains(" -> ") || line.starts_with("A: ") || line.starts_with("B: ") {
        println!("{line}");
    }
}

impl Recipe {
    fn boot(
        &self,
        role: Role,
        more: &str,
        sender: Sender<(Role, String)>,
    ) -> Result<Listener, PartyError> {
        let words = format!("mode={} role={} {more}", self.mode, role.name());
        let guest = Guest::new(&self.tools, &self.kernel)
            .name(role.name())
            .append(words.trim_end())
            .args(&self.device);
        Listener::start(guest.spawn()?, role, sender)
    }
}

impl Listener {
    fn start(vm: Vm, role: Role, sender: Sender<(Role, String)>) -> Result<Self, PartyError> {
        let vm = Arc::new(vm);
        let speaker = Arc::clone(&vm);
        let thread = thread::Builder::new().spawn(move || {
            // Ends with the guest, or when nobody listens any more.
            while let Ok(line) = speaker.wait_line(|_| true, SILENCE_LIMIT) {
                if sender.send((role, line)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self {
            vm,
            thread: Some(thread),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Its log ends with it, and so does the thread, which holds the other half of the `Arc`.
        self.vm.kill();
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been reported by itself.
            let _ = thread.join();
        }
    }
}
