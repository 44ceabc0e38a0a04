//! The counters: sub-counters joined by maximum, totals kept by difference.

use crate::ahead::GROUP;
use crate::element_key::Side;
use crate::judge::Counted;
use crate::paths::{KeyId, OutsideTexts, Paths, RoomId};
use crate::sub_counters::SubCounters;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One (replica, generation): the single writer of a set of sub-counters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct OriginId(pub(crate) u32);

/// One side of a sub-counter, as an element has it, at a clean path.
#[derive(Clone, Copy, Debug)]
pub struct Raise<'a> {
    pub path: &'a str,
    pub origin: OriginId,
    pub side: Side,
    pub value: u64,
}

/// A replica's view of every counter.
pub struct State {
    paths: Paths,
    origins: FxHashMap<(Box<str>, Box<str>), OriginId>,
    sub_counters: SubCounters,
    /// Elements whose key has fewer than three components after the kind: each is its own sub-counter.
    short_keys: FxHashMap<Box<str>, u64>,
    /// The live generation of this process: its totals are moved by [`State::own_moved`] alone.
    own: Option<OriginId>,
    own_keys: usize,
    /// Places of own keys that others have counted on since somebody asked.
    newly_shared: Vec<u32>,
}

fn signed(side: Side, by: u64) -> i128 {
    match side {
        Side::Incr => i128::from(by),
        Side::Decr => -i128::from(by),
    }
}

