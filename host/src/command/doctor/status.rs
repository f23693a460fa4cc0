// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a server says that it is, over its admin socket: that uses up no ID, and shows how its clients fare.

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ivshmem::channel::inspect::Inspection;
use ivshmem_host::admin::{Admin, AdminError, Peer, Status};

use super::finding::{Code, Finding};
use super::region::{self, Words, LIFE_LIMIT};
use super::server::{check_memory, plural, ServerView};
use crate::command::liveness::{watch, Watched};

/// How long something must stay as it is to be no matter of chance.
const STAYS: Duration = Duration::from_secs(1);

/// What the names of processes begin with that are virtual machines.
const MACHINE: &str = "qemu";

/// Fewer IDs than these are few.
const FEW_IDS: u16 = 1000;

/// Asks the server whose clients connect to `path`.
pub(super) fn ask(path: &Path) -> Result<(Vec<Finding>, ServerView), AdminError> {
    let admin = Admin::of(path);
    let first = admin.status()?;
    let busy = |peer: &Peer| is_rung(peer) || peer.messages_queued > 0;
    let mut second = if first.peers.iter().any(busy) {
        thread::sleep(STAYS);
        admin.status()?
    } else {
        first.clone()
    };
    // A descriptor whose size the kernel does not tell cannot be looked into.
    let words = admin.memory().map(File::from).map(Words::of);
    let words = words.ok().and_then(Result::ok);
    if let Some(words) = words.as_ref().filter(|_| second.peers.iter().any(is_rung)) {
        pardon(&mut second, words);
    }
    let mut findings = judge(path, &first, &second);
    findings.extend(check_memory(path, second.memory.bytes));
    if let Some(words) = &words {
        findings.extend(region::check(path, words, LIFE_LIMIT));
    }
    let view = ServerView {
        vectors: Some(second.vectors_per_client),
        bytes: Some(second.memory.bytes),
        next_id: second.ids.next.map(u32::from),
        clients: Some(second.peers.len()),
    };
    Ok((findings, view))
}

/// Says why a server that may be there cannot be asked.
pub(super) fn opaque(path: &Path, error: &AdminError) -> Finding {
    Finding::new(
        Code::ServerOpaque,
        path.display(),
        format!("the server cannot be asked how it is: {error}"),
        "with an admin socket (ivshmem server has one unless --no-admin) more can be seen",
    )
}

/// Forgets the doorbells of processes that are members and live: they hear each ring without taking it. A guest takes its
/// interrupts, or does not get them, however well its heart beats.
fn pardon(status: &mut Status, words: &Words) {
    let members = watch(&Inspection::of(words), LIFE_LIMIT);
    let lives = |peer: &Peer| {
        let is = |member: &Watched| {
            let identity = member.look.identity;
            member.lives && identity.and_then(|who| who.device).map(|id| id.0) == Some(peer.id)
        };
        members.iter().any(is)
    };
    let is_machine = |peer: &Peer| {
        let process = peer.process.as_deref();
        process.is_none_or(|name| name.starts_with(MACHINE))
    };
    for peer in &mut status.peers {
        if !is_machine(peer) && lives(peer) {
            peer.doorbells = None;
        }
    }
}

fn is_rung(peer: &Peer) -> bool {
    let pending = peer.doorbells.as_ref().map(|doorbells| doorbells.pending);
    pending.is_some_and(|pending| pending > 0)
}

/// Judges two answers of one server, the second some time after the first.
fn judge(path: &Path, first: &Status, second: &Status) -> Vec<Finding> {
    let place = path.display();
    let mut findings = vec![Finding::fine(
        Code::SocketFine,
        place.to_string(),
        format!(
            "a server answers: {} bytes, {} for each client, {} connected, process {}",
            second.memory.bytes,
            plural(second.vectors_per_client.into(), "vector"),
            plural(second.peers.len(), "client"),
            second.pid,
        ),
    )];
    for peer in &second.peers {
        let Some(before) = first.peers.iter().find(|before| before.id == peer.id) else {
            continue;
        };
        findings.extend(client(path, before, peer));
    }
    let clients = &second.clients;
    if clients.connected.saturating_mul(10) >= clients.limit.saturating_mul(9) {
        let files = clients.open_files_limit;
        let why = files.map_or_else(String::new, |files| {
            format!(", for it may open {files} files")
        });
        findings.push(Finding::new(
            Code::DescriptorLimit,
            &place,
            format!("{} of at most {} clients are connected{why}", clients.connected, clients.limit),
            "raise the server's limit of open files (LimitNOFILE=, ulimit -n), or use fewer vectors",
        ));
    }
    if second.ids.remaining < FEW_IDS {
        findings.push(Finding::new(
            Code::IdsRunningOut,
            &place,
            format!(
                "only {} IDs are left: then nobody can join any more",
                second.ids.remaining
            ),
            "restart the server when its machines are down; an ID is given once",
        ));
    }
    findings
}

