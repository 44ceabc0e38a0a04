//! Fills the file system of a directory with a journal and checks that a full disk is an error and nothing else.
//!
//! `fill_disk DIRECTORY`: exits 0 and prints "ok" when everything held. Run by `tests/full_disk.rs` on a small tmpfs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "driven by a test, which wants to see the panic"
)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crdtstats_journal::{Generation, Journal, JournalError, Leftover, Row, Side, Slot};

fn main() {
    let directory = std::env::args_os()
        .nth(1)
        .expect("usage: fill_disk DIRECTORY");
    let directory = Path::new(&directory);
    let mut journal = Journal::create(directory, "me", Generation([1; 16]), 1).expect("create");
    let (mut slots, mut ordinals) = (Vec::<Slot>::new(), Vec::new());
    // Until the disk is full.
    let refused = loop {
        let key = format!("key/{}/{}", slots.len(), "x".repeat(200));
        match journal.find_or_insert(key.as_bytes()) {
            Ok(slot) => {
                journal.add(slot, Side::Incr, 1).expect("add");
                if slots.is_empty() {
                    journal.ordinals_of(&[slot], &mut ordinals).expect("a lane");
                }
                slots.push(slot);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, JournalError::Full { .. }), "{refused}");
    assert!(slots.len() > 10_000, "{} keys only", slots.len());
    // What is left of the disk goes too: stores into reserved blocks must not need any.
    let mut filler = File::create(directory.join("filler")).expect("filler");
    while filler.write_all(&[1; 4096]).is_ok() {}
    // Keys that are there go on counting; new ones and larger intents are refused, with nothing counted.
    for slot in &slots {
        journal
            .add(*slot, Side::Decr, 2)
            .expect("add on a full disk");
    }
    // So do ordinals, until their lane is full.
    ordinals.clear();
    let got = journal.ordinals_of(&slots, &mut ordinals);
    assert!(matches!(got, Err(JournalError::Full { .. })), "{got:?}");
    assert_eq!(ordinals.len(), journal.ordinals());
    assert!(ordinals.len() > 8000, "{} ordinals only", ordinals.len());
    let rows: Vec<Row> = ordinals.iter().map(|at| Row::new(*at, 1)).collect();
    journal.add_rows(&rows, 0..rows.len());
    let batch: Vec<_> = slots.iter().map(|slot| (*slot, 5, 5)).collect();
    let got = journal.add_batch(&batch, Some(("log", 1)));
    assert!(matches!(got, Err(JournalError::Full { .. })), "{got:?}");
    assert_eq!(journal.cursor("log"), None);
    let incr_of = |n: usize| 1 + u64::from(n < ordinals.len());
    let mut counted = slots.iter().enumerate();
    assert!(counted.all(|(n, slot)| journal.read(*slot) == (incr_of(n), 2)));
    assert!(matches!(
        journal.reserve(100_000, 10_000_000),
        Err(JournalError::Full { .. })
    ));
    let none = Journal::create(directory, "me", Generation([2; 16]), 1);
    assert!(matches!(none, Err(JournalError::Full { .. })), "{none:?}");
    // Space again: it goes on.
    drop(filler);
    fs::remove_file(directory.join("filler")).expect("remove the filler");
    let free = directory.join("free");
    journal
        .add_batch(&batch, None)
        .expect("a batch without an intent needs no space");
    assert!(!free.exists());
    let path = journal.abandon().expect("abandon");
    let leftover = Leftover::open(&path).expect("recover");
    let mut found = 0;
    for entry in leftover.entries() {
        let entry = entry.expect("entry");
        let incr = incr_of(found) + 5;
        assert_eq!((entry.incr, entry.decr), (incr, 7), "{}", entry.key);
        found += 1;
    }
    assert_eq!(found, slots.len());
    leftover.remove().expect("remove");
    let names = fs::read_dir(directory).expect("list").count();
    assert_eq!(names, 0, "files left over");
    println!("ok");
}
