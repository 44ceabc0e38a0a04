//! CIDs that are not asked for again: their number is bounded.

use crate::cid::Cid;
use crate::limits::REFUSED_MAX;
use rustc_hash::FxHashSet;
use std::collections::VecDeque;

/// CIDs whose bytes are no node; the oldest make room.
#[derive(Default)]
pub(crate) struct Refused {
    order: VecDeque<Cid>,
    all: FxHashSet<Cid>,
}

impl Refused {
    pub fn contains(&self, cid: &Cid) -> bool {
        self.all.contains(cid)
    }

    pub fn insert(&mut self, cid: &Cid) {
        if !self.all.insert(cid.clone()) {
            return;
        }
        self.order.push_back(cid.clone());
        if self.order.len() > REFUSED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::HashKind;

    #[test]
    fn the_oldest_make_room() {
        let mut refused = Refused::default();
        let cid = |n: usize| Cid::of(HashKind::Sha2_256, &n.to_be_bytes());
        for n in 0..=REFUSED_MAX {
            refused.insert(&cid(n));
            refused.insert(&cid(n));
        }
        assert!(!refused.contains(&cid(0)) && refused.contains(&cid(1)));
        assert_eq!(refused.order.len(), REFUSED_MAX);
    }
}
