//! Values as Go decides them, in a DAG that is shared with Go peers: what tombstones remove, what stands under foreign
//! keys and under sub-counters of ours. A native network has none of it.
//!
//! All of it follows from the set of held blocks alone: elements and named pairs only become more, and the value of a
//! key is a function of its elements that are not named.

use crate::cid::Cid;
use crate::dag::Dag;
use crate::delta::{Delta, Element};
use crate::element_key::{self, ElementKey, is_signed_generation};
use crate::entries::{Entries, Shown, Winner};
use crate::healing::{Due, Healing};
use crate::judge::{Judged, Rules, judge_element};
use crate::key;
use crate::limits::{AGAIN_BLOCKS_MAX, HEAL_KEYS_MAX};
use crate::node;
use crate::peer_id::PeerId;
use crate::recount::{Next, Recount};
use crate::replica::Replica;
use crate::state::State;
use crate::tombstones::{self, Named, Tombstones};
use rustc_hash::FxHashSet;

/// A stable word for counters in `status()`.
pub(crate) const TOMBSTONE_OF_SIGNED: &str = "tombstone-of-signed";
const TOMBSTONE_NAMES_NOTHING: &str = "tombstone-names-nothing";
const TOMBSTONE_NO_ROOM: &str = "tombstone-no-room";
const ENTRY_NO_ROOM: &str = "entry-no-room";

pub(crate) struct Values {
    pub(crate) entries: Entries,
    tombstones: Tombstones,
    recount: Recount,
    pub(crate) healing: Healing,
    /// Replicas whose keys are at hand.
    held: FxHashSet<Box<str>>,
}

/// Whose a key is, as far as removing and showing go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind<'a> {
    /// Of a signed generation of this replica, whose identity is ours.
    Own(&'a str),
    /// Of a signed generation of somebody else: no tombstone removes it.
    Signed,
    /// An unsigned sub-counter, or what only counts above itself.
    Counter,
    /// Outside `/STATS/{incr,decr}/`.
    Foreign,
}

/// What a node changes beside what it counts.
#[derive(Default)]
pub(crate) struct Taken<'a> {
    /// The elements that count, where some do not because they are named.
    pub counting: Option<Vec<Element<'a>>>,
    pub dropped: Vec<&'static str>,
}

/// Counters that may go down, and blocks that may be held: what naming an element has to look at.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub rules: &'a Rules,
    pub state: &'a State,
    pub dag: &'a Dag,
}

impl Values {
    pub fn new(me: &PeerId, seed: u64) -> Self {
        Values {
            entries: Entries::new(seed),
            tombstones: Tombstones::default(),
            recount: Recount::default(),
            healing: Healing::default(),
            held: FxHashSet::from_iter([me.to_string().into()]),
        }
    }

