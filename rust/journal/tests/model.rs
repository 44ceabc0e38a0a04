//! The journal against a map, growth, what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod directory;

use std::collections::BTreeMap;

use arbtest::arbitrary::Unstructured;
use arbtest::arbtest;
use crdtstats_journal::{
    AddError, Generation, Journal, JournalError, KEY_BYTES_MAX, Leftover, Side, Slot,
};
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

#[derive(Default)]
struct Model {
    counts: BTreeMap<String, (u64, u64)>,
    cursors: BTreeMap<String, u64>,
    /// Which sides moved since it was taken off the list.
    dirty: BTreeMap<Slot, (bool, bool)>,
    /// The counts before it came onto the list.
    unread: BTreeMap<Slot, (u64, u64)>,
    notes: BTreeMap<Slot, (u32, bool)>,
}

impl Model {
    fn move_slot(&mut self, slot: Slot, before: (u64, u64), sides: (bool, bool)) {
        if sides == (false, false) {
            return;
        }
        let dirty = self.dirty.entry(slot).or_default();
        *dirty = (dirty.0 | sides.0, dirty.1 | sides.1);
        self.unread.entry(slot).or_insert(before);
    }
}

/// Few keys, so that they repeat; of all lengths, so that tails and page borders are met.
fn key(u: &mut Unstructured<'_>) -> arbtest::arbitrary::Result<String> {
    let number = u.int_in_range(0..=60usize)?;
    let filling = if number % 20 == 0 { 3000 } else { number };
    Ok(format!("k{number}/{}", "x".repeat(filling)))
}

/// Mostly small amounts, now and then one that overflows soon.
fn amount(u: &mut Unstructured<'_>) -> arbtest::arbitrary::Result<u64> {
    Ok(match u.int_in_range(0..=9)? {
        0 => u64::MAX / 3,
        1 => u64::MAX,
        _ => u.int_in_range(0..=5)?,
    })
}

/// A new key that is counted on as it is inserted.
fn born(journal: &mut Journal, model: &mut Model, key: &str, n: u64, is_incr: bool) {
    let side = if is_incr { Side::Incr } else { Side::Decr };
    let hash = journal.hash(key.as_bytes());
    let was_clean = model.dirty.is_empty();
    let (slot, is_first) = journal.insert_counted(hash, key, (side, n), 3).unwrap();
    assert_eq!(is_first, was_clean && n > 0);
    assert_eq!(
        (journal.find(key.as_bytes()), journal.key(slot)),
        (Some(slot), key)
    );
    assert!(journal.has_mark(slot, 3));
    let held = if is_incr { (n, 0) } else { (0, n) };
    assert_eq!(journal.read(slot), held);
    model.move_slot(slot, (0, 0), (n > 0 && is_incr, n > 0 && !is_incr));
    model.counts.insert(key.to_owned(), held);
}

