//! Death between any two stores: the map loses every store after a given number, as a killed process would.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{Generation, Journal, JournalError, Leftover, Row, Side};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("crdtstats-journal-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Found = (BTreeMap<String, (u64, u64)>, Vec<(String, u64)>);

/// Runs `work` on a fresh journal that dies after `stores` stores; gives what recovery finds, and whether it died.
fn die_after(directory: &Directory, stores: u64, work: impl Fn(&mut Journal)) -> (Found, bool) {
    let mut journal = Journal::create(&directory.0, "me", Generation([3; 16]), 1).unwrap();
    journal.map.stores_left.set(stores);
    work(&mut journal);
    let died = journal.map.stores_left.get() == 0;
    let leftover = Leftover::open(&journal.abandon().unwrap()).unwrap();
    assert!(leftover.cursors_believed());
    assert_eq!(leftover.dropped().intents, 0, "a kill tears no intent");
    let entries = leftover.entries().map(|entry| entry.unwrap());
    let found = entries
        .map(|entry| (entry.key, (entry.incr, entry.decr)))
        .collect();
    let cursors = leftover.cursors();
    leftover.remove().unwrap();
    ((found, cursors), died)
}

fn batch(journal: &mut Journal, keys: &[&str], amount: u64, position: u64) {
    let slots: Vec<_> = keys
        .iter()
        .map(|key| journal.find_or_insert(key.as_bytes()).unwrap())
        .collect();
    let rows: Vec<_> = slots
        .iter()
        .map(|slot| (*slot, amount, 2 * amount))
        .collect();
    // Once dead, a journal does not find its own records: refused is right then.
    let done = journal.add_batch(&rows, Some(("orders", position)));
    assert!(done.is_ok() || journal.map.stores_left.get() == 0);
}

