// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem dump --pcap` as a process: the file is read back.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use pcap_file::pcap::PcapReader;
use pcap_file::DataLink;
use rustix::process::{kill_process, Pid, Signal};

use crate::common::{eventually, LIMIT};
use crate::process::COMMAND;
use crate::region::{failure, text, Place};

/// A packet of a file, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Packet {
    flags: u8,
    slots: [u16; 2],
    incarnations: [u32; 2],
    position: u64,
    payload: Vec<u8>,
}

fn packets(file: impl Read) -> Vec<Packet> {
    let mut reader = PcapReader::new(file).unwrap();
    assert_eq!(reader.header().datalink, DataLink::USER0);
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let age = now.unwrap() - packet.timestamp;
        assert!(age < 2 * LIMIT, "{age:?}");
        assert_eq!(packet.orig_len as usize, packet.data.len());
        let (head, payload) = packet.data.split_at(24);
        assert_eq!((head[0], &head[6..8]), (1, &[0, 0][..]));
        let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        packets.push(Packet {
            flags: head[1],
            slots: [half(2), half(4)],
            incarnations: [word(8), word(12)],
            position: u64::from_le_bytes(head[16..].try_into().unwrap()),
            payload: payload.to_vec(),
        });
    }
    packets
}

/// A command that follows the frames of a place, killed on drop.
struct Follower(Child);

impl Follower {
    fn start(place: &Place, file: &Path, interval: &str) -> Self {
        let child = Command::new(COMMAND)
            .args(["dump", "--follow", "--interval", interval, "--pcap"])
            .arg(file)
            .arg("--shm-file")
            .arg(&place.path)
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Sends a signal, which ends it well, and returns its log.
    fn end(mut self, signal: Signal) -> String {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        let mut log = String::new();
        let stderr = self.0.stderr.take().unwrap();
        BufReader::new(stderr).read_to_string(&mut log).unwrap();
        assert_eq!(self.0.wait().unwrap().code(), Some(0), "{log}");
        log
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_frames_in_the_rings_are_written_and_read_back() {
    let place = Place::new();
    let (_one, _other, mut here, mut there) = place.pair();
    // The last one goes on: it is longer than any frame of this ring.
    let long = vec![9; 5000];
    for message in [&b"hello"[..], b"", &long] {
        here.send(message, LIMIT).unwrap();
    }
    there.send(b"back", LIMIT).unwrap();
    let path = place.directory.path().join("frames.pcap");
    let output = place.look("dump", &["--pcap", path.to_str().unwrap()]);
    assert_eq!(text(&output, 0), "");
    let frames = packets(File::open(&path).unwrap());
    let first: Vec<_> = frames.iter().filter(|p| p.slots == [0, 1]).collect();
    assert!(first.len() > 3, "{first:?}");
    assert_eq!(
        (first[0].position, &first[0].payload[..]),
        (0, &b"hello"[..])
    );
    assert_eq!((first[1].position, first[1].payload.len()), (16, 0));
    let parts: Vec<u8> = first[2..].iter().flat_map(|p| p.payload.clone()).collect();
    assert_eq!(parts, long);
    let goes_on: Vec<_> = first.iter().map(|p| p.flags & 1).collect();
    assert_eq!(goes_on[..2], [0, 0]);
    assert!(goes_on[2..goes_on.len() - 1].iter().all(|&more| more == 1));
    assert_eq!(goes_on.last(), Some(&0));
    let back = &frames[first.len()..];
    assert_eq!(back.len(), 1);
    assert_eq!((back[0].slots, back[0].incarnations), ([1, 0], [1, 1]));
    assert_eq!(back[0].payload, b"back");

    // To stdout, of one ring.
    let output = place.look("dump", &["--pcap", "-", "--ring", "1:0"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(packets(&output.stdout[..]), back);
}

#[test]
fn frames_that_pass_are_followed_until_it_is_interrupted() {
    let place = Place::new();
    let (_one, _other, mut here, mut there) = place.pair();
    here.send(b"0", LIMIT).unwrap();
    let path = place.directory.path().join("frames.pcap");
    let follower = Follower::start(&place, &path, "0.001");
    let written = || fs::metadata(&path).map_or(0, |metadata| metadata.len());
    // One after the other, so that nothing is overtaken: 24 bytes of the file, then 16 + 24 and the text of each.
    let mut expected = 24 + 16 + 24 + 1;
    eventually("the frame that was there", || written() == expected);
    for number in 1..100_u64 {
        let message = number.to_string();
        here.send(message.as_bytes(), LIMIT).unwrap();
        expected += 16 + 24 + message.len() as u64;
        eventually("the frame", || written() == expected);
        assert!(there.recv(Duration::ZERO).unwrap().is_some());
    }
    let log = follower.end(Signal::INT);
    assert_eq!(log, "ivshmem: 100 frames written, none seen to be missed\n");
    let texts: Vec<_> = packets(File::open(&path).unwrap())
        .into_iter()
        .map(|packet| String::from_utf8(packet.payload).unwrap())
        .collect();
    let numbers: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(texts, numbers);
}

#[test]
fn who_looks_too_seldom_is_told_what_was_missed_and_gets_nothing_wrong() {
    let place = Place::new();
    let (_one, _other, mut here, mut there) = place.pair();
    let path = place.directory.path().join("frames.pcap");
    let follower = Follower::start(&place, &path, "0.02");
    // Each message says what is in it, so that another's bytes show.
    let mut sent = 0_u32;
    let written = || fs::metadata(&path).map_or(0, |metadata| metadata.len());
    eventually("enough to be read and missed", || {
        for _ in 0..500 {
            let len = 8 + sent as usize % 900;
            let mut message = vec![sent as u8; len];
            message[..4].copy_from_slice(&sent.to_le_bytes());
            here.send(&message, LIMIT).unwrap();
            there.recv(LIMIT).unwrap().unwrap();
            sent += 1;
        }
        written() > 20_000 && sent > 20_000
    });
    let log = follower.end(Signal::TERM);
    assert!(log.contains("frames missed in "), "{log}");
    let mut last = None;
    for packet in packets(File::open(&path).unwrap()) {
        let number = u32::from_le_bytes(packet.payload[..4].try_into().unwrap());
        assert_eq!(packet.payload.len(), 8 + number as usize % 900);
        assert!(packet.payload[4..].iter().all(|&byte| byte == number as u8));
        assert!(last < Some(number), "in order, and none twice");
        last = Some(number);
    }
}

#[test]
fn what_cannot_be_captured_is_refused() {
    let place = Place::new();
    let line = failure(&place.look("dump", &["--pcap", "/absent/file"]));
    assert!(line.contains("cannot create /absent/file"), "{line}");
    let line = failure(&place.look("dump", &["--pcap", "/dev/full"]));
    assert!(
        line.contains("cannot write to /dev/full: No space left"),
        "{line}"
    );
    drop(place.pair());
    let line = failure(&place.look("dump", &["--pcap", "-", "--ring", "0:7"]));
    assert!(line.contains("there are no such rings"), "{line}");
    let path = place.beside("foreign", &[7; 8192]);
    let line = failure(&crate::region::look(
        "dump",
        "--shm-file",
        &path,
        &["--pcap", "-"],
    ));
    assert!(line.contains("there are no such rings"), "{line}");
}
