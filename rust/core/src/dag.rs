//! The Merkle-DAG as far as it is known: which nodes are held, which are missing, which are heads.

use crate::belonging::{Belongs, DagNames, NAMELESS};
use crate::cid::Cid;
use crate::refused::Refused;
pub use crate::refused::Why;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};

/// Heights above this are taken only one above a held parent (wire.md "Priority"): an attacker at the top of the
/// range could otherwise stop all writing.
pub const HEIGHT_FREE_MAX: u64 = 1 << 62;

pub(crate) type Index = u32;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Held {
    /// Known by its CID alone.
    Missing,
    /// Came and was refused: never asked for again.
    Refused,
    Here,
}

pub(crate) struct Entry {
    pub(crate) cid: Cid,
    pub(crate) held: Held,
    pub(crate) dag: u32,
    /// As written, until the node is complete; then as taken.
    pub(crate) height: u64,
    /// Links whose nodes are not complete yet, refused ones aside.
    pub(crate) waiting_for: u32,
    /// Held nodes that wait for this one to be complete.
    pub(crate) waiters: Vec<Index>,
    pub(crate) links: Box<[Index]>,
    /// Whether a complete node links to this one: then it is no head.
    pub(crate) below_complete: bool,
    /// Whether a held node links to this one: then it is no tip.
    pub(crate) below_held: bool,
    pub(crate) complete: bool,
}

/// What came of a node that was added.
#[derive(Default, Debug)]
pub struct Added {
    /// False where the node was held already.
    pub new: bool,
    /// Linked nodes that are not held: known from now on, and to be fetched.
    pub missing: Vec<Cid>,
    /// How many heads said that it belongs to another DAG.
    pub other_heads: u64,
    /// Linked blocks that were refused for their bytes: kept with the node, what stands on it is a head after the next
    /// open too. Each is named once.
    pub refused: Vec<Cid>,
}

/// Every node that is held or known to be missing.
#[derive(Default)]
pub struct Dag {
    pub(crate) entries: Vec<Entry>,
    pub(crate) by_cid: FxHashMap<Cid, Index>,
    pub(crate) names: DagNames,
    /// Of missing nodes: the DAGs to which heads have said that they belong, the first one first.
    pub(crate) claims: FxHashMap<Index, Vec<u32>>,
    /// Held nodes that are in another DAG than the one they name, as every head said so: which they name.
    pub(crate) otherwise: FxHashMap<Index, u32>,
    refused: Refused,
    /// Places of entries that nobody needed any more.
    free: Vec<Index>,
    /// The greatest height of any held node, complete or not.
    pub(crate) height_max: u64,
    pub(crate) heads: BTreeMap<u32, BTreeSet<Index>>,
    /// Held, not complete, and no held node links to them.
    pub(crate) tips: BTreeSet<Index>,
    held: usize,
    missing: usize,
}

impl Dag {
    #[must_use]
    pub fn holds(&self, cid: &Cid) -> bool {
        self.entry_of(cid).is_some_and(|e| e.held == Held::Here)
    }

    /// Held with everything below it.
    #[must_use]
    pub fn is_complete(&self, cid: &Cid) -> bool {
        self.entry_of(cid).is_some_and(|e| e.complete)
    }

    #[must_use]
    pub fn is_refused(&self, cid: &Cid) -> bool {
        let of_entry = |e: &Entry| e.held == Held::Refused;
        self.entry_of(cid)
            .map_or_else(|| self.refused.contains(cid), of_entry)
    }

    #[must_use]
    pub fn is_missing(&self, cid: &Cid) -> bool {
        self.entry_of(cid).is_some_and(|e| e.held == Held::Missing)
    }

    #[must_use]
    pub fn held_count(&self) -> usize {
        self.held
    }

    #[must_use]
    pub fn missing_count(&self) -> usize {
        self.missing
    }

    /// The greatest height that a node of ours may take to stand above every held one.
    #[must_use]
    pub fn height_max(&self) -> u64 {
        self.height_max
    }

    /// Note that a node is not to be had in any form that counts: what waits for it waits no longer (see
    /// [`crate::completing`]). One that is held stays. True where that has to be kept: as [`Added::refused`].
    pub fn refuse(&mut self, cid: &Cid, why: Why) -> bool {
        match self.refuse_missing(cid) {
            Some(true) => return why == Why::Bytes,
            Some(false) => self.refused.insert(cid, why),
            None => {}
        }
        false
    }

