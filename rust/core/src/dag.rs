//! The Merkle-DAG as far as it is known: which nodes are held, which are missing, which are heads.

use crate::cid::Cid;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};

/// Heights above this are taken only one above a held parent (wire.md "Priority"): an attacker at the top of the
/// range could otherwise stop all writing.
pub const HEIGHT_FREE_MAX: u64 = 1 << 62;

type Index = u32;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    /// Known by its CID alone.
    Missing,
    /// Came and was refused: never asked for again.
    Refused,
    Here,
}

struct Entry {
    cid: Cid,
    held: Held,
    dag: u32,
    /// As written, until the node is complete; then as taken.
    height: u64,
    /// Links whose nodes are not complete yet.
    waiting_for: u32,
    /// Held nodes that wait for this one to be complete.
    waiters: Vec<Index>,
    links: Box<[Index]>,
    /// Whether a complete node links to this one: then it is no head.
    below_complete: bool,
    /// Whether a held node links to this one: then it is no tip.
    below_held: bool,
    complete: bool,
}

/// A head of one DAG.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadInfo {
    pub cid: Cid,
    pub height: u64,
}

/// What came of a node that was added.
#[derive(Default, Debug)]
pub struct Added {
    /// False where the node was held already.
    pub new: bool,
    /// Linked nodes that are not held: known from now on, and to be fetched.
    pub missing: Vec<Cid>,
}

/// Every node that is held or known to be missing.
#[derive(Default)]
pub struct Dag {
    entries: Vec<Entry>,
    by_cid: FxHashMap<Cid, Index>,
    dag_names: Vec<Box<str>>,
    dag_ids: FxHashMap<Box<str>, u32>,
    heads: BTreeMap<u32, BTreeSet<Index>>,
    /// Held, not complete, and no held node links to them.
    tips: BTreeSet<Index>,
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
        self.entry_of(cid).is_some_and(|e| e.held == Held::Refused)
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

    /// The DAG to which a known node was said to belong.
    #[must_use]
    pub fn dag_name_of(&self, cid: &Cid) -> Option<&str> {
        let entry = self.entry_of(cid)?;
        self.dag_names.get(entry.dag as usize).map(AsRef::as_ref)
    }

    /// Make a node known that somebody announced. True where it has to be fetched.
    pub fn announce(&mut self, cid: &Cid, dag_name: &str) -> bool {
        if let Some(entry) = self.entry_of(cid) {
            return entry.held == Held::Missing;
        }
        let dag = self.dag_id(dag_name);
        self.know(cid, dag);
        true
    }

    /// Note that a node is not to be had in any form that counts.
    pub fn refuse(&mut self, cid: &Cid) {
        let dag = self.dag_id("");
        let index = self.know(cid, dag);
        if let Some(entry) = self.entries.get_mut(index as usize)
            && entry.held == Held::Missing
        {
            entry.held = Held::Refused;
            self.missing -= 1;
        }
    }

