//! Counting on ordinals, beside a map and beside what readers and flushes have seen; what recovery finds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod directory;

use std::collections::BTreeMap;
use std::fs;

use arbtest::arbitrary::Unstructured;
use arbtest::arbtest;
use crdtstats_journal::{Ahead, Generation, Journal, Leftover, Row, Side, Slot, Sums};
use directory::Directory;

type Counts = BTreeMap<Slot, (u64, u64)>;

fn create(directory: &Directory) -> Journal {
    Journal::create(directory.path(), "replica", Generation([9; 16]), 1).unwrap()
}

fn recovered(journal: Journal) -> BTreeMap<String, (u64, u64)> {
    let leftover = Leftover::open(&journal.abandon().unwrap()).unwrap();
    assert_eq!(leftover.dropped(), Default::default());
    let entries = leftover.entries().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.key, (entry.incr, entry.decr)))
        .collect()
}

/// A journal, what was counted in it, and what its reader and its flush know.
struct Bench {
    journal: Journal,
    counts: Counts,
    seen: Counts,
    flushed: Counts,
    slots: Vec<Slot>,
    /// Those that have an ordinal, by ordinal.
    ordered: Vec<Slot>,
    position: u64,
}

impl Bench {
    fn count(&mut self, slot: Slot, n: i64) {
        let held = self.counts.entry(slot).or_default();
        match n < 0 {
            true => held.1 += n.unsigned_abs(),
            false => held.0 += n.unsigned_abs(),
        }
    }

    fn settle_all(&mut self) {
        let pass = self.journal.settling();
        while !self.journal.settle(&pass) {}
    }

    fn read(&mut self) {
        let mut taken = Vec::new();
        self.journal.take_unread(&mut taken);
        for unread in taken {
            let seen = self.seen.insert(unread.slot, unread.now);
            assert_eq!(unread.before, seen.unwrap_or_default(), "nothing between");
        }
    }

    fn flush(&mut self, most: usize) {
        let (mut slots, mut taken) = (Vec::new(), Vec::new());
        self.journal.take_dirty(most, &mut slots);
        self.journal.read_dirty(&slots, &mut taken);
        for dirty in taken {
            let now = (dirty.incr, dirty.decr);
            let before = self.flushed.insert(dirty.slot, now).unwrap_or_default();
            assert_eq!(dirty.sides, (now.0 != before.0, now.1 != before.1));
        }
    }

    fn check(&mut self) {
        for (slot, counts) in &self.counts {
            assert_eq!(self.journal.read(*slot), *counts);
            let seen = self.seen.get(slot).copied().unwrap_or_default();
            assert_eq!(self.journal.is_unread(*slot), *counts != seen);
        }
        let is_flushed = |(slot, counts): (&Slot, &(u64, u64))| {
            *counts == self.flushed.get(slot).copied().unwrap_or_default()
        };
        if self.journal.is_clean() {
            assert!(self.counts.iter().all(is_flushed));
        }
        if self.journal.is_read() {
            self.counts.retain(|_, counts| *counts != (0, 0));
            assert_eq!(self.seen, self.counts);
        }
    }
}

fn amount(u: &mut Unstructured<'_>) -> arbtest::arbitrary::Result<i32> {
    Ok(match u.int_in_range(0..=9)? {
        0 => 0,
        1 => -u.int_in_range(1..=9)?,
        2 => *u.choose(&[i32::MAX, i32::MIN])?,
        _ => u.int_in_range(1..=9)?,
    })
}

