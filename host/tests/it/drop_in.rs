// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program `ivshmem-server`: the options of QEMU's own, in the foreground and in the background.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::{eventually, LIMIT};
use crate::process::{names, Running};
use ivshmem::VectorIndex;
use ivshmem_host::peer::Peer;
use rustix::process::{getsid, kill_process, Pid, Signal};
use tempfile::TempDir;

const SERVER: &str = env!("CARGO_BIN_EXE_ivshmem-server");

/// Paths of one server, and the object that it makes, removed at the end.
struct Place {
    directory: TempDir,
    object: String,
}

impl Place {
    fn new(name: &str) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            object: format!("ivshmem-drop-in-{}-{name}", std::process::id()),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn object_path(&self) -> PathBuf {
        Path::new("/dev/shm").join(&self.object)
    }

    /// Returns the program with the options that keep it to this place, and `options`.
    fn server(&self, options: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"umask 027; exec "$0" "$@""#, SERVER, "-S"])
            .arg(self.at("socket"))
            .arg("-p")
            .arg(self.at("pid"))
            .args(["-M", &self.object])
            .args(options)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.object_path());
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Joins, and returns the peer once it has all of its `vectors`.
fn join(socket: &Path, vectors: usize) -> Peer {
    let mut peer = Peer::connect_within(socket, LIMIT).unwrap();
    assert!(peer.wait_until(LIMIT, |p| p.vectors() == vectors).unwrap());
    peer
}

#[test]
fn in_the_foreground_it_serves_as_the_options_say_and_tells_what_happens() {
    let place = Place::new("foreground");
    let mut command = place.server(&["-Fv", "-l", "5000", "-n", "3"]);
    // The log is on stdout, as QEMU's server has it.
    let words = place.at("words");
    command.stdout(fs::File::create(&words).unwrap());
    let mut server = Running::spawn(tempfile::tempdir().unwrap(), &mut command);
    let socket = place.at("socket");
    eventually("the server listens", || {
        words_of(&words).contains("listening at")
    });
    let first = join(&socket, 3);
    let second = join(&socket, 3);
    assert_eq!(first.memory().len(), 8192, "rounded up");
    second.ring(first.id().unwrap(), VectorIndex(2)).unwrap();
    assert_eq!(first.wait_any(LIMIT).unwrap(), [VectorIndex(2)]);
    first.memory().write(8000, b"shared").unwrap();
    assert_eq!(
        fs::read(place.object_path()).unwrap()[8000..8006],
        *b"shared"
    );
    assert_eq!(mode(&socket), 0o750);
    assert_eq!(mode(&place.object_path()), 0o700);
    eventually("it tells who joins", || {
        words_of(&words).contains("peer 1 joined")
    });
    assert!(!place.at("pid").exists(), "in the background only");
    kill_process(server.pid(), Signal::INT).unwrap();
    assert!(server.child.wait().unwrap().success());
    assert!(!socket.exists());
    assert!(place.object_path().exists(), "the object is never removed");
}

fn words_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_last_of_object_and_folder_counts_and_the_file_in_the_folder_has_no_name() {
    let place = Place::new("folder");
    let folder = place.directory.path().to_str().unwrap().to_owned();
    let mut command = place.server(&["-F", "-m", &folder]);
    let server = Running::spawn(tempfile::tempdir().unwrap(), &mut command);
    eventually("the server listens", || {
        Peer::connect(place.at("socket")).is_ok()
    });
    assert_eq!(join(&place.at("socket"), 1).memory().len(), 4 << 20);
    assert!(!place.object_path().exists());
    let there = names(place.directory.path());
    assert!(there
        .iter()
        .all(|name| name.to_str().unwrap().starts_with("socket")));
    drop(server);
}

/// Runs to the end, which for the background is when clients can connect.
fn finish(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).output().unwrap()
}

/// A process in the background, killed on drop.
struct Background(Pid);

impl Background {
    fn of(pid_file: &Path) -> Self {
        let pid = fs::read_to_string(pid_file).unwrap();
        Self(Pid::from_raw(pid.trim().parse().unwrap()).unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::TERM);
    }
}

