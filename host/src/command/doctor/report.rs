// SPDX-License-Identifier: MIT OR Apache-2.0
//! How findings are told: lines for people, or JSON.

use std::fmt::Write;

use serde::Serialize;

use super::finding::{Code, Finding, Level};
use super::server::plural;
use crate::command::harmless::{harmless, harmless_json};

/// The version of the JSON document, its field `format`.
const FORMAT: u32 = 1;

/// The JSON document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    format: u32,
    /// Whether there is neither an error nor a warning.
    fine: bool,
    errors: usize,
    warnings: usize,
    hints: usize,
    findings: Vec<Entry<'a>>,
}

/// A finding in JSON.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    code: Code,
    level: Level,
    #[serde(rename = "where")]
    place: &'a str,
    what: &'a str,
    /// What to do; `null` where nothing is to be done.
    cure: Option<&'a str>,
}

fn count(findings: &[Finding], level: Level) -> usize {
    let same = |finding: &&Finding| finding.code.level() == level;
    findings.iter().filter(same).count()
}

/// Returns whether something is wrong.
pub(super) fn wrong(findings: &[Finding]) -> bool {
    let bad = |finding: &Finding| finding.code.level() >= Level::Warning;
    findings.iter().any(bad)
}

/// Renders one finding as lines.
pub(in crate::command) fn lines(finding: &Finding) -> String {
    let Finding {
        code,
        place,
        what,
        cure,
    } = finding;
    // Words of command lines, files, processes and servers are among them.
    let line = format!("{:<8}{code}  {place}: {what}", code.level());
    let mut text = format!("{}\n", harmless(&line));
    if !cure.is_empty() {
        // Only fails where there is no memory.
        let _ = writeln!(text, "              -> {}", harmless(cure));
    }
    text
}

/// Renders findings for people, what is worst last, where the eye is.
pub(super) fn text(findings: &[Finding]) -> String {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.code.level());
    let mut text: String = sorted.into_iter().map(lines).collect();
    let summary = format!(
        "{}, {}, {}\n",
        plural(count(findings, Level::Error), "error"),
        plural(count(findings, Level::Warning), "warning"),
        plural(count(findings, Level::Hint), "hint"),
    );
    text.push_str(&summary);
    text
}

/// Renders findings as JSON, in the order in which they were made.
pub(super) fn json(findings: &[Finding]) -> Result<String, serde_json::Error> {
    let entries = findings.iter().map(|finding| Entry {
        code: finding.code,
        level: finding.code.level(),
        place: &finding.place,
        what: &finding.what,
        cure: Some(&*finding.cure).filter(|cure| !cure.is_empty()),
    });
    let document = Document {
        format: FORMAT,
        fine: !wrong(findings),
        errors: count(findings, Level::Error),
        warnings: count(findings, Level::Warning),
        hints: count(findings, Level::Hint),
        findings: entries.collect(),
    };
    serde_json::to_string_pretty(&document).map(|text| harmless_json(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Finding> {
        vec![
            Finding::new(Code::ShareOff, "-object x", "is private", "add share=on"),
            Finding::fine(Code::LineFine, "qemu", "is fine"),
            Finding::new(Code::LargeBar, "-object x", "is large", "mind it"),
        ]
    }

    #[test]
    fn people_see_the_worst_last_with_what_to_do() {
        assert_eq!(
            text(&some()),
            "ok      D600  qemu: is fine\n\
             hint    D638  -object x: is large\n              -> mind it\n\
             error   D607  -object x: is private\n              -> add share=on\n\
             1 error, 0 warnings, 1 hint\n"
        );
    }

    #[test]
    fn json_has_every_finding() {
        let value: serde_json::Value = serde_json::from_str(&json(&some()).unwrap()).unwrap();
        assert_eq!(value["fine"], false);
        assert_eq!(value["errors"], 1);
        assert_eq!(value["findings"][0]["code"], "D607");
        assert_eq!(value["findings"][0]["level"], "error");
        assert_eq!(value["findings"][0]["where"], "-object x");
        assert_eq!(value["findings"][0]["cure"], "add share=on");
        assert_eq!(value["findings"][1]["cure"], serde_json::Value::Null);
    }

    #[test]
    fn hints_are_nothing_wrong() {
        assert!(wrong(&some()));
        assert!(!wrong(&some()[1..]));
        assert!(!wrong(&[]));
        let warning = Finding::new(Code::IoeventfdOff, "", "", "");
        assert!(wrong(&[warning]));
    }
}
