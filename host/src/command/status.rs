// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem status`.

use std::fmt::Write;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use ivshmem_host::admin::{Counters, Peer, Status};
use nix::unistd::{Uid, User};

use super::duration::seconds_within;
use super::harmless::harmless;
use super::output::{is_terminal, json, print, Reader};
use super::place::AdminArgument;
use super::table::{bytes, seconds, Align, Table};
use super::{Exit, Failure};

const EXAMPLE: &str = "\
Examples:
  ivshmem status --socket /tmp/ivshmem.sock
  ivshmem status --json | jq '.peers[] | select(.doorbells.pending > 0)'

PENDING are doorbells that were rung and that the client has not taken. A server sees no others: rings go
from peer to peer, and one that was taken has left no trace. Those that stay mean that the client does not
take its interrupts: it hangs, is stopped, has the vector masked, or polls the memory instead. Host processes that
use channels hear each ring at once and take it with their next heartbeat.
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

    /// Print one JSON document; the documentation of `ivshmem_host::admin::Status` has its fields.
    #[arg(long)]
    json: bool,

    /// Ask again each so many seconds, 0.1 to 86400, until interrupted [default: ask once].
    #[arg(long, value_name = "SECONDS", value_parser = parse_watch)]
    watch: Option<Duration>,
}

fn parse_watch(text: &str) -> Result<Duration, String> {
    seconds_within(text, 0.1, 86_400.0)
}

/// Asks the server, and prints what it says.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let admin = arguments.server.server();
    let clear = arguments.watch.is_some() && !arguments.json && is_terminal();
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
                thread::sleep(interval);
            }
            _ => return Ok(Exit::Success),
        }
    }
}

/// Returns the status as lines for people, at the time `now`.
fn table(status: &Status, now: u64) -> String {
    let mut text = summary(status);
    if status.peers.is_empty() {
        return text;
    }
    let mut table = Table::new([
        ("ID", Align::Right),
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
            seconds(now.saturating_sub(peer.connected_unix_seconds)),
            peer.pid.map_or_else(unknown, |pid| pid.to_string()),
            peer.uid.map_or_else(unknown, user),
            peer.process.clone().unwrap_or_else(unknown),
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
        let _ = writeln!(text, "{name:<9}{}", harmless(&value));
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
    let counters = &status.counters;
    line("so far", comings_and_goings(counters));
    line(
        "",
        format!(
            "{} sent, {} to accept a connection",
            count(counters.messages_sent, "message"),
            count(counters.accept_failures, "failure")
        ),
    );
    text
}

fn comings_and_goings(counters: &Counters) -> String {
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
        "{} joined, {} left, {} cut off{}, {} refused{}",
        counters.joined,
        counters.left,
        counters.cut_off.total(),
        reasons(&cut_off),
        counters.refused.total(),
        reasons(&refused),
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
    let vectors: Vec<String> = doorbells
        .vectors
        .iter()
        .enumerate()
        .filter(|&(_, &pending)| pending > 0)
        .map(|(vector, _)| vector.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a status with one peer, of which everything is as wide as it gets.
    fn wide() -> Status {
        serde_json::from_value(serde_json::json!({
            "format": 1,
            "version": "10.20.30",
            "pid": 4_194_304,
            "started_unix_seconds": 0,
            "uptime_seconds": 400 * 86_400,
            "socket": "/run/ivshmem/ivshmem.sock",
            "memory": {
                "bytes": 1_u64 << 40,
                "backing": "huge_pages",
                "path": null,
                "description": "a sealed memfd of huge pages of 2M"
            },
            "vectors_per_client": 2048,
            "clients": {
                "connected": 1000,
                "limit": 1024,
                "limited_by": "open_files",
                "open_files_limit": 1_048_576
            },
            "ids": { "next": null, "remaining": 0 },
            "peers": [{
                "id": 32_767,
                "vectors": 2048,
                "connected_unix_seconds": 0,
                "pid": 4_194_304,
                "uid": 4_000_000_000_u32,
                "process": "qemu-system-x86",
                "messages_queued": 99_999,
                "messages_sent": 99_999,
                "doorbells": {
                    "pending": 999_999,
                    "vectors": vec![1; 2048],
                    "untaken_seconds": 399 * 86_400
                }
            }],
            "counters": {
                "joined": 99_999,
                "left": 99_999,
                "cut_off": { "spoke": 0, "connection": 0 },
                "refused": { "full": 99, "no_id_left": 0, "system": 0 },
                "messages_sent": 99_999_999,
                "accept_failures": 1
            }
        }))
        .unwrap()
    }

    #[test]
    fn the_widest_table_has_100_columns() {
        let text = table(&wide(), 400 * 86_400);
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{}: {line}", line.len());
        }
        assert!(text.contains("99 refused (full: 99)"), "{text}");
        assert!(text.contains("none left"), "{text}");
    }

    #[test]
    fn what_is_unknown_is_a_question_mark_and_names_cannot_disturb_a_terminal() {
        let mut status = wide();
        let peer = &mut status.peers[0];
        (peer.pid, peer.uid, peer.doorbells) = (None, None, None);
        peer.process = Some("\u{1b}]0;x\u{7}".to_owned());
        let text = table(&status, 0);
        assert!(
            !text.contains('\u{1b}') && !text.contains('\u{7}'),
            "{text}"
        );
        let row = text.lines().last().unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "32767",
                "0",
                "s",
                "?",
                "?",
                r"\u{1b}]0;x\u{7}",
                "99999",
                "?"
            ]
        );
    }

    #[test]
    fn pending_doorbells_name_their_vectors_while_there_is_room() {
        let mut status = wide();
        let peer = &mut status.peers[0];
        for (vectors, untaken, text) in [
            (vec![0, 0], None, "-"),
            (vec![0, 3], Some(0), "3 at vector 1"),
            (vec![1, 3], Some(61), "4 at vector 0,1 for 1 min 1 s"),
            (vec![1; 20], Some(0), "20 at 20 vectors"),
        ] {
            if let Some(doorbells) = &mut peer.doorbells {
                doorbells.pending = vectors.iter().sum();
                doorbells.vectors = vectors;
                doorbells.untaken_seconds = untaken;
            }
            assert_eq!(pending(peer), text);
        }
    }
}
