// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests with any properties, and with any text at all.

use alloc::format;
use alloc::string::{String, ToString};

use proptest::prelude::*;

use crate::properties::*;
use crate::Generation;
use Generation::{V2_3, V2_5};

fn any_legacy() -> impl Strategy<Value = Properties> {
    let source = (any::<bool>(), ".+").prop_map(|(shm, name)| match shm {
        true => Source::Shm(name),
        false => Source::Chardev(name),
    });
    let role = prop_oneof![Just(Role::Master), Just(Role::Peer)];
    let switches = (any::<bool>(), any::<bool>(), any::<bool>());
    (any::<bool>(), source, 20..64, 1..=128u32, switches, role).prop_map(
        |(first, source, size, vectors, (ioeventfd, msi, use64), role)| Properties {
            size_bytes: 1u64 << size,
            vectors,
            ioeventfd: ioeventfd && msi,
            msi,
            role,
            use64: use64 || size >= 32,
            ..Properties::legacy(if first { V2_3 } else { V2_5 }, source)
        },
    )
}

fn any_modern() -> impl Strategy<Value = Properties> {
    let role = prop_oneof![Just(Role::Master), Just(Role::Peer), Just(Role::Auto)];
    (".+", role, 1..=2048u32, any::<bool>(), 1..=u32::MAX).prop_flat_map(
        |(name, role, vectors, ioeventfd, size): (String, _, _, _, _)| {
            prop_oneof![
                Just(Properties {
                    role,
                    ..Properties::plain(name.clone())
                }),
                Just(Properties {
                    role,
                    vectors,
                    ioeventfd,
                    ..Properties::doorbell(name.clone())
                }),
                Just(Properties {
                    size_bytes: size.into(),
                    ..Properties::flat(name)
                }),
            ]
        },
    )
}

proptest! {
    #[test]
    fn what_is_shown_can_be_parsed(properties in prop_oneof![any_legacy(), any_modern()]) {
        prop_assert_eq!(properties.check(), Ok(()));
        let text = properties.to_string();
        prop_assert_eq!(Properties::parse(properties.generation, &text), Ok(properties));
    }

    #[test]
    fn any_text_is_taken_or_refused(
        generation in prop::sample::select(&Generation::ALL[..]),
        start in prop::sample::select(&["", "ivshmem,", "ivshmem-doorbell,chardev=c,"][..]),
        end in "([a-z0-9=,-]|(size|vectors|msi|role|shm|master)=|\\PC)*",
    ) {
        match Properties::parse(generation, &format!("{start}{end}")) {
            Ok(properties) => prop_assert_eq!(properties.check(), Ok(())),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
