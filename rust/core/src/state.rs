//! The counters: sub-counters joined by maximum, totals kept by difference.

use crate::element_key::Side;
use crate::paths::{PathId, Paths, Totals};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One (replica, generation): the single writer of a set of sub-counters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct OriginId(u32);

/// A replica's view of every counter.
#[derive(Default)]
pub struct State {
    paths: Paths,
    origins: FxHashMap<(Box<str>, Box<str>), OriginId>,
    sub_counters: FxHashMap<(PathId, OriginId), (u64, u64)>,
    /// Elements whose key has fewer than three components after the kind: each is its own sub-counter.
    short_keys: FxHashMap<Box<str>, u64>,
    /// The live generation of this process: its totals are moved by [`State::own_moved`] alone.
    own: Option<OriginId>,
}

fn totals(side: Side, by: u64) -> Totals {
    match side {
        Side::Incr => Totals {
            incr: u128::from(by),
            decr: 0,
        },
        Side::Decr => Totals {
            incr: 0,
            decr: u128::from(by),
        },
    }
}

impl State {
    /// The origin of a replica and generation, both compared as text.
    pub fn origin(&mut self, replica: &str, generation: &str) -> OriginId {
        let next = OriginId(u32::try_from(self.origins.len()).unwrap_or(u32::MAX));
        *self
            .origins
            .entry((replica.into(), generation.into()))
            .or_insert(next)
    }

    /// Name the live generation of this process: elements of it never move a total.
    pub fn set_own(&mut self, own: OriginId) {
        self.own = Some(own);
    }

    #[must_use]
    pub fn own(&self) -> Option<OriginId> {
        self.own
    }

    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The place of a clean key, made where it is new; `None` where there are 2³² − 1 paths.
    pub fn intern(&mut self, path: &str) -> Option<PathId> {
        self.paths.intern(path)
    }

    /// Join one side of a sub-counter: the maximum stands. True where it moved.
    pub fn raise(&mut self, path: PathId, origin: OriginId, side: Side, value: u64) -> bool {
        if value == 0 {
            return false;
        }
        let entry = self.sub_counters.entry((path, origin)).or_default();
        let known = match side {
            Side::Incr => &mut entry.0,
            Side::Decr => &mut entry.1,
        };
        let Some(by) = value.checked_sub(*known).filter(|&by| by > 0) else {
            return false;
        };
        *known = value;
        if self.own != Some(origin) {
            self.paths.add_exact(path, totals(side, by));
        }
        true
    }

    /// Join an element that has fewer than three components after its kind; it counts at `path` and above.
    pub fn raise_short(&mut self, element_key: &str, path: PathId, side: Side, value: u64) -> bool {
        let known = self.short_keys.entry(element_key.into()).or_default();
        let Some(by) = value.checked_sub(*known).filter(|&by| by > 0) else {
            return false;
        };
        *known = value;
        self.paths.add_subtree(path, totals(side, by));
        true
    }

    /// The journal's slot of this process's own sub-counter moved by so much since it was last brought in.
    pub fn own_moved(&mut self, path: PathId, incr: u64, decr: u64) {
        self.paths.add_exact(
            path,
            Totals {
                incr: u128::from(incr),
                decr: u128::from(decr),
            },
        );
    }

    /// What is known of a sub-counter from blocks (for the live generation: what was published of it).
    #[must_use]
    pub fn sub_counter(&self, path: PathId, origin: OriginId) -> (u64, u64) {
        self.sub_counters
            .get(&(path, origin))
            .copied()
            .unwrap_or_default()
    }

    #[must_use]
    pub fn sub_counter_count(&self) -> usize {
        self.sub_counters.len() + self.short_keys.len()
    }

    /// Exactly this key. Cost: one hash look-up.
    #[must_use]
    pub fn get(&self, key: &str) -> i128 {
        self.paths
            .find(key)
            .map_or(0, |id| self.paths.exact(id).value())
    }

