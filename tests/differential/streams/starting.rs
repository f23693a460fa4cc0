// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams from the first byte on, each to a machine of its own.

use std::thread;
use std::time::{Duration, Instant};

use ivshmem_device::{Device, ServerError};
use libtest_mimic::Failed;
use proptest::prelude::*;
use serde_json::json;

use super::message::{Ids, Stream, PEERS};
use super::{strategy, words, Shape};
use crate::files::Files;
use crate::lab::{search, Lab, Need, PATIENCE};
use crate::model::World;
use crate::rig::Board;
use crate::twin::{tell_model, Booting, Pair, Send, Twin};

/// How many streams.
const STREAMS: u32 = 150;
/// Not the ID that any stream gives the device.
const PEER_IDS: [u16; PEERS as usize] = [1, 2, 17, 900, 65_534];
const LAST: u16 = 5;
/// How often to look whether QEMU has noticed that the server is gone.
const POLL: Duration = Duration::from_millis(1);

/// What becomes of the server in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Stays,
    HangsUp,
}

/// A stream and the device that it is sent to.
#[derive(Clone, Debug)]
pub struct Case {
    pub shape: Shape,
    pub own: u16,
    pub stream: Stream,
    pub server: Server,
}

/// What came of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Started,
    Refused(ServerError),
}

pub fn trial() -> Need {
    Need::new("streams::starting", |lab| {
        let shape = (1_u16..4, any::<bool>());
        let shape = shape.prop_map(|(vectors, ioeventfd)| Shape { vectors, ioeventfd });
        let server = prop_oneof![3 => Just(Server::Stays), 1 => Just(Server::HangsUp)];
        let cases =
            (shape, strategy::starting(), server).prop_map(|(shape, (stream, own), server)| Case {
                shape,
                own,
                stream,
                server,
            });
        let mut refused = 0;
        let describe = |case: &Case| {
            let Case {
                shape,
                own,
                server,
                stream,
            } = case;
            format!("{shape:?}, own id {own}, the server {server:?}\n{stream}")
        };
        let tried = search("starting", STREAMS, &cases, describe, |case| {
            let outcome = compare(lab, case)?;
            refused += u32::from(outcome != Outcome::Started);
            Ok(())
        })?;
        println!("starting: {tried} streams, of which {refused} are refused, no difference");
        Ok(())
    })
}

/// Sends the stream to QEMU and to the model, and compares what comes of it.
pub fn compare(lab: &Lab, case: &Case) -> Result<Outcome, Failed> {
    let ids = Ids {
        own: case.own,
        peers: PEER_IDS,
        last: LAST,
    };
    let mut files = Files::default();
    let mut sends = case.stream.sends(&ids, &mut files)?;
    let last = files.add_event()?;
    sends.push(Send {
        bytes: i64::from(LAST).to_le_bytes().to_vec(),
        files: vec![last],
    });
    let mut device = Device::new(&case.shape.properties())?;
    let mut world = World::default();
    let mut refusal = None;
    for (told, send) in (1..).zip(&sends) {
        if let Err(error) = tell_model(&mut device, &mut world, send) {
            refusal = Some((told, error));
            break;
        }
    }
    let booting = Booting::client(lab, Board::Pc, &case.shape.device())?;
    if let Some((told, error)) = refusal {
        refuses(&booting, &sends[..told], &files, &error)?;
        return Ok(Outcome::Refused(error));
    }
    for send in &sends {
        if let Err(error) = booting.tell(send, &files) {
            let _ = booting.vm.wait_exit(PATIENCE);
            let report = booting.vm.report();
            return Err(format!("the model goes on, QEMU does not: {error}\n{report}").into());
        }
    }
    let mut pair = booting.pair(device, world, files)?;
    pair.wait_for(LAST, last)?;
    if case.server == Server::HangsUp {
        hang_up(&mut pair)?;
    }
    let mut twin = Twin::new(pair);
    case.shape.probe(&mut twin, &ids)?;
    words::compare(&mut twin.pair, 0)?;
    Ok(Outcome::Started)
}

/// Sees that QEMU does not start either, for the same reason.
fn refuses(
    booting: &Booting,
    sends: &[Send],
    files: &Files,
    error: &ServerError,
) -> Result<(), Failed> {
    for send in sends {
        // QEMU may be gone before it has taken everything.
        let _ = booting.tell(send, files);
    }
    let status = booting.vm.wait_exit(PATIENCE)?.status;
    let lines = booting.vm.report().stderr;
    if status == Some(1) && lines.iter().any(|line| words::agrees(&line.text, error)) {
        return Ok(());
    }
    let report = booting.vm.report();
    Err(format!("the model: {error} ({error:?}); QEMU: {report}").into())
}

/// Closes the connection, and waits until QEMU knows.
fn hang_up(pair: &mut Pair) -> Result<(), Failed> {
    pair.hang_up()?;
    let mut qmp = pair.rig.vm.qmp(PATIENCE)?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let chardevs = qmp.execute("query-chardev", &json!({}))?;
        let gone = chardevs.as_array().into_iter().flatten().any(|chardev| {
            let state = chardev["filename"].as_str().unwrap_or_default();
            chardev["label"] == "server" && state.starts_with("disconnected:")
        });
        if gone {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    Err("QEMU does not notice that the server is gone".into())
}
