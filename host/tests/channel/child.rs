// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other process: it answers each message with itself, until it is killed or told to end.

use std::env;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ivshmem_host::channel::{ConnectError, Connection, Options, RecvError, SendError};

use crate::lab::member;

/// The variable that makes this program the other process, with how it joins.
pub const ROLE: &str = "IVSHMEM_HOST_CHANNEL_ROLE";
const PLACE: &str = "IVSHMEM_HOST_CHANNEL_PLACE";
const SPIN: &str = "IVSHMEM_HOST_CHANNEL_SPIN_US";
const DEAD_AFTER: &str = "IVSHMEM_HOST_CHANNEL_DEAD_AFTER_MS";

pub const NAME: &str = "child";
pub const PARENT: &str = "parent";
/// The message that ends it.
pub const END: &[u8] = b"the end of it";
/// Until when it lives if nobody ends it, because the test was ended.
const OLDEST: Duration = Duration::from_secs(60);

/// How the other process joins.
#[derive(Clone, Copy)]
pub enum Join {
    Server,
    File,
}

/// Starts the other process.
pub fn spawn(join: Join, place: &Path, spin: Duration, dead_after: Duration) -> Child {
    let role = match join {
        Join::Server => "server",
        Join::File => "file",
    };
    Command::new(env::current_exe().expect("this program"))
        .env(ROLE, role)
        .env(PLACE, place)
        .env(SPIN, spin.as_micros().to_string())
        .env(DEAD_AFTER, dead_after.as_millis().to_string())
        .spawn()
        .expect("a process")
}

fn number(variable: &str) -> u64 {
    let text = env::var(variable).expect(variable);
    text.parse().expect("a number")
}

fn options(name: &str) -> Options {
    member(name)
        .spin(Duration::from_micros(number(SPIN)))
        .limit(Duration::from_millis(number(DEAD_AFTER)))
}

pub fn live(role: &str) {
    let place = env::var_os(PLACE).expect(PLACE);
    let channels = match role {
        "server" => options(NAME).join_server(place),
        _ => options(NAME).join_file(place),
    };
    let channels = channels.expect("a slot");
    let start = Instant::now();
    while start.elapsed() < OLDEST {
        let mut connection = match channels.connect(PARENT, Duration::from_secs(1)) {
            Ok(connection) => connection,
            Err(ConnectError::NobodyThere { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        if echo(&mut connection, start) {
            return;
        }
    }
}

/// Answers until the connection ends, or all has ended.
fn echo(connection: &mut Connection, start: Instant) -> bool {
    while start.elapsed() < OLDEST {
        let message = match connection.recv(Duration::from_secs(1)) {
            Ok(Some(message)) => message.to_vec(),
            // On a busy machine somebody may be taken for dead who is not.
            Ok(None) | Err(RecvError::PeerDied) => continue,
            Err(_) => return false,
        };
        if message == END {
            return true;
        }
        loop {
            match connection.send(&message, Duration::from_secs(1)) {
                Ok(()) => break,
                Err(SendError::TimedOut | SendError::PeerDied) if start.elapsed() < OLDEST => {}
                Err(_) => return false,
            }
        }
    }
    true
}
