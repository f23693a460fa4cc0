// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGUSR2: another process of this command takes over.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{access, Access};

use crate::command::output::log;

/// The program that runs, wherever its file is, if it still has one.
const SELF: &str = "/proc/self/exe";

/// The option that makes a server take over.
const HANDOVER: &str = "--handover";

/// After which time a new process that has neither taken over nor ended is reported.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// What a service manager tells the process that it has started, and no other.
const FOR_THIS_PROCESS: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// How to start this command again.
#[derive(Debug)]
pub(super) struct Successor {
    /// Where the program was found when this process was started: by now there may be another one.
    program: Option<PathBuf>,
    arguments: Vec<OsString>,
    is_starting: Arc<AtomicBool>,
}

impl Successor {
    /// Remembers how this process was started.
    pub(super) fn of_this_process() -> Self {
        let mut words = env::args_os();
        let program = words.next().and_then(|name| find(&name));
        let mut arguments: Vec<_> = words.collect();
        if !arguments.iter().any(|argument| argument == HANDOVER) {
            arguments.push(HANDOVER.into());
        }
        Self {
            program,
            arguments,
            is_starting: Arc::default(),
        }
    }

    /// Starts a process that asks to take over, unless one is about to already.
    pub(super) fn start(&self) {
        if self.is_starting.swap(true, Ordering::Relaxed) {
            return;
        }
        let program = match &self.program {
            Some(program) if access(program, Access::EXEC_OK).is_ok() => program.as_path(),
            _ => Path::new(SELF),
        };
        let mut command = Command::new(program);
        command.args(&self.arguments);
        for variable in FOR_THIS_PROCESS {
            command.env_remove(variable);
        }
        let child = command.spawn().and_then(|mut child| {
            let is_starting = Arc::clone(&self.is_starting);
            thread::Builder::new()
                .name("successor".to_owned())
                .spawn(move || {
                    // If it takes over, this process ends meanwhile.
                    let deadline = Instant::now() + PATIENCE;
                    loop {
                        match child.try_wait() {
                            Ok(None) if Instant::now() < deadline => thread::sleep(GLANCE),
                            Ok(None) => {
                                stays(format_args!(
                                    "the new server (process {}) does not take over; end it if it hangs",
                                    child.id()
                                ));
                                // So that it does not stay as a zombie.
                                let _ = child.wait();
                                break;
                            }
                            Ok(Some(status)) => {
                                stays(format_args!("the new server ended ({status})"));
                                break;
                            }
                            Err(error) => {
                                stays(format_args!("the new server cannot be looked at: {error}"));
                                break;
                            }
                        }
                    }
                    is_starting.store(false, Ordering::Relaxed);
                })
        });
        if let Err(error) = child {
            stays(format_args!("cannot start {}: {error}", program.display()));
            self.is_starting.store(false, Ordering::Relaxed);
        }
    }
}

/// Says why this server is still the one.
fn stays(reason: fmt::Arguments<'_>) {
    log(format_args!("not handed over, going on: {reason}"));
}

/// Finds the program of this name as a shell does, without following links: a package may point them elsewhere later.
fn find(name: &OsStr) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return std::path::absolute(name).ok();
    }
    env::split_paths(&env::var_os("PATH")?)
        .filter_map(|folder| std::path::absolute(folder.join(name)).ok())
        .find(|program| access(program, Access::EXEC_OK).is_ok())
}
