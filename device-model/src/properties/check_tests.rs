// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the rules for properties that come from no text, for a server and for memory.

use alloc::string::ToString;

use crate::properties::*;
use crate::Generation;
use Generation::{Modern, V2_3, V2_5};

fn chardev() -> Source {
    Source::Chardev("c".into())
}

#[test]
fn what_no_text_says_is_checked_as_well() {
    let refused = |change: fn(&mut Properties)| {
        let mut properties = Properties::legacy(V2_5, chardev());
        change(&mut properties);
        properties.check().unwrap_err().to_string()
    };
    assert!(refused(|p| p.generation = Modern).contains("has no `ivshmem`"));
    assert!(refused(|p| p.kind = Kind::Plain).contains("has no `ivshmem-plain`"));
    assert!(refused(|p| p.source = Source::Memdev("m".into())).contains("must specify"));
    assert!(refused(|p| p.role = Role::Auto).contains("master or peer"));
    assert!(refused(|p| p.size_bytes = 4096).contains("at least 1 MiB"));
    let mut flat = Properties::flat("c");
    flat.vectors = 65;
    assert_eq!(
        flat.check(),
        Err(PropertyError::BadVectors {
            vectors: 65,
            most: 64
        })
    );
}

#[test]
fn a_chardev_must_be_a_socket_in_the_historic_generations() {
    let legacy = |generation| Properties::legacy(generation, chardev());
    let other = ChardevKind::Other;
    let missing = PropertyError::NoSource { kind: Kind::Legacy };
    assert_eq!(legacy(V2_3).check_chardev(other), Err(missing));
    assert_eq!(
        legacy(V2_5).check_chardev(other),
        Err(PropertyError::NotASocket)
    );
    assert_eq!(Properties::doorbell("c").check_chardev(other), Ok(()));
    for generation in [V2_3, V2_5] {
        assert_eq!(
            legacy(generation).check_chardev(ChardevKind::UnixSocket),
            Ok(())
        );
    }
}

#[test]
fn memory_has_to_fit_the_device() {
    let legacy = Properties::legacy(V2_3, chardev());
    assert_eq!(legacy.memory_size(4 << 20), Ok(4 << 20));
    assert_eq!(legacy.memory_size((4 << 20) + 1), Ok(4 << 20));
    assert_eq!(
        legacy.memory_size((4 << 20) - 1),
        Err(PropertyError::MemoryTooSmall {
            memory_bytes: (4 << 20) - 1,
            size_bytes: 4 << 20
        })
    );
    for modern in [Properties::plain("m"), Properties::doorbell("c")] {
        assert_eq!(modern.memory_size(4096), Ok(4096));
        assert_eq!(modern.memory_size(1 << 63), Ok(1 << 63));
        for memory_bytes in [0, 1, 2048, 4095, 6000, 3 << 20, u64::MAX] {
            assert_eq!(
                modern.memory_size(memory_bytes),
                Err(PropertyError::BadMemory { memory_bytes })
            );
        }
    }
    let flat = Properties::flat("c");
    assert_eq!(flat.memory_size(4 << 20), Ok(4 << 20));
    for memory_bytes in [4096, 8 << 20] {
        assert_eq!(
            flat.memory_size(memory_bytes),
            Err(PropertyError::MemoryDiffers {
                memory_bytes,
                size_bytes: 4 << 20
            })
        );
    }
}
