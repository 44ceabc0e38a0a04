//! Power loss: each 4 KiB page of the file is as it was at some moment since the last sync, each at another.
//!
//! What must hold (ARCHITECTURE.md, crash table): recovery does not err; all that was there at the sync is there, and
//! nothing above what was ever counted; keys are whole; cursors of the file are not believed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod directory;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arbtest::arbitrary::Unstructured;
use arbtest::arbtest;
use crdtstats_journal::{Generation, Journal, Leftover, Row, Side};
use directory::Directory;

const PAGE_BYTES: usize = 4096;
const HEADER_PAGES: usize = 1;

type Counts = BTreeMap<String, (u64, u64)>;

fn counts(leftover: &Leftover) -> Counts {
    let entries = leftover.entries().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.key, (entry.incr, entry.decr)))
        .collect()
}

fn work(
    u: &mut Unstructured<'_>,
    journal: &mut Journal,
    model: &mut Counts,
    position: &mut u64,
) -> arbtest::arbitrary::Result<()> {
    for _ in 0..u.int_in_range(0..=80usize)? {
        let key = |u: &mut Unstructured<'_>| -> arbtest::arbitrary::Result<String> {
            let number = u.int_in_range(0..=500usize)?;
            Ok(format!("site/{number}/{}", "v".repeat(number * 7 % 120)))
        };
        if u.ratio(3, 4)? {
            let key = key(u)?;
            let slot = journal.find_or_insert(key.as_bytes()).unwrap();
            journal.add(slot, Side::Incr, 1).unwrap();
            model.entry(key).or_default().0 += 1;
        } else if u.arbitrary()? {
            let (mut slots, mut ordinals) = (Vec::new(), Vec::new());
            for _ in 0..u.int_in_range(1..=30)? {
                let key = key(u)?;
                slots.push(journal.find_or_insert(key.as_bytes()).unwrap());
                model.entry(key).or_default().0 += 1;
            }
            journal.ordinals_of(&slots, &mut ordinals).unwrap();
            let rows: Vec<Row> = ordinals.iter().map(|at| Row::new(*at, 1)).collect();
            journal.add_rows(&rows, 0..rows.len());
            let pass = journal.settling();
            while u.arbitrary()? && !journal.settle(&pass) {}
        } else {
            let mut batch = Vec::new();
            for _ in 0..u.int_in_range(1..=90)? {
                let key = key(u)?;
                batch.push((journal.find_or_insert(key.as_bytes()).unwrap(), 1, 2));
                let held = model.entry(key).or_default();
                *held = (held.0 + 1, held.1 + 2);
            }
            *position += 1;
            journal.add_batch(&batch, Some(("log", *position))).unwrap();
        }
    }
    journal.note_flushed([*position as u8; 16], *position + 1);
    Ok(())
}

/// Any page from any of the moments; pages that a moment's file did not have yet are zeros.
fn mixed(u: &mut Unstructured<'_>, moments: &[Vec<u8>]) -> arbtest::arbitrary::Result<Vec<u8>> {
    let mut file = Vec::new();
    let pages = moments.last().unwrap().len() / PAGE_BYTES;
    let bias = u.int_in_range(0..=3)?;
    for page in 0..pages {
        // Where the seed has no more bytes these are 0: the oldest. Biases make "mostly new" as common.
        let number = u.choose_index(moments.len() + bias)?.min(moments.len() - 1);
        let range = page * PAGE_BYTES..(page + 1) * PAGE_BYTES;
        file.extend_from_slice(moments[number].get(range).unwrap_or(&[0; PAGE_BYTES]));
    }
    Ok(file)
}

fn recover(path: &Path, file: &[u8], synced: &Counts, last: &Counts) {
    fs::write(path, file).unwrap();
    let leftover = Leftover::open(path).unwrap();
    let found = counts(&leftover);
    for (key, held) in synced {
        let got = found.get(key).copied().unwrap_or((0, 0));
        assert!(
            got.0 >= held.0 && got.1 >= held.1,
            "{key}: synced {held:?}, found {got:?}"
        );
    }
    for (key, got) in &found {
        let most = last.get(key).copied().unwrap_or((0, 0));
        assert!(
            got.0 <= most.0 && got.1 <= most.1,
            "{key}: counted {most:?}, found {got:?}"
        );
    }
    assert!(!leftover.cursors_believed());
    leftover.remove().unwrap();
}

#[test]
fn any_mixture_of_old_and_new_pages_recovers_what_was_synced() {
    arbtest(|u| {
        let directory = Directory::new();
        let mut journal =
            Journal::create(directory.path(), "me", Generation(u.arbitrary()?), 1).unwrap();
        let (mut model, mut position) = (Counts::new(), 0);
        if u.arbitrary()? {
            work(u, &mut journal, &mut model, &mut position)?;
            journal.sync().unwrap();
        }
        let synced = model.clone();
        let mut moments = vec![fs::read(journal.path()).unwrap()];
        for _ in 0..u.int_in_range(1..=3)? {
            work(u, &mut journal, &mut model, &mut position)?;
            moments.push(fs::read(journal.path()).unwrap());
        }
        for _ in 0..4 {
            let file = mixed(u, &moments)?;
            recover(
                &directory.path().join("after.journal"),
                &file,
                &synced,
                &model,
            );
        }
        Ok(())
    })
    .size_min(2_000)
    .size_max(60_000)
    .budget_ms(6_000);
}

#[test]
fn pages_inside_an_intent_that_are_lost_drop_it_whole() {
    let directory = Directory::new();
    let mut journal = Journal::create(directory.path(), "me", Generation([5; 16]), 1).unwrap();
    let slots: Vec<_> = (0..1000)
        .map(|i| {
            journal
                .find_or_insert(format!("key/{i}").as_bytes())
                .unwrap()
        })
        .collect();
    let batch: Vec<_> = slots.iter().map(|slot| (*slot, 1, 0)).collect();
    let before = fs::read(journal.path()).unwrap();
    let record_at = journal.used_bytes() as usize + 24 + "log".len().next_multiple_of(8);
    journal.add_batch(&batch, Some(("log", 1))).unwrap();
    let mut after = fs::read(journal.path()).unwrap();
    // The intent as it was before it was cleared, the counts not moved yet: put back what a kill would have left.
    let intact = after.clone();
    let body_at = record_at + 32;
    let is_intent = u16::from_le_bytes([after[record_at + 20], after[record_at + 21]]) == 8
        && after[record_at + 22] == 3;
    assert!(
        is_intent,
        "the intent record is where this test looks for it"
    );
    after[record_at..record_at + 8].copy_from_slice(&77u64.to_le_bytes()); // a checksum that does not fit
    for page in HEADER_PAGES..record_at / PAGE_BYTES {
        let range = page * PAGE_BYTES..(page + 1) * PAGE_BYTES;
        after[range.clone()].copy_from_slice(&before[range]);
    }
    let path = directory.path().join("after.journal");
    fs::write(&path, &after).unwrap();
    let leftover = Leftover::open(&path).unwrap();
    assert_eq!(leftover.dropped().intents, 1);
    assert!(leftover.entries().count() < 1000);
    drop(leftover);
    // And with the body's middle page lost from an intact file nothing changes: it was cleared.
    let mut cleared = intact;
    let middle = (body_at / PAGE_BYTES + 2) * PAGE_BYTES;
    cleared[middle..middle + PAGE_BYTES].fill(0);
    fs::write(&path, &cleared).unwrap();
    let leftover = Leftover::open(&path).unwrap();
    assert_eq!(
        (leftover.dropped().intents, leftover.entries().count()),
        (0, 1000)
    );
}