fn step(
    u: &mut Unstructured<'_>,
    journal: &mut Journal,
    model: &mut Model,
) -> arbtest::arbitrary::Result<()> {
    match u.int_in_range(0..=9)? {
        0..=3 => {
            let (key, n, is_incr) = (key(u)?, amount(u)?, u.arbitrary::<bool>()?);
            let hash = journal.hash(key.as_bytes());
            let known = journal.find_unless_new(hash, key.as_bytes());
            assert_eq!(known, journal.find(key.as_bytes()));
            if known.is_none() && u.arbitrary()? {
                born(journal, model, &key, n, is_incr);
                return Ok(());
            }
            let slot = journal.find_or_insert(key.as_bytes()).unwrap();
            assert_eq!(
                (journal.find(key.as_bytes()), journal.key(slot)),
                (Some(slot), key.as_str())
            );
            let mut held = model.counts.get(&key).copied().unwrap_or_default();
            let before = held;
            let side = if is_incr { Side::Incr } else { Side::Decr };
            let word = if is_incr { &mut held.0 } else { &mut held.1 };
            let got = journal.add(slot, side, n);
            match word.checked_add(n) {
                Some(sum) => {
                    *word = sum;
                    let was_clean = model.dirty.is_empty();
                    let sides = (n > 0 && is_incr, n > 0 && !is_incr);
                    model.move_slot(slot, before, sides);
                    assert_eq!(got, Ok(was_clean && n > 0));
                }
                None => assert_eq!(got, Err(AddError::Overflow)),
            }
            model.counts.insert(key.clone(), held);
            assert_eq!(journal.read(slot), held);
            assert_eq!(journal.slots().read(slot), held);
            let mut text = Vec::new();
            journal.slots().copy_key(slot, &mut text);
            assert_eq!(text, key.as_bytes());
        }
        4..=6 => {
            let count = u.int_in_range(0..=100usize)?;
            let mut rows = Vec::new();
            for _ in 0..count {
                rows.push((
                    key(u)?,
                    u.int_in_range(0..=3u64)?,
                    u.int_in_range(0..=3u64)?,
                ));
            }
            if u.ratio(1, 4)? {
                rows.push((key(u)?, amount(u)?, amount(u)?));
            }
            let keys: Vec<&[u8]> = rows.iter().map(|row| row.0.as_bytes()).collect();
            let mut slots = Vec::new();
            journal.find_or_insert_all(&keys, &mut slots).unwrap();
            let batch: Vec<_> = slots
                .iter()
                .zip(&rows)
                .map(|(slot, row)| (*slot, row.1, row.2))
                .collect();
            let name = format!("cursor{}", u.int_in_range(0..=2)?);
            let cursor = if u.arbitrary()? {
                Some((name.as_str(), u.int_in_range(0..=40u64)?))
            } else {
                None
            };
            let got = journal.add_batch(&batch, cursor);
            let mut next = model.counts.clone();
            let fits = rows.iter().all(|(key, incr, decr)| {
                let held = next.entry(key.clone()).or_default();
                match (held.0.checked_add(*incr), held.1.checked_add(*decr)) {
                    (Some(incr), Some(decr)) => {
                        *held = (incr, decr);
                        true
                    }
                    _ => false,
                }
            });
            let is_behind = cursor.is_some_and(|(name, position)| {
                model
                    .cursors
                    .get(name)
                    .is_some_and(|held| position <= *held)
            });
            match got {
                Ok(()) => {
                    assert!(fits && !is_behind);
                    let before = std::mem::replace(&mut model.counts, next);
                    if let Some((name, position)) = cursor {
                        model.cursors.insert(name.to_owned(), position);
                    }
                    for ((slot, incr, decr), (key, _, _)) in batch.iter().zip(&rows) {
                        let before = before.get(key).copied().unwrap_or_default();
                        model.move_slot(*slot, before, (*incr > 0, *decr > 0));
                    }
                }
                Err(JournalError::Overflow { .. }) => assert!(!fits),
                Err(JournalError::CursorBehind { .. }) => assert!(is_behind),
                Err(error) => panic!("{error}"),
            }
        }
        7 => {
            let (mut slots, mut taken) = (Vec::new(), Vec::new());
            journal.take_dirty(u.int_in_range(0..=40)?, &mut slots);
            // What moves between taking and reading is in what is read, and is not listed a second time.
            let listed = journal.dirty_len();
            if let Some(&slot) = slots.first() {
                let held = model.counts.get_mut(journal.key(slot)).unwrap();
                let before = *held;
                if journal.add(slot, Side::Incr, 1).is_ok() {
                    held.0 += 1;
                    model.move_slot(slot, before, (true, false));
                }
            }
            assert_eq!(journal.dirty_len(), listed);
            journal.read_dirty(&slots, &mut taken);
            assert!(taken.iter().map(|dirty| dirty.slot).eq(slots));
            for dirty in &taken {
                assert_eq!(model.dirty.remove(&dirty.slot), Some(dirty.sides));
                assert_eq!(journal.read(dirty.slot), (dirty.incr, dirty.decr));
            }
            if u.arbitrary()? {
                for dirty in taken {
                    journal.mark_dirty(&dirty);
                    model.dirty.insert(dirty.slot, dirty.sides);
                }
            }
        }
        8 => {
            let mut taken = Vec::new();
            journal.take_unread(&mut taken);
            for unread in taken {
                assert_eq!(model.unread.remove(&unread.slot), Some(unread.before));
                assert_eq!(journal.read(unread.slot), unread.now);
                let note = model.notes.get(&unread.slot).copied();
                assert_eq!(unread.note, note.map_or(0, |(note, _)| note));
                let note = (u.arbitrary::<u32>()?, u.arbitrary::<bool>()?);
                journal.set_note(unread.slot, note.0, note.1);
                model.notes.insert(unread.slot, note);
            }
        }
        _ => {
            for (key, held) in &model.counts {
                let slot = journal.find(key.as_bytes()).unwrap();
                assert_eq!(journal.read(slot), *held);
                let (note, sole) = model.notes.get(&slot).copied().unwrap_or_default();
                assert_eq!(journal.note(slot), note);
                assert_eq!(journal.read_sole(slot), sole.then_some(*held));
                assert_eq!(journal.is_unread(slot), model.unread.contains_key(&slot));
            }
        }
    }
    assert_eq!(
        (journal.dirty_len(), journal.unread_len()),
        (model.dirty.len(), model.unread.len())
    );
    let cursors: Vec<_> = model.cursors.clone().into_iter().collect();
    assert_eq!(journal.cursors(), cursors);
    Ok(())
}

