// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trial of `cargo xtask size`: a table whose lines add up, about the kernel that trials boot.

use std::process::{Command, ExitCode};

use libtest_mimic::Failed;
use xtask::tools::Tools;
use xtask::trials::{self, same, Need};

fn main() -> ExitCode {
    let open = || Tools::find().map_err(|missing| missing.to_string());
    trials::main(open, [Need::new("size::the_table_adds_up", table)])
}

fn table(_: &Tools) -> Result<(), Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("size")
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    same(&errors, output.status.code(), Some(0))?;
    let text = String::from_utf8(output.stdout)?;
    let mut modules = Vec::new();
    let mut sum = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (module, bytes) = (words.next(), words.next());
        let module = module.ok_or("an empty line")?;
        let bytes: u64 = bytes.ok_or("no number")?.parse()?;
        if module == "total" {
            same("total", bytes, sum)?;
        }
        sum += bytes;
        modules.push(module);
    }
    same("last line", modules.last(), Some(&"total"))?;
    // The kernel cannot do without these, whatever the compiler inlines.
    for module in ["attach", "pci"] {
        same(module, modules.contains(&module), true)?;
    }
    Ok(())
}
