// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of `ivshmem send` and `ivshmem recv` with guests at the other end, which have the protocol from its description.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Stdio;

use ivshmem::channel::SendError;
use ivshmem_host::channel::{Channels, Connection, Options};
use ivshmem_scenarios::{pattern, pipe};
use libtest_mimic::Failed;
use xtask::qemu::{field, Vm};

use super::place::{argument, Place};
use crate::lab::{hear, same, Lab, Need, PATIENCE};

pub fn trials() -> Vec<Need> {
    vec![
        Need::new("command::a_guest_receives_streams_of_send", |lab| {
            receives(lab, &Place::server()?, &[4 << 20, 0, 1])
        }),
        Need::new(
            "command::a_guest_without_a_doorbell_receives_a_stream",
            |lab| receives(lab, &Place::file()?, &[1 << 20]),
        ),
        Need::new("command::a_guest_finds_damaged_and_cut_streams", damaged),
        Need::new("command::a_guest_sends_a_stream_to_recv", sends),
    ]
}

/// The first message of a stream of unknown length, and what the receiver says to it.
const HELLO: [u8; 24] = *b"ivshpipe\x01\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";
const ACCEPTED: [u8; 16] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn data(len: usize) -> Vec<u8> {
    let mut data = vec![0; len.next_multiple_of(pattern::WORD)];
    pattern::fill(pipe::SEED, 0, &mut data);
    data.truncate(len);
    data
}

/// Waits until the guest says how the next stream has ended, and demands that it was so.
fn ended(vm: &Vm, bytes: usize, end: &str) -> Result<(), Failed> {
    let line = hear(vm, "stream")?;
    let bytes = bytes.to_string();
    same("bytes", field(&line, "bytes"), Some(bytes.as_str()))?;
    same("end", field(&line, "end"), Some(end))
}

/// The command sends, and says what the guest says.
fn receives(lab: &Lab, place: &Place, lens: &[usize]) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let vm = place.boot(lab, "sink", "sink")?;
    for &len in lens {
        fs::write(folder.path().join("data"), data(len))?;
        let file = argument(folder.path(), "data");
        let sent = place.run(&["send", "sink", &file, "--wait", "30"])?;
        sent.expect(0, "")?;
        ended(&vm, len, "complete")?;
    }
    vm.send_line("leave")?;
    vm.finish(PATIENCE)?;
    Ok(())
}

/// Joins as a sender of its own kind, and begins a stream.
fn begin(socket: &Path, name: &str) -> Result<(Channels, Connection), Failed> {
    let channels = Options::new(name).limit(PATIENCE).join_server(socket)?;
    let mut connection = channels.connect("sink", PATIENCE)?;
    connection.send(&HELLO, PATIENCE)?;
    same("answer", connection.recv(PATIENCE)?, Some(&ACCEPTED[..]))?;
    Ok((channels, connection))
}

/// Streams that are not what their seals say, and such as end too early.
fn damaged(lab: &Lab) -> Result<(), Failed> {
    let place = Place::server()?;
    let vm = place.boot(lab, "sink", "sink")?;
    let Place::Server(server) = &place else {
        return Err("no server".into());
    };
    let socket = server.server.socket();
    // The catalogues' check value of CRC-32, and the length.
    let whole = [0x26, 0x39, 0xf4, 0xcb, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    let (mut other_sum, mut other_len) = (whole, whole);
    other_sum[0] ^= 1;
    other_len[8] = 10;
    let seals: [(&[u8], &str); 4] = [
        (&whole, "complete"),
        (&other_sum, "damaged"),
        (&other_len, "damaged"),
        (&whole[..12], "damaged"),
    ];
    for (number, (seal, end)) in seals.into_iter().enumerate() {
        let (_channels, mut connection) = begin(socket, &format!("sender-{number}"))?;
        for message in [b"1234", &b"56789"[..], b"", seal] {
            connection.send(message, PATIENCE)?;
        }
        let verdict = if end == "complete" { 2 } else { 3 };
        let said = connection.recv(PATIENCE)?.map(<[u8]>::to_vec);
        let expected = [verdict, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        same("verdict", said.as_deref(), Some(&expected[..]))?;
        ended(&vm, 9, end)?;
    }
    in_fragments(&vm, socket)?;
    // It leaves in the middle.
    let (channels, mut connection) = begin(socket, "leaves")?;
    connection.send(b"1234", PATIENCE)?;
    drop((channels, connection));
    ended(&vm, 4, "broken")?;
    // It is killed in the middle.
    let mut sender = place.start(&["send", "sink"], Stdio::piped())?;
    let mut input = sender.child.stdin.take().ok_or("no stdin")?;
    input.write_all(&data(1000))?;
    hear(&vm, "accepted")?;
    drop(sender);
    let line = hear(&vm, "stream")?;
    same("end", field(&line, "end"), Some("broken"))?;
    // What came before has not spoilt what comes.
    let mut sender = place.start(&["send", "sink"], Stdio::piped())?;
    let mut input = sender.child.stdin.take().ok_or("no stdin")?;
    input.write_all(&data(1000))?;
    drop(input);
    sender.end()?.expect(0, "")?;
    ended(&vm, 1000, "complete")?;
    vm.send_line("leave")?;
    vm.finish(PATIENCE)?;
    Ok(())
}

/// A message that is longer than a ring comes in fragments, which the description allows; one that is given up in the middle was
/// none.
fn in_fragments(vm: &Vm, socket: &Path) -> Result<(), Failed> {
    let (_channels, mut connection) = begin(socket, "fragments")?;
    let data = data(100_000);
    let given_up = connection.sender().inner();
    let given_up = given_up.send_with(&vec![7; 4 << 20], |_| ControlFlow::Break(()));
    same("result", given_up, Err(SendError::Full))?;
    connection.send(&data, PATIENCE)?;
    let mut seal = [0; 16];
    seal[..4].copy_from_slice(&crc32fast::hash(&data).to_le_bytes());
    seal[8..].copy_from_slice(&100_000_u64.to_le_bytes());
    connection.send(b"", PATIENCE)?;
    connection.send(&seal, PATIENCE)?;
    ended(vm, data.len(), "complete")
}

/// A guest sends, and the command writes what came to a file.
fn sends(lab: &Lab) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for place in [Place::server()?, Place::file()?] {
        let file = argument(folder.path(), "out");
        let arguments = ["recv", "backup", "-o", &file, "--wait", "30"];
        let receiver = place.start(&arguments, Stdio::null())?;
        let vm = place.boot(lab, "source", "source to=backup bytes=1000001")?;
        vm.finish(PATIENCE)?;
        receiver.end()?.expect(0, "")?;
        let is_same = fs::read(&file)? == data(1_000_001);
        same("what came is what was sent", is_same, true)?;
    }
    Ok(())
}