    fn kind<'a>(&self, clean_key: &'a str) -> Kind<'a> {
        match element_key::parse(clean_key) {
            ElementKey::Other => Kind::Foreign,
            ElementKey::Counter {
                exact: true,
                replica,
                generation,
                ..
            } if is_signed_generation(generation) => {
                if self.held.contains(replica) {
                    Kind::Own(replica)
                } else {
                    Kind::Signed
                }
            }
            ElementKey::Counter { .. } => Kind::Counter,
        }
    }

    /// Take what a node names and shows. It is held already, and not counted yet.
    pub fn take<'a>(&mut self, around: Around<'_>, cid: &Cid, judged: &Judged<'a>) -> Taken<'a> {
        let delta = &judged.node.delta;
        let mut taken = Taken::default();
        for tombstone in &delta.tombstones {
            let dropped = self.name(around, tombstone);
            taken.dropped.extend(dropped);
        }
        // A newer version's elements are not counted, but Go shows them all the same.
        let author = judged.author.as_ref().filter(|_| !judged.newer);
        self.show(
            cid,
            delta,
            author.map(ToString::to_string).as_deref(),
            &mut taken,
        );
        let named = self.tombstones.of(cid);
        self.recount.look(delta, named);
        if let Some(named) = named {
            let counts = |element: &&Element<'a>| {
                let clean = key::clean(element.key);
                self.kind(&clean) != Kind::Counter || !named.contains(clean.as_ref())
            };
            taken.counting = Some(delta.elements.iter().filter(counts).copied().collect());
        }
        taken
    }

    /// Take the elements of a node into what Go shows.
    fn show(&mut self, cid: &Cid, delta: &Delta<'_>, author: Option<&str>, taken: &mut Taken<'_>) {
        let mut seen = FxHashSet::default();
        // Of one key twice the last that is stored at all stands.
        for element in delta.elements.iter().rev() {
            let clean = key::clean(element.key);
            let own = match self.kind(&clean) {
                Kind::Own(replica) => Some(replica),
                Kind::Foreign => None,
                Kind::Signed | Kind::Counter => continue,
            };
            let hash = self.entries.hash(&clean);
            if own.is_some() && own == author {
                self.entries.raise_best(hash, element.value_u64());
            }
            let named = self.tombstones.of(cid);
            let is_named = named.is_some_and(|named| named.contains(clean.as_ref()));
            let winner = Winner::new(delta.priority, element.value).filter(|_| !is_named);
            if let Some(winner) = winner
                && seen.insert(hash)
                && !self.entries.offer(hash, winner)
            {
                taken.dropped.push(ENTRY_NO_ROOM);
            }
            if own.is_some() {
                self.healing
                    .note(&clean, self.entries.above_shown(&hash).is_some());
            }
        }
    }

    /// Sub-counters of a replica of ours that are due to be written again, and their maxima, where Go would show these
    /// when they are written at this height.
    pub(crate) fn take_less(
        &mut self,
        now_ms: u64,
        author: &str,
        height: u64,
    ) -> Vec<(Box<str>, u64)> {
        let mut healing = std::mem::take(&mut self.healing);
        let due = healing.take_due(now_ms, HEAL_KEYS_MAX, |key| {
            let hash = self.entries.hash(key);
            match (self.kind(key), self.entries.above_shown(&hash)) {
                (Kind::Own(replica), Some(_)) if replica != author => Due::NotMine,
                (Kind::Own(_), Some(best)) => {
                    let written = Winner::new(height, &best.to_be_bytes());
                    match written.filter(|it| self.entries.would_stand(&hash, it)) {
                        Some(_) => Due::Write(best),
                        None => Due::Later,
                    }
                }
                _ => Due::Later,
            }
        });
        self.healing = healing;
        due
    }

    /// Name one element; gives why it does not count as removed.
    fn name(&mut self, around: Around<'_>, tombstone: &Element<'_>) -> Option<&'static str> {
        let Some((cid, key)) = tombstones::pair(tombstone.key, tombstone.id) else {
            return Some(TOMBSTONE_NAMES_NOTHING);
        };
        let kind = self.kind(&key);
        if kind == Kind::Signed {
            return Some(TOMBSTONE_OF_SIGNED);
        }
        let shows_something = match kind {
            Kind::Counter => judge_element(around.rules, None, &key)
                .is_ok_and(|counted| around.state.element(&counted, &key) > 0),
            _ => self.entries.winner(&self.entries.hash(&key)).is_some(),
        };
        let affected = shows_something && around.dag.holds(&cid);
        match self.tombstones.name(cid, key.clone()) {
            Named::Now if affected => self.recount.add(&key),
            Named::Now | Named::Before => {}
            Named::NoRoom => return Some(TOMBSTONE_NO_ROOM),
        }
        // Go removes what is ours too: it is written again.
        matches!(kind, Kind::Own(_)).then_some(TOMBSTONE_OF_SIGNED)
    }
}

impl Replica {
    /// An identity whose key is at hand beside our own: Go peers shall show its sub-counters. Before blocks come in.
    pub fn hold(&mut self, identity: &PeerId) {
        self.values.held.insert(identity.to_string().into());
    }

