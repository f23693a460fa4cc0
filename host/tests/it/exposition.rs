// SPDX-License-Identifier: MIT OR Apache-2.0
//! A strict reader of Prometheus' text format, version 0.0.4, written from its specification.

use std::collections::BTreeMap;

/// Labels of a sample, by name.
pub type Labels = BTreeMap<String, String>;

/// The samples of a page: by name and labels.
#[derive(Debug, Default)]
pub struct Page {
    samples: BTreeMap<(String, Labels), f64>,
    kinds: BTreeMap<String, String>,
}

impl Page {
    /// Reads `text`.
    ///
    /// # Panics
    ///
    /// If a metric has no HELP and TYPE before its samples, in this order, or its samples do not follow them; if a name, a
    /// label, an escape or a value is malformed; if a sample is there twice; if a counter is not called `_total` or
    /// something else is; if the last line does not end.
    pub fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends");
        let mut page = Self::default();
        let mut lines = text.lines().peekable();
        while let Some(help) = lines.next() {
            let help = help.strip_prefix("# HELP ").expect("HELP comes first");
            let (name, words) = help.split_once(' ').expect("HELP has a text");
            assert!(is_name(name), "{name}");
            assert!(!words.is_empty() && !words.contains('\\'), "{words}");
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
            let (same, kind) = kind.unwrap().split_once(' ').unwrap();
            assert_eq!(same, name, "TYPE follows HELP");
            assert!(["counter", "gauge"].contains(&kind), "{kind}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            let before = page.kinds.insert(name.to_owned(), kind.to_owned());
            assert_eq!(before, None, "{name} is described once");
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                page.sample(name, line);
            }
        }
        page
    }

    fn sample(&mut self, name: &str, line: &str) {
        let mut rest = line.strip_prefix(name).expect("samples follow their TYPE");
        let mut labels = Labels::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                let (label, more) = rest.split_once("=\"").expect("a label");
                assert!(is_name(label) && !label.contains(':'), "{label}");
                let (value, more) = unescape(more);
                assert_eq!(labels.insert(label.to_owned(), value), None, "{label}");
                match more.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => {
                        rest = more.strip_prefix('}').expect("the end of the labels");
                        break;
                    }
                }
            }
        }
        let value = rest.strip_prefix(' ').expect("one space before the value");
        assert!(!value.contains(' '), "no time follows");
        let value: f64 = value.parse().unwrap();
        assert!(value >= 0.0, "{line}");
        let before = self.samples.insert((name.to_owned(), labels), value);
        assert_eq!(before, None, "{line} is there once");
    }

    /// Returns the value of the sample `name` with exactly these labels.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let key = (name.to_owned(), labels.collect());
        self.samples.get(&key).copied()
    }

    /// Returns the labels of each sample of `name`.
    pub fn labels(&self, name: &str) -> Vec<&Labels> {
        let of_name = self.samples.keys().filter(|(other, _)| other == name);
        of_name.map(|(_, labels)| labels).collect()
    }

    /// Returns the names of all metrics.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let starts = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || b"_:".contains(&byte));
    starts && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
}

/// Returns the value of a label up to its closing quote, and what follows.
fn unescape(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, &text[index + 1..]),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, same @ ('\\' | '"'))) => same,
                other => panic!("no escape: {other:?}"),
            }),
            other => value.push(other),
        }
    }
    panic!("no closing quote: {text}");
}

#[test]
fn the_reader_is_strict() {
    let head = "# HELP a Text.\n# TYPE a gauge\n";
    let good = format!("{head}a 1\na{{b=\"x\\\"\\\\\\n\",c=\"\"}} 2.5\n");
    let page = Page::read(&good);
    assert_eq!(page.get("a", &[]), Some(1.0));
    assert_eq!(page.get("a", &[("b", "x\"\\\n"), ("c", "")]), Some(2.5));
    for bad in [
        "a 1\n".to_owned(),
        format!("{head}a 1"),
        format!("{head}b 1\n"),
        format!("{head}a  1\n"),
        format!("{head}a 1 1\n"),
        format!("{head}a x\n"),
        format!("{head}a -1\n"),
        format!("{head}a 1\na 1\n"),
        format!("{head}a{{b=\"\\x\"}} 1\n"),
        format!("{head}a{{b=\"x}} 1\n"),
        format!("{head}a{{b=\"x\"y}} 1\n"),
        format!("{head}a{{1b=\"x\"}} 1\n"),
        format!("{head}{head}"),
        "# TYPE a gauge\na 1\n".to_owned(),
        "# HELP a Text.\n# TYPE b gauge\nb 1\n".to_owned(),
        "# HELP a_total Text.\n# TYPE a_total gauge\n".to_owned(),
        "# HELP a Text.\n# TYPE a counter\n".to_owned(),
    ] {
        let result = std::panic::catch_unwind(|| Page::read(&bad));
        assert!(result.is_err(), "{bad}");
    }
}