    /// Put a node into the DAG `dag_name`.
    pub fn add(&mut self, cid: &Cid, dag_name: &str, links: &[Cid], priority: u64) -> Added {
        let dag = self.dag_id(dag_name);
        let index = self.know(cid, dag);
        if self
            .entries
            .get(index as usize)
            .is_none_or(|e| e.held == Held::Here)
        {
            return Added::default();
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
        for &at in &link_indices {
            let Some(link) = self.entries.get_mut(at as usize) else {
                continue;
            };
            if !link.below_held {
                link.below_held = true;
                self.tips.remove(&at);
            }
            if !link.complete {
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
        if waiting_for == 0 {
            self.complete(index);
        }
        Added { new: true, missing }
    }

    /// The heads of one DAG, sorted by CID.
    #[must_use]
    pub fn heads(&self, dag_name: &str) -> Vec<HeadInfo> {
        let Some(heads) = self.dag_ids.get(dag_name).and_then(|id| self.heads.get(id)) else {
            return Vec::new();
        };
        let mut out: Vec<_> = heads.iter().filter_map(|&at| self.head_info(at)).collect();
        out.sort_unstable_by(|a, b| a.cid.cmp(&b.cid));
        out
    }

    /// (dagName, heads) of every DAG, sorted.
    #[must_use]
    pub fn all_heads(&self) -> Vec<(String, Vec<HeadInfo>)> {
        let mut names: Vec<&str> = self
            .heads
            .keys()
            .filter_map(|&id| self.dag_names.get(id as usize))
            .map(AsRef::as_ref)
            .collect();
        names.sort_unstable();
        names
            .into_iter()
            .map(|name| (name.to_owned(), self.heads(name)))
            .filter(|(_, heads)| !heads.is_empty())
            .collect()
    }

    /// (dagName, CID) of every node that is held, still lacks something below it, and has no held node above it.
    #[must_use]
    pub fn tips(&self) -> Vec<(String, Cid)> {
        let named = |&at: &Index| {
            let entry = self.entries.get(at as usize)?;
            Some((
                self.dag_names.get(entry.dag as usize)?.to_string(),
                entry.cid.clone(),
            ))
        };
        let mut out: Vec<_> = self.tips.iter().filter_map(named).collect();
        out.sort_unstable();
        out
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

    /// Every missing node, sorted by CID.
    #[must_use]
    pub fn missing(&self) -> Vec<Cid> {
        let mut out: Vec<_> = self
            .entries
            .iter()
            .filter(|e| e.held == Held::Missing)
            .map(|e| e.cid.clone())
            .collect();
        out.sort_unstable();
        out
    }

    fn head_info(&self, at: Index) -> Option<HeadInfo> {
        self.entries.get(at as usize).map(|e| HeadInfo {
            cid: e.cid.clone(),
            height: e.height,
        })
    }

    fn entry_of(&self, cid: &Cid) -> Option<&Entry> {
        self.by_cid
            .get(cid)
            .and_then(|&at| self.entries.get(at as usize))
    }

    fn dag_id(&mut self, name: &str) -> u32 {
        if let Some(&id) = self.dag_ids.get(name) {
            return id;
        }
        let id = u32::try_from(self.dag_names.len()).unwrap_or(u32::MAX);
        self.dag_names.push(name.into());
        self.dag_ids.insert(name.into(), id);
        id
    }

    fn know(&mut self, cid: &Cid, dag: u32) -> Index {
        if let Some(&at) = self.by_cid.get(cid) {
            return at;
        }
        let at = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry {
            cid: cid.clone(),
            held: Held::Missing,
            dag,
            height: 0,
            waiting_for: 0,
            waiters: Vec::new(),
            links: Box::default(),
            below_complete: false,
            below_held: false,
            complete: false,
        });
        self.by_cid.insert(cid.clone(), at);
        self.missing += 1;
        at
    }

    fn taken_height(&self, at: Index) -> u64 {
        let Some(Entry {
            height: priority,
            links,
            ..
        }) = self.entries.get(at as usize)
        else {
            return 0;
        };
        let priority = *priority;
        if priority <= HEIGHT_FREE_MAX {
            return priority;
        }
        let one_above = |at: &Index| {
            self.entries
                .get(*at as usize)
                .is_some_and(|e| e.complete && e.height.checked_add(1) == Some(priority))
        };
        if links.iter().any(one_above) {
            priority
        } else {
            0
        }
    }

    /// A node and, in turn, all that waited for it are complete now.
    fn complete(&mut self, index: Index) {
        let mut done = vec![index];
        while let Some(at) = done.pop() {
            let height = self.taken_height(at);
            let Some(entry) = self.entries.get_mut(at as usize) else {
                continue;
            };
            entry.complete = true;
            entry.height = height;
            self.tips.remove(&at);
            if !entry.below_complete {
                self.heads.entry(entry.dag).or_default().insert(at);
            }
            let (links, waiters) = (entry.links.clone(), std::mem::take(&mut entry.waiters));
            for &link in &links {
                let Some(below) = self.entries.get_mut(link as usize) else {
                    continue;
                };
                if !below.below_complete {
                    below.below_complete = true;
                    if let Some(heads) = self.heads.get_mut(&below.dag) {
                        heads.remove(&link);
                    }
                }
            }
            for waiter in waiters {
                let Some(above) = self.entries.get_mut(waiter as usize) else {
                    continue;
                };
                above.waiting_for -= 1;
                if above.waiting_for == 0 {
                    done.push(waiter);
                }
            }
        }
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
        dag.add(&cid(1), "", &[], 1);
        assert_eq!(dag.add(&cid(3), "", &[cid(2)], 3).missing, [cid(2)]);
        assert_eq!(head_cids(&dag), [cid(1)]);
        assert_eq!(dag.tips(), [(String::new(), cid(3))]);
        dag.add(&cid(2), "", &[cid(1)], 2);
        assert_eq!(head_cids(&dag), [cid(3)]);
        assert_eq!(
            (dag.held_count(), dag.missing_count(), dag.tips().len()),
            (3, 0, 0)
        );
    }

    #[test]
    fn any_order_of_blocks_gives_the_same_heads() {
        // 1 ← 2 ← 4, 1 ← 3, 3 ← 5, 4 ← 5? no: heads 4 and 5
        let nodes: [(u8, &[u8]); 5] = [(1, &[]), (2, &[1]), (3, &[1]), (4, &[2]), (5, &[3, 1])];
        let mut orders: Vec<Vec<usize>> = vec![vec![]];
        for n in 0..nodes.len() {
            orders = orders
                .into_iter()
                .flat_map(|o| {
                    (0..=o.len()).map(move |at| {
                        let mut o = o.clone();
                        o.insert(at, n);
                        o
                    })
                })
                .collect();
        }
        for order in orders {
            let mut dag = Dag::default();
            for at in order {
                let (n, links) = nodes[at];
                let links: Vec<_> = links.iter().map(|&l| cid(l)).collect();
                dag.add(&cid(n), "", &links, u64::from(n));
            }
            let mut want = [cid(4), cid(5)];
            want.sort_unstable();
            assert_eq!(head_cids(&dag), want);
        }
    }

    #[test]
    fn a_node_at_the_top_of_the_range_does_not_set_the_height() {
        let mut dag = Dag::default();
        dag.add(&cid(1), "", &[], u64::MAX);
        dag.add(&cid(2), "", &[], HEIGHT_FREE_MAX);
        dag.add(&cid(3), "", &[cid(2)], HEIGHT_FREE_MAX + 1);
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
        dag.add(&cid(1), "", &[], 1);
        for n in 2..10 {
            dag.add(&cid(n), "", &[cid(n - 1)], u64::from(n));
        }
        assert_eq!(dag.walk_down(&cid(9), 3), [cid(9), cid(8), cid(7)]);
        assert_eq!(dag.walk_down(&cid(2), 9), [cid(2), cid(1)]);
    }
}
