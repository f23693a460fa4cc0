// SPDX-License-Identifier: MIT OR Apache-2.0
//! What AppArmor and SELinux may forbid to a QEMU that libvirt starts, whatever the modes of the files say.

use std::path::Path;

use super::access::Purpose;
use super::finding::{Code, Finding};
use super::world::World;

/// Where libvirt's profiles have the rules for all machines, and where those of an administrator go.
const ABSTRACTION: &str = "/etc/apparmor.d/abstractions/libvirt-qemu";
const LOCAL: &str = "/etc/apparmor.d/local/abstractions/libvirt-qemu";

/// Types that a confined QEMU may read, write and connect to.
const SVIRT_TYPES: [&str; 3] = ["svirt_image_t", "svirt_tmpfs_t", "svirt_t"];

/// Checks the file or socket at `path`.
pub(super) fn check(world: &World, path: &Path, purpose: Purpose) -> Vec<Finding> {
    let context = context_of(path);
    vec![
        apparmor(world, path, purpose),
        selinux(world, path, context.as_deref()),
    ]
}

fn apparmor(world: &World, path: &Path, purpose: Purpose) -> Finding {
    let fine = |what: &str| Finding::fine(Code::ConfinementFine, path.display(), what);
    if world
        .text("/sys/module/apparmor/parameters/enabled")
        .as_deref()
        != Some("Y")
    {
        return fine("AppArmor is off here: not applicable");
    }
    let Some(rules) = world.text(ABSTRACTION) else {
        return fine("AppArmor is on, but without libvirt's profiles: not applicable");
    };
    let local = world.text(LOCAL).unwrap_or_default();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let name = absolute.display().to_string();
    if rules
        .lines()
        .chain(local.lines())
        .any(|rule| covers(rule, &name))
    {
        return fine("AppArmor's profile of libvirt's machines has a rule for it");
    }
    // A mapped file is locked by nobody, but libvirt's own rules have k as well.
    let rights = match purpose {
        Purpose::Connect => "rw",
        Purpose::Map => "rwk",
    };
    Finding::new(
        Code::AppArmorRule,
        path.display(),
        "AppArmor is on: a machine that libvirt starts may not use it, unless its own configuration names it",
        format!("for such machines add this line to {LOCAL} and start them again: \"{name}\" {rights},"),
    )
}

/// Returns whether a rule of AppArmor is for `path`, as far as it is written out or ends in stars.
fn covers(rule: &str, path: &str) -> bool {
    let rule = rule.trim();
    let rule = rule.strip_prefix("owner ").unwrap_or(rule).trim_start();
    let (pattern, rights) = match rule.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
        None => rule.split_once(char::is_whitespace).unwrap_or((rule, "")),
    };
    if !pattern.starts_with('/') || !rights.contains('w') {
        return false;
    }
    if let Some(start) = pattern.strip_suffix("**") {
        return path.starts_with(start);
    }
    if let Some(start) = pattern.strip_suffix('*') {
        return path
            .strip_prefix(start)
            .is_some_and(|rest| !rest.contains('/'));
    }
    pattern == path
}

/// Returns the SELinux context of a file, `user:role:type:level`.
fn context_of(path: &Path) -> Option<String> {
    let mut bytes = [0; 256];
    let length = rustix::fs::getxattr(path, "security.selinux", &mut bytes[..]).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..length)?);
    Some(text.trim_end_matches('\0').to_owned())
}

fn selinux(world: &World, path: &Path, context: Option<&str>) -> Finding {
    let fine = |what: String| Finding::fine(Code::ConfinementFine, path.display(), what);
    match world.text("/sys/fs/selinux/enforce").as_deref() {
        None => return fine("SELinux is off here: not applicable".to_owned()),
        Some("1") => {}
        Some(_) => return fine("SELinux only watches (permissive)".to_owned()),
    }
    let context = context.unwrap_or("none");
    let kind = context.split(':').nth(2).unwrap_or_default();
    if SVIRT_TYPES.contains(&kind) {
        return fine(format!(
            "SELinux: a confined QEMU may use its context, {context}"
        ));
    }
    Finding::new(
        Code::SelinuxContext,
        path.display(),
        format!("SELinux is enforcing, and a machine that libvirt starts may not use the context {context}"),
        format!(
            "for such machines: chcon -t svirt_image_t {}; see what is denied with ausearch -m avc -ts recent",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::world::plant;
    use super::*;

    const SOCKET: &str = "/run/ivshmem/a.sock";
    const ON: (&str, &str) = ("/sys/module/apparmor/parameters/enabled", "Y\n");

    #[test]
    fn apparmor_wants_a_rule_where_libvirt_uses_it() {
        let fine = Code::ConfinementFine;
        for (files, code) in [
            (&[][..], fine),
            (&[("/sys/module/apparmor/parameters/enabled", "N\n")], fine),
            (&[ON], fine),
            (&[ON, (ABSTRACTION, "  /dev/kvm rw,\n")], Code::AppArmorRule),
            (
                &[
                    ON,
                    (ABSTRACTION, ""),
                    (LOCAL, "\"/run/ivshmem/a.sock\" rw,"),
                ],
                fine,
            ),
            (
                &[ON, (ABSTRACTION, "  owner /run/ivshmem/a.sock rw,")],
                fine,
            ),
            (&[ON, (ABSTRACTION, "/run/ivshmem/*  rw,")], fine),
            (&[ON, (ABSTRACTION, "/run/** rwk,")], fine),
            (&[ON, (ABSTRACTION, "/run/* rw,")], Code::AppArmorRule),
            (
                &[ON, (ABSTRACTION, "/run/ivshmem/a.sock r,")],
                Code::AppArmorRule,
            ),
            (
                &[ON, (ABSTRACTION, "# /run/ivshmem/a.sock rw,")],
                Code::AppArmorRule,
            ),
        ] {
            let place = tempfile::tempdir().unwrap();
            let world = plant(place.path(), files);
            let finding = apparmor(&world, Path::new(SOCKET), Purpose::Connect);
            assert_eq!(finding.code, code, "{files:?}");
            if code == Code::AppArmorRule {
                assert!(finding.cure.ends_with("\"/run/ivshmem/a.sock\" rw,"));
            }
        }
    }

    #[test]
    fn selinux_wants_a_type_of_svirt_where_it_enforces() {
        let enforce = |value| ("/sys/fs/selinux/enforce", value);
        let image = Some("system_u:object_r:svirt_image_t:s0");
        let other = Some("unconfined_u:object_r:user_tmp_t:s0");
        for (files, context, code) in [
            (&[][..], other, Code::ConfinementFine),
            (&[enforce("0")], other, Code::ConfinementFine),
            (&[enforce("1")], image, Code::ConfinementFine),
            (&[enforce("1")], other, Code::SelinuxContext),
            (&[enforce("1")], None, Code::SelinuxContext),
        ] {
            let place = tempfile::tempdir().unwrap();
            let world = plant(place.path(), files);
            let finding = selinux(&world, Path::new(SOCKET), context);
            assert_eq!(finding.code, code, "{files:?} {context:?}");
        }
    }
}
