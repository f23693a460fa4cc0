// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem peers` as a process.

use ivshmem::channel::Format;
use ivshmem_host::channel::Options;
use ivshmem_host::peer::Peer;
use serde_json::Value;

use crate::process::Running;
use crate::region::{failure, json, look, text, Place};

/// Fits into the memory of the servers here.
const FORMAT: Format = Format {
    slots: 4,
    ring_log2: None,
};

fn options(name: &str) -> Options {
    Options::new(name).format(Some(FORMAT))
}

#[test]
fn members_of_a_file_are_shown_with_signs_of_life() {
    let place = Place::new();
    let one = place.join("one");
    let other = place.join("\u{1b}[31m");
    let shown = text(&place.look("peers", &[]), 0);
    assert!(shown.contains(": 2 of 3 slots taken, 2 alive\n"), "{shown}");
    assert!(!shown.contains('\x1b'), "{shown}");
    drop(one);
    let document = json(&place.look("peers", &["--json", "--all"]), 0);
    let members = document["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "{document}");
    assert_eq!(
        (&members[0]["state"], &members[0]["lives"]),
        (&"free".into(), &Value::Null)
    );
    assert_eq!(
        (&members[1]["state"], &members[1]["lives"]),
        (&"member".into(), &true.into())
    );
    assert_eq!(members[1]["name"], "\\x1b[31m");
    assert_eq!(
        (&document["contents"], &document["server_asked"]),
        (&"region".into(), &false.into())
    );
    drop(other);
    let document = json(&place.look("peers", &["--json"]), 0);
    assert_eq!(document["members"].as_array().unwrap().len(), 0);
}

#[test]
fn a_member_that_stands_still_does_not_live() {
    let place = Place::new();
    let _one = place.join("one");
    // As it was when the file was copied: nobody moves there.
    let path = place.beside("copy", &place.copy());
    let limit = &["--limit", "0.1", "--json"];
    let document = json(&look("peers", "--shm-file", &path, limit), 0);
    assert_eq!(document["members"][0]["lives"], false, "{document}");
    let shown = text(&look("peers", "--shm-file", &path, &["--limit", "0.1"]), 0);
    assert!(shown.contains("1 of 3 slots taken, 0 alive"), "{shown}");
}

#[test]
fn members_and_clients_of_a_server_are_joined() {
    let server = Running::start(":", 2, &[]);
    server.line();
    // A client that is a member, one that is none, and a member that is no client.
    let member = options("both").join_server(&server.socket).unwrap();
    let client = Peer::connect(&server.socket).unwrap();
    let memory = ivshmem_host::admin::Admin::of(&server.socket)
        .memory()
        .unwrap();
    let silent = options("silent").join_memory(&memory).unwrap();
    let document = json(&look("peers", "--socket", &server.socket, &["--json"]), 0);
    assert_eq!(document["server_asked"], true);
    let members = document["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "{document}");
    let of = |name: &str| members.iter().find(|m| m["name"] == name).unwrap();
    let both = of("both");
    assert_eq!((&both["id"], &both["connected"]), (&0.into(), &true.into()));
    assert_eq!(both["vectors"], 2);
    assert_eq!(both["client"]["pid"], std::process::id());
    assert_eq!(both["lives"], true);
    let alone = of("silent");
    assert_eq!(
        (&alone["id"], &alone["connected"]),
        (&Value::Null, &Value::Null)
    );
    let others = document["other_clients"].as_array().unwrap();
    assert_eq!(others.len(), 1, "{document}");
    assert_eq!(
        Some(others[0]["id"].as_u64().unwrap()),
        client.id().map(|id| id.0.into())
    );

    let shown = text(&look("peers", "--socket", &server.socket, &[]), 0);
    assert!(shown.contains("2 of 4 slots taken, 2 alive"), "{shown}");
    assert!(shown.contains("no member"), "{shown}");
    for line in shown.lines().skip(1) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    drop((member, silent, client));
}

#[test]
fn a_member_without_its_connection_is_told() {
    let server = Running::start(":", 1, &[]);
    server.line();
    let memory = ivshmem_host::admin::Admin::of(&server.socket)
        .memory()
        .unwrap();
    let mapping = ivshmem_host::mapping::Mapping::of(&memory).unwrap();
    let region = ivshmem::channel::Region::open_or_format(mapping.memory(), &FORMAT).unwrap();
    let mut joining = region.join(ivshmem::channel::Introduction {
        name: ivshmem::channel::Name::new("ghost"),
        device: Some(ivshmem::PeerId(7)),
        vectors: 1,
        limit: 1000,
    });
    assert!(joining.poll(0).is_ready());
    let more = &["--json", "--limit", "0.05"];
    let document = json(&look("peers", "--socket", &server.socket, more), 0);
    let ghost = &document["members"][0];
    assert_eq!(
        (&ghost["id"], &ghost["connected"]),
        (&7.into(), &false.into())
    );
    assert_eq!(
        (&ghost["client"], &ghost["lives"]),
        (&Value::Null, &false.into())
    );
    let shown = text(
        &look("peers", "--socket", &server.socket, &["--limit", "0.05"]),
        0,
    );
    assert!(shown.contains("not connected"), "{shown}");
}

#[test]
fn what_holds_no_members_is_told() {
    let place = Place::new();
    let shown = text(&place.look("peers", &[]), 0);
    assert!(shown.ends_with("blank, so nobody is a member\n"), "{shown}");
    let path = place.beside("foreign", &[7; 8192]);
    let output = look("peers", "--shm-file", &path, &[]);
    assert!(text(&output, 1).contains("no region"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("see `ivshmem dump`"));
    let line = failure(&look("peers", "--shm-file", place.directory.path(), &[]));
    assert!(line.contains("it is no file"), "{line}");
    let line = failure(&place.look("peers", &["--limit", "0"]));
    assert!(line.contains("--limit"), "{line}");
}
