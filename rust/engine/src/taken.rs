//! What a flush took off the list of dirty slots: whatever becomes of the flush, no slot is on no list.

use crate::Engine;
use crdtstats_journal::{Dirty, Slot};

/// Slots taken off the list under one lock: of new keys the records are looked at, which takes some ten microseconds.
const TAKEN_AT_ONCE: usize = 1 << 12;

/// Slots that are on no list. Unless they are kept, which the one that holds their nodes does, dropping this lists them
/// again: after an error, and after a panic of a signer too. Otherwise their counts would stay behind until the store is
/// opened again.
pub(crate) struct Taken<'a> {
    engine: &'a Engine,
    /// In the order of the journal.
    pub slots: Vec<Slot>,
    /// Of the first of them: what was read when their marks were taken off.
    dirty: Vec<Dirty>,
}

impl<'a> Taken<'a> {
    pub fn new(engine: &'a Engine) -> Self {
        Taken {
            engine,
            slots: Vec::new(),
            dirty: Vec::new(),
        }
    }

    /// Take about so many of what is dirty, the longest listed ones. Once, and before anything is read.
    pub fn take(&mut self, count: usize) {
        while self.slots.len() < count {
            let from = self.slots.len();
            let wanted = TAKEN_AT_ONCE.min(count - from);
            if let Some(journal) = self.engine.counting(None).journal.as_mut() {
                journal.take_dirty(wanted, &mut self.slots);
            }
            if self.slots.len() == from {
                break;
            }
        }
        self.slots.sort_unstable();
        self.dirty.reserve_exact(self.slots.len());
    }

    /// The next slots and their values, at most `count`; `None` where all were read.
    pub fn read(&mut self, count: usize) -> Option<&[Dirty]> {
        let from = self.dirty.len();
        let rest = self.slots.get(from..).unwrap_or_default();
        let slice = rest.get(..count.min(rest.len())).unwrap_or_default();
        if let Some(journal) = self.engine.counting(None).journal.as_mut() {
            journal.read_dirty(slice, &mut self.dirty);
        }
        self.dirty.get(from..).filter(|read| !read.is_empty())
    }

    /// Their counts are in nodes that somebody holds.
    pub fn keep(mut self) {
        self.slots.clear();
        self.dirty.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        let rest = self.slots.get(self.dirty.len()..).unwrap_or_default();
        if let Some(journal) = self.engine.counting(None).journal.as_mut() {
            journal.read_dirty(rest, &mut self.dirty);
            self.dirty
                .iter()
                .for_each(|dirty| journal.mark_dirty(dirty));
        }
    }
}
