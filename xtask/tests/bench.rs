// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trial of `cargo xtask bench` as a user runs it. What the figures are is another matter.

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;
use xtask::kernel::{self, Profile};
use xtask::tools::Tools;
use xtask::trials::{self, Need};

/// How many times slower than bare memory a polled message there and back may be. About three under emulation, where
/// each instruction costs; ten would be something else than noise, since both are measured in turn.
const SLOWEST_PERCENT: u64 = 1000;

fn main() -> ExitCode {
    let open = || {
        let tools = Tools::find().map_err(|missing| missing.to_string())?;
        kernel::build(&tools, Profile::Release).map_err(|error| error.to_string())?;
        Ok(tools)
    };
    trials::main(open, [Need::new("bench::measures_every_pair", whole)])
}

fn whole(_: &Tools) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let json = folder.path().join("figures.json");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "--no-install", "--json"])
        .arg(&json)
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if !output.status.success() {
        return Err(said.into());
    }
    let figures: Value = serde_json::from_str(&fs::read_to_string(&json)?)?;
    let rows = figures["rows"].as_array().ok_or("no rows")?;
    let mut measured = Vec::new();
    for row in rows {
        let number = |key: &str| row[key].as_u64().ok_or_else(|| format!("no {key}: {row}"));
        for key in ["channel", "bare", "ratio_percent"] {
            if number(key)? == 0 {
                return Err(format!("{key} makes no sense: {row}").into());
            }
        }
        if row["wait"] == "polling" && number("ratio_percent")? > SLOWEST_PERCENT {
            return Err(format!("a channel is that much slower than bare memory: {row}").into());
        }
        let what = format!("{} {} {}", row["with"], row["what"], row["wait"]);
        measured.push((what.replace('"', ""), number("bytes")?));
    }
    let mut expected = Vec::new();
    for with in ["b", "host"] {
        expected.push((format!("{with} round-trip polling"), 64));
        expected.push((format!("{with} round-trip doorbell"), 64));
        for bytes in [8, 64, 1 << 10, 64 << 10] {
            expected.push((format!("{with} stream null"), bytes));
        }
    }
    if measured != expected {
        return Err(format!("measured {measured:?}, not {expected:?}").into());
    }
    if !said.contains("channel / bare") {
        return Err(format!("no table: {said}").into());
    }
    Ok(())
}
