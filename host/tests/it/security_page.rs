// SPDX-License-Identifier: MIT OR Apache-2.0
//! That the tests which `docs/security.md` names exist.

use std::fs;
use std::path::Path;

/// Returns whether `folder` has the module `module` with the function `test`, or with any if that is `*`.
fn has(folder: &Path, module: &str, test: &str) -> bool {
    let Ok(text) = fs::read_to_string(folder.join(module).with_extension("rs")) else {
        return false;
    };
    test == "*" || text.contains(&format!("fn {test}("))
}

#[test]
fn every_test_that_is_named_exists() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(package.join("../docs/security.md")).unwrap();
    let folders = ["tests/it", "tests/system", "tests/channel", "src/server"];
    let mut count = 0;
    // What is between two backticks is every other piece.
    for name in page.split('`').skip(1).step_by(2) {
        let Some((module, test)) = name.split_once("::") else {
            continue;
        };
        // `Peer::ring` and the like are no tests.
        if module.starts_with(char::is_uppercase) {
            continue;
        }
        let test = test.strip_prefix("tests::").unwrap_or(test);
        assert!(
            folders
                .iter()
                .any(|folder| has(&package.join(folder), module, test)),
            "{name} is named, but there is no such test"
        );
        count += 1;
    }
    assert!(count > 20, "{count}");
}
