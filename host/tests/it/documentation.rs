// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the command says of itself: manual pages, completions, `--help`.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::process::{names, COMMAND};

fn run(arguments: &[&str]) -> Output {
    Command::new(COMMAND)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Returns the names of the subcommands, as `ivshmem --help` lists them.
fn subcommands() -> Vec<String> {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let names: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        // A deeper line goes on with the description.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect();
    assert!(names.contains(&"server".to_owned()), "{help}");
    names
}

/// Runs a checker with `text` as its input; `None` if the machine does not have it.
fn check(program: &str, arguments: &[&str], text: &[u8]) -> Option<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take().unwrap();
    let text = text.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&text));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    Some(output)
}

#[test]
fn every_subcommand_has_a_page_that_groff_takes_without_a_warning() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("new/man1");
    let output = run(&["man", directory.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty());
    let mut expected: Vec<_> = subcommands()
        .iter()
        .map(|name| format!("ivshmem-{name}.1"))
        .chain(["ivshmem.1".to_owned()])
        .collect();
    expected.sort();
    let pages = names(&directory);
    for page in &expected {
        assert!(pages.contains(&page.into()), "{page} in {pages:?}");
    }
    for page in pages {
        let text = fs::read(directory.join(&page)).unwrap();
        let arguments = ["-man", "-ww", "-Tutf8"];
        if let Some(output) = check("groff", &arguments, &text) {
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{page:?}: {words}");
            assert_eq!(words, "", "{page:?}");
            // Bold is a letter struck twice, and lines are filled.
            let page = String::from_utf8_lossy(&output.stdout);
            let words: Vec<_> = page.split_whitespace().collect();
            assert!(words.join(" ").contains("Exit status: 0 "), "{page}");
        }
    }
}

#[test]
fn the_page_of_the_command_goes_to_stdout_alone() {
    let output = run(&["man"]);
    assert_eq!(output.status.code(), Some(0));
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains(".TH ivshmem 1"), "{page}");
}

#[test]
fn pages_that_cannot_be_written_are_one_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = run(&["man", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let start = format!(
        "ivshmem: cannot write manual pages to {}: ",
        file.path().display()
    );
    assert!(stderr.starts_with(&start), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);
}

#[test]
fn each_shell_has_completions_with_every_subcommand() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        let script = String::from_utf8(output.stdout).unwrap();
        for name in subcommands() {
            assert!(script.contains(&name), "{name} for {shell}");
        }
        let checker = match shell {
            "bash" | "zsh" => Some("-n"),
            "fish" => Some("--no-execute"),
            _ => None,
        };
        let checked = checker.and_then(|option| check(shell, &[option], script.as_bytes()));
        if let Some(output) = checked {
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && words.is_empty(),
                "{shell}: {words}"
            );
        }
    }
}

#[test]
fn bash_completes_a_subcommand_by_the_script() {
    let script = run(&["completions", "bash"]).stdout;
    // What bash does when Tab is pressed after `ivshmem serv`.
    let press = "\nCOMP_WORDS=(ivshmem serv); COMP_CWORD=1\n_ivshmem ivshmem serv ivshmem\necho \"${COMPREPLY[@]}\"\n";
    let Some(output) = check("bash", &["--norc"], &[&script, press.as_bytes()].concat()) else {
        return;
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(stdout.trim(), "server", "{output:?}");
}

#[test]
fn an_unknown_shell_is_one_line() {
    let output = run(&["completions", "csh"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("ivshmem: invalid value 'csh' for '<SHELL>'"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1);
}

#[test]
fn a_closed_stdout_ends_quietly() {
    let mut child = Command::new(COMMAND)
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn every_help_has_an_example_and_the_exit_status() {
    for name in subcommands() {
        let output = run(&[&name, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{name}");
        let help = String::from_utf8(output.stdout).unwrap();
        for part in ["Example", "Exit status: 0", "Usage: ivshmem "] {
            assert!(help.contains(part), "{part} in the help of {name}: {help}");
        }
    }
}
