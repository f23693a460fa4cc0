// SPDX-License-Identifier: MIT OR Apache-2.0
//! The limit of open files, which a QEMU that is started from here inherits.

use std::path::Path;

use rustix::process::{getrlimit, Resource};

use super::finding::{Code, Finding};
use super::server::ServerView;

/// Descriptors that a QEMU has beside those of other peers' vectors: disks, terminals, its own.
const OTHERS: u64 = 64;

/// Checks this process's limit against the clients of the server at `path`.
pub(super) fn check(path: &Path, view: &ServerView) -> Vec<Finding> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    judge(path, view, limit)
}

fn judge(path: &Path, view: &ServerView, limit: u64) -> Vec<Finding> {
    let (Some(vectors), Some(clients)) = (view.vectors, view.clients) else {
        return Vec::new();
    };
    let room = limit.saturating_sub(OTHERS) / u64::from(vectors.max(1));
    // The newcomer has vectors of its own.
    let wanted = clients as u64 + 1;
    if room >= wanted {
        return Vec::new();
    }
    vec![Finding::new(
        Code::DescriptorLimit,
        path.display(),
        format!("a QEMU started here may open {limit} files, and holds {vectors} for each of {wanted} clients"),
        format!(
            "raise the limit before starting it: ulimit -n {}; or use fewer vectors",
            OTHERS + (wanted + 16) * u64::from(vectors.max(1))
        ),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_costs_its_vectors() {
        for (vectors, clients, limit, wrong) in [
            (8, 10, 1024, false),
            (8, 119, 1024, false),
            (8, 120, 1024, true),
            (2048, 0, 1024, true),
            (1, 0, 0, true),
            (2, 1000, u64::MAX, false),
        ] {
            let view = ServerView {
                vectors: Some(vectors),
                clients: Some(clients),
                ..ServerView::default()
            };
            let findings = judge(Path::new("/s"), &view, limit);
            assert_eq!(!findings.is_empty(), wrong, "{vectors} {clients} {limit}");
        }
        assert_eq!(judge(Path::new("/s"), &ServerView::default(), 0), []);
    }
}
