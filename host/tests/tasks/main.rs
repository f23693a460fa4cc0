// SPDX-License-Identifier: MIT OR Apache-2.0
//! Channels and peers of tasks of tokio, on one thread and on several.
#![deny(unsafe_code)]

#[path = "../it/common.rs"]
#[allow(dead_code, reason = "made for other tests, which use all of it")]
mod common;
mod ends;
#[path = "../channel/lab.rs"]
#[allow(dead_code, reason = "made for other tests, which use all of it")]
mod lab;
mod messages;
mod peer;

use std::future::Future;
use std::time::Duration;

use ivshmem_host::channel::tasks::{Channels, Connection};
use ivshmem_host::server::RunningServer;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use lab::{member, LIMIT};

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn threads() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Waits for what has to happen.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(LIMIT, future).await.expect("in time")
}

/// Waits for something for a short time, in vain.
async fn never<F: Future>(future: F) {
    let waited = timeout(Duration::from_millis(30), future).await;
    assert!(waited.is_err(), "there was nothing to wait for");
}

async fn join(server: &RunningServer, name: &str) -> Channels {
    let joined = Channels::join_server(member(name), server.socket());
    soon(joined).await.unwrap()
}

async fn connect(one: &Channels, name: &str) -> Connection {
    soon(one.connect(name)).await.unwrap()
}

/// Two members that are connected to each other.
async fn pair(server: &RunningServer) -> ((Channels, Connection), (Channels, Connection)) {
    let (alice, bob) = (join(server, "alice").await, join(server, "bob").await);
    let to_bob = connect(&alice, "bob").await;
    let to_alice = connect(&bob, "alice").await;
    ((alice, to_bob), (bob, to_alice))
}
