//! Wants for which there is no room: those that nobody was asked for yet, then those that have stood before.
//!
//! Of the first ones the latest comes first. What exists leads on to what it links to, and so is always in front of
//! blocks that somebody made up, however many: those are asked for once, and then wait among those that were.

use crate::cid::Cid;
use crate::wants::Want;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// How many of each kind are looked at for one that may stand.
const LOOKED_AT: usize = 64;

#[derive(Default)]
pub(crate) struct Waiting {
    /// The latest at the back.
    fresh: VecDeque<Want>,
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
        self.fresh.len()
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
        self.fresh.push_back(want);
    }

    pub fn push_again(&mut self, want: Want, must: bool) {
        self.cids.insert(want.cid.clone(), must);
        self.again.push_back(want);
    }

    /// It came, or does not matter any more. True where it waited.
    pub fn remove(&mut self, cid: &Cid) -> bool {
        self.cids.remove(cid).is_some()
    }

    /// The next one that may stand (a want, and whether held nodes link to it). Looks at a bounded number; those that may not
    /// stand go behind the others.
    pub fn take(&mut self, may_stand: impl Fn(&Want, bool) -> bool) -> Option<(Want, bool)> {
        let fresh = self.take_fresh(&may_stand);
        fresh.or_else(|| self.take_again(&may_stand))
    }

    /// As [`Waiting::take`], of those alone that nobody was asked for yet.
    pub fn take_fresh(&mut self, may_stand: impl Fn(&Want, bool) -> bool) -> Option<(Want, bool)> {
        for _ in 0..self.fresh.len().min(LOOKED_AT) {
            let want = self.fresh.pop_back()?;
            match self.cids.get(&want.cid) {
                None => {}
                Some(&must) if may_stand(&want, must) => {
                    self.cids.remove(&want.cid);
                    return Some((want, must));
                }
                Some(_) => self.fresh.push_front(want),
            }
        }
        None
    }

    fn take_again(&mut self, may_stand: impl Fn(&Want, bool) -> bool) -> Option<(Want, bool)> {
        for _ in 0..self.again.len().min(LOOKED_AT) {
            let want = self.again.pop_front()?;
            match self.cids.get(&want.cid) {
                None => {}
                Some(&must) if may_stand(&want, must) => {
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
        self.fresh.len() + self.again.len()
    }
}