fn step(u: &mut Unstructured<'_>, bench: &mut Bench) -> arbtest::arbitrary::Result<()> {
    match u.int_in_range(0..=9)? {
        0 => {
            let number = bench.slots.len();
            let key = "k".repeat(number * 7 % 90) + &number.to_string();
            let slot = bench.journal.find_or_insert(key.as_bytes()).unwrap();
            bench.slots.push(slot);
            bench.counts.insert(slot, (0, 0));
        }
        1 => {
            let mut asked = Vec::new();
            for _ in 0..u.int_in_range(0..=20)? {
                asked.push(*u.choose(&bench.slots)?);
            }
            let mut ordinals = Vec::new();
            bench.journal.ordinals_of(&asked, &mut ordinals).unwrap();
            for (slot, ordinal) in asked.iter().zip(ordinals) {
                if ordinal as usize == bench.ordered.len() {
                    bench.ordered.push(*slot);
                }
                assert_eq!(bench.ordered[ordinal as usize], *slot);
                assert_eq!(bench.journal.slot_of_ordinal(ordinal), *slot);
            }
            assert_eq!(bench.journal.ordinals(), bench.ordered.len());
        }
        2 | 3 => {
            let (slot, n) = (*u.choose(&bench.slots)?, amount(u)?);
            let side = if n < 0 { Side::Decr } else { Side::Incr };
            let by = u64::from(n.unsigned_abs());
            bench.journal.add(slot, side, by).unwrap();
            bench.count(slot, i64::from(n));
        }
        4 => {
            let mut batch = Vec::new();
            for _ in 0..u.int_in_range(0..=20)? {
                let (slot, n) = (*u.choose(&bench.slots)?, i64::from(amount(u)?));
                bench.count(slot, n);
                batch.push(match n < 0 {
                    true => (slot, 0, n.unsigned_abs()),
                    false => (slot, n.unsigned_abs(), 0),
                });
            }
            bench.position += 1;
            let cursor = u.arbitrary::<bool>()?.then_some(("c", bench.position));
            bench.journal.add_batch(&batch, cursor).unwrap();
        }
        5 | 6 if !bench.ordered.is_empty() => {
            let mut rows = Vec::new();
            let mut sum = 0;
            for _ in 0..u.int_in_range(0..=300)? {
                let (ordinal, n) = (u.choose_index(bench.ordered.len())?, amount(u)?);
                rows.push(Row::new(ordinal as u32, n));
                bench.count(bench.ordered[ordinal], i64::from(n));
                sum += u64::from(n.unsigned_abs());
            }
            assert!(bench.journal.promise(sum));
            let slice = u.int_in_range(1..=300)?;
            for from in (0..rows.len()).step_by(slice) {
                let to = rows.len().min(from + slice);
                bench.journal.add_rows(&rows, from..to);
            }
            bench.journal.keep_promise(sum);
        }
        7 if !bench.ordered.is_empty() => {
            let mut sums = Sums::default();
            assert!(sums.clear(bench.ordered.len()));
            for _ in 0..u.int_in_range(0..=100)? {
                let (ordinal, n) = (u.choose_index(bench.ordered.len())?, i64::from(amount(u)?));
                let by = [n];
                sums.add(&[ordinal as u32], 0, Some(&by), Ahead::NONE)
                    .unwrap();
                bench.count(bench.ordered[ordinal], n);
            }
            assert!(bench.journal.promise(sums.total()));
            bench.journal.add_sums(&sums, 0..usize::MAX);
            bench.journal.keep_promise(sums.total());
        }
        8 => bench.settle_all(),
        _ => match u.int_in_range(0..=2)? {
            0 => bench.read(),
            1 => bench.flush(u.int_in_range(1..=40)?),
            _ => {
                let pass = bench.journal.settling();
                bench.journal.settle(&pass);
            }
        },
    }
    bench.check();
    Ok(())
}

#[test]
fn lanes_are_what_a_map_counts_and_readers_miss_nothing() {
    arbtest(|u| {
        let directory = Directory::new();
        let mut bench = Bench {
            journal: create(&directory),
            counts: Counts::new(),
            seen: Counts::new(),
            flushed: Counts::new(),
            slots: Vec::new(),
            ordered: Vec::new(),
            position: 0,
        };
        let slot = bench.journal.find_or_insert(b"first").unwrap();
        bench.slots.push(slot);
        for _ in 0..u.int_in_range(0..=120)? {
            step(u, &mut bench)?;
        }
        if u.arbitrary()? {
            bench.settle_all();
            assert_eq!(bench.journal.unread_len() == 0, bench.journal.is_read());
            while !bench.journal.is_read() {
                bench.read();
            }
            while !bench.journal.is_clean() {
                bench.flush(1000);
            }
            bench.check();
        }
        bench.counts.retain(|_, counts| *counts != (0, 0));
        let named = bench
            .counts
            .iter()
            .map(|(slot, counts)| (bench.journal.key(*slot).to_owned(), *counts));
        let named: BTreeMap<_, _> = named.collect();
        assert_eq!(recovered(bench.journal), named);
        Ok(())
    })
    .size_min(1_000)
    .size_max(40_000)
    .budget_ms(8_000);
}

#[test]
fn counts_at_the_border_go_on_in_records() {
    let directory = Directory::new();
    let mut journal = create(&directory);
    let slots = [b"a", b"b", b"c"].map(|key| journal.find_or_insert(key).unwrap());
    let mut ordinals = Vec::new();
    journal.ordinals_of(&slots, &mut ordinals).unwrap();
    let row = |at: usize, n: i32| Row::new(ordinals[at], n);
    // A batch in the middle, and a huge count beside it: what was promised is kept, what was not is refused.
    let rows = [
        row(0, 5),
        row(1, 7),
        row(0, 5),
        row(2, -3),
        row(1, i32::MAX),
    ];
    assert!(journal.promise(u64::from(u32::MAX)));
    journal.add_rows(&rows, 0..2);
    assert!(journal.add(slots[0], Side::Incr, u64::MAX - 10).is_err());
    assert_eq!(journal.read(slots[0]), (5, 0));
    let most = u64::MAX - 5 - u64::from(u32::MAX);
    journal.add(slots[0], Side::Incr, most).unwrap();
    journal.add_rows(&rows, 2..5);
    journal.keep_promise(u64::from(u32::MAX));
    assert!(!journal.promise(1), "counts are large now");
    assert_eq!(journal.read(slots[0]), (most + 10, 0));
    assert_eq!(journal.read(slots[1]), (7 + i32::MAX as u64, 0));
    assert_eq!(journal.read(slots[2]), (0, 3));
    let left = u64::MAX - most - 10;
    assert!(journal.add(slots[0], Side::Incr, left + 1).is_err());
    assert!(journal.add_batch(&[(slots[0], left + 1, 0)], None).is_err());
    journal
        .add_batch(&[(slots[0], left, 0)], Some(("c", 1)))
        .unwrap();
    assert!(journal.add(slots[0], Side::Incr, 1).is_err());
    // Ordinals of keys whose counts are huge, and the other way round.
    let huge = journal.find_or_insert(b"huge").unwrap();
    journal.add(huge, Side::Incr, u64::MAX).unwrap();
    journal.ordinals_of(&[huge], &mut ordinals).unwrap();
    assert_eq!(journal.read(huge), (u64::MAX, 0));
    let found = recovered(journal);
    assert_eq!(found["a"], (u64::MAX, 0));
    assert_eq!(found["b"], (7 + i32::MAX as u64, 0));
    assert_eq!(found["huge"], (u64::MAX, 0));
}

