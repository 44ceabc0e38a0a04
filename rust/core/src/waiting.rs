//! Wants for which there is no room: those that nobody was asked for yet, then those that have stood before.
//!
//! The first ones wait in a line for each whom they are charged to, and of each line the latest goes first. What exists
//! leads on to what it links to, and so is always in front of blocks that somebody made up, however many: those are asked
//! for once, and then wait among those that were.

use crate::cid::Cid;
use crate::wants::Want;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// How many lines, or wants that have stood before, are looked at for one that may stand.
const LOOKED_AT: usize = 64;

/// Whom wants are charged to, and whether held nodes link to them.
type Line = (bool, Option<String>);

#[derive(Default)]
pub(crate) struct Waiting {
    fresh: BTreeMap<Line, Vec<Want>>,
    fresh_len: usize,
    /// The line that was looked at last.
    last: Option<Line>,
    /// The next one at the front.
    again: VecDeque<Want>,
    /// Those of both that wait still; true where held nodes link to them.
    cids: FxHashMap<Cid, bool>,
}

impl Waiting {
    pub fn contains(&self, cid: &Cid) -> bool {
        self.cids.contains_key(cid)
    }

    pub fn is_empty(&self) -> bool {
        self.cids.is_empty()
    }

    /// How many nobody was asked for, at most.
    pub fn fresh_len(&self) -> usize {
        self.fresh_len
    }

    /// Whether it waits; `must`: from now on as what held nodes link to.
    pub fn raise(&mut self, cid: &Cid, must: bool) -> bool {
        match self.cids.get_mut(cid) {
            Some(is_must) => {
                *is_must |= must;
                true
            }
            None => false,
        }
    }

    pub fn push_fresh(&mut self, want: Want, must: bool) {
        self.cids.insert(want.cid.clone(), must);
        self.fresh_len += 1;
        let line = (must, want.peer.clone());
        self.fresh.entry(line).or_default().push(want);
    }

    pub fn push_again(&mut self, want: Want, must: bool) {
        self.cids.insert(want.cid.clone(), must);
        self.again.push_back(want);
    }

    /// It came, or does not matter any more. True where it waited.
    pub fn remove(&mut self, cid: &Cid) -> bool {
        self.cids.remove(cid).is_some()
    }

    /// The next one that may stand by whom it is charged to, and whether held nodes link to it. Looks at a bounded number.
    pub fn take(&mut self, may_stand: impl Fn(Option<&str>) -> bool) -> Option<(Want, bool)> {
        let fresh = self.take_fresh(|_, peer| may_stand(peer));
        fresh.or_else(|| self.take_again(may_stand))
    }

    /// As [`Waiting::take`], of those alone that nobody was asked for yet. `may_stand` gets first whether held nodes link
    /// to it.
    pub fn take_fresh(
        &mut self,
        may_stand: impl Fn(bool, Option<&str>) -> bool,
    ) -> Option<(Want, bool)> {
        for _ in 0..self.fresh.len().min(LOOKED_AT) {
            let line = self.next_line()?;
            if !may_stand(line.0, line.1.as_deref()) {
                continue;
            }
            let wants = self.fresh.get_mut(&line)?;
            let mut found = None;
            while let Some(want) = wants.pop() {
                self.fresh_len -= 1;
                if let Some(must) = self.cids.remove(&want.cid) {
                    found = Some((want, must));
                    break;
                }
            }
            if wants.is_empty() {
                self.fresh.remove(&line);
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Lines have turns.
    fn next_line(&mut self) -> Option<Line> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.fresh.range((after, Bound::Unbounded)).next();
        let next = next.or_else(|| self.fresh.first_key_value());
        self.last = next.map(|(line, _)| line.clone());
        self.last.clone()
    }

    fn take_again(&mut self, may_stand: impl Fn(Option<&str>) -> bool) -> Option<(Want, bool)> {
        for _ in 0..self.again.len().min(LOOKED_AT) {
            let want = self.again.pop_front()?;
            match self.cids.get(&want.cid) {
                None => {}
                Some(&must) if may_stand(want.peer.as_deref()) => {
                    self.cids.remove(&want.cid);
                    return Some((want, must));
                }
                Some(_) => self.again.push_back(want),
            }
        }
        None
    }

    #[cfg(test)]
    pub fn places(&self) -> usize {
        self.fresh_len + self.again.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::HashKind;

    fn want(n: usize, peer: &str) -> Want {
        Want {
            cid: Cid::of(HashKind::Sha2_256, &n.to_be_bytes()),
            peer: Some(peer.to_owned()),
        }
    }

    #[test]
    fn the_latest_of_each_line_goes_first_and_lines_have_turns() {
        let mut waiting = Waiting::default();
        for n in 0..3 {
            waiting.push_fresh(want(n, "a"), true);
            waiting.push_fresh(want(10 + n, "b"), true);
        }
        waiting.push_again(want(20, "a"), true);
        waiting.push_again(want(21, "b"), false);
        assert!(waiting.remove(&want(1, "a").cid));
        let order = [2, 12, 0, 11, 10, 20, 21];
        for n in order {
            let (taken, _) = waiting.take(|_| true).unwrap();
            assert_eq!(taken.cid, want(n, "").cid, "{n}");
        }
        assert!(waiting.take(|_| true).is_none());
        assert!(waiting.is_empty() && waiting.places() == 0);
    }

    #[test]
    fn a_line_that_may_not_stand_holds_no_other_up() {
        let mut waiting = Waiting::default();
        for n in 0..1000 {
            waiting.push_fresh(want(n, "full"), true);
        }
        waiting.push_fresh(want(1000, "announcer"), false);
        let is_full = |peer: Option<&str>| peer == Some("full");
        assert_eq!(
            waiting.take_fresh(|must, peer| must && !is_full(peer)),
            None
        );
        assert!(waiting.raise(&want(1000, "").cid, true));
        let taken = waiting.take(|peer| !is_full(peer));
        assert_eq!(taken, Some((want(1000, "announcer"), true)));
        assert_eq!(waiting.take(|peer| !is_full(peer)), None);
        // None of them has lost its place.
        let taken = waiting.take(|_| true);
        assert_eq!(taken, Some((want(999, "full"), true)));
    }
}
