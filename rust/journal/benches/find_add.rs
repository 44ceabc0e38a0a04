//! Nanoseconds per operation: find + add with 10k (hot) and 1M keys (cold), batches, new keys; a `HashMap` beside it.
//!
//! `cargo bench -p crdtstats-journal`. Plain loops, best of several: a ratio of two lines of one run is what counts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench stops at the first surprise"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use crdtstats_journal::{Generation, Journal, Side, Slot};

/// (keys, operations in a round, rounds): short rounds find quiet moments of a busy machine; long ones stay cold.
const SIZES: [(usize, usize, usize); 2] = [(10_000, 200_000, 25), (1_000_000, 2_000_000, 5)];

fn main() {
    let directory = std::env::temp_dir().join(format!("crdtstats-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let spin = Instant::now();
    while spin.elapsed().as_millis() < 800 {
        black_box(0);
    }
    for (number, (count, operations, rounds)) in SIZES.into_iter().enumerate() {
        let best = |what: &str, work: &mut dyn FnMut()| best(count, operations, rounds, what, work);
        let keys: Vec<String> = (0..count).map(|i| format!("site/page{i}/views")).collect();
        let mut journal =
            Journal::create(&directory, "bench", Generation([number as u8; 16]), 42).unwrap();
        let started = Instant::now();
        for key in &keys {
            journal.find_or_insert(key.as_bytes()).unwrap();
        }
        report(count, "new key", started, count);
        // An order that no cache foresees, the same for all.
        let mut state = 1u64;
        let order: Vec<&str> = (0..operations)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                keys[(state >> 33) as usize % count].as_str()
            })
            .collect();
        // Copies side by side: what is measured is the journal, not where the keys happen to lie.
        let text: Vec<u8> = order.concat().into_bytes();
        let mut rest = text.as_slice();
        let order: Vec<&[u8]> = order
            .iter()
            .map(|key| {
                let (key, more) = rest.split_at(key.len());
                rest = more;
                key
            })
            .collect();
        let slots: Vec<Slot> = order.iter().map(|key| journal.find(key).unwrap()).collect();
        best("find", &mut || {
            for key in &order {
                black_box(journal.find(key));
            }
        });
        best("find_or_insert + add", &mut || {
            for key in &order {
                let slot = journal.find_or_insert(key).unwrap();
                journal.add(slot, Side::Incr, 1).unwrap();
            }
        });
        best("add", &mut || {
            for slot in &slots {
                journal.add(*slot, Side::Incr, 1).unwrap();
            }
        });
        let mut found = Vec::new();
        let mut rows = Vec::new();
        best("find_or_insert_all + add_batch, 1000 each", &mut || {
            for keys in order.chunks(1000) {
                found.clear();
                journal.find_or_insert_all(keys, &mut found).unwrap();
                rows.clear();
                rows.extend(found.iter().map(|slot| (*slot, 1, 0)));
                journal.add_batch(&rows, None).unwrap();
            }
        });
        let mut position = 0;
        best("add_batch with a cursor, 1000 each", &mut || {
            for slots in slots.chunks(1000) {
                rows.clear();
                rows.extend(slots.iter().map(|slot| (*slot, 1, 0)));
                position += 1;
                journal.add_batch(&rows, Some(("bench", position))).unwrap();
            }
        });
        let mut map: HashMap<&[u8], u64> = keys.iter().map(|key| (key.as_bytes(), 0)).collect();
        best("std HashMap get_mut + 1", &mut || {
            for key in &order {
                if let Some(value) = map.get_mut(key) {
                    *value += 1;
                }
            }
        });
        println!(
            "{count:>8} keys  {:>6.1} bytes a key",
            journal.used_bytes() as f64 / count as f64
        );
        journal.remove().unwrap();
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

fn best(count: usize, operations: usize, rounds: usize, what: &str, work: &mut dyn FnMut()) {
    let nanoseconds = (0..rounds).map(|_| {
        let started = Instant::now();
        work();
        started.elapsed().as_nanos() as f64 / operations as f64
    });
    println!(
        "{count:>8} keys  {:>6.1} ns  {what}",
        nanoseconds.fold(f64::MAX, f64::min)
    );
}

fn report(count: usize, what: &str, started: Instant, operations: usize) {
    let each = started.elapsed().as_nanos() as f64 / operations as f64;
    println!("{count:>8} keys  {each:>6.1} ns  {what}");
}
