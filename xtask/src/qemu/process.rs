// SPDX-License-Identifier: MIT OR Apache-2.0
//! Child processes that die with us, however we die.
//!
//! QEMU does not stop when its stdin or its sockets are closed, so a test run that is killed
//! would leave machines behind. Linux can send a child a signal when its parent dies
//! (`PR_SET_PDEATHSIG`). Two things make that work here:
//!
//! - "The parent" is the *thread* that forked, not the process (prctl(2)). Trials run on worker
//!   threads that may end before the machine they handed on, so one thread, which never ends,
//!   starts all children.
//! - The signal must be asked for in the child, between fork and exec.
//!
//! Refused: a shell that waits for a pipe to close and then kills (a process more for each
//! machine, and the exit status second-hand), `setpriv --pdeathsig` (one more tool to have), and
//! QEMU's `-run-with exit-with-parent` (newer than the QEMUs that we support).

#![allow(unsafe_code)]

use rustix::process::{getpid, getppid, set_parent_process_death_signal, Signal};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;

type Request = (Command, SyncSender<io::Result<Child>>);

/// The way to the thread that starts children; it lives as long as the process.
static LAUNCHER: Mutex<Option<Sender<Request>>> = Mutex::new(None);

/// Starts a child that gets SIGKILL when this process is gone.
///
/// # Errors
///
/// - The program does not start.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    let parent = getpid();
    let die_with_parent = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the signal was asked for.
        if getppid() != Some(parent) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe work is allowed. The closure makes two
    // system calls, compares numbers, and makes its errors from plain numbers: it takes no lock,
    // does not allocate, and touches no memory but its own copy of `parent`.
    unsafe { command.pre_exec(die_with_parent) };
    let (reply, answer) = mpsc::sync_channel(1);
    launcher()?
        .send((command, reply))
        .map_err(|_| launcher_gone())?;
    answer.recv().map_err(|_| launcher_gone())?
}

fn launcher() -> io::Result<Sender<Request>> {
    let mut launcher = LAUNCHER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(requests) = &*launcher {
        return Ok(requests.clone());
    }
    let (requests, queue) = mpsc::channel();
    thread::Builder::new()
        .name("launcher".into())
        .spawn(move || launch(&queue))?;
    *launcher = Some(requests.clone());
    Ok(requests)
}

fn launch(queue: &Receiver<Request>) {
    for (mut command, reply) in queue {
        // The caller waits for the answer; if it is gone all the same, nobody would reap the
        // child or end it.
        if let Err(mpsc::SendError(Ok(mut orphan))) = reply.send(command.spawn()) {
            let _ = orphan.kill();
            let _ = orphan.wait();
        }
    }
}

fn launcher_gone() -> io::Error {
    io::Error::other("the thread that starts processes is gone")
}
