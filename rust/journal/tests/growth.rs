//! A journal that grows beyond what its writer does alone: a bringer brings pages and tables, a filter tells new keys.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod directory;

use crdtstats_journal::{Dirty, Generation, Journal, Leftover, Side, Slot};
use directory::Directory;

fn key(n: usize) -> String {
    format!("site/{:03}/views-{n:07}", n % 1000)
}

fn count(journal: &mut Journal, n: usize) -> Slot {
    let key = key(n);
    let hash = journal.hash(key.as_bytes());
    match journal.find_unless_new(hash, key.as_bytes()) {
        Some(slot) => {
            journal.add(slot, Side::Incr, 1).unwrap();
            slot
        }
        None => {
            let born = journal.insert_counted(hash, &key, (Side::Incr, 1), 0);
            born.unwrap().0
        }
    }
}

#[test]
fn every_key_is_found_again_at_once_and_later_and_after_death() {
    const KEYS: usize = 300_000;
    let directory = Directory::new();
    let mut journal = Journal::create(directory.path(), "me", Generation([1; 16]), 1).unwrap();
    let mut slots = Vec::new();
    for n in 0..KEYS {
        slots.push(count(&mut journal, n));
        // One that still waits for its place in the table, and older ones.
        for known in [n, n - n % 7, n / 2, n / 3] {
            if n % 5 == 0 {
                assert_eq!(count(&mut journal, known), slots[known]);
            }
        }
    }
    assert_eq!(journal.len(), KEYS);
    let found = (0..KEYS).map(|n| journal.find(key(n).as_bytes()));
    assert!(found.eq(slots.iter().map(|slot| Some(*slot))));
    assert_eq!(journal.find(b"site/000/views"), None);

    let (mut taken, mut read) = (Vec::new(), Vec::<Dirty>::new());
    while !journal.is_clean() {
        journal.take_dirty(1, &mut taken);
    }
    assert_eq!(taken, slots);
    journal.read_dirty(&taken, &mut read);
    let total: u64 = read.iter().map(|dirty| dirty.incr).sum();
    assert_eq!(total as usize, KEYS + KEYS.div_ceil(5) * 4);
    let mut unread = Vec::new();
    while !journal.is_read() {
        journal.take_unread(&mut unread);
    }
    assert!(unread.iter().map(|unread| unread.slot).eq(slots));
    let moved: i128 = unread.iter().map(|unread| unread.moved()).sum();
    assert_eq!(moved, i128::from(total));

    let leftover = Leftover::open(&journal.abandon().unwrap()).unwrap();
    let entries = leftover.entries().map(|entry| entry.unwrap());
    let found = entries.enumerate().map(|(n, entry)| {
        assert_eq!(entry.key, key(n));
        entry.incr
    });
    assert_eq!(found.sum::<u64>(), total);
}

#[test]
fn a_journal_goes_while_its_bringer_works() {
    let directory = Directory::new();
    for round in 0u8..20 {
        let generation = Generation([round; 16]);
        let mut journal = Journal::create(directory.path(), "me", generation, 1).unwrap();
        for n in 0..40_000 + usize::from(round) * 1000 {
            count(&mut journal, n);
        }
        let view = journal.slots();
        let slot = journal.find(key(0).as_bytes()).unwrap();
        if round % 2 == 0 {
            journal.remove().unwrap();
        } else {
            drop(journal);
        }
        assert_eq!(view.read(slot), (1, 0));
    }
}
