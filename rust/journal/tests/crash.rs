//! `kill -9` at random moments of a real process (`examples/crash_writer.rs`), then recovery.
//!
//! `CRDTSTATS_KILLS` sets how often each kind of writer is killed (20).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod directory;
mod example;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crdtstats_journal::{JournalError, Leftover, leftovers};
use directory::Directory;

const PATIENCE: Duration = Duration::from_secs(20);

struct Writer {
    child: Child,
    acks: PathBuf,
}

impl Writer {
    fn start(mode: &str, directory: &Directory) -> Self {
        let acks = directory.path().join("acks");
        fs::write(&acks, [0; 16]).unwrap();
        let child = Command::new(example::path("crash_writer"))
            .arg(mode)
            .args([directory.path(), &acks])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, acks }
    }

    /// Numbers of the calls that have begun and that have returned.
    fn acks(&self) -> (u64, u64) {
        let bytes = fs::read(&self.acks).unwrap();
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        (word(0), word(8))
    }

    fn wait_for(&self, calls: u64) {
        let started = Instant::now();
        while self.acks().1 < calls {
            assert!(
                started.elapsed() < PATIENCE,
                "the writer does not start counting"
            );
            sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Found {
    begun: u64,
    acked: u64,
    counts: BTreeMap<String, (u64, u64)>,
    cursors: Vec<(String, u64)>,
}

/// Kills a writer `CRDTSTATS_KILLS` times and has each recovery checked.
fn kill_often(mode: &str, check: impl Fn(&Found)) {
    let kills: u64 = std::env::var("CRDTSTATS_KILLS").map_or(20, |text| text.parse().unwrap());
    for kill in 0..kills {
        let directory = Directory::new();
        let mut writer = Writer::start(mode, &directory);
        // Early and late moments; which store it hits is the scheduler's choice.
        let calls = 1 + kill * kill * 37 % 2000;
        writer.wait_for(calls);
        sleep(Duration::from_micros(kill * 7919 % 20_000));
        writer.child.kill().unwrap();
        writer.child.wait().unwrap();
        let (begun, acked) = writer.acks();
        let paths = leftovers(directory.path()).unwrap();
        assert_eq!(paths.len(), 1);
        let leftover = Leftover::open(&paths[0]).unwrap();
        assert!(leftover.cursors_believed());
        assert_eq!(
            (
                leftover.dropped().intents,
                leftover.dropped().without_record
            ),
            (0, 0)
        );
        let entries = leftover.entries().map(|entry| entry.unwrap());
        check(&Found {
            begun,
            acked,
            counts: entries
                .map(|entry| (entry.key, (entry.incr, entry.decr)))
                .collect(),
            cursors: leftover.cursors(),
        });
        leftover.remove().unwrap();
    }
}

#[test]
fn single_increments_that_returned_survive_kill_9() {
    kill_often("single", |found| {
        let sum: u64 = found.counts.values().map(|held| held.0).sum();
        assert!((found.acked..=found.begun).contains(&sum) && found.begun <= found.acked + 1);
        for (key, held) in &found.counts {
            let rest: u64 = key.strip_prefix("key/").unwrap().parse().unwrap();
            let expected = (1..=sum).filter(|n| n % 1000 == rest).count() as u64;
            assert_eq!(held.0, expected, "{key}");
        }
    });
}

#[test]
fn batches_with_a_cursor_survive_kill_9_whole_or_not_at_all() {
    kill_often("batch", |found| {
        let position = found.cursors.first().map_or(0, |(_, position)| *position);
        assert!(
            (found.acked..=found.begun).contains(&position),
            "{position}"
        );
        let mut expected = BTreeMap::<String, (u64, u64)>::new();
        for n in 1..=position {
            for i in 0..20 + n * 7 % 200 {
                let held = expected
                    .entry(format!("key/{}", (n * 31 + i * i) % 400))
                    .or_default();
                *held = (held.0 + 1, held.1 + 1);
            }
        }
        assert_eq!(found.counts, expected);
    });
}

#[test]
fn counts_on_ordinals_that_returned_survive_kill_9() {
    kill_often("lanes", |found| {
        let counts_after = |calls: u64| {
            let mut counts = BTreeMap::<String, u64>::new();
            for n in 1..=calls {
                for i in 0..20 + n * 7 % 200 {
                    let key = format!("key/{}", (n * 31 + i * i) % 400);
                    *counts.entry(key).or_default() += 2;
                }
            }
            counts
        };
        let (least, most) = (counts_after(found.acked), counts_after(found.begun));
        for (key, most) in &most {
            let (incr, decr) = found.counts.get(key).copied().unwrap_or_default();
            let least = least.get(key).copied().unwrap_or_default();
            assert!(
                (least..=*most).contains(&incr) && decr == 0,
                "{key}: {incr}"
            );
        }
        assert!(found.counts.keys().all(|key| most.contains_key(key)));
    });
}

#[test]
fn new_keys_that_were_counted_survive_kill_9_while_the_file_grows() {
    kill_often("grow", |found| {
        let count = found.counts.len() as u64;
        assert!((found.acked..=found.begun).contains(&count));
        for n in 1..=count {
            let key = format!("key/{n}/{}", "x".repeat(n as usize % 300));
            assert_eq!(found.counts.get(&key), Some(&(1, 0)), "{key}");
        }
    });
}

#[test]
fn the_journal_of_another_live_process_is_left_alone_until_it_dies() {
    let directory = Directory::new();
    let mut writer = Writer::start("single", &directory);
    writer.wait_for(1);
    assert!(leftovers(directory.path()).unwrap().is_empty());
    let journals = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let path = journals
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "journal"))
        .last()
        .unwrap();
    assert!(matches!(
        Leftover::open(&path),
        Err(JournalError::Locked { .. })
    ));
    writer.child.kill().unwrap();
    writer.child.wait().unwrap();
    assert_eq!(leftovers(directory.path()).unwrap(), vec![path.clone()]);
    Leftover::open(&path).unwrap().remove().unwrap();
}
