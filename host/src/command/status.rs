// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem status`.

use std::fmt::Write;
use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use ivshmem_host::admin::{Counters, Peer, Status};
use nix::unistd::{Uid, User};

use super::output::{print, Reader};
use super::place::AdminArgument;
use super::table::{bytes, seconds, Align, Table};
use super::{Exit, Failure};

const EXAMPLE: &str = "\
Examples:
  ivshmem status --socket /tmp/ivshmem.sock
  ivshmem status --json | jq '.peers[] | select(.doorbells.pending > 0)'

PENDING are doorbells that were rung and that the client has not taken. A server sees no others: rings go
from peer to peer, and one that was taken has left no trace. Those that stay mean that the client does not
take its interrupts: it hangs, is stopped, has the vector masked, or polls the memory instead.
The time beside them is from the first of the looks that have found them; the server looks when it is asked.

Exit status: 0 if the server answered, 2 if not.";

/// Moves to the upper left corner and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show who is connected to a server, and how it is.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: AdminArgument,

    /// Print the status as one line of JSON; the documentation of `ivshmem_host::admin::Status` has its fields.
    #[arg(long)]
    json: bool,

    /// Ask again each so many seconds, until interrupted [default: ask once].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
}

/// Asks the server, and prints what it says.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let admin = arguments.server.server();
    let clear = arguments.watch.is_some() && !arguments.json && std::io::stdout().is_terminal();
    loop {
        let status = admin.status().map_err(Failure::new)?;
        let mut text = if arguments.json {
            json(&status)?
        } else {
            table(&status, unix_seconds())
        };
        if clear {
            text.insert_str(0, CLEAR);
        }
        let reader = print(text.as_bytes())?;
        match arguments.watch {
            Some(interval) if reader == Reader::Reads => {
                thread::sleep(Duration::from_secs(interval));
            }
            _ => return Ok(Exit::Success),
        }
    }
}

fn json(status: &Status) -> Result<String, Failure> {
    let mut text = serde_json::to_string(status)
        .map_err(|error| Failure::new(format!("cannot render the status: {error}")))?;
    text.push('\n');
    Ok(text)
}

/// Returns the status as lines for people, at the time `now`.
fn table(status: &Status, now: u64) -> String {
    let mut text = summary(status);
    if status.peers.is_empty() {
        return text;
    }
    let mut table = Table::new([
        ("ID", Align::Right),
        ("VECTORS", Align::Right),
        ("CONNECTED", Align::Right),
        ("PID", Align::Right),
        ("USER", Align::Left),
        ("PROCESS", Align::Left),
        ("QUEUED", Align::Right),
        ("PENDING", Align::Left),
    ]);
    for peer in &status.peers {
        table.add([
            peer.id.to_string(),
            peer.vectors.to_string(),
            seconds(now.saturating_sub(peer.connected_unix_seconds)),
            peer.pid.map_or_else(unknown, |pid| pid.to_string()),
            peer.uid.map_or_else(unknown, user),
            // Its own choice: it must not speak to the terminal.
            peer.process
                .as_ref()
                .map_or_else(unknown, |name| name.escape_debug().to_string()),
            peer.messages_queued.to_string(),
            pending(peer),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render());
    text
}

/// Returns the lines about the server itself.
fn summary(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<9}{value}");
    };
    line("socket", status.socket.clone());
    line(
        "server",
        format!(
            "process {}, version {}, up {}",
            status.pid,
            status.version,
            seconds(status.uptime_seconds)
        ),
    );
    let memory = &status.memory;
    line(
        "memory",
        format!("{}, {}", bytes(memory.bytes), memory.description),
    );
    let clients = &status.clients;
    line(
        "clients",
        format!(
            "{} of at most {} ({}), {} each",
            clients.connected,
            clients.limit,
            match (clients.open_files_limit, clients.limited_by.as_str()) {
                (Some(limit), _) => format!("by the limit of {limit} open files"),
                (None, "config") => "as asked for".to_owned(),
                (None, "program") => "the most that the program serves".to_owned(),
                (None, other) => other.to_owned(),
            },
            count(u64::from(status.vectors_per_client), "vector"),
        ),
    );
    line(
        "IDs",
        match status.ids.next {
            Some(next) => format!("next {next}, {} left", status.ids.remaining),
            None => "none left: restart the server once its clients have stopped".to_owned(),
        },
    );
    line("so far", so_far(&status.counters));
    text
}

fn so_far(counters: &Counters) -> String {
    let cut_off = [
        (counters.cut_off.spoke, "spoke"),
        (counters.cut_off.connection, "connection failed"),
    ];
    let refused = [
        (counters.refused.full, "full"),
        (counters.refused.no_id_left, "no ID left"),
        (counters.refused.system, "short of resources"),
    ];
    format!(
        "{} joined, {} left, {} cut off{}, {} refused{}; {} sent, {} to accept",
        counters.joined,
        counters.left,
        counters.cut_off.total(),
        reasons(&cut_off),
        counters.refused.total(),
        reasons(&refused),
        count(counters.messages_sent, "message"),
        count(counters.accept_failures, "failure"),
    )
}

/// Returns how much of a number has which reason, if there is any.
fn reasons(reasons: &[(u64, &str)]) -> String {
    let reasons: Vec<String> = reasons
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, reason)| format!("{reason}: {number}"))
        .collect();
    if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join(", "))
    }
}

fn pending(peer: &Peer) -> String {
    let Some(doorbells) = &peer.doorbells else {
        return unknown();
    };
    if doorbells.pending == 0 {
        return "-".to_owned();
    }
    let vectors: Vec<String> = (0..)
        .zip(&doorbells.vectors)
        .filter(|&(_, &pending)| pending > 0)
        .map(|(vector, _): (u16, _)| vector.to_string())
        .collect();
    let mut text = format!("{} at vector {}", doorbells.pending, vectors.join(","));
    if text.len() > 24 {
        text = format!("{} at {} vectors", doorbells.pending, vectors.len());
    }
    match doorbells.untaken_seconds {
        None | Some(0) => text,
        Some(time) => format!("{text} for {}", seconds(time)),
    }
}

/// What is shown for what the kernel does not tell.
fn unknown() -> String {
    "?".to_owned()
}

/// Returns the name of a user, or its number if there is none.
fn user(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => uid.to_string(),
    }
}

/// Returns `number` with `noun` in its number.
fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
