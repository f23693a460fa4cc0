// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem peers`.

use std::time::Duration;

use clap::Args;
use ivshmem::channel::inspect::{Contents, Inspection, Presence};
use ivshmem_host::admin::{Peer, Status};
use serde::Serialize;

use super::duration::seconds;
use super::liveness::{watch, Watched};
use super::output::{json, log, print};
use super::region::{Opened, RegionArgument};
use super::table::{Align, Table};
use super::{Exit, Failure};

const EXAMPLE: &str = "\
Examples:
  ivshmem peers --socket /tmp/ivshmem.sock
  ivshmem peers --shm-file /dev/shm/ivshmem --json | jq '.members[] | select(.lives).name'

A member is who has a slot in the memory, to exchange messages through channels; a client is who is connected to the
server. Each can be without the other: a virtual machine whose guest does not use channels is a client only, and a
member that polls, or whose connection has ended, is a member only. LIVES says whether the heartbeat has moved
while it was looked at, for up to --limit.

Exit status: 0 if the memory could be looked at, also where nobody is; 1 if it holds something else than a
region; 2 if it could not be looked at.";

/// The version of the JSON document: another number when a field gets another meaning or goes.
const FORMAT: u32 = 1;

/// Show who is there: members of the memory, and clients of its server.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    #[command(flatten)]
    region: RegionArgument,

    /// Seconds for which to wait for a sign of life of each member.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    limit: Duration,

    /// Show slots as well that somebody has left.
    #[arg(long)]
    all: bool,

    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Who is there.
#[derive(Debug, Serialize)]
struct Present {
    format: u32,
    place: String,
    /// `blank`, `region` or `unreadable`.
    contents: &'static str,
    /// How many members there can be.
    slots: Option<u16>,
    /// For how long signs of life were waited for, in milliseconds.
    limit_ms: u64,
    /// Whether the server has told who is connected.
    server_asked: bool,
    members: Vec<Member>,
    /// Those that are connected to the server and are no members.
    other_clients: Vec<Client>,
}

#[derive(Debug, Serialize)]
struct Member {
    slot: u16,
    /// `free`, `joining` or `member`.
    state: &'static str,
    incarnation: u32,
    /// With what is no text escaped.
    name: Option<String>,
    /// Whether it has shown a sign of life; nothing for a slot that is free.
    lives: Option<bool>,
    /// Of its device, if it has one.
    id: Option<u16>,
    /// That it listens to.
    vectors: Option<u16>,
    /// Whether the server knows a client with its ID; nothing if it has none, or nobody was asked.
    connected: Option<bool>,
    client: Option<Client>,
}

#[derive(Clone, Debug, Serialize)]
struct Client {
    id: u16,
    vectors: u16,
    pid: Option<i32>,
    uid: Option<u32>,
    process: Option<String>,
}

/// Looks, and prints who is there.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let opened = arguments.region.open()?;
    let status = match &opened.server {
        Some(server) => Some(server.status().map_err(Failure::new)?),
        None => None,
    };
    let present = Present::look(&opened, status.as_ref(), &arguments);
    let text = if arguments.json {
        json(&present)?
    } else {
        render(&present)
    };
    print(text.as_bytes())?;
    if present.contents == "unreadable" {
        log(format_args!(
            "{} holds no region: see `ivshmem dump` for what is there",
            present.place
        ));
        return Ok(Exit::No);
    }
    Ok(Exit::Success)
}

