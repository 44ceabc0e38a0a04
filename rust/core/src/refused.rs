//! CIDs that are not asked for again, and that no held node links to: those are entries of the DAG.

use crate::cid::Cid;
use crate::limits::REFUSED_MAX;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;

/// Why a block was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Its bytes are no node: no replica takes it, in whatever network.
    Bytes,
    /// This network's rules, or its author is paused.
    Rules,
}

/// CIDs that were refused, and why. Of those refused in this run the oldest make room. Those that a datastore keeps stay:
/// they are no more than the links of the nodes in it.
#[derive(Default)]
pub(crate) struct Refused {
    order: VecDeque<Cid>,
    recent: FxHashMap<Cid, Why>,
    kept: FxHashSet<Cid>,
}

impl Refused {
    pub fn contains(&self, cid: &Cid) -> bool {
        self.recent.contains_key(cid) || self.kept.contains(cid)
    }

    pub fn insert(&mut self, cid: &Cid, why: Why) {
        if self.recent.insert(cid.clone(), why).is_some() {
            return;
        }
        self.order.push_back(cid.clone());
        if self.order.len() > REFUSED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
    }

    /// The datastore says so.
    pub fn keep(&mut self, cid: Cid) {
        self.kept.insert(cid);
    }

    /// A held node links to it from now on. True where the datastore has to learn of it.
    pub fn is_to_be_kept(&mut self, cid: &Cid) -> bool {
        !self.kept.remove(cid) && self.recent.get(cid) == Some(&Why::Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::HashKind;

    #[test]
    fn the_oldest_make_room_and_what_is_kept_stays() {
        let mut refused = Refused::default();
        let cid = |n: usize| Cid::of(HashKind::Sha2_256, &n.to_be_bytes());
        for n in 0..=REFUSED_MAX {
            refused.keep(cid(REFUSED_MAX + 1 + n));
            refused.insert(&cid(n), Why::Bytes);
            refused.insert(&cid(n), Why::Bytes);
        }
        assert!(!refused.contains(&cid(0)) && refused.contains(&cid(1)));
        assert_eq!(refused.order.len(), REFUSED_MAX);
        assert!((REFUSED_MAX + 1..2 * REFUSED_MAX + 2).all(|n| refused.contains(&cid(n))));
    }
}
