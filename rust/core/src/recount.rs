//! Keys that lost an element to a tombstone are counted again from the kept blocks: one pass over all of them for as
//! many keys as wait. Until its end every reader sees the old value, then the new one. Rare, so it may be slow; an
//! attacker who makes it frequent gets a fifth of the time.

use crate::cid::Cid;
use crate::delta::{Delta, Native};
use crate::entries::Winner;
use crate::key;
use crate::tombstones::Keys;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

/// Least time between two passes, in ms.
const PASS_INTERVAL_MS: u64 = 1_000;
/// The pause after a pass, in times of how long it took.
const PAUSE_RATIO: u64 = 4;

/// What the elements of one key say that are not named.
#[derive(Default, Debug)]
pub(crate) struct Counted {
    /// What Go shows of them.
    pub winner: Option<Winner>,
    /// The greatest value.
    pub max: u64,
}

struct Pass {
    keys: FxHashMap<Box<str>, Counted>,
    began_ms: u64,
    /// Where the next blocks to ask for are, and where those begin that came after the pass did.
    next: usize,
    end: usize,
}

/// The keys that wait, and the pass that is on its way.
#[derive(Default)]
pub(crate) struct Recount {
    waiting: BTreeSet<Box<str>>,
    pass: Option<Pass>,
    due_ms: u64,
    /// Blocks that the outside was asked for.
    asked: FxHashSet<Cid>,
}

/// What has to be done next.
pub(crate) enum Next {
    Nothing,
    /// Look at these places of kept blocks; the end is not included.
    Look {
        from: usize,
        to: usize,
    },
    Done(Vec<(Box<str>, Counted)>),
}

impl Recount {
    /// A key lost an element that may be in its value.
    pub fn add(&mut self, clean_key: &str) {
        self.waiting.insert(clean_key.into());
    }

    /// Number of keys whose values are not right yet.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.pass.as_ref().map_or(0, |pass| pass.keys.len())
    }

    /// When [`Recount::next`] has something to do.
    pub fn due_ms(&self) -> Option<u64> {
        match &self.pass {
            Some(_) => self.asked.is_empty().then_some(0),
            None => (!self.waiting.is_empty()).then_some(self.due_ms),
        }
    }

    /// Go on: `places` is how many places of blocks there are, `count` how many are looked at before the next call.
    pub fn next(&mut self, now_ms: u64, places: usize, count: usize) -> Next {
        if self.due_ms().is_none_or(|due| due > now_ms) {
            return Next::Nothing;
        }
        let pass = self.pass.get_or_insert_with(|| Pass {
            keys: std::mem::take(&mut self.waiting)
                .into_iter()
                .map(|key| (key, Counted::default()))
                .collect(),
            began_ms: now_ms,
            next: 0,
            end: places,
        });
        let from = pass.next;
        if from < pass.end {
            pass.next = (from + count).min(pass.end);
            return Next::Look {
                from,
                to: pass.next,
            };
        }
        let took = now_ms.saturating_sub(pass.began_ms);
        let pause = PASS_INTERVAL_MS.max(took.saturating_mul(PAUSE_RATIO));
        self.due_ms = now_ms.saturating_add(pause);
        let keys = self.pass.take().map(|pass| pass.keys).unwrap_or_default();
        let mut done: Vec<_> = keys.into_iter().collect();
        done.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Next::Done(done)
    }

    /// The outside is asked for these.
    pub fn ask(&mut self, cids: &[Cid]) {
        self.asked.extend(cids.iter().cloned());
    }

    /// Whether the outside was asked for this block, which it has given now, or does not have.
    pub fn answered(&mut self, cid: &Cid) -> bool {
        self.asked.remove(cid)
    }

    /// Take the elements of a block into the pass: of one that was asked for, and of one that comes in meanwhile.
    pub fn look(&mut self, delta: &Delta<'_>, named: Option<&Keys>) {
        let Some(pass) = &mut self.pass else {
            return;
        };
        // What a newer version wrote is not counted; Go shows it all the same.
        let native = delta.native.as_ref();
        let counts = !native.is_some_and(Native::is_from_newer_version);
        let mut seen = FxHashSet::default();
        // Of one key twice the last that is stored at all stands in Go's order.
        for element in delta.elements.iter().rev() {
            let clean = key::clean(element.key);
            if named.is_some_and(|named| named.contains(clean.as_ref())) {
                continue;
            }
            let Some(counted) = pass.keys.get_mut(clean.as_ref()) else {
                continue;
            };
            if counts {
                counted.max = counted.max.max(element.value_u64());
            }
            if let Some(winner) = Winner::new(delta.priority, element.value)
                && seen.insert(clean)
                && winner.beats(counted.winner.as_ref())
            {
                counted.winner = Some(winner);
            }
        }
    }
}
