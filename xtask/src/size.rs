// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much of the release kernel's code comes from the crate `ivshmem`.
//!
//! Counted are the functions in the kernel's symbol table whose path is in the crate, generic ones as often as
//! they were instantiated. For a method of a trait, the type it is for decides: `<ivshmem::mmio::MmioRegion as
//! ..>` is the crate's, `<kernel::Platform as ivshmem::platform::Platform>` is the kernel's.
//!
//! The limit of the rule is inlining: a function of the crate that was inlined into the kernel's is counted there,
//! and one of `core` that was inlined into the crate's is counted here. Constants and texts are not code, and
//! neither are instances of `core`'s own generics for types of the crate.

use object::{Object, ObjectSymbol, SymbolKind};
use rustc_demangle::demangle;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How the crate's paths begin.
const CRATE: &str = "ivshmem::";

/// Why nothing could be counted.
#[derive(Debug)]
pub enum SizeError {
    /// The file cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no object file.
    Object {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: object::Error,
    },
    /// The file has no functions of the crate; perhaps it was stripped.
    NoSymbols {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Object { path, source } => {
                write!(f, "{} is no object file: {source}", path.display())
            }
            Self::NoSymbols { path } => write!(
                f,
                "{} has no symbol of the crate ivshmem; was it stripped?",
                path.display()
            ),
        }
    }
}

impl std::error::Error for SizeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Object { source, .. } => Some(source),
            Self::NoSymbols { .. } => None,
        }
    }
}

/// The code of the crate in bytes, by module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sizes(BTreeMap<String, u64>);

impl Sizes {
    /// Counts in an executable that has its symbols.
    ///
    /// # Errors
    ///
    /// - It cannot be read, is no object file, or has no symbol of the crate.
    pub fn of(executable: &Path) -> Result<Self, SizeError> {
        let path = || executable.to_owned();
        let bytes = fs::read(executable).map_err(|source| SizeError::File {
            path: path(),
            source,
        })?;
        let file = object::File::parse(&*bytes).map_err(|source| SizeError::Object {
            path: path(),
            source,
        })?;
        let mut sizes = Self::default();
        // Functions of the same code may have been made one, with several names.
        let mut seen = BTreeSet::new();
        for symbol in file.symbols() {
            if symbol.kind() != SymbolKind::Text {
                continue;
            }
            let name = symbol.name().unwrap_or_default();
            // Without the hashes.
            let name = format!("{:#}", demangle(name));
            if let Some(module) = module_of(&name) {
                if seen.insert(symbol.address()) {
                    *sizes.0.entry(module.into()).or_default() += symbol.size();
                }
            }
        }
        if sizes.total() == 0 {
            return Err(SizeError::NoSymbols { path: path() });
        }
        Ok(sizes)
    }

    /// Returns the sum in bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// A line for each module, and the total as the last.
impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (module, bytes) in &self.0 {
            writeln!(f, "{module:<12}{bytes:>8}")?;
        }
        write!(f, "{:<12}{:>8} bytes", "total", self.total())
    }
}

/// Returns the module of the crate that a function is in, if it is in the crate.
fn module_of(name: &str) -> Option<&str> {
    // `<&mut ivshmem::a::B as ..>::c` is a method for a reference to the type.
    let path = name.trim_start_matches(['<', '&']);
    let path = path.strip_prefix("mut ").unwrap_or(path);
    let inside = path.strip_prefix(CRATE)?;
    inside.split([':', '<', ' ']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_or_the_type_decides() {
        for (name, module) in [
            ("ivshmem::pci::probe::probe", Some("pci")),
            ("ivshmem::attach::attach_with::{{closure}}", Some("attach")),
            ("<ivshmem::memory::SharedMemory>::read", Some("memory")),
            (
                "<ivshmem::mmio::MmioRegion as core::fmt::Debug>::fmt",
                Some("mmio"),
            ),
            (
                "<&ivshmem::device::Flavour as core::fmt::Debug>::fmt",
                Some("device"),
            ),
            (
                "ivshmem::pci::bar::<impl ivshmem::pci::function::Function<C>>::bars",
                Some("pci"),
            ),
            (
                "<ivshmem_kernel::platform::P as ivshmem::platform::Platform>::map",
                None,
            ),
            ("core::ptr::drop_in_place<ivshmem::attach::Attached>", None),
            ("ivshmem_scenarios::device", None),
        ] {
            assert_eq!(module_of(name), module, "{name}");
        }
    }

    #[test]
    fn the_table_ends_with_the_total() {
        let sizes = Sizes(BTreeMap::from([("pci".into(), 12), ("mmio".into(), 3)]));
        assert_eq!(
            sizes.to_string(),
            "mmio               3\npci               12\ntotal             15 bytes"
        );
    }

    #[test]
    fn what_cannot_be_counted_is_an_error() {
        let error = Sizes::of(Path::new("/no/such/file")).unwrap_err();
        assert!(matches!(error, SizeError::File { .. }), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text");
        fs::write(&text, "no object").unwrap();
        let error = Sizes::of(&text).unwrap_err();
        assert!(matches!(error, SizeError::Object { .. }), "{error}");
    }
}
