// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a user may connect to a socket or write a file: of itself, and of the directories on the way.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid, getgrouplist, getgroups, Group};

use super::finding::{Code, Finding};
use super::rights::{Rights, EXECUTE, READ_WRITE, WRITE};

/// A user, with the groups that count.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) name: String,
    uid: u32,
    /// The groups that it has now.
    groups: Vec<u32>,
    /// The groups that it will have at its next login.
    listed: Vec<u32>,
}

impl User {
    /// Returns the user of this process.
    pub(super) fn current() -> Self {
        let uid = geteuid();
        let mut groups: Vec<u32> = getgroups()
            .unwrap_or_default()
            .into_iter()
            .map(nix::unistd::Gid::as_raw)
            .collect();
        groups.push(getegid().as_raw());
        let entry = nix::unistd::User::from_uid(uid).ok().flatten();
        let listed = entry.as_ref().map(listed_groups).unwrap_or_default();
        Self {
            name: entry.map_or_else(|| uid.to_string(), |entry| entry.name),
            uid: uid.as_raw(),
            groups,
            listed,
        }
    }

    /// Returns a user of this machine; `None` if there is none of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let entry = nix::unistd::User::from_name(name).ok().flatten()?;
        let groups = listed_groups(&entry);
        Some(Self {
            name: entry.name,
            uid: entry.uid.as_raw(),
            listed: groups.clone(),
            groups,
        })
    }
}

fn listed_groups(user: &nix::unistd::User) -> Vec<u32> {
    let own = vec![user.gid.as_raw()];
    CString::new(&*user.name)
        .ok()
        .and_then(|name| getgrouplist(&name, user.gid).ok())
        .map_or(own, |groups| {
            groups.into_iter().map(nix::unistd::Gid::as_raw).collect()
        })
}

/// What a path is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To connect to a socket, which wants the right to write.
    Connect,
    /// To map a file, for reading and writing.
    Map,
}

/// Checks whether `user` may use the file or socket at `path`, which is there.
pub(super) fn check(path: &Path, purpose: Purpose, user: &User) -> Vec<Finding> {
    let (code, wanted, verb) = match purpose {
        Purpose::Connect => (Code::SocketDenied, WRITE, "connect to it"),
        Purpose::Map => (Code::FileDenied, READ_WRITE, "read and write it"),
    };
    let steps = directories(path)
        .into_iter()
        .map(|directory| (directory, Code::DirectoryDenied, EXECUTE))
        .chain([(path.to_owned(), code, wanted)]);
    for (step, code, wanted) in steps {
        let Ok(rights) = Rights::of(&step) else {
            // This process cannot look there; for itself that says it all, for others nothing.
            continue;
        };
        if rights.allow(user.uid, &user.groups, wanted) {
            continue;
        }
        return vec![denied(&step, &rights, code, wanted, user)];
    }
    vec![Finding::fine(
        Code::AccessFine,
        path.display(),
        format!("the user {} may {verb}", user.name),
    )]
}

fn denied(step: &Path, rights: &Rights, code: Code, wanted: u32, user: &User) -> Finding {
    let name = &user.name;
    let group = group_name(rights.gid);
    let owner = nix::unistd::User::from_uid(rights.uid.into())
        .ok()
        .flatten()
        .map_or_else(|| rights.uid.to_string(), |user| user.name);
    let mode = rights.mode & 0o7777;
    let belongs = format!("(owner {owner}, group {group}, mode {mode:04o})");
    if rights.allow(user.uid, &user.listed, wanted) {
        return Finding::new(
            Code::GroupNotYet,
            step.display(),
            format!("the user {name} is in the group that may, but this process was started before that {belongs}"),
            format!("log out and in again, or run: newgrp {group}"),
        );
    }
    // Root's group is not one to put people in.
    let by_group = rights.gid != 0 && (rights.mode >> 3) & wanted == wanted;
    let join = format!("put the user into the group: usermod -aG {group} {name}");
    let (what, cure) = match code {
        Code::DirectoryDenied => (
            "may not pass through this directory",
            if by_group {
                join
            } else {
                format!(
                    "allow it: chmod a+x {0} (or setfacl -m u:{name}:x {0})",
                    step.display()
                )
            },
        ),
        Code::SocketDenied => (
            "may not connect to this socket",
            if by_group {
                join
            } else {
                "start the server with --group GROUP --mode 0660, and put the user into that group"
                    .to_owned()
            },
        ),
        _ => (
            "may not read and write this file",
            if by_group {
                join
            } else {
                format!(
                    "give it a group that the user is in: chgrp GROUP {0} && chmod g+rw {0}",
                    step.display()
                )
            },
        ),
    };
    Finding::new(
        code,
        step.display(),
        format!("the user {name} {what} {belongs}"),
        cure,
    )
}