#[test]
fn lanes_grow_and_each_ordinal_keeps_its_cell() {
    let directory = Directory::new();
    let mut journal = create(&directory);
    let (keys, mut slots, mut ordinals) = (600_000, Vec::new(), Vec::new());
    for n in 0..keys {
        slots.push(journal.find_or_insert(format!("{n}").as_bytes()).unwrap());
        if n % 1000 == 999 {
            let new = &slots[ordinals.len()..];
            let mut more = Vec::new();
            journal.ordinals_of(new, &mut more).unwrap();
            // What is counted before a lane grows stays.
            let rows: Vec<Row> = more
                .iter()
                .map(|at| Row::new(*at, *at as i32 % 7))
                .collect();
            journal.add_rows(&rows, 0..rows.len());
            ordinals.extend(more);
        }
    }
    assert!(ordinals.iter().copied().eq(0..keys));
    for (ordinal, slot) in (0..).zip(&slots) {
        assert_eq!(journal.read(*slot), (ordinal % 7, 0));
    }
    let pass = journal.settling();
    while !journal.settle(&pass) {}
    assert_eq!(journal.unread_len(), keys as usize - keys as usize / 7 - 1);
    let found = recovered(journal);
    for n in (0..u64::from(keys)).filter(|n| n % 7 != 0) {
        assert_eq!(found[&n.to_string()], (n % 7, 0));
    }
}

#[test]
fn a_lane_that_is_cut_or_damaged_costs_what_is_behind_it() {
    let directory = Directory::new();
    let mut journal = create(&directory);
    let before = journal.find_or_insert(b"before").unwrap();
    journal.add(before, Side::Incr, 4).unwrap();
    let lane_at = journal.used_bytes() as usize;
    let mut ordinals = Vec::new();
    journal.ordinals_of(&[before], &mut ordinals).unwrap();
    let after = journal.find_or_insert(b"after").unwrap();
    journal.ordinals_of(&[after], &mut ordinals).unwrap();
    journal.add_rows(&[Row::new(0, 5), Row::new(1, 6)], 0..2);
    let bytes = fs::read(journal.path()).unwrap();
    let end = journal.used_bytes() as usize;
    let copy = directory.path().join("copy.journal");
    let open = |bytes: &[u8]| {
        fs::write(&copy, bytes).unwrap();
        let leftover = Leftover::open(&copy).unwrap();
        let entries = leftover.entries().map(|entry| entry.unwrap());
        let found: Vec<_> = entries.map(|entry| (entry.key, entry.incr)).collect();
        (found, leftover.dropped())
    };
    let named = |counts: &[(&str, u64)]| -> Vec<(String, u64)> {
        counts
            .iter()
            .map(|(key, n)| ((*key).to_owned(), *n))
            .collect()
    };
    assert_eq!(open(&bytes).0, named(&[("before", 9), ("after", 6)]));
    for length in [
        lane_at,
        lane_at + 1,
        lane_at + 44,
        lane_at + 70_000,
        end - 41,
    ] {
        assert_eq!(
            open(&bytes[..length]).0,
            named(&[("before", 4)]),
            "{length}"
        );
    }
    // Its head, and its text: how large it is.
    for at in lane_at + 16..lane_at + 44 {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        let (found, dropped) = open(&bad);
        match at - lane_at {
            23..28 => assert_eq!(found.len(), 2, "flags and note are of the live process"),
            _ => {
                assert_eq!(found, named(&[("before", 4)]), "{at}");
                assert!(dropped.tail_bytes > 0);
            }
        }
    }
    // The record of a key whose cell is there is not.
    let mut bad = bytes.clone();
    bad[end - 8..end].fill(0);
    let (found, dropped) = open(&bad);
    assert_eq!(found, named(&[("before", 9)]));
    assert_eq!(dropped.without_record, 1);
}
