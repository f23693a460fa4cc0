// SPDX-License-Identifier: MIT OR Apache-2.0
//! Metrics: what they say, over HTTP and at the admin socket, and who cannot keep them from others.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::common::{eventually, ring, RawClient, LIMIT};
use crate::exposition::Page;
use crate::process::Running;
use ivshmem_host::admin::{Admin, Status, MAX_CONNECTIONS};
use ivshmem_host::peer::Peer;
use ivshmem_host::server::{BindError, Config, RunningServer, Server};
use tempfile::TempDir;

const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn start(vectors: u16) -> (TempDir, RunningServer, SocketAddr) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::new(directory.path().join("ivshmem.sock"), 1 << 16, vectors);
    config.metrics = Some("127.0.0.1:0".parse().unwrap());
    let server = Server::spawn(config).unwrap();
    let address = server.config().metrics.unwrap();
    assert_ne!(address.port(), 0);
    (directory, server, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Sends `request`, and returns the whole response.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// Scrapes, and returns the body.
fn scrape(address: SocketAddr) -> String {
    let response = ask(address, GET);
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let mut head = head.split("\r\n");
    assert_eq!(head.next(), Some("HTTP/1.1 200 OK"));
    let headers: Vec<&str> = head.collect();
    let length = format!("Content-Length: {}", body.len());
    for header in [
        "Content-Type: text/plain; version=0.0.4; charset=utf-8",
        "Connection: close",
        &length,
    ] {
        assert!(headers.contains(&header), "{header} in {headers:?}");
    }
    body.to_owned()
}

#[test]
fn a_scrape_has_the_numbers_of_the_status() {
    let (_directory, server, address) = start(2);
    let client = RawClient::connect(server.socket());
    let own = client.receive_own(2);
    ring(&own[1]);
    ring(&own[1]);
    drop(Peer::connect_within(server.socket(), LIMIT).unwrap());
    assert!(server.wait_for_clients(1, LIMIT));
    let status = Admin::of(server.socket()).within(LIMIT).status().unwrap();
    let page = Page::read(&scrape(address));
    assert!(page.names().all(|name| name.starts_with("ivshmem_")));
    let version = env!("CARGO_PKG_VERSION");
    let peer = [("peer", "0")];
    for (name, labels, value) in [
        ("build_info", &[("version", version)][..], 1),
        ("start_time_seconds", &[], status.started_unix_seconds),
        ("memory_bytes", &[("backing", "memfd")], 1 << 16),
        ("vectors_per_client", &[], 2),
        ("clients", &[], 1),
        (
            "clients_limit",
            &[("limited_by", &status.clients.limited_by)],
            status.clients.limit as u64,
        ),
        ("ids_remaining", &[], 32766),
        ("joined_total", &[], 2),
        ("left_total", &[], 1),
        ("cut_off_total", &[("fault", "spoke")], 0),
        ("cut_off_total", &[("fault", "connection")], 0),
        ("refused_total", &[("reason", "full")], 0),
        ("refused_total", &[("reason", "no_id_left")], 0),
        ("refused_total", &[("reason", "system")], 0),
        ("accept_failures_total", &[], 0),
        ("peer_messages_queued", &peer, 0),
        ("peer_doorbells_pending", &peer, 2),
        (
            "peer_connected_time_seconds",
            &peer,
            status.peers[0].connected_unix_seconds,
        ),
    ] {
        let found = page.get(&format!("ivshmem_{name}"), labels);
        assert_eq!(found, Some(value as f64), "{name}");
    }
    assert!(page.get("ivshmem_messages_sent_total", &[]) >= Some(5.0));
    let untaken = page.get("ivshmem_peer_doorbells_untaken_seconds", &peer);
    assert!(untaken.is_some());
    let info = page.labels("ivshmem_peer_info");
    assert_eq!(info.len(), 1);
    assert_eq!(info[0]["pid"], std::process::id().to_string());
}

#[test]
fn the_admin_socket_gives_the_same_metrics() {
    let (_directory, server, address) = start(1);
    let _peer = Peer::connect_within(server.socket(), LIMIT).unwrap();
    let admin = Admin::of(server.socket()).within(LIMIT);
    eventually("nothing has happened between two looks", || {
        let text = admin.metrics().unwrap();
        Page::read(&text);
        text == scrape(address)
    });
}

/// A process chooses its name itself.
#[test]
fn no_name_of_a_process_breaks_the_page() {
    let mut document: serde_json::Value = {
        let (_directory, server, _) = start(1);
        let _peer = Peer::connect_within(server.socket(), LIMIT).unwrap();
        let status = Admin::of(server.socket()).within(LIMIT).status().unwrap();
        serde_json::to_value(status).unwrap()
    };
    for name in [
        "a\"b",
        "a\\",
        "x\"} 1\nivshmem_clients 7",
        "\u{1b}[2J",
        "größe",
        "",
    ] {
        document["peers"][0]["process"] = name.into();
        let status: Status = serde_json::from_value(document.clone()).unwrap();
        let text = status.to_prometheus();
        let page = Page::read(&text);
        let info = page.labels("ivshmem_peer_info");
        let shown = name.replace('\u{1b}', "\u{fffd}");
        assert_eq!(info[0]["process"], shown, "{text}");
    }
    document["peers"][0]["doorbells"] = serde_json::Value::Null;
    document["peers"][0]["pid"] = serde_json::Value::Null;
    let status: Status = serde_json::from_value(document).unwrap();
    let page = Page::read(&status.to_prometheus());
    assert_eq!(page.labels("ivshmem_peer_doorbells_pending").len(), 0);
    assert_eq!(page.labels("ivshmem_peer_info")[0]["pid"], "");
}

#[test]
fn other_requests_are_refused_by_the_book() {
    let (_directory, _server, address) = start(1);
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"status\n", "400 Bad Request"),
        (b"\x16\x03\x01\x02\x00", "400 Bad Request"),
        (&[b'G'; 8192], "400 Bad Request"),
    ] {
        let response = ask(address, request);
        let start = format!("HTTP/1.1 {status}\r\n");
        assert!(response.starts_with(&start), "{response}");
    }
    // In pieces, from one that has nothing more to say.
    let mut stream = connect(address);
    for byte in GET {
        stream.write_all(&[*byte]).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
}