    /// As [`Dag::refuse`], and it is known to be kept.
    pub fn refuse_kept(&mut self, cid: Cid) {
        if self.refuse_missing(&cid) == Some(false) {
            self.refused.keep(cid);
        }
    }

    /// Whether a held node links to it, and so its entry says that it is refused; `None` where all was known.
    fn refuse_missing(&mut self, cid: &Cid) -> Option<bool> {
        let Some(&index) = self.by_cid.get(cid) else {
            return Some(false);
        };
        let entry = self.entries.get_mut(index as usize)?;
        if entry.held != Held::Missing {
            return None;
        }
        entry.held = Held::Refused;
        let is_linked = entry.below_held;
        self.missing -= 1;
        self.claims.remove(&index);
        if is_linked {
            self.release(index);
        } else {
            // Its place is for others.
            self.by_cid.remove(cid);
            self.free.push(index);
        }
        Some(is_linked)
    }

    /// Nobody asks for this node any more. One that heads alone have said to exist is not known any more; its place is
    /// for others.
    pub fn forget(&mut self, cid: &Cid) {
        let Some(&index) = self.by_cid.get(cid) else {
            return;
        };
        let entry = self.entries.get(index as usize);
        if entry.is_some_and(|e| e.held == Held::Missing && !e.below_held) {
            self.missing -= 1;
            self.claims.remove(&index);
            self.by_cid.remove(cid);
            self.free.push(index);
        }
    }

    /// Take a node in.
    pub fn add(&mut self, cid: &Cid, belongs: &Belongs<'_>, links: &[Cid], priority: u64) -> Added {
        let known = self.by_cid.contains_key(cid);
        let index = self.know(cid, NAMELESS);
        if self
            .entries
            .get(index as usize)
            .is_none_or(|e| e.held == Held::Here)
        {
            return Added::default();
        }
        let (dag, own, other_heads) = self.settle_name(index, known, belongs);
        if dag != own {
            self.otherwise.insert(index, own);
        }
        let mut missing = Vec::new();
        let mut link_indices = Vec::with_capacity(links.len());
        for link in links {
            let known = self.by_cid.contains_key(link);
            let at = self.know(link, dag);
            if !known {
                missing.push(link.clone());
            }
            link_indices.push(at);
        }
        link_indices.sort_unstable();
        link_indices.dedup();
        link_indices.retain(|&at| at != index);
        let mut waiting_for = 0;
        let mut refused = Vec::new();
        for &at in &link_indices {
            let Some(link) = self.entries.get_mut(at as usize) else {
                continue;
            };
            if !link.below_held {
                link.below_held = true;
                self.tips.remove(&at);
                if link.held == Held::Refused && self.refused.is_to_be_kept(&link.cid) {
                    refused.push(link.cid.clone());
                }
            }
            if !link.complete && link.held != Held::Refused {
                link.waiters.push(index);
                waiting_for += 1;
            }
        }
        if let Some(entry) = self.entries.get_mut(index as usize) {
            if entry.held == Held::Missing {
                self.missing -= 1;
            }
            entry.held = Held::Here;
            entry.dag = dag;
            entry.height = priority;
            entry.links = link_indices.into_boxed_slice();
            entry.waiting_for = waiting_for;
            if waiting_for > 0 && !entry.below_held {
                self.tips.insert(index);
            }
        }
        self.held += 1;
        if priority <= HEIGHT_FREE_MAX {
            self.height_max = self.height_max.max(priority);
        }
        if waiting_for == 0 {
            self.complete(index);
        }
        Added {
            new: true,
            missing,
            other_heads,
            refused,
        }
    }

    /// Number of places of nodes, held or not; see [`Dag::held_at`].
    #[must_use]
    pub fn places(&self) -> usize {
        self.entries.len()
    }

    /// The held nodes in some of the places. A node never changes its place.
    #[must_use]
    pub fn held_at(&self, places: std::ops::Range<usize>) -> Vec<Cid> {
        let entries = self.entries.get(places).unwrap_or_default();
        let held = entries.iter().filter(|e| e.held == Held::Here);
        held.map(|e| e.cid.clone()).collect()
    }

