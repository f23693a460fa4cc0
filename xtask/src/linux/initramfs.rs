// SPDX-License-Identifier: MIT OR Apache-2.0
//! The initramfs: the program as `/init`, and modules.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use cpio::newc::{trailer, Builder};

use super::stem;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// Writes it to `path`, which has it whole or not at all. The modules are numbered, so that their names tell the order.
pub(super) fn write(path: &Path, program: &Path, modules: &[PathBuf]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder)?;
    let mut out = BufWriter::new(&file);
    add(&mut out, "init", PROGRAM, &fs::read(program)?)?;
    add(&mut out, "modules", FOLDER, &[])?;
    for (number, module) in modules.iter().enumerate() {
        let name = format!("modules/{number}-{}.ko", stem(module).unwrap_or_default());
        add(&mut out, &name, FILE, &fs::read(module)?)?;
    }
    trailer(&mut out)?;
    out.flush()?;
    drop(out);
    file.persist(path)?;
    Ok(())
}

fn add(out: &mut impl Write, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let size = u32::try_from(content.len()).map_err(io::Error::other)?;
    let mut entry = Builder::new(name).mode(mode).write(out, size);
    entry.write_all(content)?;
    entry.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::newc::Reader;

    #[test]
    fn what_is_packed_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let program = file("program", "odd");
        let modules = [file("vfio.ko", "first"), file("vfio-pci.ko", "")];
        let path = folder.path().join("initramfs");
        write(&path, &program, &modules).unwrap();

        let mut found = Vec::new();
        let mut archive = fs::File::open(&path).unwrap();
        loop {
            let entry = Reader::new(&mut archive).unwrap();
            if entry.entry().is_trailer() {
                break;
            }
            let (name, mode) = (entry.entry().name().to_owned(), entry.entry().mode());
            let mut content = Vec::new();
            entry.to_writer(&mut content).unwrap();
            found.push((name, mode, String::from_utf8(content).unwrap()));
        }
        let entry = |name: &str, mode, content: &str| (name.to_owned(), mode, content.to_owned());
        let expected = [
            entry("init", 0o100_755, "odd"),
            entry("modules", 0o040_755, ""),
            entry("modules/0-vfio.ko", 0o100_644, "first"),
            entry("modules/1-vfio-pci.ko", 0o100_644, ""),
        ];
        assert_eq!(found, expected);
    }
}
