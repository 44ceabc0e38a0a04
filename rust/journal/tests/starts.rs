//! Numbers from outside: a slot is found where the record of a key begins, and nowhere else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod directory;

use std::collections::BTreeSet;

use crdtstats_journal::{Generation, Journal, Side, Slot};
use directory::Directory;

#[test]
fn only_the_starts_of_keys_are_slots() {
    let directory = Directory::new();
    let mut journal = Journal::create(directory.path(), "replica", Generation([7; 16]), 1).unwrap();
    assert_eq!(
        journal.slot_from_units(512),
        None,
        "the first record is not there yet"
    );

    let mut slots = BTreeSet::new();
    for n in 0..300 {
        let slot = journal
            .find_or_insert(format!("key/{}", "x".repeat(n % 40) + &n.to_string()).as_bytes())
            .unwrap();
        slots.insert(slot);
        if n % 50 == 0 {
            // Records of cursors and of intents lie between those of keys.
            let cursor = format!("cursor {n}");
            journal
                .add_batch(&[(slot, 1, 0)], Some((&cursor, 1)))
                .unwrap();
        }
    }

    let end = u32::try_from(journal.used_bytes() / 8).unwrap();
    let found: BTreeSet<Slot> = (0..end + 1000)
        .filter_map(|units| journal.slot_from_units(units))
        .collect();
    assert_eq!(found, slots);
    assert_eq!(journal.slot_from_units(u32::MAX), None);
}

#[test]
fn a_key_whose_text_looks_like_a_record_is_one_slot() {
    let directory = Directory::new();
    let mut journal = Journal::create(directory.path(), "replica", Generation([7; 16]), 1).unwrap();
    // Counts of 1 and 0, then a word with the length 1 and the kind "key", then text.
    let record = "\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0k\0\0\0\0\0\0\0";
    let slot = journal.find_or_insert(record.repeat(3).as_bytes()).unwrap();
    let found: Vec<Slot> = (0..10_000)
        .filter_map(|units| journal.slot_from_units(units))
        .collect();
    assert_eq!(found, [slot]);
    journal.add(slot, Side::Incr, 1).unwrap();
    assert_eq!(journal.read(slot), (1, 0));
}