    /// Held nodes below and including `cid`, nearest first, at most `count`: what a peer needs that lacks them all.
    #[must_use]
    pub fn walk_down(&self, cid: &Cid, count: usize) -> Vec<Cid> {
        let Some(&start) = self.by_cid.get(cid) else {
            return Vec::new();
        };
        let mut out = Vec::new();
        let mut seen: BTreeSet<Index> = BTreeSet::from([start]);
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(entry) = queue
            .pop_front()
            .and_then(|at| self.entries.get(at as usize))
        {
            if entry.held != Held::Here {
                continue;
            }
            out.push(entry.cid.clone());
            if out.len() >= count {
                break;
            }
            queue.extend(entry.links.iter().copied().filter(|&at| seen.insert(at)));
        }
        out
    }

    pub(crate) fn entry_of(&self, cid: &Cid) -> Option<&Entry> {
        self.by_cid
            .get(cid)
            .and_then(|&at| self.entries.get(at as usize))
    }

    pub(crate) fn know(&mut self, cid: &Cid, dag: u32) -> Index {
        if let Some(&at) = self.by_cid.get(cid) {
            return at;
        }
        let refused = self.refused.contains(cid);
        let entry = Entry {
            cid: cid.clone(),
            held: if refused {
                Held::Refused
            } else {
                Held::Missing
            },
            dag,
            height: 0,
            waiting_for: 0,
            waiters: Vec::new(),
            links: Box::default(),
            below_complete: false,
            below_held: false,
            complete: false,
        };
        let free = self.free.pop();
        let free = free.and_then(|at| Some((at, self.entries.get_mut(at as usize)?)));
        let at = match free {
            Some((at, place)) => {
                *place = entry;
                at
            }
            None => {
                let at = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
                self.entries.push(entry);
                at
            }
        };
        self.by_cid.insert(cid.clone(), at);
        self.missing += usize::from(!refused);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::HashKind;

    fn cid(n: u8) -> Cid {
        Cid::of(HashKind::Sha2_256, &[n])
    }

    fn head_cids(dag: &Dag) -> Vec<Cid> {
        dag.heads("").into_iter().map(|h| h.cid).collect()
    }

    #[test]
    fn a_node_is_a_head_once_everything_below_it_is_here() {
        let mut dag = Dag::default();
        dag.add(&cid(1), &Belongs::to(""), &[], 1);
        assert_eq!(
            dag.add(&cid(3), &Belongs::to(""), &[cid(2)], 3).missing,
            [cid(2)]
        );
        assert_eq!(head_cids(&dag), [cid(1)]);
        assert_eq!(dag.tips(), [(String::new(), cid(3))]);
        dag.add(&cid(2), &Belongs::to(""), &[cid(1)], 2);
        assert_eq!(head_cids(&dag), [cid(3)]);
        assert_eq!(
            (dag.held_count(), dag.missing_count(), dag.tips().len()),
            (3, 0, 0)
        );
    }

    #[test]
    fn a_node_at_the_top_of_the_range_does_not_set_the_height() {
        let mut dag = Dag::default();
        dag.add(&cid(1), &Belongs::to(""), &[], u64::MAX);
        dag.add(&cid(2), &Belongs::to(""), &[], HEIGHT_FREE_MAX);
        dag.add(&cid(3), &Belongs::to(""), &[cid(2)], HEIGHT_FREE_MAX + 1);
        let heights: Vec<_> = dag
            .heads("")
            .into_iter()
            .map(|h| (h.cid, h.height))
            .collect();
        assert!(heights.contains(&(cid(1), 0)));
        assert!(heights.contains(&(cid(3), HEIGHT_FREE_MAX + 1)));
    }

    #[test]
    fn walk_down_gives_the_nearest_first() {
        let mut dag = Dag::default();
        dag.add(&cid(1), &Belongs::to(""), &[], 1);
        for n in 2..10 {
            dag.add(&cid(n), &Belongs::to(""), &[cid(n - 1)], u64::from(n));
        }
        assert_eq!(dag.walk_down(&cid(9), 3), [cid(9), cid(8), cid(7)]);
        assert_eq!(dag.walk_down(&cid(2), 9), [cid(2), cid(1)]);
    }
}