impl State {
    /// A state that knows nothing. `seed` seeds its hash tables and changes nothing else.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        State {
            paths: Paths::new(seed),
            origins: FxHashMap::default(),
            sub_counters: SubCounters::default(),
            short_keys: FxHashMap::default(),
            own: None,
            own_keys: 0,
            newly_shared: Vec::new(),
        }
    }

    /// The origin of a replica and generation, both compared as text.
    pub fn origin(&mut self, replica: &str, generation: &str) -> OriginId {
        let next = OriginId(u32::try_from(self.origins.len()).unwrap_or(u32::MAX));
        *self
            .origins
            .entry((replica.into(), generation.into()))
            .or_insert(next)
    }

    /// Name the live generation of this process, whose counts and keys are outside: no element of it is joined.
    pub fn set_own(&mut self, own: OriginId, keys: Box<dyn OutsideTexts>) {
        self.own = Some(own);
        self.paths.set_outside(keys);
    }

    #[must_use]
    pub fn own(&self) -> Option<OriginId> {
        self.own
    }

    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The place of a clean key, made where it is new; `None` where there are too many.
    pub fn intern(&mut self, path: &str) -> Option<KeyId> {
        self.paths.intern(path)
    }

    /// Join one side of a sub-counter: the maximum stands. True where it moved.
    pub fn raise(&mut self, key: KeyId, origin: OriginId, side: Side, value: u64) -> bool {
        match self.sub_counters.raise(key, origin, side, value) {
            Some(by) => {
                self.paths.add(key, signed(side, by));
                self.newly_shared.extend(self.paths.share(key));
                true
            }
            None => false,
        }
    }

    /// As [`State::raise`] of many, in their order; paths are made keys where they are new, unless they count nothing.
    /// How many moved: those that are too many keys do not. Faster than one by one, as their cache misses overlap.
    pub fn raise_all(&mut self, raises: &[Raise<'_>]) -> u64 {
        self.paths.index_outside();
        let mut moved = 0;
        let (mut tags, mut guesses) = ([0; GROUP], [None; GROUP]);
        for group in raises.chunks(GROUP) {
            for (tag, raise) in tags.iter_mut().zip(group) {
                *tag = self.paths.tag(raise.path.as_bytes());
                self.paths.prefetch_tag(*tag);
            }
            for (guess, tag) in guesses.iter_mut().zip(tags).take(group.len()) {
                *guess = self.paths.guess(tag);
                if let Some(key) = *guess {
                    self.paths.prefetch(key);
                    self.sub_counters.prefetch(key);
                }
            }
            for key in guesses.iter().take(group.len()).flatten() {
                self.paths.prefetch_text(*key);
            }
            let each = guesses.iter().zip(tags).zip(group);
            for ((guess, tag), raise) in each.filter(|(_, raise)| raise.value > 0) {
                let known = guess.and_then(|guess| self.paths.confirm(guess, raise.path));
                let key = known.or_else(|| self.paths.intern_tagged(tag, raise.path));
                let raised =
                    key.is_some_and(|key| self.raise(key, raise.origin, raise.side, raise.value));
                moved += u64::from(raised);
            }
        }
        moved
    }

    /// Join an element that has fewer than three components after its kind; it counts at `path` and above.
    pub fn raise_short(&mut self, element_key: &str, path: &str, side: Side, value: u64) -> bool {
        self.paths.index_outside();
        let Some(room) = self.paths.intern_room(path, &|_| None) else {
            return false;
        };
        let known = self.short_keys.entry(element_key.into()).or_default();
        let Some(by) = value.checked_sub(*known).filter(|&by| by > 0) else {
            return false;
        };
        *known = value;
        self.paths.add_in_room(room, signed(side, by));
        true
    }

    /// What counts of an element with this clean key.
    #[must_use]
    pub fn element(&self, counted: &Counted<'_>, clean_key: &str) -> u64 {
        if !counted.exact {
            return self.short_keys.get(clean_key).copied().unwrap_or_default();
        }
        let Some((key, origin)) = self.place(counted) else {
            return 0;
        };
        let (incr, decr) = self.sub_counter(key, origin);
        match counted.side {
            Side::Incr => incr,
            Side::Decr => decr,
        }
    }

    fn place(&self, counted: &Counted<'_>) -> Option<(KeyId, OriginId)> {
        let origin = (counted.replica.into(), counted.generation.into());
        let key = self.paths.find(counted.path)?;
        Some((key, *self.origins.get(&origin)?))
    }

    /// Let an element of an unsigned sub-counter that is here say something else from now on: less, too.
    pub fn set_element(&mut self, counted: &Counted<'_>, clean_key: &str, value: u64) {
        let known = self.element(counted, clean_key);
        if value > known {
            return; // what raises a value comes in as an element
        }
        let by = -signed(counted.side, known - value);
        if !counted.exact {
            let room = self.paths.find_room(counted.path);
            if let (Some(room), Some(short)) = (room, self.short_keys.get_mut(clean_key)) {
                *short = value;
                self.paths.add_in_room(room, by);
            }
        } else if let Some((key, origin)) = self.place(counted)
            && self.sub_counters.set(key, origin, counted.side, value)
        {
            self.paths.add(key, by);
        }
    }

    /// The place of a key of this process's own that comes here for the first time; see [`Paths::intern_outside`].
    /// True where others have counted on it.
    pub fn intern_own(
        &mut self,
        path: &str,
        place: u32,
        find: &dyn Fn(&str) -> Option<KeyId>,
    ) -> Option<(KeyId, bool)> {
        let known = self.paths.key_count();
        let key = self.paths.intern_outside(path, place, find)?;
        self.own_keys += 1;
        Some((key, self.paths.key_count() == known))
    }

    /// Places (see [`State::intern_own`]) of keys that others have counted on for the first time since the last call.
    pub fn take_newly_shared(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.newly_shared)
    }

    /// This process's own sub-counter of a key moved.
    pub fn own_moved(&mut self, key: KeyId, by: i128) {
        self.paths.add(key, by);
    }

    /// What blocks hold of a sub-counter (nothing of the live generation's).
    #[must_use]
    pub fn sub_counter(&self, key: KeyId, origin: OriginId) -> (u64, u64) {
        self.sub_counters.get(key, origin)
    }

    #[must_use]
    pub fn sub_counter_count(&self) -> usize {
        self.sub_counters.len() + self.short_keys.len() + self.own_keys
    }

    /// Exactly this key. Cost: one hash look-up. Own keys are found where the index holds them.
    #[must_use]
    pub fn get(&self, key: &str) -> i128 {
        self.paths.find(key).map_or(0, |key| self.paths.value(key))
    }

    /// The sum of this path and all below it; `None` where nothing is below it, then it is what [`State::get`] gives.
    /// Cost: one hash look-up.
    #[must_use]
    pub fn total_below(&self, prefix: &str) -> Option<i128> {
        self.paths
            .find_room(prefix)
            .map(|room| self.paths.total(room))
    }

    /// This key and all below it.
    #[must_use]
    pub fn total(&self, prefix: &str) -> i128 {
        self.total_below(prefix).unwrap_or_else(|| self.get(prefix))
    }

    /// (component, total of its subtree) of everything one component below, sorted by component.
    #[must_use]
    pub fn children(&self, prefix: &str) -> Vec<(String, i128)> {
        let Some(room) = self.paths.find_room(prefix) else {
            return Vec::new();
        };
        let rooms = self.paths.rooms_in(room).map(|room| {
            let name = self.paths.room_name(room).to_owned();
            (name, self.paths.total(room))
        });
        let leaves = self.paths.leaves_in(room).map(|key| {
            let text = self.paths.text(key);
            let name = text.rsplit_once('/').map(|(_, name)| name.to_owned());
            (name.unwrap_or(text), self.paths.value(key))
        });
        let mut out: Vec<_> = rooms.chain(leaves).collect();
        out.sort_unstable();
        out
    }

    /// (key, value) of every counted key at or below `prefix`, sorted by key. `own` finds an own key by its text.
    #[must_use]
    pub fn items(&self, prefix: &str, own: Option<KeyId>) -> Vec<(String, i128)> {
        let named = |key| (self.paths.text(key), self.paths.value(key));
        let mut out: Vec<_> = match self.paths.find_room(prefix) {
            Some(room) => self.paths.keys_below(room).map(named).collect(),
            None => {
                let key = own.or_else(|| self.paths.find(prefix));
                key.into_iter().map(named).collect()
            }
        };
        out.sort_unstable();
        out
    }

    /// The `n` largest keys strictly below `prefix`, ties by key. Cost: a look at each key's value, of all keys or of
    /// those below, whichever is less.
    #[must_use]
    pub fn top(&self, prefix: &str, n: usize) -> Vec<(String, i128)> {
        let Some(room) = self.paths.find_room(prefix).filter(|_| n > 0) else {
            return Vec::new();
        };
        let mut top = Top {
            paths: &self.paths,
            not: self.paths.key_of(room),
            n,
            best: BinaryHeap::new(),
        };
        let keys = self.paths.key_count();
        if self.paths.keys_in(room) < keys / WALKED_RATIO {
            let keys = self.paths.keys_below(room);
            for key in keys {
                top.offer(key, self.paths.value(key), |_| true);
            }
        } else {
            let is_below = |key| room == RoomId::ROOT || self.paths.is_below(key, room);
            self.paths
                .offer_all(|key, value| top.offer(key, value, is_below));
        }
        let best = top.best.into_sorted_vec().into_iter();
        best.map(|(Reverse(value), key)| (key, value)).collect()
    }
}

