// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem top`, at a terminal of its own and without one.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::process::{kill_process, Pid, Signal};
use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcgetattr, tcsetwinsize, LocalModes, Winsize};

use crate::common::{eventually, LIMIT};
use crate::process::{Running, COMMAND};
use crate::region::{failure, json, look, text, Place};

/// The command at a terminal, killed on drop.
struct Terminal {
    child: Child,
    keys: File,
    /// The end that the command has.
    slave: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    fn start(place: &Place) -> Self {
        Self::of_kind(place, "xterm")
    }

    /// Starts it at a terminal that says that it is of this kind.
    fn of_kind(place: &Place, kind: &str) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
        set_size(&slave, 24, 100);
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = Command::new(COMMAND)
            .args(["top", "--interval", "0.1", "--shm-file"])
            .arg(&place.path)
            .env("TERM", kind)
            .stdin(end())
            .stdout(end())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24, 100, 0)));
        let keys = File::from(master);
        let mut output = keys.try_clone().unwrap();
        let parser = Arc::clone(&screen);
        // Ends when both ends that write are closed.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len) = output.read(&mut bytes) {
                parser.lock().unwrap().process(&bytes[..len]);
            }
        });
        Self {
            child,
            keys,
            slave,
            screen,
        }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn shows(&self, what: &str) {
        let start = std::time::Instant::now();
        while !self.text().contains(what) {
            let text = self.text();
            assert!(start.elapsed() < LIMIT, "{what} is not in:\n{text}");
            thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn is_taken(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        !modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for the end, and returns exit code and log.
    fn end(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (status.code(), log)
    }

    /// Waits for the end, and checks that the terminal is as it was.
    fn ends_well(mut self) {
        assert_eq!(self.end(), (Some(0), String::new()));
        assert!(!self.is_taken());
        eventually("the terminal is given back", || {
            let screen = self.screen.lock().unwrap();
            !screen.screen().alternate_screen() && !screen.screen().hide_cursor()
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(terminal: impl AsFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}

#[test]
fn at_a_terminal_members_and_rings_are_shown_and_keys_work() {
    let place = Place::new();
    let (_one, other, mut here, _there) = place.pair();
    let mut terminal = Terminal::start(&place);
    terminal.shows("2 of 3 slots taken");
    terminal.shows("SLOT NAME");
    terminal.shows("0:1");
    assert!(terminal.is_taken());
    // Half of the ring is used, and stays so.
    here.send(&[7; 4000], LIMIT).unwrap();
    terminal.shows("[##########          ]  49% of 8 KiB");
    terminal.press("s");
    terminal.shows("s sort (name)");
    terminal.press("p");
    terminal.shows("PAUSED");
    terminal.press("p");
    terminal.shows("2 of 3 slots taken");

    // Too small for the rings.
    terminal.screen.lock().unwrap().screen_mut().set_size(8, 30);
    set_size(&terminal.slave, 8, 30);
    kill_process(terminal.pid(), Signal::WINCH).unwrap();
    eventually("it is drawn anew", || {
        let text = terminal.text();
        text.lines().count() == 8 && text.ends_with("q quit  s sort (name)  p pause")
    });
    assert!(!terminal.text().contains("0:1"));
    terminal
        .screen
        .lock()
        .unwrap()
        .screen_mut()
        .set_size(24, 100);
    set_size(&terminal.slave, 24, 100);
    kill_process(terminal.pid(), Signal::WINCH).unwrap();
    terminal.shows("0:1");
    drop(other);
    terminal.shows("1 of 3 slots taken");
    terminal.press("q");
    terminal.ends_well();
}

#[test]
fn a_signal_and_ctrl_c_give_the_terminal_back() {
    let place = Place::new();
    for signal in [Some(Signal::TERM), Some(Signal::INT), None] {
        let mut terminal = Terminal::start(&place);
        terminal.shows("blank");
        assert!(terminal.is_taken());
        match signal {
            Some(signal) => kill_process(terminal.pid(), signal).unwrap(),
            None => terminal.press("\x03"),
        }
        terminal.ends_well();
    }
}

#[test]
fn a_dumb_terminal_is_not_taken() {
    let place = Place::new();
    let mut terminal = Terminal::of_kind(&place, "dumb");
    let (code, log) = terminal.end();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.ends_with("and not a dumb one; use --once\n"), "{log}");
    assert_eq!(terminal.text(), "");
    assert!(!terminal.is_taken());
}

#[test]
fn without_a_terminal_one_interval_is_printed() {
    let place = Place::new();
    let (_one, _other, mut here, mut there) = place.pair();
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                here.send(&[1; 100], LIMIT).unwrap();
                there.recv(LIMIT).unwrap().unwrap();
            }
        });
        let output = place.look("top", &["--once", "--json", "--interval", "0.3"]);
        let table = place.look("top", &["--once", "--interval", "0.1"]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let document = json(&output, 0);
        assert_eq!(
            (&document["format"], &document["slots"]),
            (&1.into(), &3.into())
        );
        let members = document["members"].as_array().unwrap();
        assert_eq!(
            (&members[0]["name"], &members[1]["name"]),
            (&"one".into(), &"other".into())
        );
        let number = |of: &serde_json::Value, name: &str| of[name].as_u64().unwrap();
        let bytes = number(&members[0], "out_bytes_per_second");
        let messages = number(&members[0], "out_messages_per_second");
        assert!(bytes > 0 && messages > 0, "{document}");
        assert_eq!(number(&members[0], "in_bytes_per_second"), 0);
        assert_eq!(number(&members[1], "in_bytes_per_second"), bytes);
        // A header and the payload, padded; what is skipped at the end of the ring is little.
        let each = bytes / messages;
        assert!((112..=120).contains(&each), "{each} of {document}");
        let ring = &document["rings"][0];
        assert_eq!(
            (&ring["connected"], &ring["bytes"]),
            (&true.into(), &8192.into())
        );
        let table = text(&table, 0);
        assert!(
            table.starts_with("ivshmem top: 2 of 3 slots taken"),
            "{table}"
        );
        assert!(table.contains("other"), "{table}");
    });
}

#[test]
fn doorbells_of_a_server_s_clients_are_shown() {
    let server = Running::start(":", 1, &[]);
    server.line();
    let format = ivshmem::channel::Format {
        slots: 4,
        ring_log2: None,
    };
    let options = ivshmem_host::channel::Options::new("one").format(Some(format));
    let _one = options.join_server(&server.socket).unwrap();
    let more = &["--once", "--json", "--interval", "0.1"];
    let document = json(&look("top", "--socket", &server.socket, more), 0);
    let member = &document["members"][0];
    assert_eq!((&member["id"], &member["pending"]), (&0.into(), &0.into()));
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let place = Place::new();
    let line = failure(&place.look("top", &[]));
    assert!(line.ends_with("use --once"), "{line}");
    let line = failure(&place.look("top", &["--once", "--interval", "0"]));
    assert!(line.contains("from 0.1 to 3600"), "{line}");
    let line = failure(&place.look("top", &["--json"]));
    assert!(line.contains("--once"), "{line}");
    let path = place.beside("foreign", &[7; 8192]);
    let output = look("top", "--shm-file", &path, &["--once"]);
    assert_eq!(text(&output, 1), "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds no region"));
}