    /// This key and all below it. Cost: one hash look-up.
    #[must_use]
    pub fn total(&self, prefix: &str) -> i128 {
        self.paths
            .find(prefix)
            .map_or(0, |id| self.paths.subtree(id).value())
    }

    /// (component, total of its subtree) of everything one component below, sorted by component.
    #[must_use]
    pub fn children(&self, prefix: &str) -> Vec<(String, i128)> {
        let Some(id) = self.paths.find(prefix) else {
            return Vec::new();
        };
        let named = |child| {
            (
                self.paths.name(child).to_owned(),
                self.paths.subtree(child).value(),
            )
        };
        let mut out: Vec<_> = self.paths.children(id).map(named).collect();
        out.sort_unstable();
        out
    }

    /// (key, value) of every counted key at or below `prefix`, sorted by key.
    #[must_use]
    pub fn items(&self, prefix: &str) -> Vec<(String, i128)> {
        let Some(id) = self.paths.find(prefix) else {
            return Vec::new();
        };
        let named = |key| (self.paths.text(key), self.paths.exact(key).value());
        let mut out: Vec<_> = self.paths.keys_below(id).map(named).collect();
        out.sort_unstable();
        out
    }

    /// The `n` largest keys strictly below `prefix`, ties by key.
    #[must_use]
    pub fn top(&self, prefix: &str, n: usize) -> Vec<(String, i128)> {
        let Some(id) = self.paths.find(prefix) else {
            return Vec::new();
        };
        let mut best: BinaryHeap<(Reverse<i128>, String)> = BinaryHeap::new();
        for key in self.paths.keys_below(id).filter(|&key| key != id) {
            let value = Reverse(self.paths.exact(key).value());
            if best.len() < n {
                best.push((value, self.paths.text(key)));
            } else if best.peek().is_some_and(|worst| value <= worst.0) {
                best.push((value, self.paths.text(key)));
                best.pop();
            }
        }
        best.into_sorted_vec()
            .into_iter()
            .map(|(Reverse(value), key)| (key, value))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_stands_in_any_order() {
        let mut state = State::default();
        let path = state.intern("a/b").unwrap();
        let origin = state.origin("r", "g");
        for value in [3, 1, 5, 5, 2] {
            state.raise(path, origin, Side::Incr, value);
        }
        state.raise(path, origin, Side::Decr, 2);
        assert_eq!(
            (state.get("a/b"), state.total("a"), state.total("")),
            (3, 3, 3)
        );
    }

    #[test]
    fn sums_pass_64_bits() {
        let mut state = State::default();
        let path = state.intern("a").unwrap();
        for generation in ["g", "h", "i"] {
            let origin = state.origin("r", generation);
            state.raise(path, origin, Side::Incr, u64::MAX);
        }
        assert_eq!(state.get("a"), 3 * i128::from(u64::MAX));
    }

    #[test]
    fn top_breaks_ties_by_key_and_leaves_the_prefix_out() {
        let mut state = State::default();
        let origin = state.origin("r", "g");
        for (key, value) in [
            ("p", 9),
            ("p/c", 2),
            ("p/a", 2),
            ("p/b", 2),
            ("p/d", 5),
            ("q", 7),
        ] {
            let path = state.intern(key).unwrap();
            state.raise(path, origin, Side::Incr, value);
        }
        let top: Vec<_> = state.top("p", 3);
        assert_eq!(
            top,
            [("p/d".into(), 5), ("p/a".into(), 2), ("p/b".into(), 2)]
        );
        assert_eq!(state.top("p", 0), []);
    }

    #[test]
    fn elements_of_the_live_generation_never_move_a_total() {
        let mut state = State::default();
        let path = state.intern("a").unwrap();
        let own = state.origin("me", "now");
        state.set_own(own);
        state.own_moved(path, 4, 0);
        state.raise(path, own, Side::Incr, 4);
        assert_eq!(state.get("a"), 4);
        assert_eq!(state.sub_counter(path, own), (4, 0));
    }
}
