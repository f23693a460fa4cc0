// SPDX-License-Identifier: MIT OR Apache-2.0
//! Round trips of those who sleep until they are woken, against two eventfds and nothing else.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ivshmem_host::channel::{Channels, Connection, Options};
use ivshmem_host::server::{Config, RunningServer, Server};
use rustix::event::{eventfd, EventfdFlags};
use rustix::io::{read, write};
use tempfile::TempDir;

use crate::case::{Case, Motion};
use crate::cores::Cores;

/// Longer than any of this takes, on any machine.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a message.
const LEN: usize = 64;

/// Two eventfds, each written by one side and read by the other, which sleeps in it.
pub struct Eventfds([OwnedFd; 2]);

impl Eventfds {
    pub fn new() -> Self {
        Self([(); 2].map(|()| eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd")))
    }
}

impl Case for Eventfds {
    fn time(&mut self, cores: Cores, _: Motion, count: u32) -> f64 {
        let [ask, answer] = &self.0;
        let ring = |fd: &OwnedFd| write(fd, &1_u64.to_ne_bytes()).expect("it has room");
        let sleep = |fd: &OwnedFd| read(fd, &mut [0_u8; 8]).expect("it was rung");
        let (elapsed, ()) = cores.run(
            || {
                let start = Instant::now();
                for _ in 0..count {
                    ring(ask);
                    sleep(answer);
                }
                start.elapsed()
            },
            || {
                for _ in 0..count {
                    sleep(ask);
                    ring(answer);
                }
            },
        );
        elapsed.as_nanos() as f64 / f64::from(count)
    }
}

/// Two members of a server's region, which look for so long before they sleep.
pub struct Members {
    here: Connection,
    there: Connection,
    /// They live as long as these.
    _alive: ([Channels; 2], RunningServer, TempDir),
}

impl Members {
    pub fn new(spin: Duration) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ivshmem.sock");
        let server = Server::spawn(Config::new(&path, 16 << 20, 1)).expect("a server");
        let join = |name| {
            Options::new(name)
                .spin(spin)
                .join_server(&path)
                .expect("room")
        };
        let [one, other] = ["one", "other"].map(join);
        let here = one.connect("other", LIMIT).expect("the other");
        let there = other.connect("one", LIMIT).expect("the one");
        Self {
            here,
            there,
            _alive: ([one, other], server, directory),
        }
    }
}

impl Case for Members {
    fn time(&mut self, cores: Cores, _: Motion, count: u32) -> f64 {
        let (here, there) = (&mut self.here, &mut self.there);
        let (elapsed, ()) = cores.run(
            || {
                let start = Instant::now();
                for _ in 0..count {
                    here.send(&[0x5a; LEN], LIMIT).expect("it takes it");
                    let answer = here.recv(LIMIT).expect("it is there");
                    assert_eq!(answer.map(<[u8]>::len), Some(LEN));
                }
                start.elapsed()
            },
            || {
                let mut message = [0; LEN];
                for _ in 0..count {
                    let asked = there.recv(LIMIT).expect("it is there");
                    message.copy_from_slice(asked.expect("a message in time"));
                    there.send(&message, LIMIT).expect("it takes it");
                }
            },
        );
        elapsed.as_nanos() as f64 / f64::from(count)
    }
}