    /// What a Go peer that holds the same blocks shows under a raw key. `None` where that is not kept: in a native
    /// network, and under the sub-counters of others.
    #[must_use]
    pub fn entry(&self, raw_key: &str) -> Option<Shown> {
        let clean = key::clean(raw_key);
        let kept = matches!(self.values.kind(&clean), Kind::Own(_) | Kind::Foreign);
        let Values {
            entries,
            tombstones,
            ..
        } = &self.values;
        (kept && !self.rules().native).then(|| match entries.shown(&entries.hash(&clean)) {
            // It may have been removed.
            Shown::Value(_) if tombstones.overflowed() => Shown::Unknown,
            shown => shown,
        })
    }

    /// Number of (key, block) pairs that tombstones name.
    #[must_use]
    pub fn named(&self) -> usize {
        self.values.tombstones.count()
    }

    /// Number of entries that are kept for what Go shows.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.values.entries.len()
    }

    /// Number of keys whose values still hold what a tombstone has removed.
    #[must_use]
    pub fn recounting(&self) -> usize {
        self.values.recount.len()
    }

    /// Take what a node of a shared DAG names and shows; gives the node without the elements that are named, if any are.
    pub(crate) fn take_values<'a>(&mut self, cid: &Cid, judged: &Judged<'a>) -> Option<Judged<'a>> {
        let around = Around {
            rules: &self.config.rules,
            state: &self.state,
            dag: &self.dag,
        };
        let taken = self.values.take(around, cid, judged);
        for reason in taken.dropped {
            self.count_times(reason, 1);
        }
        Some(judged.with_elements(taken.counting?))
    }

    pub(crate) fn recount_due_ms(&self) -> Option<u64> {
        self.values.recount.due_ms()
    }

    /// Kept blocks that are needed again, now: give each to [`Replica::look_again`], in any order. None: nothing to do
    /// now, or not all of the last ones were given yet. Spurious calls are safe.
    pub fn take_again(&mut self, now_ms: u64) -> Vec<Cid> {
        loop {
            let places = self.dag.places();
            match self.values.recount.next(now_ms, places, AGAIN_BLOCKS_MAX) {
                Next::Nothing => return Vec::new(),
                Next::Look { from, to } => {
                    let cids = self.dag.held_at(from..to);
                    if !cids.is_empty() {
                        self.values.recount.ask(&cids);
                        return cids;
                    }
                }
                Next::Done(counted) => {
                    for (clean_key, counted) in counted {
                        self.settle(&clean_key, counted);
                    }
                }
            }
        }
    }

    /// Give a block that [`Replica::take_again`] asked for; `None` where it is not to be had any more.
    pub fn look_again(&mut self, cid: &Cid, block: Option<&[u8]>) {
        if !self.values.recount.answered(cid) {
            return;
        }
        let checked = block.filter(|block| cid.check(block).is_ok());
        if let Some(node) = checked.and_then(|block| node::decode(block).ok()) {
            let Values {
                recount,
                tombstones,
                ..
            } = &mut self.values;
            recount.look(&node.delta, tombstones.of(cid));
        }
    }

    /// A key was counted again: its value may go down.
    fn settle(&mut self, clean_key: &str, counted: crate::recount::Counted) {
        if self.values.kind(clean_key) == Kind::Counter {
            if let Ok(place) = judge_element(&self.config.rules, None, clean_key) {
                self.state.set_element(&place, clean_key, counted.max);
            }
            return;
        }
        let entries = &mut self.values.entries;
        let hash = entries.hash(clean_key);
        entries.set(hash, counted.winner);
        if matches!(self.values.kind(clean_key), Kind::Own(_)) {
            let less = self.values.entries.above_shown(&hash).is_some();
            self.values.healing.note(clean_key, less);
        }
    }

    /// A node of ours that was not decoded, as its values are in the totals already.
    pub(crate) fn show_own(&mut self, cid: &Cid, block: &[u8], author: &PeerId) {
        let Ok(node) = node::decode(block) else {
            return;
        };
        let mut taken = Taken::default();
        let author = author.to_string();
        self.values
            .show(cid, &node.delta, Some(&author), &mut taken);
        let named = self.values.tombstones.of(cid);
        self.values.recount.look(&node.delta, named);
    }
}