fn group_name(gid: u32) -> String {
    Group::from_gid(gid.into())
        .ok()
        .flatten()
        .map_or_else(|| gid.to_string(), |group| group.name)
}

/// Returns the directories that one passes through on the way to `path`, from the root on.
fn directories(path: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let Some(parent) = absolute.parent() else {
        return Vec::new();
    };
    // Where links lead, as long as this process can follow them.
    let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
    let mut directories: Vec<_> = parent.ancestors().map(Path::to_owned).collect();
    directories.reverse();
    directories
}

/// Says so if everybody may write: whoever may has the memory.
pub(super) fn check_openness(path: &Path) -> Vec<Finding> {
    let open = fs::metadata(path).is_ok_and(|metadata| metadata.mode() & WRITE != 0);
    if !open {
        return Vec::new();
    }
    vec![Finding::new(
        Code::OpenToAll,
        path.display(),
        "every user of this machine may write here, and so read and change all of the shared memory",
        "unless that is meant: chmod o-rw, and a group for those who may",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const GROUP: u32 = 2000;

    fn rights(mode: u32) -> Rights {
        Rights {
            mode,
            uid: 1000,
            gid: GROUP,
            acl: vec![],
        }
    }

    /// What a stranger is told of a file with these modes, of it and of its directory.
    fn stranger(directory_mode: u32, file_mode: u32, purpose: Purpose) -> Code {
        let place = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(place.path(), 0o755);
        let directory = place.path().join("directory");
        let file = directory.join("file");
        fs::create_dir(&directory).unwrap();
        fs::write(&file, "").unwrap();
        mode(&file, file_mode);
        mode(&directory, directory_mode);
        let user = User {
            name: "stranger".into(),
            uid: 54_321,
            groups: vec![54_321],
            listed: vec![54_321],
        };
        let findings = check(&file, purpose, &user);
        mode(&directory, 0o700);
        assert_eq!(findings.len(), 1);
        findings[0].code
    }

    #[test]
    fn each_step_of_the_way_is_asked() {
        for (directory, file, purpose, code) in [
            (0o755, 0o666, Purpose::Map, Code::AccessFine),
            (0o755, 0o664, Purpose::Map, Code::FileDenied),
            (0o754, 0o666, Purpose::Map, Code::DirectoryDenied),
            (0o755, 0o662, Purpose::Connect, Code::AccessFine),
            (0o755, 0o660, Purpose::Connect, Code::SocketDenied),
        ] {
            // The temporary directory itself must let strangers through.
            assert_eq!(
                stranger(directory, file, purpose),
                code,
                "{directory:o} {file:o}"
            );
        }
    }

    #[test]
    fn a_group_of_the_next_login_is_told_apart() {
        let user = User {
            name: "late".into(),
            uid: 1,
            groups: vec![],
            listed: vec![GROUP],
        };
        let finding = denied(
            Path::new("/s"),
            &rights(0o660),
            Code::SocketDenied,
            WRITE,
            &user,
        );
        assert_eq!(finding.code, Code::GroupNotYet);
        let finding = denied(
            Path::new("/s"),
            &rights(0o600),
            Code::SocketDenied,
            WRITE,
            &user,
        );
        assert_eq!(finding.code, Code::SocketDenied);
        assert!(finding.cure.contains("--group"), "{}", finding.cure);
        let stranger = User {
            listed: vec![],
            ..user
        };
        let finding = denied(
            Path::new("/s"),
            &rights(0o660),
            Code::SocketDenied,
            WRITE,
            &stranger,
        );
        assert!(
            finding.cure.contains("usermod -aG 2000 late"),
            "{}",
            finding.cure
        );
    }

    #[test]
    fn what_everybody_may_write_is_mentioned() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(check_openness(file.path()), []);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(check_openness(file.path())[0].code, Code::OpenToAll);
        assert_eq!(check_openness(Path::new("/no/such/file")), []);
    }

    #[test]
    fn users_are_found_by_name() {
        assert_eq!(User::named("root").map(|user| user.uid), Some(0));
        assert!(User::named("no-such-user").is_none());
        assert_eq!(User::current().uid, geteuid().as_raw());
    }
}
