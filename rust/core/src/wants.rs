//! Which missing blocks are asked for, for whom, and how many at a time.

use crate::cid::Cid;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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

/// A want that made room for another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evicted {
    pub cid: Cid,
    /// The exchange was asked for it.
    pub was_asked: bool,
}

struct Standing {
    peer: Option<String>,
    /// Its place in the order in which wants came to stand.
    turn: u64,
}

/// The blocks that stand at the exchange, and those that wait for their turn.
///
/// Nobody can tell a block that is late from one that does not exist, and any peer can make such ones up. So when all
/// room is taken, the announced block that has stood longest makes room, whoever announced it (the core is not told who
/// is connected): one that exists is there long before so many others were announced, and its peer announces it again.
/// What held nodes link to stays: nobody says it twice.
#[derive(Default)]
pub struct Wants {
    standing: FxHashMap<Cid, Standing>,
    /// All that stand, the longest standing first.
    turns: BTreeMap<u64, Cid>,
    /// Those of them that were announced, and that no held node links to.
    announced: BTreeSet<u64>,
    next_turn: u64,
    /// The exchange was asked for those of turns below.
    asked: u64,
    per_peer: FxHashMap<String, usize>,
    waiting: VecDeque<Want>,
    /// Those that wait still; true where held nodes link to them.
    waiting_cids: FxHashMap<Cid, bool>,
    evicted: Vec<Evicted>,
}

impl Wants {
    /// Ask for a block when there is room, or when an announced one can make room; see [`Wants::take_evicted`]. `must`
    /// says that held nodes link to it: it may wait, but is never dropped. False where it was dropped.
    pub fn want(&mut self, cid: &Cid, peer: Option<&str>, must: bool) -> bool {
        if let Some(standing) = self.standing.get(cid) {
            if must {
                self.announced.remove(&standing.turn);
            }
            return true;
        }
        if let Some(is_must) = self.waiting_cids.get_mut(cid) {
            *is_must |= must;
            return true;
        }
        let want = Want {
            cid: cid.clone(),
            peer: peer.map(str::to_owned),
        };
        if self.peer_has_room(peer) && (self.has_room() || self.evict()) {
            self.stand(want, must);
        } else if must || self.waiting.len() < WAITING_MAX {
            self.waiting_cids.insert(cid.clone(), must);
            self.waiting.push_back(want);
        } else {
            return false;
        }
        true
    }

    /// A block came, or does not matter any more. True where it was standing or waiting.
    pub fn done(&mut self, cid: &Cid) -> bool {
        let waited = self.waiting_cids.remove(cid).is_some();
        let stood = self.remove(cid).is_some();
        if stood {
            self.hand_out();
        }
        waited || stood
    }

    #[must_use]
    pub fn is_wanted(&self, cid: &Cid) -> bool {
        self.standing.contains_key(cid) || self.waiting_cids.contains_key(cid)
    }

    #[must_use]
    pub fn standing_count(&self) -> usize {
        self.standing.len()
    }

    /// What to ask the exchange for, since the last call.
    pub fn take_asks(&mut self) -> Vec<Want> {
        let fresh = self.turns.range(self.asked..).map(|(_, cid)| cid);
        let asks = fresh.map(|cid| Want {
            cid: cid.clone(),
            peer: self.standing.get(cid).and_then(|s| s.peer.clone()),
        });
        let asks = asks.collect();
        self.asked = self.next_turn;
        asks
    }

    /// What is wanted no longer since the last call, as others needed the room.
    pub fn take_evicted(&mut self) -> Vec<Evicted> {
        std::mem::take(&mut self.evicted)
    }

    fn has_room(&self) -> bool {
        self.standing.len() < WANTS_MAX
    }

    fn peer_has_room(&self, peer: Option<&str>) -> bool {
        let has = peer.and_then(|peer| self.per_peer.get(peer));
        has.copied().unwrap_or(0) < WANTS_PER_PEER_MAX
    }

    /// Make room. False where only what held nodes link to stands.
    fn evict(&mut self) -> bool {
        let oldest = self.announced.first();
        let Some(cid) = oldest.and_then(|turn| self.turns.get(turn)).cloned() else {
            return false;
        };
        let Some(turn) = self.remove(&cid) else {
            return false;
        };
        let was_asked = turn < self.asked;
        self.evicted.push(Evicted { cid, was_asked });
        true
    }

