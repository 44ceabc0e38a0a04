//! What an operator reads.

use crate::Engine;
use std::collections::BTreeMap;

/// Counts of an open store, at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    pub keys: usize,
    pub sub_counters: usize,
    pub dirty: usize,
    pub blocks: usize,
    pub heads: usize,
    pub missing: usize,
    pub wanted: usize,
    pub newer: u64,
    /// Keys that are kept as Go shows them: those outside the counters, and sub-counters of ours.
    pub entries: usize,
    /// Elements that tombstones name.
    pub tombstones: usize,
    /// Keys whose values still hold what a tombstone has removed.
    pub recounting: usize,
    /// Values of ours that were written again because Go peers showed less.
    pub healed: u64,
    pub dropped: BTreeMap<String, u64>,
    pub forked: BTreeMap<String, u64>,
    pub paused: Vec<String>,
    pub clone_seen: bool,
    pub doubled: bool,
    pub journal_bytes: u64,
}

impl Engine {
    /// Cost: as a read.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut core = self.core();
        self.bring_in(&mut core, None);
        let (dirty, journal_bytes) = match &self.counting(None).journal {
            Some(journal) => (journal.dirty_len(), journal.allocated_bytes()),
            None => (0, 0),
        };
        // What was built and is not known to be durable is as dirty as what was not built yet.
        let dirty = dirty + core.pending.as_ref().map_or(0, |plan| plan.slots);
        let replica = &core.replica;
        Status {
            keys: replica.state().paths().key_count(),
            sub_counters: replica.state().sub_counter_count(),
            dirty,
            blocks: replica.dag().held_count(),
            heads: replica
                .dag()
                .all_heads()
                .iter()
                .map(|(_, heads)| heads.len())
                .sum(),
            missing: replica.dag().missing_count(),
            wanted: replica.wanted_count(),
            newer: replica.newer(),
            entries: replica.entries(),
            tombstones: replica.named(),
            recounting: replica.recounting(),
            healed: replica.healed(),
            dropped: replica
                .dropped()
                .iter()
                .map(|(reason, count)| ((*reason).to_owned(), *count))
                .collect(),
            forked: replica.authors().forked(),
            paused: replica.authors().paused(),
            clone_seen: replica.clone_seen(),
            doubled: replica.doubled(),
            journal_bytes,
        }
    }
}