#[test]
fn a_batch_and_its_cursor_move_whole_wherever_death_strikes() {
    let directory = Directory::new("batch");
    let many: Vec<String> = (0..100).map(|i| format!("many/{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let work = |journal: &mut Journal| {
        batch(journal, &["a", "b/c", "a"], 1, 10);
        batch(journal, &["b/c", "d"], 10, 20);
        batch(journal, &many, 100, 30); // needs a larger intent
        batch(journal, &["a", "d"], 1000, 40);
    };
    let (mut seen, mut stores) = (BTreeMap::new(), 0);
    loop {
        let ((counts, cursors), died) = die_after(&directory, stores, work);
        let position = cursors.first().map_or(0, |(_, position)| *position);
        let count = |key: &str| counts.get(key).copied().unwrap_or((0, 0));
        let expected = |list: &[(u64, u64)]| {
            let sum = list
                .iter()
                .filter(|(at, _)| *at <= position)
                .map(|(_, amount)| amount)
                .sum::<u64>();
            (sum, 2 * sum)
        };
        assert_eq!(
            count("a"),
            expected(&[(10, 2), (40, 1000)]),
            "after {stores} stores"
        );
        assert_eq!(
            count("b/c"),
            expected(&[(10, 1), (20, 10)]),
            "after {stores} stores"
        );
        assert_eq!(
            count("d"),
            expected(&[(20, 10), (40, 1000)]),
            "after {stores} stores"
        );
        for key in &many {
            assert_eq!(count(key), expected(&[(30, 100)]), "after {stores} stores");
        }
        *seen.entry(position).or_insert(0) += 1;
        if !died {
            break;
        }
        stores += 1;
    }
    assert_eq!(
        seen.keys().copied().collect::<Vec<_>>(),
        [0, 10, 20, 30, 40]
    );
    assert!(stores > 500, "{stores}");
}

#[test]
fn a_key_is_born_with_its_count_or_not_at_all() {
    let directory = Directory::new("born");
    let keys = [
        "x",
        "four",
        "eight888",
        "a longer key/with parts",
        "ünï/çode",
    ];
    let work = |journal: &mut Journal| {
        for (n, key) in keys.iter().enumerate() {
            let side = if n % 2 == 0 { Side::Incr } else { Side::Decr };
            let hash = journal.hash(key.as_bytes());
            journal
                .insert_counted(hash, key, (side, 7 + n as u64), 5)
                .unwrap();
        }
    };
    let mut stores = 0;
    loop {
        let ((counts, _), died) = die_after(&directory, stores, work);
        for (n, key) in keys.iter().enumerate() {
            let count = 7 + n as u64;
            let whole = if n % 2 == 0 { (count, 0) } else { (0, count) };
            let is_born = n < counts.len();
            let expected = is_born.then_some(&whole);
            assert_eq!(counts.get(*key), expected, "after {stores} stores");
        }
        if !died {
            break;
        }
        stores += 1;
    }
    assert!(stores > 15, "{stores}");
}

#[test]
fn single_counts_are_there_up_to_the_store_that_was_last() {
    let directory = Directory::new("single");
    let work = |journal: &mut Journal| {
        for round in 1..=3u64 {
            for key in ["x", "a longer key/with parts", "ünï/çode"] {
                let slot = journal.find_or_insert(key.as_bytes()).unwrap();
                for (side, amount) in [(Side::Incr, round), (Side::Decr, 1)] {
                    let done = journal.add(slot, side, amount);
                    assert!(done.is_ok() || journal.map.stores_left.get() == 0);
                }
            }
        }
    };
    let (mut before, mut stores) = (0, 0);
    loop {
        let ((counts, _), died) = die_after(&directory, stores, work);
        let sum = counts.values().map(|(incr, decr)| incr + decr).sum::<u64>();
        assert!(
            (before..=before + 3).contains(&sum),
            "{before} then {sum} after {stores} stores"
        );
        before = sum;
        if !died {
            break;
        }
        stores += 1;
    }
    assert_eq!(before, 3 * (1 + 2 + 3 + 3));
}

#[test]
fn a_torn_pair_of_section_and_sequence_reads_as_none() {
    let directory = Directory::new("section");
    let pairs = [([1; 16], 7), ([1; 16], 8), ([2; 16], 1)];
    for stores in 0..16 {
        let mut journal = Journal::create(&directory.0, "me", Generation([4; 16]), 1).unwrap();
        journal.map.stores_left.set(stores);
        for (section, sequence) in pairs {
            journal.note_flushed(section, sequence);
        }
        let leftover = Leftover::open(&journal.abandon().unwrap()).unwrap();
        let got = leftover.section_sequence();
        assert!(
            got.1 == 0 || pairs.contains(&got),
            "{got:?} after {stores} stores"
        );
        if stores == 15 {
            assert_eq!(got, pairs[2]);
        }
        leftover.remove().unwrap();
    }
}

#[test]
fn a_refused_batch_leaves_no_trace() {
    let directory = Directory::new("refused");
    let ((counts, cursors), _) = die_after(&directory, u64::MAX, |journal| {
        let (a, b) = (
            journal.find_or_insert(b"a").unwrap(),
            journal.find_or_insert(b"b").unwrap(),
        );
        journal.add(a, Side::Incr, u64::MAX - 5).unwrap();
        for cursor in [None, Some(("c", 1))] {
            let got = journal.add_batch(&[(b, 1, 1), (a, 3, 0), (a, 3, 0)], cursor);
            assert!(matches!(got, Err(JournalError::Overflow { key }) if key == "a"));
        }
        journal
            .add_batch(&[(a, 2, 0), (a, 3, 0)], Some(("c", 2)))
            .unwrap();
        assert!(matches!(
            journal.add_batch(&[(b, 1, 0)], Some(("c", 2))),
            Err(JournalError::CursorBehind {
                held: 2,
                asked: 2,
                ..
            })
        ));
    });
    assert_eq!(counts, BTreeMap::from([("a".to_owned(), (u64::MAX, 0))]));
    assert_eq!(cursors, [("c".to_owned(), 2)]);
}

#[test]
fn counts_of_lanes_are_there_up_to_the_store_that_was_last() {
    let directory = Directory::new("lanes");
    let keys = ["a", "b/c", "d", "e"];
    // What each call adds to each key; one of them with a cursor.
    let calls: [[u64; 4]; 8] = [
        [1, 0, 0, 0],
        [2, 3, 4, 0],
        [0, 5, 0, 6],
        [7, 7, 7, 7],
        [0, 0, 0, 0],
        [1, 1, 1, 1],
        [0, 20, 0, 0],
        [30, 0, 31, 32],
    ];
    let returned = std::cell::Cell::new(0);
    let work = |journal: &mut Journal| {
        returned.set(0);
        let (mut slots, mut ordinals) = (Vec::new(), Vec::new());
        for key in keys {
            slots.extend(journal.find_or_insert(key.as_bytes()));
        }
        for (number, amounts) in calls.iter().enumerate() {
            let some = || slots.iter().zip(amounts).filter(|(_, n)| **n > 0);
            match number {
                0 | 6 => some().for_each(|(slot, n)| {
                    let _ = journal.add(*slot, Side::Incr, *n);
                }),
                3 => {
                    let batch: Vec<_> = some().map(|(slot, n)| (*slot, *n, 0)).collect();
                    let _ = journal.add_batch(&batch, Some(("orders", 1)));
                }
                4 => {
                    let pass = journal.settling();
                    while !journal.settle(&pass) {}
                }
                _ => {
                    ordinals.clear();
                    let _ = journal.ordinals_of(&slots, &mut ordinals);
                    let rows = ordinals.iter().zip(amounts);
                    let rows: Vec<_> = rows.map(|(at, n)| Row::new(*at, *n as i32)).collect();
                    journal.add_rows(&rows, 0..rows.len());
                }
            }
            if journal.map.stores_left.get() > 0 {
                returned.set(number + 1);
            }
        }
    };
    let mut stores = 0;
    loop {
        let ((counts, cursors), died) = die_after(&directory, stores, work);
        let sum = |calls: &[[u64; 4]], key| calls.iter().map(|call| call[key]).sum::<u64>();
        let (done, begun) = (returned.get(), (returned.get() + 1).min(calls.len()));
        let found = std::array::from_fn::<_, 4, _>(|key| counts.get(keys[key]).map_or(0, |n| n.0));
        for (key, count) in found.iter().enumerate() {
            let may_be = [sum(&calls[..done], key), sum(&calls[..begun], key)];
            assert!(
                may_be.contains(count),
                "{may_be:?}: {found:?} after {stores} stores"
            );
        }
        if done == 3 {
            // The call that moves a cursor: its counts are there where the cursor is, and nowhere else.
            let all = if cursors.is_empty() { done } else { begun };
            assert_eq!(found, std::array::from_fn(|key| sum(&calls[..all], key)));
        }
        if !died {
            assert_eq!(done, calls.len());
            break;
        }
        stores += 1;
    }
    assert!(stores > 50, "{stores}");
}