#[test]
fn in_the_background_it_is_ready_when_the_first_process_ends() {
    let place = Place::new("background");
    let output = finish(&mut place.server(&["-n", "2"]));
    let server = Background::of(&place.at("pid"));
    assert_eq!(
        (output.status.code(), output.stdout, output.stderr),
        (Some(0), vec![], vec![])
    );
    // Without waiting: that is the point.
    let peer = Peer::connect(place.at("socket")).unwrap();
    assert_eq!(peer.id().unwrap().0, 0);
    assert_eq!(getsid(Some(server.0)).unwrap(), server.0, "no terminal");
    for descriptor in 0..3 {
        let link = format!("/proc/{}/fd/{descriptor}", server.0.as_raw_nonzero());
        assert_eq!(fs::read_link(link).unwrap(), Path::new("/dev/null"));
    }
    // A second one says why it cannot, and leaves the first and its file alone.
    let second = finish(&mut place.server(&[]));
    assert_eq!(second.status.code(), Some(1));
    let error = format!(
        "ivshmem-server: another server is using {}; end it, or choose another path\n",
        place.at("socket").display()
    );
    assert_eq!(String::from_utf8(second.stderr).unwrap(), error);
    let pid = fs::read_to_string(place.at("pid")).unwrap();
    assert_eq!(pid, format!("{}\n", server.0.as_raw_nonzero()));
    drop(peer);
    drop(server);
    eventually("nothing is left", || {
        names(place.directory.path()).is_empty()
    });
}

#[test]
fn each_wrong_option_is_one_line_and_exit_code_1() {
    let place = Place::new("wrong");
    fs::write(place.at("file"), "precious").unwrap();
    let file = place.at("file");
    let file = file.to_str().unwrap();
    let before = names(place.directory.path());
    let cases: &[(&[&str], &str)] = &[
        (&["-v"], "cannot use verbose in daemon mode; add -F (try -h)"),
        (&["-n", "65"], "invalid value '65' for '-n <N>': too many requested vectors, the most is 64 (try --help)"),
        (&["-n", "0"], "invalid value '0' for '-n <N>': at least one vector is needed (try --help)"),
        (&["-n", "x"], "invalid value 'x' for '-n <N>': not a number from 1 to 64 (try --help)"),
        (&["-l", "big"], "invalid value 'big' for '-l <SIZE>': 'big' is not a size: write bytes, or a number with K, M, G or T, such as 4M (try --help)"),
        (&["-l", "16777215T"], "the size 18446742974197923840 is beyond 64 bits"),
        (&["-M", "a/b"], "'a/b' cannot name a POSIX shared memory object: write one component of a path, such as ivshmem"),
        (&["-m", "/nowhere"], "cannot create an unnamed file in /nowhere: No such file or directory (os error 2); create the folder, or choose another path"),
        (&["-x"], "unexpected argument '-x' found (try --help)"),
        (&["-p", file], &format!("{file} exists and is not a PID file; remove it or choose another path")),
    ];
    for &(options, message) in cases {
        let output = finish(&mut place.server(options));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, format!("ivshmem-server: {message}\n"));
        assert_eq!((output.status.code(), output.stdout), (Some(1), vec![]));
        assert_eq!(names(place.directory.path()), before, "{message}");
    }
    // Not resized under those who may have it.
    fs::write(place.object_path(), [0; 8192]).unwrap();
    let output = finish(&mut place.server(&["-l", "4096"]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("exists with 8192 bytes, not 4096; remove it"),
        "{stderr}"
    );
}

#[test]
fn help_names_every_option_and_what_is_different() {
    let output = finish(Command::new(SERVER).arg("-h"));
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for part in [
        "-h",
        "-v",
        "-F",
        "-p <FILE>",
        "-S <PATH>",
        "-M <NAME>",
        "-m <DIR>",
        "-l <SIZE>",
        "-n <N>",
        "/var/run/ivshmem-server.pid",
        "/tmp/ivshmem_socket",
        "[default: 4M]",
        "[default: 1]",
        "What is different:",
        "version 0",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
    assert!(!help.contains("in-background"), "{help}");
}
