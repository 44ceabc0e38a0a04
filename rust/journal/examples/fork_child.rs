//! A fork of a counting process neither keeps the journal's lock nor disturbs it. Started by `tests/fork.rs`.
//!
//! `fork_child DIRECTORY`: the child does what a fork handler does (closes the descriptor), drops what it inherited,
//! prints "child" and its process id, and lives on; the parent counts once more and then dies by SIGKILL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "driven by a test, which wants to see the panic"
)]

use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crdtstats_journal::{Generation, Journal, JournalError, Side};
use rustix::process::{Signal, getpid, kill_process};

unsafe extern "C" {
    fn fork() -> i32;
}

/// The child ends by itself, whatever becomes of the test.
const CHILD_LIFE: Duration = Duration::from_secs(10);

/// So many keys make a journal that has a bringer's thread.
const LARGE: usize = 100_000;

fn main() {
    let directory = std::env::args_os()
        .nth(1)
        .expect("usage: fork_child DIRECTORY");
    let open = |number| {
        Journal::create(Path::new(&directory), "me", Generation([number; 16]), 1).expect("create")
    };
    let (mut journal, mut other) = (open(1), open(2));
    for i in 0..LARGE {
        let key = format!("large/{i}");
        other.find_or_insert(key.as_bytes()).expect("insert");
    }
    let slot = journal.find_or_insert(b"a").expect("insert");
    journal.add(slot, Side::Incr, 1).expect("add");
    // SAFETY: the only other thread is the bringer of a journal, and the child waits for nothing of it.
    if unsafe { fork() } == 0 {
        for journal in [&journal, &other] {
            // SAFETY: the fork handler's part: in the child nobody else closes it.
            drop(unsafe { OwnedFd::from_raw_fd(journal.raw_fd()) });
        }
        // Files of the child get the numbers that were just closed: dropping must not close those.
        let mine = std::fs::File::open("/proc/self/status").expect("open");
        let view = journal.slots();
        assert!(matches!(other.remove(), Err(JournalError::Forked { .. })));
        drop((journal, view));
        assert!(mine.metadata().is_ok(), "the child's own file was closed");
        println!("child {}", getpid().as_raw_nonzero());
        std::io::stdout().flush().expect("flush");
        std::thread::sleep(CHILD_LIFE);
        return;
    }
    std::thread::sleep(Duration::from_millis(300));
    journal.add(slot, Side::Incr, 1).expect("add");
    for i in 0..10_000 {
        journal
            .find_or_insert(format!("grow/{i}").as_bytes())
            .expect("insert");
    }
    kill_process(getpid(), Signal::KILL).expect("die");
}
