// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of what QEMU takes, and what it refuses.

use alloc::string::ToString;

use crate::properties::*;
use crate::Generation;
use Generation::{Modern, V2_3, V2_5};

/// What a text is to give: a change to the defaults, or the words that its error has.
enum Outcome {
    Is(fn(&mut Properties)),
    Fails(&'static str),
}
use Outcome::{Fails, Is};

fn chardev() -> Source {
    Source::Chardev("c".into())
}

fn check_table(generation: Generation, defaults: &Properties, table: &[(&str, Outcome)]) {
    for (text, outcome) in table {
        match (Properties::parse(generation, text), outcome) {
            (Ok(found), Is(change)) => {
                let mut expected = defaults.clone();
                change(&mut expected);
                assert_eq!(found, expected, "{generation}: {text}");
            }
            (Err(error), Fails(words)) => {
                let message = error.to_string();
                assert!(message.contains(words), "{generation}: {text}: {message}");
            }
            (result, _) => panic!("{generation}: {text} gives {result:?}"),
        }
    }
}

#[test]
fn the_historic_device_has_the_properties_of_qemu_2_3_and_2_5() {
    for generation in [V2_3, V2_5] {
        let table = [
            ("ivshmem,chardev=c", Is(|_| ())),
            ("driver=ivshmem,chardev=c,", Is(|_| ())),
            (
                "ivshmem,chardev=c,size=4M,vectors=2,ioeventfd=on,msi=on,role=peer,use64=1",
                Is(|p| {
                    p.vectors = 2;
                    p.ioeventfd = true;
                    p.role = Role::Peer;
                }),
            ),
            (
                "ivshmem,shm=name,size=1",
                Is(|p| {
                    p.source = Source::Shm("name".into());
                    p.size_bytes = 1 << 20;
                }),
            ),
            (
                "ivshmem,shm=a,,b,,,,c",
                Is(|p| p.source = Source::Shm("a,b,,c".into())),
            ),
            (
                "ivshmem,chardev=,shm=name",
                Is(|p| p.source = Source::Shm("name".into())),
            ),
            ("ivshmem,chardev=b,chardev=c", Is(|_| ())),
            (
                "ivshmem,chardev=c,vectors=many,vectors=3",
                Is(|p| p.vectors = 3),
            ),
            (
                "ivshmem,chardev=c,size=16m",
                Is(|p| p.size_bytes = 16 << 20),
            ),
            ("ivshmem,chardev=c,size=2g", Is(|p| p.size_bytes = 2 << 30)),
            (
                "ivshmem,chardev=c,size=8589934592G",
                Is(|p| p.size_bytes = 1 << 63),
            ),
            (
                "ivshmem,chardev=c,size=8796093022208",
                Is(|p| p.size_bytes = 1 << 63),
            ),
            (
                "ivshmem,chardev=c,size=17179869184G",
                Fails("`size` cannot be `17179869184G`"),
            ),
            (
                "ivshmem,chardev=c,size=17592186044416",
                Fails("`size` cannot be"),
            ),
            (
                "ivshmem,chardev=c,size=99999999999999999999",
                Fails("`size` cannot be"),
            ),
            (
                "ivshmem,chardev=c,size=3",
                Fails("3145728 bytes: give it a power of two"),
            ),
            ("ivshmem,chardev=c,size=", Fails("`size` cannot be")),
            ("ivshmem,chardev=c,size=M", Fails("`size` cannot be `M`")),
            (
                "ivshmem,chardev=c,size=4MB",
                Fails("`size` cannot be `4MB`"),
            ),
            ("ivshmem,chardev=c,size=4K", Fails("`size` cannot be `4K`")),
            ("ivshmem,chardev=c,size=-4", Fails("`size` cannot be `-4`")),
            ("ivshmem,chardev=c,size=+4", Fails("`size` cannot be `+4`")),
            (
                "ivshmem,chardev=c,size=0x4",
                Fails("`size` cannot be `0x4`"),
            ),
            ("ivshmem,chardev=c,vectors=128", Is(|p| p.vectors = 128)),
            ("ivshmem,chardev=c,vectors=0x10", Is(|p| p.vectors = 16)),
            ("ivshmem,chardev=c,vectors=010", Is(|p| p.vectors = 8)),
            (
                "ivshmem,chardev=c,vectors=0",
                Fails("0 vectors: it has 1 to 128"),
            ),
            (
                "ivshmem,chardev=c,vectors=129",
                Fails("129 vectors: it has 1 to 128"),
            ),
            (
                "ivshmem,chardev=c,vectors=4294967296",
                Fails("`vectors` cannot be"),
            ),
            ("ivshmem,chardev=c,vectors=-1", Fails("`vectors` cannot be")),
            ("ivshmem,chardev=c,vectors=0x", Fails("`vectors` cannot be")),
            (
                "ivshmem,chardev=c,vectors=0x+1",
                Fails("`vectors` cannot be"),
            ),
            ("ivshmem,chardev=c,vectors=08", Fails("`vectors` cannot be")),
            ("ivshmem,chardev=c,msi=off", Is(|p| p.msi = false)),
            (
                "ivshmem,chardev=c,msi=off,ioeventfd=on",
                Fails("`ioeventfd` requires MSI"),
            ),
            (
                "ivshmem,chardev=c,msi=1",
                Fails("`msi` cannot be `1`: it is on or off"),
            ),
            ("ivshmem,chardev=c,role=master", Is(|_| ())),
            (
                "ivshmem,chardev=c,role=auto",
                Fails("`role` cannot be `auto`: it is master or peer"),
            ),
            ("ivshmem,chardev=c,use64=0", Is(|p| p.use64 = false)),
            (
                "ivshmem,chardev=c,use64=on",
                Fails("`use64` cannot be `on`"),
            ),
            ("ivshmem", Fails("you must specify a `chardev` or a `shm`")),
            (
                "ivshmem,chardev=,shm=",
                Fails("you must specify a `chardev` or a `shm`"),
            ),
            (
                "ivshmem,chardev=c,shm=name",
                Fails("both `chardev` and `shm`"),
            ),
            (
                "ivshmem,chardev=c,msi",
                Fails("`msi` has no value: write `msi=`"),
            ),
            (
                "ivshmem,chardev=c,master=on",
                Fails("no property `master`, it has `chardev`, `shm`, `size`"),
            ),
            ("ivshmem,chardev=c,=x", Fails("no property ``")),
            (
                "ivshmem,chardev=c,addr=4",
                Fails("`addr` is of the device's place in QEMU"),
            ),
            (
                "ivshmem,chardev=c,id=shm0",
                Fails("`id` is of the device's place in QEMU"),
            ),
            (
                "ivshmem-plain,memdev=m",
                Fails("has no `ivshmem-plain`, it has `ivshmem`"),
            ),
        ];
        check_table(
            generation,
            &Properties::legacy(generation, chardev()),
            &table,
        );
    }
}

#[test]
fn only_qemu_2_3_let_a_size_of_0_pass() {
    let text = "ivshmem,chardev=c,size=0";
    assert_eq!(Properties::parse(V2_3, text).map(|p| p.size_bytes), Ok(0));
    let error = PropertyError::BadSize {
        kind: Kind::Legacy,
        size_bytes: 0,
    };
    assert_eq!(Properties::parse(V2_5, text), Err(error));
}

/// QEMU 2.5 gives it a BAR that nobody can size.
#[test]
fn a_bar_of_32_bits_is_less_than_4_gib() {
    let of = |size| alloc::format!("ivshmem,chardev=c,use64=0,size={size}");
    assert!(Properties::parse(V2_5, &of("2G")).is_ok());
    let error = PropertyError::BadSize {
        kind: Kind::Legacy,
        size_bytes: 4 << 30,
    };
    assert_eq!(Properties::parse(V2_5, &of("4G")), Err(error));
}

#[test]
fn ivshmem_plain_has_the_properties_of_qemu_7_2() {
    let table = [
        ("ivshmem-plain,memdev=m", Is(|_| ())),
        (
            "ivshmem-plain,memdev=x,memdev=m,master=on,master=off,",
            Is(|_| ()),
        ),
        (
            "ivshmem-plain,memdev=m,master=on",
            Is(|p| p.role = Role::Master),
        ),
        (
            "ivshmem-plain,memdev=m,master=auto",
            Is(|p| p.role = Role::Auto),
        ),
        (
            "ivshmem-plain,memdev=m,master=yes",
            Fails("`master` cannot be `yes`: it is on, off or auto"),
        ),
        (
            "ivshmem-plain,memdev=m,master",
            Fails("`master` has no value"),
        ),
        (
            "ivshmem-plain,memdev=m,vectors=1",
            Fails("no property `vectors`, it has `memdev`, `master`"),
        ),
        ("ivshmem-plain,mmdev=m", Fails("no property `mmdev`")),
        ("ivshmem-plain", Fails("you must specify a `memdev`")),
        (
            "ivshmem-plain,memdev=",
            Fails("you must specify a `memdev`"),
        ),
        (
            "ivshmem-plain,,memdev=m",
            Fails("no device `ivshmem-plain,memdev=m`, there are `ivshmem`, "),
        ),
        (",memdev=m", Fails("no device ``")),
        ("", Fails("the kind of device is missing")),
        ("memdev=m", Fails("the kind of device is missing")),
        (
            "ivshmem,chardev=c",
            Fails("the generation modern has no `ivshmem`"),
        ),
    ];
    check_table(Modern, &Properties::plain("m"), &table);
}

#[test]
fn ivshmem_doorbell_has_the_properties_of_qemu_7_2() {
    let table = [
        ("ivshmem-doorbell,chardev=c", Is(|_| ())),
        (
            "ivshmem-doorbell,chardev=c,vectors=2,ioeventfd=off,master=off",
            Is(|p| {
                p.vectors = 2;
                p.ioeventfd = false;
            }),
        ),
        (
            "ivshmem-doorbell,chardev=c,vectors=2048,ioeventfd=y",
            Is(|p| p.vectors = 2048),
        ),
        (
            "ivshmem-doorbell,chardev=c,ioeventfd=n",
            Is(|p| p.ioeventfd = false),
        ),
        (
            "ivshmem-doorbell,chardev=c,ioeventfd=ON",
            Fails("`ioeventfd` cannot be `ON`"),
        ),
        (
            "ivshmem-doorbell,chardev=c,ioeventfd=",
            Fails("`ioeventfd` cannot be ``"),
        ),
        (
            "ivshmem-doorbell,chardev=c,vectors=0",
            Fails("0 vectors: it has 1 to 2048"),
        ),
        (
            "ivshmem-doorbell,chardev=c,vectors=2049",
            Fails("2049 vectors: it has 1 to 2048"),
        ),
        (
            "ivshmem-doorbell,chardev=c,vectors=2k",
            Fails("`vectors` cannot be `2k`"),
        ),
        (
            "ivshmem-doorbell,chardev=c,msi=on",
            Fails("no property `msi`"),
        ),
        (
            "ivshmem-doorbell,vectors=2",
            Fails("you must specify a `chardev`"),
        ),
    ];
    check_table(Modern, &Properties::doorbell("c"), &table);
}

#[test]
fn ivshmem_flat_has_the_properties_of_qemu_10() {
    let table = [
        ("ivshmem-flat,chardev=c,shmem-size=4194304", Is(|_| ())),
        (
            "ivshmem-flat,chardev=c,shmem-size=4294967295",
            Is(|p| p.size_bytes = 0xffff_ffff),
        ),
        (
            "ivshmem-flat,chardev=c,shmem-size=0",
            Fails("0 bytes: give it 1 to 4294967295 bytes"),
        ),
        (
            "ivshmem-flat,chardev=c,shmem-size=4M",
            Fails("`shmem-size` cannot be `4M`"),
        ),
        (
            "ivshmem-flat,chardev=c,vectors=4",
            Fails("it has `chardev`, `shmem-size`"),
        ),
        ("ivshmem-flat", Fails("you must specify a `chardev`")),
    ];
    check_table(Modern, &Properties::flat("c"), &table);
}
