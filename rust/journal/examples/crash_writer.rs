//! Counts as fast as it can until it is killed. Started by `tests/crash.rs`.
//!
//! `crash_writer MODE DIRECTORY ACKS`: before each call it stores the call's number in the first word of the file ACKS
//! (a shared mapping, 16 bytes), after it in the second. Call number n (from 1) does, by MODE:
//! * `single`: one increment of `key/<n mod 1000>`;
//! * `batch`: one increment of each of the keys of [`batch_keys`], and moves the cursor "log" to n;
//! * `lanes`: one increment of each of the same keys by their ordinals, and one by their slots;
//! * `grow`: one increment of the new key `key/<n>`, filled up to different lengths.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "driven by a test, which wants to see the panic"
)]

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

use crdtstats_journal::{Generation, Journal, Row, Side};
use rustix::mm::{MapFlags, ProtFlags};

fn main() {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let [_, mode, directory, acks] = arguments.as_slice() else {
        panic!("usage: crash_writer MODE DIRECTORY ACKS");
    };
    let [begun, done] = map_acks(Path::new(acks));
    let seed = u128::from(std::process::id());
    let generation = Generation((seed << 64 | 1).to_le_bytes());
    let mut journal =
        Journal::create(Path::new(directory), "crash", generation, 1).expect("create");
    for n in 1.. {
        begun.store(n, Ordering::SeqCst);
        match mode.to_str() {
            Some("single") => {
                let slot = journal
                    .find_or_insert(format!("key/{}", n % 1000).as_bytes())
                    .expect("insert");
                journal.add(slot, Side::Incr, 1).expect("add");
            }
            Some("batch") => {
                let keys: Vec<String> = batch_keys(n).collect();
                let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
                let mut slots = Vec::new();
                journal
                    .find_or_insert_all(&keys, &mut slots)
                    .expect("insert");
                let rows: Vec<_> = slots.into_iter().map(|slot| (slot, 1, 1)).collect();
                journal.add_batch(&rows, Some(("log", n))).expect("add");
            }
            Some("lanes") => {
                let keys: Vec<String> = batch_keys(n).collect();
                let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
                let (mut slots, mut ordinals) = (Vec::new(), Vec::new());
                journal
                    .find_or_insert_all(&keys, &mut slots)
                    .expect("insert");
                journal
                    .ordinals_of(&slots, &mut ordinals)
                    .expect("ordinals");
                let rows: Vec<Row> = ordinals.iter().map(|at| Row::new(*at, 1)).collect();
                journal.add_rows(&rows, 0..rows.len());
                if n % 5 == 0 {
                    let pass = journal.settling();
                    while !journal.settle(&pass) {}
                }
                // In records, too, of keys that have cells.
                journal.add_all(&slots, |_| (Side::Incr, 1));
            }
            Some("grow") => {
                let key = format!("key/{n}/{}", "x".repeat(n as usize % 300));
                let slot = journal.find_or_insert(key.as_bytes()).expect("insert");
                journal.add(slot, Side::Incr, 1).expect("add");
            }
            _ => panic!("no mode {mode:?}"),
        }
        done.store(n, Ordering::SeqCst);
    }
}

/// The keys of batch `n`: 20 to 219 of 400, some of them twice. `tests/crash.rs` has the same rule.
fn batch_keys(n: u64) -> impl Iterator<Item = String> {
    (0..20 + n * 7 % 200).map(move |i| format!("key/{}", (n * 31 + i * i) % 400))
}

fn map_acks(path: &Path) -> [&'static AtomicU64; 2] {
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("acks");
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new shared mapping at an address of the kernel's choice, never unmapped; the file has 16 bytes, which
    // nobody but this process writes.
    unsafe {
        let address = rustix::mm::mmap(null_mut(), 4096, protection, MapFlags::SHARED, &file, 0)
            .expect("map");
        let words = address.cast::<u64>();
        [
            AtomicU64::from_ptr(words),
            AtomicU64::from_ptr(words.add(1)),
        ]
    }
}