/// A walk through the tree costs as much for a key as looking at so many in their order.
const WALKED_RATIO: usize = 8;

/// The best so far, the worst of them on top.
struct Top<'a> {
    paths: &'a Paths,
    not: Option<KeyId>,
    n: usize,
    best: BinaryHeap<(Reverse<i128>, String)>,
}

impl Top<'_> {
    /// Gives the value below which no other key is of use.
    fn offer(&mut self, key: KeyId, value: i128, is_below: impl Fn(KeyId) -> bool) -> i128 {
        if value >= self.floor() && is_below(key) && self.not != Some(key) {
            self.take(key, value);
        }
        self.floor()
    }

    fn floor(&self) -> i128 {
        let worst = self.best.peek().filter(|_| self.best.len() == self.n);
        worst.map_or(i128::MIN, |(worst, _)| worst.0)
    }

    #[inline(never)]
    fn take(&mut self, key: KeyId, value: i128) {
        self.best.push((Reverse(value), self.paths.text(key)));
        if self.best.len() > self.n {
            self.best.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raise(state: &mut State, path: &str, origin: OriginId, side: Side, value: u64) {
        let key = state.intern(path).unwrap();
        state.raise(key, origin, side, value);
    }

    #[test]
    fn the_maximum_stands_in_any_order() {
        let mut state = State::new(1);
        let origin = state.origin("r", "g");
        for value in [3, 1, 5, 5, 2] {
            raise(&mut state, "a/b", origin, Side::Incr, value);
        }
        raise(&mut state, "a/b", origin, Side::Decr, 2);
        assert_eq!(
            (state.get("a/b"), state.total("a"), state.total("")),
            (3, 3, 3)
        );
        let key = state.intern("a/b").unwrap();
        assert_eq!(state.sub_counter(key, origin), (5, 2));
    }

    #[test]
    fn many_at_once_are_as_one_by_one() {
        let (mut one, mut many) = (State::new(1), State::new(2));
        let origins = ["g", "h"].map(|generation| {
            one.origin("r", generation);
            many.origin("r", generation)
        });
        // Keys and origins repeat inside a group and beyond it; some raises count nothing.
        let paths: Vec<String> = (0..90).map(|n| format!("a/{}/{n}", n % 7)).collect();
        for round in 0..40usize {
            let raises: Vec<Raise<'_>> = (0..round * 5)
                .map(|n| Raise {
                    path: &paths[(n * n + round) % (1 + round * 2)],
                    origin: origins[n % 2],
                    side: [Side::Incr, Side::Decr][n / 2 % 2],
                    value: ((n * 31 + round * 7) % 50) as u64,
                })
                .collect();
            let moved = raises.iter().filter(|it| it.value > 0).filter(|it| {
                let key = one.intern(it.path).unwrap();
                one.raise(key, it.origin, it.side, it.value)
            });
            assert_eq!(moved.count() as u64, many.raise_all(&raises));
        }
        assert_eq!(one.items("", None), many.items("", None));
        assert_eq!(one.sub_counter_count(), many.sub_counter_count());
        assert_eq!(one.total("a/3"), many.total("a/3"));
    }

    #[test]
    fn sums_pass_64_bits() {
        let mut state = State::new(1);
        for generation in ["g", "h", "i"] {
            let origin = state.origin("r", generation);
            raise(&mut state, "a", origin, Side::Incr, u64::MAX);
        }
        assert_eq!(state.get("a"), 3 * i128::from(u64::MAX));
    }

    #[test]
    fn top_breaks_ties_by_key_and_leaves_the_prefix_out() {
        // With many keys elsewhere the tree is walked, with few the array is.
        for elsewhere in [0, 100] {
            let mut state = State::new(1);
            let origin = state.origin("r", "g");
            for (key, value) in [
                ("p", 9),
                ("p/c", 2),
                ("p/a", 2),
                ("p/b", 2),
                ("p/d", 5),
                ("p/e/f", 1),
                ("q", 7),
            ] {
                raise(&mut state, key, origin, Side::Incr, value);
            }
            (0..elsewhere)
                .for_each(|n| raise(&mut state, &format!("x/{n}"), origin, Side::Incr, 9));
            let top: Vec<_> = state.top("p", 3);
            assert_eq!(
                top,
                [("p/d".into(), 5), ("p/a".into(), 2), ("p/b".into(), 2)]
            );
            assert_eq!(state.top("p", 0), []);
            assert_eq!(state.top("p/e", 3), [("p/e/f".into(), 1)]);
            assert_eq!(state.top("p", 9).len(), 5);
            for generation in ["h", "i", "j"] {
                let origin = state.origin("r", generation);
                raise(&mut state, "p/a", origin, Side::Incr, u64::MAX);
                raise(&mut state, "p/e/f", origin, Side::Decr, u64::MAX);
            }
            let names = |n| {
                state
                    .top("p", n)
                    .into_iter()
                    .map(|(key, _)| key)
                    .collect::<Vec<_>>()
            };
            assert_eq!(names(2), ["p/a", "p/d"]);
            assert_eq!(names(9), ["p/a", "p/d", "p/b", "p/c", "p/e/f"]);
        }
    }
}
