// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a service manager (systemd) hands down to the server, and what it wants to hear.

use std::env;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ivshmem_host::server::{Event, Server};
use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::command::output::log;
use crate::command::Failure;

/// How often the status is told at most; clients may come and go thousands of times a second.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Returns the socket that the service manager has handed down, if it has.
pub(super) fn listener() -> Result<Option<UnixListener>, Failure> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        return Err(Failure::new(format!(
            "{} sockets were handed down (LISTEN_FDS), but the server takes one; \
             write one ListenStream= for each instance",
            sockets.len()
        )));
    }
    sockets.take_unix_listener(0).map_err(|error| {
        Failure::new(format!(
            "the socket that was handed down (LISTEN_FDS) cannot be served: {error}; \
             write ListenStream= with a path"
        ))
    })
}

/// How this process has got its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    New,
    /// From another process, which the manager has started.
    TakenOver,
}

/// The service manager, told from a thread of its own, so that one that does not listen cannot hold up the server.
#[derive(Debug, Default)]
pub(super) struct Manager {
    teller: Option<(Arc<Shared>, JoinHandle<()>)>,
}

/// What is to be told.
#[derive(Debug, Default)]
struct News {
    connected: usize,
    has_changed: bool,
    is_alive: bool,
    is_stopping: bool,
    /// The process that has taken over.
    successor: Option<u32>,
}

impl News {
    /// Returns whether there is nothing to tell for now, where no status may be told for `pause`.
    fn is_nothing(&self, pause: Duration) -> bool {
        let is_status_due = self.has_changed && pause.is_zero();
        !(self.is_stopping || self.is_alive || is_status_due || self.successor.is_some())
    }
}

#[derive(Debug, Default)]
struct Shared {
    news: Mutex<News>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, News> {
        // Flags and a number are never half-way, so a poisoned lock is as good as another.
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Manager {
    /// Tells the service manager, if there is one, that `server` is ready.
    pub(super) fn ready(server: &mut Server, start: Start) -> Result<Self, Failure> {
        if env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self::default());
        }
        if let Some(limit) = sd_notify::watchdog_enabled() {
            server.report_alive(limit / 3);
        }
        let text = status(server.clients());
        let mut ready = vec![NotifyState::Ready, NotifyState::Status(&text)];
        if start == Start::TakenOver {
            ready.push(NotifyState::MainPid(std::process::id()));
        }
        if tell(&ready).is_none() {
            return Ok(Self::default());
        }
        let shared = Arc::new(Shared::default());
        let heard = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("service".to_owned())
            .spawn(move || tell_news(&heard))
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            teller: Some((shared, thread)),
        })
    }

    /// Takes note of what has happened, without waiting.
    pub(super) fn note(&self, event: &Event) {
        let Some((shared, _)) = &self.teller else {
            return;
        };
        let mut news = shared.lock();
        match event {
            Event::Alive => news.is_alive = true,
            Event::Stopping { .. } => news.is_stopping = true,
            // The manager may believe it from this process alone.
            Event::HandedOver { pid: Some(pid), .. } => news.successor = u32::try_from(*pid).ok(),
            event => match event.connected() {
                Some(connected) => {
                    news.connected = connected;
                    news.has_changed = true;
                }
                None => return,
            },
        }
        drop(news);
        shared.changed.notify_one();
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some((shared, thread)) = self.teller.take() {
            // However the server has ended, the thread is to end as well.
            shared.lock().is_stopping = true;
            shared.changed.notify_one();
            let _ = thread.join();
        }
    }
}

/// Tells the news as they come, until the server stops or telling fails.
fn tell_news(shared: &Shared) {
    // No status is told before this.
    let mut quiet_until = Instant::now();
    loop {
        let mut news = shared.lock();
        let mut pause = quiet_until.saturating_duration_since(Instant::now());
        while news.is_nothing(pause) {
            news = if news.has_changed {
                let waited = shared.changed.wait_timeout(news, pause);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let waited = shared.changed.wait(news);
                waited.unwrap_or_else(PoisonError::into_inner)
            };
            pause = quiet_until.saturating_duration_since(Instant::now());
        }
        let told = if let Some(pid) = news.successor {
            drop(news);
            tell(&[NotifyState::MainPid(pid)]);
            return;
        } else if news.is_stopping {
            drop(news);
            tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
            return;
        } else if std::mem::take(&mut news.is_alive) {
            drop(news);
            tell(&[NotifyState::Watchdog])
        } else {
            news.has_changed = false;
            let text = status(news.connected);
            drop(news);
            quiet_until = Instant::now() + STATUS_INTERVAL;
            tell(&[NotifyState::Status(&text)])
        };
        if told.is_none() {
            return;
        }
    }
}

fn status(connected: usize) -> String {
    match connected {
        1 => "1 client".to_owned(),
        connected => format!("{connected} clients"),
    }
}

/// Tells `states`; if that fails, says so and returns `None`.
fn tell(states: &[NotifyState<'_>]) -> Option<()> {
    sd_notify::notify(states)
        .map_err(|error| {
            log(format_args!(
                "cannot tell the service manager (NOTIFY_SOCKET): {error}"
            ));
        })
        .ok()
}
