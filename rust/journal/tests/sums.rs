//! Sums by ordinal, beside a map that adds row by row.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod directory;

use std::collections::BTreeMap;

use arbtest::arbitrary::Unstructured;
use crdtstats_journal::{Ahead, Generation, Journal, Refused, Slot, Sums};
use directory::Directory;

const MASK: u32 = 0x5a5a_1234;

/// A journal with keys of many lengths, each of which has an ordinal, and records of cursors among them.
fn journal(directory: &Directory, keys: usize) -> (Journal, Vec<Slot>) {
    let mut journal = Journal::create(directory.path(), "replica", Generation([7; 16]), 1).unwrap();
    let slots = add_keys(&mut journal, keys);
    (journal, slots)
}

/// Slots by ordinal.
fn add_keys(journal: &mut Journal, keys: usize) -> Vec<Slot> {
    let from = journal.len();
    let (mut slots, mut ordinals) = (Vec::new(), Vec::new());
    for n in from..from + keys {
        let key = "k".repeat(n * 7 % 41) + &n.to_string();
        let slot = journal.find_or_insert(key.as_bytes()).unwrap();
        slots.push(slot);
        if n % 100 == 50 {
            let cursor = format!("cursor {n}");
            journal
                .add_batch(&[(slot, 0, 0)], Some((&cursor, 1)))
                .unwrap();
        }
    }
    journal.ordinals_of(&slots, &mut ordinals).unwrap();
    assert!(
        ordinals
            .iter()
            .copied()
            .eq(from as u32..(from + keys) as u32)
    );
    slots
}

fn cleared(count: usize) -> Sums {
    let mut sums = Sums::default();
    assert!(sums.clear(count));
    sums
}

fn add(sums: &mut Sums, ids: &[u32], amounts: Option<&[i64]>) -> Result<(), Refused> {
    sums.add(ids, MASK, amounts, Ahead::NONE)
}

fn ids(ordinals: &[usize]) -> Vec<u32> {
    ordinals.iter().map(|at| *at as u32 ^ MASK).collect()
}

/// Counts all that was summed up, slice by slice.
fn count(journal: &mut Journal, sums: &Sums, slice: usize) {
    let total = sums.total();
    assert!(journal.promise(total));
    for from in (0..sums.count()).step_by(slice) {
        journal.add_sums(sums, from..from + slice);
    }
    journal.keep_promise(total);
}

#[test]
fn sums_are_what_a_map_adds_up() {
    let directory = Directory::new();
    let (mut journal, mut slots) = journal(&directory, 700);
    let mut model: BTreeMap<Slot, (u64, u64)> = BTreeMap::new();
    let mut kept = Sums::default();
    let mut seed = 1;
    for rows in [1, 15, 16, 17, 255, 256, 257, 511, 512, 513, 5000, 40_000] {
        for kind in 0..5 {
            slots.extend(add_keys(&mut journal, rows % 7));
            assert!(kept.clear(slots.len()));
            let mut random = || {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed
            };
            let picked: Vec<usize> = (0..rows)
                .map(|_| (random() % slots.len() as u64) as usize)
                .collect();
            let amounts: Vec<i64> = (0..rows)
                .map(|_| match kind {
                    0 => 1,
                    1 => (random() % 100) as i64,
                    2 => (random() % 100) as i64 - 50,
                    3 => (random() % 9) as i64 * (1 << 33),
                    _ => ((random() % 9) as i64 - 4) * (1 << 33),
                })
                .collect();
            let column = (kind != 0).then_some(amounts.as_slice());
            add(&mut kept, &ids(&picked), column).unwrap();
            assert_eq!(
                kept.total(),
                amounts.iter().map(|n| n.unsigned_abs()).sum::<u64>()
            );
            count(&mut journal, &kept, [1, 512, 520, 4096][rows % 4]);
            for (at, n) in picked.iter().zip(&amounts) {
                let (incr, decr) = model.entry(slots[*at]).or_default();
                if *n < 0 {
                    *decr += n.unsigned_abs();
                } else {
                    *incr += n.unsigned_abs();
                }
            }
            for slot in &slots {
                let expected = model.get(slot).copied().unwrap_or_default();
                assert_eq!(journal.read(*slot), expected, "{rows} rows of kind {kind}");
            }
        }
    }
    // Each key that moved is listed, and no other.
    let pass = journal.settling();
    while !journal.settle(&pass) {}
    let moved = model.values().filter(|counts| **counts != (0, 0)).count();
    assert_eq!((journal.dirty_len(), journal.unread_len()), (moved, moved));
}

