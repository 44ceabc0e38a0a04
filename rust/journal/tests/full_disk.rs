//! A full disk: a tmpfs of 8 MiB in its own mount namespace, filled by `examples/fill_disk.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod directory;
mod example;

use std::process::Command;

use directory::Directory;

#[test]
fn a_full_disk_is_an_error_at_the_call_and_nothing_else() {
    let directory = Directory::new();
    let allowed = Command::new("unshare").args(["-rm", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "SKIPPED a_full_disk_is_an_error_at_the_call_and_nothing_else: unshare -rm is not allowed here"
        );
        return;
    }
    let script = r#"mount -t tmpfs -o size=8m none "$1" && exec timeout 60 "$2" "$1""#;
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(example::path("fill_disk"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("ok"), "{said}");
}
