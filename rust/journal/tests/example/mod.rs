//! Where cargo has put the examples that tests start as processes of their own.

use std::path::PathBuf;

pub fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .parent()
        .and_then(|deps| deps.parent())
        .unwrap()
        .join("examples")
        .join(name);
    assert!(
        path.exists(),
        "no {}: run `cargo test -p crdtstats-journal`, which builds examples",
        path.display()
    );
    path
}