/// Judges two looks at one client.
fn client(path: &Path, before: &Peer, after: &Peer) -> Vec<Finding> {
    let name = match (&after.process, after.pid) {
        (Some(process), Some(pid)) => format!("peer {} ({process}, process {pid})", after.id),
        _ => format!("peer {}", after.id),
    };
    let mut findings = Vec::new();
    if let (Some(then), Some(now)) = (&before.doorbells, &after.doorbells) {
        let vectors: Vec<_> = (0..)
            .zip(then.vectors.iter().zip(&now.vectors))
            .filter(|(_, (then, now))| **then > 0 && now >= then)
            .map(|(vector, _): (usize, _)| vector.to_string())
            .collect();
        if !vectors.is_empty() {
            findings.push(Finding::new(
                Code::DoorbellsPending,
                path.display(),
                format!("{name} does not take its doorbells, of vector {}", vectors.join(", ")),
                "it is stopped, hangs, has interrupts off (MSI-X masked or disabled, bus master off), or polls the memory and needs none",
            ));
        }
    }
    if before.messages_queued > 0 && after.messages_queued >= before.messages_queued {
        findings.push(Finding::new(
            Code::ClientNotReading,
            path.display(),
            format!(
                "{name} does not read: {} wait for it",
                plural(after.messages_queued, "message")
            ),
            "it is stopped or hangs; it is told all when it goes on",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem::{PeerId, VectorIndex};
    use ivshmem_host::server::{Config, Server};
    use serde_json::{json, Value};

    /// A real answer of a server with one client, with a change.
    fn status(change: impl FnOnce(&mut Value)) -> Status {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let server = Server::spawn(Config::new(&path, 4096, 2)).unwrap();
        let _peer = ivshmem_host::peer::Peer::connect(server.socket()).unwrap();
        let status = Admin::of(&path).status().unwrap();
        let mut value = serde_json::to_value(status).unwrap();
        value["clients"]["limit"] = json!(100);
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    /// Sets what is pending of each vector, and how many messages are queued.
    fn with(vectors: [u64; 2], queued: u64) -> Status {
        status(|value| {
            value["peers"][0]["doorbells"]["vectors"] = json!(vectors);
            value["peers"][0]["messages_queued"] = json!(queued);
        })
    }

    fn codes(first: &Status, second: &Status) -> Vec<Code> {
        let findings = judge(Path::new("/s"), first, second);
        let codes = findings.iter().map(|finding| finding.code);
        codes.filter(|&code| code != Code::SocketFine).collect()
    }

    #[test]
    fn what_stays_is_found_and_what_moves_is_not() {
        for (first, second, expected) in [
            (([0, 0], 0), ([0, 0], 0), &[][..]),
            (([0, 3], 0), ([0, 3], 0), &[Code::DoorbellsPending]),
            (([0, 3], 0), ([0, 4], 0), &[Code::DoorbellsPending]),
            // Taken and rung again, or rung just now.
            (([0, 3], 0), ([0, 1], 0), &[]),
            (([0, 3], 0), ([1, 0], 0), &[]),
            (([0, 0], 9), ([0, 0], 9), &[Code::ClientNotReading]),
            (([0, 0], 9), ([0, 0], 8), &[]),
            (([0, 0], 0), ([0, 0], 8), &[]),
        ] {
            let found = codes(&with(first.0, first.1), &with(second.0, second.1));
            assert_eq!(found, expected, "{first:?} {second:?}");
        }
        let newcomer = status(|value| value["peers"] = json!([]));
        assert_eq!(codes(&newcomer, &with([1, 1], 1)), []);
    }

    #[test]
    fn limits_that_are_near_are_found() {
        for (connected, remaining, expected) in [
            (89, 1000, &[][..]),
            (90, 1000, &[Code::DescriptorLimit]),
            (1, 999, &[Code::IdsRunningOut]),
        ] {
            let status = status(|value| {
                value["clients"]["connected"] = json!(connected);
                value["ids"]["remaining"] = json!(remaining);
            });
            assert_eq!(codes(&status, &status), expected);
        }
    }

    #[test]
    fn a_server_that_can_be_asked_gives_no_id_for_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let _server = Server::spawn(Config::new(&path, 65536, 3)).unwrap();
        let (findings, view) = ask(&path).unwrap();
        let codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [Code::SocketFine, Code::RegionBlank]);
        let expected = ServerView {
            vectors: Some(3),
            bytes: Some(65536),
            next_id: Some(0),
            clients: Some(0),
        };
        assert_eq!(view, expected);
    }

    #[test]
    fn members_that_live_are_not_blamed_for_rings_that_they_do_not_take() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let _server = Server::spawn(Config::new(&path, 1 << 20, 1)).unwrap();
        let member = ivshmem_host::channel::Options::new("member");
        let member = member.join_server(&path).unwrap();
        let other = ivshmem_host::peer::Peer::connect(&path).unwrap();
        let blamed = || {
            let (findings, _) = ask(&path).unwrap();
            let findings = findings.iter();
            findings
                .filter(|finding| finding.code == Code::DoorbellsPending)
                .map(|finding| finding.what.clone())
                .collect::<Vec<_>>()
        };
        for peer in [0, 1] {
            other.ring(PeerId(peer), VectorIndex(0)).unwrap();
        }
        let found = blamed();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("peer 1 "), "{found:?}");
        drop(member);
    }

    #[test]
    fn who_cannot_be_asked_is_named() {
        let error = ask(Path::new("/no/such/socket")).unwrap_err();
        let finding = opaque(Path::new("/no/such/socket"), &error);
        assert_eq!(finding.code, Code::ServerOpaque);
    }
}