    fn stand(&mut self, want: Want, must: bool) {
        if let Some(peer) = &want.peer {
            *self.per_peer.entry(peer.clone()).or_default() += 1;
        }
        let turn = self.next_turn;
        self.next_turn += 1;
        self.turns.insert(turn, want.cid.clone());
        if !must {
            self.announced.insert(turn);
        }
        let Want { cid, peer } = want;
        self.standing.insert(cid, Standing { peer, turn });
    }

    /// Gives the turn of one that stood.
    fn remove(&mut self, cid: &Cid) -> Option<u64> {
        let Standing { peer, turn } = self.standing.remove(cid)?;
        self.turns.remove(&turn);
        self.announced.remove(&turn);
        if let Some(peer) = peer
            && let Some(count) = self.per_peer.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&peer);
            }
        }
        Some(turn)
    }

    /// Give the freed room to whoever has waited longest and may have it. Looks at a bounded number of them.
    fn hand_out(&mut self) {
        for _ in 0..self.waiting.len().min(64) {
            if !self.has_room() {
                return;
            }
            let Some(want) = self.waiting.pop_front() else {
                return;
            };
            let Some(&must) = self.waiting_cids.get(&want.cid) else {
                continue;
            };
            if self.peer_has_room(want.peer.as_deref()) {
                self.waiting_cids.remove(&want.cid);
                self.stand(want, must);
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
    /// All room taken by announced blocks that do not exist.
    fn flooded() -> Wants {
        let mut wants = Wants::default();
        for n in 0..WANTS_MAX {
            let peer = format!("throwaway {}", n / WANTS_PER_PEER_MAX);
            assert!(wants.want(&cid(n), Some(&peer), false));
        }
        assert_eq!(wants.take_asks().len(), WANTS_MAX);
        wants
    }

    #[test]
    fn the_oldest_announced_block_makes_room() {
        let mut wants = flooded();
        wants.want(&cid(0), Some("author"), true); // a held node links to it by now
        for (n, must) in [(1 << 20, false), ((1 << 20) + 1, true)] {
            assert!(wants.want(&cid(n), Some("honest"), must));
        }
        let evicted = wants.take_evicted();
        let want = [1, 2].map(|n| Evicted {
            cid: cid(n),
            was_asked: true,
        });
        assert_eq!(evicted, want);
        assert!(wants.is_wanted(&cid(0)) && !wants.is_wanted(&cid(1)));
        assert_eq!(wants.take_asks().len(), 2);
        assert_eq!(wants.standing_count(), WANTS_MAX);
        // It comes again, and goes before anybody asked for it.
        assert!(wants.want(&cid(1), Some("honest"), false));
        for n in 0..WANTS_MAX - 2 {
            let peer = format!("another {}", n / WANTS_PER_PEER_MAX);
            assert!(wants.want(&cid(n + (1 << 21)), Some(&peer), false));
        }
        let evicted = wants.take_evicted();
        assert_eq!(
            (evicted.len(), evicted.last()),
            (
                WANTS_MAX - 1,
                Some(&Evicted {
                    cid: cid(1),
                    was_asked: false
                })
            )
        );
        assert_eq!(wants.take_asks().len(), WANTS_MAX - 2);
        assert_eq!(wants.take_asks(), []);
    }

    #[test]
    fn an_announced_block_takes_no_room_of_a_linked_one() {
        let mut wants = Wants::default();
        for n in 0..WANTS_MAX {
            assert!(wants.want(&cid(n), None, true));
        }
        assert!(wants.want(&cid(1 << 20), Some("peer"), false));
        assert_eq!(wants.take_evicted(), []);
        assert_eq!(wants.take_asks().len(), WANTS_MAX);
        // It waited, and is linked to by now: it does not go again once it stands.
        assert!(wants.want(&cid(1 << 20), Some("author"), true));
        assert!(wants.done(&cid(7)));
        assert_eq!(wants.take_asks().len(), 1);
        assert!(wants.want(&cid((1 << 20) + 1), Some("peer"), false));
        assert_eq!(wants.take_evicted(), []);
    }
}
