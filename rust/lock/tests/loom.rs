//! Every order of accesses that the memory model allows, of a turn and others (`make loom`).
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crdtstats_lock::{ShortLock, Turn};
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use std::sync::Arc;

/// What the journal does under this lock, as small as it can be: a slot, its flag, the list that it is on.
#[derive(Default)]
struct Journal {
    is_listed: bool,
    /// The count when the slot came onto the list.
    before: Option<u64>,
}

struct Store {
    lock: ShortLock<Journal>,
    /// The count itself is an atomic in the mapped file.
    count: AtomicU64,
    /// What takers brought in so far.
    brought_in: Mutex<u64>,
    /// The interpreter lock.
    turn: Mutex<()>,
}

impl Store {
    fn add(&self) {
        let _turn = self.turn.lock().unwrap();
        // SAFETY: the mutex above is held until the end.
        let mut journal = self.lock.lock_in_turn(unsafe { Turn::assume() });
        let held = self.count.load(Ordering::Relaxed);
        if !journal.is_listed {
            journal.is_listed = true;
            journal.before = Some(held);
        }
        self.count.store(held + 1, Ordering::Release);
    }

    fn take(&self) {
        // A reader holds the core for as long as it brings in.
        let mut brought_in = self.brought_in.lock().unwrap();
        let moved = {
            let mut journal = self.lock.lock();
            journal.is_listed = false;
            let now = self.count.load(Ordering::Relaxed);
            journal.before.take().map_or(0, |before| now - before)
        };
        *brought_in += moved;
    }
}

fn run(adders: usize, adds: u64, takers: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let store = Arc::new(Store {
            lock: ShortLock::new(Journal::default()),
            count: AtomicU64::new(0),
            brought_in: Mutex::new(0),
            turn: Mutex::new(()),
        });
        let mut threads = Vec::new();
        for _ in 0..adders {
            let store = Arc::clone(&store);
            threads.push(thread::spawn(move || (0..adds).for_each(|_| store.add())));
        }
        for _ in 0..takers {
            let store = Arc::clone(&store);
            threads.push(thread::spawn(move || store.take()));
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        store.take();
        assert_eq!(*store.brought_in.lock().unwrap(), adders as u64 * adds);
        assert_eq!(store.count.load(Ordering::Relaxed), adders as u64 * adds);
    });
}

#[test]
fn a_turn_and_another_lose_nothing() {
    run(1, 2, 1);
}

#[test]
fn two_turns_and_another_lose_nothing() {
    run(2, 1, 1);
}

#[test]
fn a_turn_and_two_others_lose_nothing() {
    run(1, 1, 2);
}