impl Present {
    fn look(opened: &Opened, status: Option<&Status>, arguments: &Arguments) -> Self {
        let inspection = Inspection::of(&opened.memory);
        let (contents, slots) = match inspection.header().contents {
            Contents::Blank => ("blank", None),
            Contents::Region(division) => ("region", Some(division.slots)),
            Contents::Unreadable => ("unreadable", None),
        };
        let watched = watch(&inspection, arguments.limit);
        let members: Vec<_> = watched
            .iter()
            .filter(|slot| {
                let was_used = arguments.all && slot.look.incarnation != 0;
                slot.look.presence != Presence::Free || was_used
            })
            .map(|slot| Member::of(slot, status))
            .collect();
        let is_member = |id| members.iter().any(|member: &Member| member.id == Some(id));
        let other_clients = status
            .iter()
            .flat_map(|status| &status.peers)
            .filter(|peer| !is_member(peer.id))
            .map(Client::from)
            .collect();
        Self {
            format: FORMAT,
            place: opened.place.clone(),
            contents,
            slots,
            limit_ms: u64::try_from(arguments.limit.as_millis()).unwrap_or(u64::MAX),
            server_asked: status.is_some(),
            other_clients,
            members,
        }
    }
}

impl Member {
    fn of(slot: &Watched, status: Option<&Status>) -> Self {
        let look = &slot.look;
        let id = look
            .identity
            .and_then(|identity| identity.device)
            .map(|id| id.0);
        let client = status.zip(id).map(|(status, id)| {
            let peer = status.peers.iter().find(|peer| peer.id == id);
            peer.map(Client::from)
        });
        Self {
            slot: look.slot.0,
            state: match look.presence {
                Presence::Free => "free",
                Presence::Joining => "joining",
                Presence::Member => "member",
            },
            incarnation: look.incarnation,
            name: look.identity.map(|identity| identity.name.to_string()),
            lives: (look.presence != Presence::Free).then_some(slot.lives),
            id,
            vectors: look.identity.map(|identity| identity.vectors),
            connected: client.as_ref().map(Option::is_some),
            client: client.flatten(),
        }
    }
}

impl From<&Peer> for Client {
    fn from(peer: &Peer) -> Self {
        Self {
            id: peer.id,
            vectors: peer.vectors,
            pid: peer.pid,
            uid: peer.uid,
            process: peer.process.clone(),
        }
    }
}

/// Returns who is there as lines for people.
fn render(present: &Present) -> String {
    let is_living = |member: &&Member| member.lives == Some(true);
    let there = present
        .members
        .iter()
        .filter(|member| member.lives.is_some());
    let mut text = match (present.contents, present.slots) {
        ("region", Some(slots)) => format!(
            "{}: {} of {slots} slots taken, {} alive\n",
            present.place,
            there.count(),
            present.members.iter().filter(is_living).count(),
        ),
        ("blank", _) => format!("{}: blank, so nobody is a member\n", present.place),
        _ => format!("{}: no region, so nobody is a member\n", present.place),
    };
    if present.members.is_empty() && present.other_clients.is_empty() {
        return text;
    }
    let mut table = Table::new([
        ("SLOT", Align::Right),
        ("NAME", Align::Left),
        ("LIVES", Align::Left),
        ("INCARNATION", Align::Right),
        ("ID", Align::Right),
        ("VECTORS", Align::Right),
        ("CLIENT", Align::Left),
    ]);
    for member in &present.members {
        table.add([
            member.slot.to_string(),
            member.name.clone().unwrap_or_else(nothing),
            match (member.lives, member.state) {
                (Some(true), "joining") => "joining",
                (Some(true), _) => "yes",
                (Some(false), _) => "no",
                (None, _) => "left",
            }
            .to_owned(),
            member.incarnation.to_string(),
            member.id.map_or_else(nothing, |id| id.to_string()),
            member
                .vectors
                .map_or_else(nothing, |vectors| vectors.to_string()),
            match (member.connected, &member.client) {
                (_, Some(client)) => client.to_string(),
                (Some(false), None) => "not connected".to_owned(),
                _ => nothing(),
            },
        ]);
    }
    for client in &present.other_clients {
        table.add([
            nothing(),
            nothing(),
            "no member".to_owned(),
            nothing(),
            client.id.to_string(),
            client.vectors.to_string(),
            client.to_string(),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render());
    text
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, &self.process) {
            (Some(pid), Some(name)) => write!(f, "{} ({pid})", name),
            (Some(pid), None) => write!(f, "process {pid}"),
            (None, _) => write!(f, "connected"),
        }
    }
}

fn nothing() -> String {
    "-".to_owned()
}
