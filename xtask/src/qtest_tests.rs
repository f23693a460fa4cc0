// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the client against a made-up QEMU.

use super::*;
use std::os::unix::net::UnixListener;
use std::thread;

/// Serves one connection: to each line from the client the next answer. Returns what `use_it` gives, and
/// the lines that came.
fn with<T>(
    answers: &'static [&'static str],
    use_it: impl FnOnce(&mut Qtest) -> T,
) -> (T, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("qtest");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut requests = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut heard = Vec::new();
        for answer in answers {
            heard.extend(requests.next().map(Result::unwrap));
            stream.write_all(answer.as_bytes()).unwrap();
        }
        heard
    });
    let result = use_it(&mut Qtest::connect(&socket).unwrap());
    (result, server.join().unwrap())
}

#[test]
fn commands_and_answers_are_those_of_qemu() {
    // As QEMU 7.2 answers: ports with four digits at least, memory with sixteen.
    let answers = &["OK\n", "OK 0x12378086\n", "OK 0x00000000000000ff\n", "OK\n"];
    let (_, heard) = with(answers, |qtest| {
        qtest.write_port(0xcf8, 0x8000_0000).unwrap();
        assert_eq!(qtest.read_port(0xcfc).unwrap(), 0x1237_8086);
        assert_eq!(qtest.read_word(0xfebf_0000).unwrap(), 0xff);
        qtest.write_word(0xfebf_0000, 7).unwrap();
    });
    let expected = [
        "outl 0xcf8 0x80000000",
        "inl 0xcfc",
        "readl 0xfebf0000",
        "writel 0xfebf0000 0x7",
    ];
    assert_eq!(heard, expected);
}

#[test]
fn memory_goes_in_blocks() {
    let (_, heard) = with(&["OK 0x01fe\n", "OK\n", "OK\n"], |qtest| {
        let mut two = [0; 2];
        qtest.read(0x1000, &mut two).unwrap();
        assert_eq!(two, [0x01, 0xfe]);
        qtest.write(0x1000, &[0xab; BLOCK + 1]).unwrap();
    });
    assert_eq!(heard[0], "read 0x1000 0x2");
    assert_eq!(
        heard[1],
        format!("write 0x1000 0x4000 0x{}", "ab".repeat(BLOCK))
    );
    assert_eq!(heard[2], "write 0x5000 0x1 0xab");
}

#[test]
fn other_answers_are_errors() {
    for answer in ["FAIL no\n", "OK\n", "OK 0x\n", "OK 0x123456789\n", "\n"] {
        let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
        let (result, _) = with(answers, |qtest| qtest.read_word(0));
        assert!(
            matches!(result, Err(QtestError::Unexpected { .. })),
            "{answer} gives {result:?}"
        );
    }
    for answer in ["OK 0x01\n", "OK 0x01020\n", "OK 0x010g\n"] {
        let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
        let (result, _) = with(answers, |qtest| qtest.read(0, &mut [0; 2]));
        assert!(
            matches!(result, Err(QtestError::Unexpected { .. })),
            "{answer} gives {result:?}"
        );
    }
}

#[test]
fn an_end_without_an_answer_is_a_broken_connection() {
    let (result, _) = with(&["OK 0x00"], |qtest| qtest.read_word(0));
    assert!(matches!(result, Err(QtestError::Broken(_))), "{result:?}");
}

#[test]
fn nobody_there_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let error = Qtest::connect(&folder.path().join("qtest")).unwrap_err();
    assert!(matches!(error, QtestError::NotListening(_)), "{error}");
}