#[test]
fn it_counts_as_a_map_does_and_recovers_the_same() {
    arbtest(|u| {
        let directory = Directory::new();
        let (mut journal, mut model) = (create(&directory), Model::default());
        while !u.is_empty() {
            step(u, &mut journal, &mut model)?;
        }
        let leftover = Leftover::open(&journal.abandon().unwrap()).unwrap();
        model.counts.retain(|_, held| *held != (0, 0));
        assert_eq!(counts(&leftover), model.counts);
        assert_eq!(
            leftover.cursors(),
            model.cursors.into_iter().collect::<Vec<_>>()
        );
        assert!(leftover.cursors_believed());
        assert_eq!(leftover.dropped(), crdtstats_journal::Dropped::default());
        Ok(())
    })
    .budget_ms(4_000);
}

#[test]
fn slots_stay_where_they_are_while_the_file_grows() {
    let directory = Directory::new();
    let mut journal = create(&directory);
    let view = journal.slots();
    let first = journal.find_or_insert(b"first").unwrap();
    journal.add(first, Side::Decr, 7).unwrap();
    let reader = std::thread::spawn(move || {
        let mut last = 0;
        while last < 200_000 {
            let (incr, decr) = view.read(first);
            assert!(incr >= last && decr == 7);
            last = incr;
            std::thread::yield_now();
        }
    });
    for i in 0..200_000u64 {
        let slot = journal
            .find_or_insert(format!("key/{i}").as_bytes())
            .unwrap();
        journal.add(slot, Side::Incr, i).unwrap();
        journal.add(first, Side::Incr, 1).unwrap();
    }
    reader.join().unwrap();
    assert_eq!(journal.len(), 200_001);
    for i in 0..200_000u64 {
        let slot = journal.find(format!("key/{i}").as_bytes()).unwrap();
        assert_eq!(journal.read(slot), (i, 0));
    }
    assert!(journal.find(b"key/200000").is_none());
    // Growth is proportional: at most half as much again is reserved.
    assert!(journal.allocated_bytes() < journal.used_bytes() * 8 / 5);
    let leftover = Leftover::open(&journal.abandon().unwrap()).unwrap();
    assert_eq!(leftover.entries().count(), 200_000); // key/0 counted nothing
}

#[test]
fn keys_and_names_that_no_record_can_hold_are_refused() {
    let directory = Directory::new();
    let mut journal = create(&directory);
    let longest = "k".repeat(KEY_BYTES_MAX);
    let longer = "k".repeat(KEY_BYTES_MAX + 1);
    for bad in [b"".as_slice(), b"\xff", longer.as_bytes()] {
        assert!(matches!(
            journal.find_or_insert(bad),
            Err(JournalError::Key { .. })
        ));
    }
    let slot = journal.find_or_insert(longest.as_bytes()).unwrap();
    for name in ["", &"n".repeat(256)] {
        let got = journal.add_batch(&[(slot, 1, 0)], Some((name, 1)));
        assert!(matches!(got, Err(JournalError::CursorName { .. })));
    }
    assert_eq!(journal.read(slot), (0, 0));
    journal
        .add_batch(&[(slot, 1, 0)], Some((&"n".repeat(255), 0)))
        .unwrap();
    let leftover = Leftover::open(&journal.abandon().unwrap()).unwrap();
    assert_eq!(counts(&leftover), BTreeMap::from([(longest, (1, 0))]));
    assert_eq!(leftover.cursors(), [("n".repeat(255), 0)]);
}

#[test]
fn a_slot_of_another_journal_is_refused_where_it_can_be_told() {
    let directory = Directory::new();
    let mut large = create(&directory);
    let mut small = Journal::create(directory.path(), "replica", Generation([1; 16]), 5).unwrap();
    let mut foreign = Vec::new();
    for i in 0..10_000 {
        foreign.push(large.find_or_insert(format!("key/{i}").as_bytes()).unwrap());
    }
    let last = *foreign.last().unwrap();
    assert_eq!(small.add(last, Side::Incr, 1), Err(AddError::ForeignSlot));
    assert!(matches!(
        small.add_batch(&[(last, 1, 1)], None),
        Err(JournalError::ForeignSlot)
    ));
    assert!(matches!(
        small.add_batch(&[(last, 1, 1)], Some(("c", 1))),
        Err(JournalError::ForeignSlot)
    ));
    assert_eq!(
        (small.read(last), small.key(last), small.slots().read(last)),
        ((0, 0), "", (0, 0))
    );
}
