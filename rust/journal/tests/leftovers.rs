//! What is left of journals: files, locks, damage.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod directory;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;

use crdtstats_journal::{Generation, Journal, JournalError, Leftover, Side, leftovers};
use directory::Directory;

const ONE: Generation = Generation([0xab; 16]);

fn create(directory: &Directory) -> Journal {
    Journal::create(directory.path(), "replica", ONE, 5).unwrap()
}

fn counts(leftover: &Leftover) -> BTreeMap<String, (u64, u64)> {
    let entries = leftover.entries().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.key, (entry.incr, entry.decr)))
        .collect()
}

#[test]
fn a_live_journal_is_no_leftover_and_an_abandoned_one_is() {
    let directory = Directory::new();
    assert!(
        leftovers(&directory.path().join("missing"))
            .unwrap()
            .is_empty()
    );
    let journal = create(&directory);
    let view = journal.slots();
    assert!(journal.path().ends_with(format!("{ONE}.journal")));
    assert_eq!(ONE.to_string(), "ab".repeat(16));
    assert!(leftovers(directory.path()).unwrap().is_empty());
    assert!(matches!(
        Leftover::open(journal.path()),
        Err(JournalError::Locked { .. })
    ));
    // The generation is taken.
    assert!(Journal::create(directory.path(), "replica", ONE, 5).is_err());
    let path = journal.abandon().unwrap();
    let leftover = Leftover::open(&path).unwrap();
    assert!(matches!(
        Leftover::open(&path),
        Err(JournalError::Locked { .. })
    ));
    leftover.remove().unwrap();
    assert!(matches!(
        Leftover::open(&path),
        Err(JournalError::Gone { .. })
    ));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    drop(view);
}

#[test]
fn what_a_dead_maker_left_is_removed_and_foreign_files_are_not() {
    let directory = Directory::new();
    let names = ["x.journal-tmp", "notes.txt", "y.journal.damaged"];
    for name in names {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    fs::create_dir(directory.path().join("z.journal")).unwrap();
    assert!(leftovers(directory.path()).unwrap().is_empty());
    assert!(!directory.path().join(names[0]).exists());
    assert!(directory.path().join(names[1]).exists() && directory.path().join(names[2]).exists());
}

#[test]
fn a_damaged_header_is_set_aside_and_a_later_format_is_left_alone() {
    let directory = Directory::new();
    let make = || {
        let mut journal = create(&directory);
        let slot = journal.find_or_insert(b"a").unwrap();
        journal.add(slot, Side::Incr, 1).unwrap();
        journal.abandon().unwrap()
    };
    for round in 0..3 {
        let path = make();
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .write_all_at(b"?", 40)
            .unwrap();
        let Err(JournalError::Damaged { aside, .. }) = Leftover::open(&path) else {
            panic!("round {round}");
        };
        assert!(
            aside.exists() && !path.exists() && leftovers(directory.path()).unwrap().is_empty()
        );
    }
    for short in [0, 1, 4095] {
        let path = make();
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(short)
            .unwrap();
        assert!(matches!(
            Leftover::open(&path),
            Err(JournalError::Damaged { .. })
        ));
    }
    // One of a newer release, and one whose records had another form.
    for other in [4u8, 1] {
        let path = make();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[other], 8).unwrap();
        let before = fs::read(&path).unwrap();
        assert!(matches!(
            Leftover::open(&path),
            Err(JournalError::Version { version, .. }) if version == u32::from(other)
        ));
        assert_eq!(fs::read(&path).unwrap(), before);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn the_header_tells_what_was_noted_and_a_copy_loses_belief() {
    let directory = Directory::new();
    let mut journal = create(&directory);
    let slot = journal.find_or_insert(b"a").unwrap();
    journal
        .add_batch(&[(slot, 3, 1)], Some(("orders", 12)))
        .unwrap();
    journal.note_flushed([9; 16], 77);
    journal.sync().unwrap();
    let path = journal.abandon().unwrap();
    let copy = directory.path().join("copy.journal");
    fs::copy(&path, &copy).unwrap();
    for (path, believed) in [(&path, true), (&copy, false)] {
        let leftover = Leftover::open(path).unwrap();
        assert_eq!(
            (leftover.replica(), leftover.generation()),
            ("replica", ONE)
        );
        assert_eq!(leftover.section_sequence(), ([9; 16], 77));
        assert_eq!(leftover.cursors(), [("orders".to_owned(), 12)]);
        assert_eq!(
            counts(&leftover),
            BTreeMap::from([("a".to_owned(), (3, 1))])
        );
        assert_eq!(leftover.cursors_believed(), believed);
    }
}

#[test]
fn a_file_cut_anywhere_is_read_up_to_there() {
    let directory = Directory::new();
    let mut journal = create(&directory);
    let mut ends = Vec::new();
    for i in 0..200u64 {
        let slot = journal
            .find_or_insert(format!("key/{i}").as_bytes())
            .unwrap();
        journal.add(slot, Side::Incr, i + 1).unwrap();
        ends.push(journal.used_bytes());
    }
    let bytes = fs::read(journal.path()).unwrap();
    let cut = directory.path().join("cut.journal");
    for length in 4096..ends[199] + 8 {
        fs::write(&cut, &bytes[..length as usize]).unwrap();
        let found = Leftover::open(&cut).unwrap().entries().count();
        let whole = ends.iter().filter(|end| **end <= length).count();
        assert_eq!(found, whole, "{length}");
    }
}
