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
        qtest.write_port(0xcf8, 0x8000_0000u32).unwrap();
        assert_eq!(qtest.read_port::<u32>(0xcfc).unwrap(), 0x1237_8086);
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
fn a_number_goes_in_one_access_of_its_width() {
    let answers = &[
        "OK\n",
        "OK 0x0086\n",
        "OK\n",
        "OK 0x1237\n",
        "OK\n",
        "OK 0x00000000000000ab\n",
        "OK\n",
        "OK 0x0000000000001234\n",
        "OK\n",
        "OK 0x1122334455667788\n",
    ];
    let (_, heard) = with(answers, |qtest| {
        qtest.write_port(0xcf8, 1u8).unwrap();
        assert_eq!(qtest.read_port::<u8>(0xcfc).unwrap(), 0x86);
        qtest.write_port(0xcfa, 0x8000u16).unwrap();
        assert_eq!(qtest.read_port::<u16>(0xcfe).unwrap(), 0x1237);
        qtest.write_number(0x1000, 0xabu8).unwrap();
        assert_eq!(qtest.read_number::<u8>(0x1000).unwrap(), 0xab);
        qtest.write_number(0x1002, 0x1234u16).unwrap();
        assert_eq!(qtest.read_number::<u16>(0x1002).unwrap(), 0x1234);
        qtest.write_number(0x1008, u64::MAX).unwrap();
        let long: u64 = qtest.read_number(0x1008).unwrap();
        assert_eq!(long, 0x1122_3344_5566_7788);
    });
    let expected = [
        "outb 0xcf8 0x1",
        "inb 0xcfc",
        "outw 0xcfa 0x8000",
        "inw 0xcfe",
        "writeb 0x1000 0xab",
        "readb 0x1000",
        "writew 0x1002 0x1234",
        "readw 0x1002",
        "writeq 0x1008 0xffffffffffffffff",
        "readq 0x1008",
    ];
    assert_eq!(heard, expected);
}

#[test]
fn a_number_wider_than_its_access_is_an_error() {
    let (result, _) = with(&["OK 0x0000000000000100\n"], |qtest| {
        qtest.read_number::<u8>(0)
    });
    assert!(
        matches!(result, Err(QtestError::Unexpected { .. })),
        "{result:?}"
    );
    let (result, _) = with(&["OK 0x12378086\n"], |qtest| qtest.read_port::<u16>(0));
    assert!(
        matches!(result, Err(QtestError::Unexpected { .. })),
        "{result:?}"
    );
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

#[test]
fn a_batch_is_answered_in_order() {
    let answers = &["OK\n", "OK 0x0086\n", "OK\n", "OK 0x00ff\n"];
    let (got, heard) = with(answers, |qtest| {
        let mut batch = Batch::default();
        batch.write_port(0xcf8, 0x8000_0000u32);
        batch.read_port::<u8>(0xcfc);
        batch.write_number(0x1000, 7u16);
        batch.read(0x1000, 2);
        qtest.run(&batch).unwrap()
    });
    let expected = [
        Answer::Done,
        Answer::Number(0x86),
        Answer::Done,
        Answer::Bytes(vec![0, 0xff]),
    ];
    assert_eq!(got, expected);
    let commands = [
        "outl 0xcf8 0x80000000",
        "inb 0xcfc",
        "writew 0x1000 0x7",
        "read 0x1000 0x2",
    ];
    assert_eq!(heard, commands);
}

#[test]
fn a_wrong_answer_in_a_batch_is_one_to_its_command() {
    let (result, _) = with(&["OK\n", "OK\n"], |qtest| {
        let mut batch = Batch::default();
        batch.write(0x1000, &[1]);
        batch.read(0x1000, 1);
        qtest.run(&batch)
    });
    let expected = "the answer to `read 0x1000 0x1` was `OK`";
    assert_eq!(result.unwrap_err().to_string(), expected);
}
