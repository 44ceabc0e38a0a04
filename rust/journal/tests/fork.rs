//! fork(): see `examples/fork_child.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod directory;
mod example;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crdtstats_journal::{Entry, Leftover, leftovers};
use directory::Directory;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

#[test]
fn a_fork_neither_keeps_the_lock_nor_disturbs_its_parent() {
    let directory = Directory::new();
    let mut parent = Command::new(example::path("fork_child"))
        .arg(directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(parent.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    parent.wait().unwrap();
    let child = said
        .trim()
        .strip_prefix("child ")
        .expect("the child did not come to its end");
    let child = Pid::from_raw(child.parse().unwrap()).unwrap();
    assert!(test_kill_process(child).is_ok(), "the child lives");
    let paths = leftovers(directory.path()).unwrap();
    assert_eq!(paths.len(), 2);
    let leftover = Leftover::open(&paths[0]).unwrap();
    let entries: Vec<Entry> = leftover.entries().map(|entry| entry.unwrap()).collect();
    assert_eq!(
        entries,
        [Entry {
            key: "a".to_owned(),
            incr: 2,
            decr: 0
        }]
    );
    kill_process(child, Signal::KILL).unwrap();
}
