// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the choice between the routes, on made-up machines.

use super::*;
use crate::probe::fake::FakeMachine;

const LIBDIR: &str = "/rust/lib/rustlib/x86_64-unknown-none/lib";

fn rustup(version: &str) -> FakeMachine {
    FakeMachine::default()
        .with_program("/bin/rustup")
        .with_program("/bin/rustc")
        .prints("/bin/rustc -vV", &format!("rustc\nrelease: {version}\n"))
        .prints(
            &format!("/bin/rustc --print target-libdir --target {TARGET}"),
            &format!("{LIBDIR}\n"),
        )
}

fn with_target(machine: FakeMachine) -> FakeMachine {
    machine.with_file(&format!("{LIBDIR}/libcore-0123.rlib"), "")
}

fn with_nightly(machine: FakeMachine) -> FakeMachine {
    machine
        .prints(
            "/bin/rustup run nightly rustc -vV",
            "rustc\nrelease: 1.97.0-nightly\n",
        )
        .prints(
            "/bin/rustup run nightly rustc --print sysroot",
            "/nightly\n",
        )
}

fn with_sources(machine: FakeMachine, library: &str) -> FakeMachine {
    machine
        .with_file(&format!("{library}/core/src/lib.rs"), "")
        .with_file(&format!("{library}/Cargo.lock"), "")
}

fn with_debian(machine: FakeMachine, compiler: &str, sources: &str) -> FakeMachine {
    with_sources(machine, "/usr/lib/rustlib/src/rust/library")
        .with_file("/usr/bin/rustc", "")
        .with_file("/usr/bin/cargo", "")
        .prints("/usr/bin/rustc -vV", &format!("release: {compiler}\n"))
        .with_link(
            "/usr/lib/rustlib/src/rust/library",
            &format!("/usr/src/rustc-{sources}/library"),
        )
}

fn route(machine: &FakeMachine) -> Route {
    KernelToolchain::find(machine).unwrap().route
}

#[test]
fn the_routes_are_taken_in_order() {
    let debian = with_debian(rustup("1.95.0"), "1.96.0", "1.96.0");
    assert_eq!(route(&debian), Route::System);
    let nightly = with_sources(
        with_nightly(debian),
        "/nightly/lib/rustlib/src/rust/library",
    );
    assert_eq!(route(&nightly), Route::Nightly);
    let all = with_target(nightly);
    assert_eq!(route(&all), Route::Active);
}

#[test]
fn each_route_says_what_it_is() {
    let said = |machine| KernelToolchain::find(&machine).unwrap().to_string();
    assert_eq!(
        said(with_target(rustup("1.95.0"))),
        "the active rustc 1.95.0 with the target x86_64-unknown-none"
    );
    assert_eq!(
        said(with_debian(rustup("1.95.0"), "1.96.0", "1.96.0")),
        "the system's /usr/bin/rustc 1.96.0 with RUSTC_BOOTSTRAP and build-std"
    );
}

#[test]
fn an_old_compiler_is_passed_over_with_a_note() {
    let old = with_target(rustup("1.90.0"));
    let notes = KernelToolchain::find(&old).unwrap_err();
    assert_eq!(
        notes[0],
        "the active rustc is 1.90.0, the kernel needs 1.91.0 or newer on this route"
    );
    let fresh_enough = with_target(rustup("1.91.0"));
    assert_eq!(route(&fresh_enough), Route::Active);
    let debian = with_debian(with_target(rustup("1.90.0")), "1.94.1", "1.94.1");
    let notes = KernelToolchain::find(&debian).unwrap_err();
    assert!(
        notes[2].contains("1.94.1, the kernel needs 1.95.0"),
        "{notes:?}"
    );
}

#[test]
fn sources_of_another_version_are_refused() {
    let mixed = with_debian(rustup("1.95.0"), "1.96.0", "1.85.0");
    let notes = KernelToolchain::find(&mixed).unwrap_err();
    assert_eq!(
        notes[2],
        "/usr/bin/rustc is 1.96.0, but its sources are 1.85.0"
    );
}

#[test]
fn every_missing_part_is_named() {
    let notes = KernelToolchain::find(&with_nightly(rustup("1.95.0"))).unwrap_err();
    assert_eq!(
        notes,
        [
            "the active rustc 1.95.0 lacks the target x86_64-unknown-none",
            "rustup's nightly 1.97.0 lacks rust-src",
            "there is no /usr/bin/rustc",
        ]
    );
    let notes = KernelToolchain::find(&FakeMachine::default()).unwrap_err();
    assert_eq!(notes[0], "no rustc is on the PATH");
    assert_eq!(notes[1], "no rustup is on the PATH");
}

#[test]
fn the_system_route_names_its_compiler_and_target() {
    let toolchain = KernelToolchain {
        route: Route::System,
        version: RustVersion(1, 96, 0),
    };
    let command = toolchain.cargo("build");
    assert_eq!(command.get_program(), "/usr/bin/cargo");
    let variables: Vec<_> = command.get_envs().collect();
    assert!(variables.contains(&("RUSTC".as_ref(), Some("/usr/bin/rustc".as_ref()))));
    assert!(variables.contains(&("RUSTC_BOOTSTRAP".as_ref(), Some("1".as_ref()))));
    let target = command.get_args().last().unwrap();
    assert!(Path::new(target).is_file(), "{target:?} exists");
}
