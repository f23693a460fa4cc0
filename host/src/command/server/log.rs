// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log of `ivshmem server`.

use ivshmem_host::server::{Event, Fault, Refusal, Server};
use serde::Serialize;

use crate::command::output::{log_entry, Entry};

/// The log, with what is not to be in it left out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Log {
    /// Everything.
    Full,
    /// What is wrong.
    Quiet,
}

impl Log {
    /// Writes how the server has started.
    pub(super) fn started(self, server: &Server) {
        match self {
            Self::Full => log_entry(&Started::of(server)),
            Self::Quiet => {}
        }
    }

    /// Writes what has happened.
    pub(super) fn event(self, event: &Event) {
        let is_wrong = matches!(
            event,
            Event::CutOff { .. }
                | Event::Refused { .. }
                | Event::AcceptFailed(_)
                | Event::HandoverFailed(_)
        );
        let is_shown = match self {
            Self::Full => !matches!(event, Event::Alive),
            Self::Quiet => is_wrong,
        };
        if is_shown {
            log_entry(&Happened::from(event));
        }
    }
}

/// That the server listens, and what it is like.
#[derive(Serialize)]
struct Started {
    socket: String,
    shm_bytes: u64,
    shm: String,
    vectors: u16,
    max_peers: usize,
    #[serde(skip)]
    limit: String,
    /// Where the metrics are.
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
}

impl Started {
    fn of(server: &Server) -> Self {
        let config = server.config();
        let limit = server.client_limit();
        Self {
            socket: config.socket.display().to_string(),
            shm_bytes: config.size_bytes,
            shm: config.backing.to_string(),
            vectors: config.vectors,
            max_peers: limit.clients,
            limit: limit.to_string(),
            metrics: config
                .metrics
                .map(|address| format!("http://{address}/metrics")),
        }
    }
}

impl Entry for Started {
    fn event(&self) -> &'static str {
        "listening"
    }

    fn message(&self) -> String {
        format!(
            "listening at {}: {} bytes of shared memory in {}, {} per client, {}{}",
            self.socket,
            self.shm_bytes,
            self.shm,
            match self.vectors {
                1 => "1 vector".to_owned(),
                vectors => format!("{vectors} vectors"),
            },
            self.limit,
            match &self.metrics {
                Some(metrics) => format!("; metrics at {metrics}"),
                None => String::new(),
            }
        )
    }
}

/// An event, with the fields that it has.
#[derive(Default, Serialize)]
struct Happened {
    #[serde(skip)]
    event: &'static str,
    #[serde(skip)]
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Number of the system's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    /// Clients connected now.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<usize>,
    /// For how long nobody was served.
    #[serde(skip_serializing_if = "Option::is_none")]
    unserved_ms: Option<u64>,
}

impl From<&Event> for Happened {
    fn from(event: &Event) -> Self {
        let common = Self {
            message: event.to_string(),
            connected: event.connected(),
            ..Self::default()
        };
        match *event {
            Event::Joined { peer, pid, .. } => Self {
                event: "joined",
                peer: Some(peer.0),
                pid,
                ..common
            },
            Event::Left { peer, .. } => Self {
                event: "left",
                peer: Some(peer.0),
                ..common
            },
            Event::CutOff { peer, fault, .. } => {
                let (reason, errno) = match fault {
                    Fault::Spoke => ("spoke", None),
                    Fault::Connection(error) => ("connection", Some(error.raw_os_error())),
                    _ => ("other", None),
                };
                Self {
                    event: "cut-off",
                    peer: Some(peer.0),
                    reason: Some(reason),
                    errno,
                    ..common
                }
            }
            Event::Refused { pid, reason } => {
                let (reason, errno) = match reason {
                    Refusal::Full { .. } => ("full", None),
                    Refusal::NoIdLeft => ("no-id-left", None),
                    Refusal::System(error) => ("no-eventfd", Some(error.raw_os_error())),
                    _ => ("other", None),
                };
                Self {
                    event: "refused",
                    pid,
                    reason: Some(reason),
                    errno,
                    ..common
                }
            }
            Event::AcceptFailed(error) => Self {
                event: "accept-failed",
                errno: Some(error.raw_os_error()),
                ..common
            },
            Event::HandedOver { pid, took, .. } => Self {
                event: "handed-over",
                pid,
                unserved_ms: u64::try_from(took.as_millis()).ok(),
                ..common
            },
            Event::HandoverFailed(_) => Self {
                event: "handover-failed",
                ..common
            },
            Event::Stopping { .. } => Self {
                event: "stopping",
                ..common
            },
            _ => Self {
                event: "note",
                ..common
            },
        }
    }
}

impl Entry for Happened {
    fn event(&self) -> &'static str {
        self.event
    }

    fn message(&self) -> String {
        self.message.clone()
    }
}