#[test]
fn scrapers_that_mean_harm_hold_nobody_up() {
    let server = Running::start(":", 2, &["--metrics", "0"]);
    let line = server.line();
    let (_, address) = line.split_once("; metrics at http://").unwrap();
    let address: SocketAddr = address.trim_end_matches("/metrics").parse().unwrap();
    assert!(address.ip().is_loopback());
    let before = server.descriptors().len();
    let assert_served = || {
        let _peer = Peer::connect_within(&server.socket, LIMIT).unwrap();
        let page = Page::read(&scrape(address));
        assert_eq!(page.get("ivshmem_clients", &[]), Some(1.0));
        drop(_peer);
        eventually("it has left", || {
            Page::read(&scrape(address)).get("ivshmem_clients", &[]) == Some(0.0)
        });
    };
    // They send nothing, or half a request.
    let silent: Vec<TcpStream> = (0..3 * MAX_CONNECTIONS)
        .map(|index| {
            let mut stream = connect(address);
            if index % 2 == 0 {
                stream.write_all(&GET[..20]).unwrap();
            }
            stream
        })
        .collect();
    assert_served();
    drop(silent);
    // They ask and do not read.
    let deaf: Vec<TcpStream> = (0..3 * MAX_CONNECTIONS)
        .map(|_| {
            let mut stream = connect(address);
            // One that has been pushed out cannot even ask.
            let _ = stream.write_all(GET);
            stream
        })
        .collect();
    assert_served();
    drop(deaf);
    // They send without end.
    let mut endless = connect(address);
    let megabyte = vec![b'x'; 1 << 20];
    endless.write_all(GET).unwrap();
    for _ in 0..64 {
        match endless.write_all(&megabyte) {
            Ok(()) => {}
            Err(error) => {
                let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                assert!(kinds.contains(&error.kind()), "{error:?}");
                break;
            }
        }
    }
    assert_served();
    drop(endless);
    eventually("the descriptors are back", || {
        server.descriptors().len() == before
    });
}

#[test]
fn an_address_that_is_taken_is_an_error_and_nothing_is_left() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::new(directory.path().join("ivshmem.sock"), 1 << 16, 1);
    config.metrics = Some(address);
    let error = Server::bind(config).unwrap_err();
    assert_eq!(
        error,
        BindError::Metrics {
            address,
            error: rustix::io::Errno::ADDRINUSE
        }
    );
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "{error}"
    );
}

#[test]
fn an_address_that_others_reach_is_warned_of_even_if_quiet() {
    let server = Running::start(":", 1, &["--metrics", "0.0.0.0:0", "--quiet"]);
    let line = server.line();
    assert!(
        line.starts_with("ivshmem: warning: whoever reaches 0.0.0.0:"),
        "{line}"
    );
}