#[test]
fn only_ordinals_that_were_given_have_sums() {
    let near = (0..400).chain([u32::MAX as usize, u32::MAX as usize / 2]);
    for ordinal in near {
        for (rows, row) in [(1, 0), (16, 3), (40, 39), (600, 300)] {
            for amounts in [None, Some(vec![1; rows]), Some(vec![-1; rows])] {
                let mut sums = cleared(120);
                // With sums of decrements, which lie behind those of increments.
                if rows > 1 {
                    add(&mut sums, &ids(&[0]), Some(&[-1])).unwrap();
                }
                let mut all = ids(&vec![7; rows]);
                all[row] = ordinal as u32 ^ MASK;
                let expected = if ordinal < 120 {
                    Ok(())
                } else {
                    Err(Refused::Id { row })
                };
                let got = add(&mut sums, &all, amounts.as_deref());
                assert_eq!(got, expected, "{ordinal}");
            }
        }
    }
}

#[test]
fn what_is_no_amount_is_named_and_what_is_too_much_is_refused() {
    let directory = Directory::new();
    let (mut journal, slots) = journal(&directory, 300);
    let all = ids(&(0..300).collect::<Vec<_>>());
    for row in [0, 15, 255, 256, 299] {
        let mut amounts = vec![1; 300];
        amounts[row] = i64::MIN;
        let got = add(&mut cleared(300), &all, Some(&amounts));
        assert_eq!(got, Err(Refused::Amount { row }));
    }
    let largest = (1 << 62) - 1;
    for n in [largest, -largest] {
        let mut sums = cleared(300);
        add(&mut sums, &all[..2], Some(&[n, 0])).unwrap();
        assert_eq!(add(&mut sums, &all[..1], None), Err(Refused::TooLarge));
        let mut sums = cleared(300);
        add(&mut sums, &all[..1], Some(&[n])).unwrap();
        let sides = if n > 0 { (n, 0) } else { (0, -n) };
        let expected = [(slots[0], sides.0 as u64, sides.1 as u64)];
        assert_eq!(journal.slots_of_sums(&sums), expected);
    }
    for amounts in [[i64::MAX; 300], [-i64::MAX; 300]] {
        let got = add(&mut cleared(300), &all, Some(&amounts));
        assert_eq!(got, Err(Refused::TooLarge));
    }
    // The last narrow sum, and the first wide one.
    for n in [(1 << 32) - 1, 1 << 32] {
        let mut sums = cleared(300);
        add(&mut sums, &all[..1], Some(&[n - 1])).unwrap();
        add(&mut sums, &all[..2], Some(&[1, 0])).unwrap();
        add(&mut sums, &all[1..2], Some(&[0])).unwrap();
        let before = journal.read(slots[0]).0;
        count(&mut journal, &sums, 8);
        assert_eq!(journal.read(slots[0]), (before + n as u64, 0));
    }
}

#[test]
fn any_rows_in_any_pieces() {
    let directory = Directory::new();
    let (journal, slots) = journal(&directory, 40);
    let check = |random: &mut Unstructured<'_>| {
        let mut sums = cleared(40);
        let mut model: BTreeMap<Slot, (u64, u64)> = BTreeMap::new();
        for _ in 0..random.int_in_range(0..=3)? {
            let (mut picked, mut amounts) = (Vec::new(), Vec::new());
            for _ in 0..random.int_in_range(0..=600)? {
                let at = random.choose_index(slots.len())?;
                let shift = random.int_in_range(0..=40)?;
                let n = i64::from(random.arbitrary::<i8>()?) << shift;
                picked.push(at);
                amounts.push(n);
                let (incr, decr) = model.entry(slots[at]).or_default();
                *(if n < 0 { decr } else { incr }) += n.unsigned_abs();
            }
            add(&mut sums, &ids(&picked), Some(&amounts)).unwrap();
        }
        let mut got: BTreeMap<Slot, (u64, u64)> = BTreeMap::new();
        for (slot, incr, decr) in journal.slots_of_sums(&sums) {
            let held = got.entry(slot).or_default();
            *held = (held.0 + incr, held.1 + decr);
        }
        model.retain(|_, counts| *counts != (0, 0));
        assert_eq!(got, model);
        Ok(())
    };
    arbtest::arbtest(check);
}
