//! Which missing blocks are asked for, for whom, and how many at a time.

use crate::cid::Cid;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;

/// Wants that stand at the exchange at one time, in all: bounds its memory and its wantlists.
pub const WANTS_MAX: usize = 16_384;
/// Wants that stand for one announcing peer: one peer cannot take all the room.
pub const WANTS_PER_PEER_MAX: usize = 1024;
/// Announced blocks that wait for a free want. More are dropped: their peer announces them again.
pub const WAITING_MAX: usize = 65_536;

/// A block to ask for, and who is known to have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Want {
    pub cid: Cid,
    pub peer: Option<String>,
}

/// The blocks that stand at the exchange, and those that wait for their turn.
#[derive(Default)]
pub struct Wants {
    standing: FxHashMap<Cid, Option<String>>,
    per_peer: FxHashMap<String, usize>,
    waiting: VecDeque<Want>,
    waiting_cids: FxHashSet<Cid>,
    ask: Vec<Want>,
}

impl Wants {
    /// Ask for a block when there is room. `must` says that held nodes link to it: it may wait, but is never dropped.
    /// False where it was dropped.
    pub fn want(&mut self, cid: &Cid, peer: Option<&str>, must: bool) -> bool {
        if self.standing.contains_key(cid) || self.waiting_cids.contains(cid) {
            return true;
        }
        let want = Want {
            cid: cid.clone(),
            peer: peer.map(str::to_owned),
        };
        if self.has_room(peer) {
            self.stand(want);
        } else if must || self.waiting.len() < WAITING_MAX {
            self.waiting_cids.insert(cid.clone());
            self.waiting.push_back(want);
        } else {
            return false;
        }
        true
    }

    /// A block came, or does not matter any more. True where it was standing or waiting.
    pub fn done(&mut self, cid: &Cid) -> bool {
        let waited = self.waiting_cids.remove(cid);
        let Some(peer) = self.standing.remove(cid) else {
            return waited;
        };
        if let Some(peer) = peer
            && let Some(count) = self.per_peer.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&peer);
            }
        }
        self.hand_out();
        true
    }

    #[must_use]
    pub fn is_wanted(&self, cid: &Cid) -> bool {
        self.standing.contains_key(cid) || self.waiting_cids.contains(cid)
    }

    #[must_use]
    pub fn standing_count(&self) -> usize {
        self.standing.len()
    }

    /// What to ask the exchange for, since the last call.
    pub fn take_asks(&mut self) -> Vec<Want> {
        std::mem::take(&mut self.ask)
    }

    fn has_room(&self, peer: Option<&str>) -> bool {
        let peer_has = peer
            .and_then(|p| self.per_peer.get(p))
            .copied()
            .unwrap_or(0);
        self.standing.len() < WANTS_MAX && peer_has < WANTS_PER_PEER_MAX
    }

    fn stand(&mut self, want: Want) {
        if let Some(peer) = &want.peer {
            *self.per_peer.entry(peer.clone()).or_default() += 1;
        }
        self.standing.insert(want.cid.clone(), want.peer.clone());
        self.ask.push(want);
    }

    /// Give the freed room to whoever has waited longest and may have it. Looks at a bounded number of them.
    fn hand_out(&mut self) {
        for _ in 0..self.waiting.len().min(64) {
            if self.standing.len() >= WANTS_MAX {
                return;
            }
            let Some(want) = self.waiting.pop_front() else {
                return;
            };
            if !self.waiting_cids.contains(&want.cid) {
                continue;
            }
            if self.has_room(want.peer.as_deref()) {
                self.waiting_cids.remove(&want.cid);
                self.stand(want);
            } else {
                self.waiting.push_back(want);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::HashKind;

    fn cid(n: usize) -> Cid {
        Cid::of(HashKind::Sha2_256, &n.to_be_bytes())
    }

    #[test]
    fn one_peer_cannot_take_all_the_room() {
        let mut wants = Wants::default();
        for n in 0..2 * WANTS_PER_PEER_MAX {
            assert!(wants.want(&cid(n), Some("greedy"), false));
        }
        assert!(wants.want(&cid(1 << 20), Some("other"), false));
        assert_eq!(wants.take_asks().len(), WANTS_PER_PEER_MAX + 1);
        for n in 0..WANTS_PER_PEER_MAX {
            assert!(wants.done(&cid(n)));
        }
        assert_eq!(wants.take_asks().len(), WANTS_PER_PEER_MAX);
        assert_eq!(wants.standing_count(), WANTS_PER_PEER_MAX + 1);
    }

    #[test]
    fn an_announced_block_beyond_all_room_is_dropped_and_a_linked_one_is_not() {
        let mut wants = Wants::default();
        for n in 0..WANTS_PER_PEER_MAX + WAITING_MAX {
            assert!(wants.want(&cid(n), Some("greedy"), false));
        }
        assert!(!wants.want(&cid(1 << 30), Some("greedy"), false));
        assert!(wants.want(&cid(1 << 30), Some("greedy"), true));
    }
}
