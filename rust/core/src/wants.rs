//! Which missing blocks are asked for, for whom, and how many at a time.

use crate::cid::Cid;
use crate::waiting::Waiting;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Wants that stand at the exchange at one time, in all: bounds its memory and its wantlists.
pub const WANTS_MAX: usize = 16_384;
/// Wants that stand for one announcing peer: one peer cannot take all the room.
pub const WANTS_PER_PEER_MAX: usize = 1024;
/// Announced blocks that wait for a free want. More are dropped: their peer announces them again.
pub const WAITING_MAX: usize = 65_536;
/// How long a want stands, in ms, while others wait: a block that exists mostly comes within seconds.
pub const WANT_STANDS_MS: u64 = 60_000;
/// How long a want stands, in ms, before one that nobody was asked for yet may take its place.
pub const WANT_YIELDS_MS: u64 = 5_000;
/// How exactly that is known: bounds what is remembered of it.
const STANDS_EXACTLY_MS: u64 = 1_000;
/// Whom links in nodes without an author are charged to, together.
pub const NOBODY: &str = "";

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
/// What held nodes link to stays: nobody says it twice. But it gives its place to those that wait, and waits itself, once
/// it has stood for long: links to blocks that do not exist are as easily made. One that nobody was asked for yet takes the
/// place of one that has stood for some seconds, or each step down a chain would wait for such a turn.
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
    /// Those of turns below have stood for [`WANT_STANDS_MS`].
    stood_long: u64,
    /// Those of turns below have stood for [`WANT_YIELDS_MS`].
    may_yield: u64,
    /// (turn, ms): the exchange was asked for those of turns below then, the first ones first. Not for long.
    asked_since: VecDeque<(u64, u64)>,
    /// The turns of those that stand for a peer.
    per_peer: FxHashMap<String, BTreeSet<u64>>,
    waiting: Waiting,
    evicted: Vec<Evicted>,
    /// What was asked for, and waits again.
    back: Vec<Cid>,
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
        if self.waiting.raise(cid, must) {
            return true;
        }
        let want = Want {
            cid: cid.clone(),
            peer: peer.map(str::to_owned),
        };
        if self.make_room(peer, must) {
            self.stand(want, must);
        } else if must || self.waiting.fresh_len() < WAITING_MAX {
            self.waiting.push_fresh(want, must);
        } else {
            return false;
        }
        true
    }

    /// A block came, or does not matter any more. True where it was standing or waiting.
    pub fn done(&mut self, cid: &Cid) -> bool {
        let waited = self.waiting.remove(cid);
        let stood = self.remove(cid).is_some();
        if stood {
            self.hand_out();
        }
        waited || stood
    }

    #[must_use]
    pub fn is_standing(&self, cid: &Cid) -> bool {
        self.standing.contains_key(cid)
    }

    #[must_use]
    pub fn is_wanted(&self, cid: &Cid) -> bool {
        self.standing.contains_key(cid) || self.waiting.contains(cid)
    }

    #[must_use]
    pub fn standing_count(&self) -> usize {
        self.standing.len()
    }

    /// What to ask the exchange for, since the last call.
    pub fn take_asks(&mut self, now_ms: u64) -> Vec<Want> {
        let fresh = self.turns.range(self.asked..).map(|(_, cid)| cid);
        let asks: Vec<_> = fresh
            .map(|cid| Want {
                cid: cid.clone(),
                peer: self
                    .standing
                    .get(cid)
                    .and_then(|standing| standing.peer.clone())
                    .filter(|peer| peer != NOBODY),
            })
            .collect();
        self.asked = self.next_turn;
        match self.asked_since.back_mut() {
            _ if asks.is_empty() => {}
            Some((turn, since)) if now_ms < since.saturating_add(STANDS_EXACTLY_MS) => {
                *turn = self.asked;
            }
            _ => self.asked_since.push_back((self.asked, now_ms)),
        }
        asks
    }

    /// When [`Wants::take_turns`] has something to do without any input: only where wants wait.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let next = |below: u64, after_ms: u64| {
            let mut left = self.asked_since.iter().filter(|(turn, _)| *turn > below);
            left.next().map(|(_, since)| since.saturating_add(after_ms))
        };
        let yields = next(self.may_yield, WANT_YIELDS_MS);
        let stands = next(self.stood_long, WANT_STANDS_MS);
        let due = yields.into_iter().chain(stands).min();
        due.filter(|_| !self.waiting.is_empty())
    }

    /// Where wants wait, let those that have stood for long wait in their place; gives what the exchange need not look for
    /// meanwhile. Moves a bounded number.
    pub fn take_turns(&mut self, now_ms: u64) -> Vec<Cid> {
        while let Some(&(turn, since)) = self.asked_since.front()
            && now_ms >= since.saturating_add(WANT_STANDS_MS)
        {
            self.stood_long = turn;
            self.asked_since.pop_front();
        }
        let yields = |&(_, since): &(u64, u64)| now_ms >= since.saturating_add(WANT_YIELDS_MS);
        let may_yield = self.asked_since.iter().copied().take_while(yields).last();
        self.may_yield = may_yield.map_or(self.stood_long, |(turn, _)| turn);
        for _ in 0..WANTS_PER_PEER_MAX {
            if !self.yield_one() {
                break;
            }
        }
        for _ in 0..WANTS_PER_PEER_MAX {
            let first = self.turns.first_key_value();
            let Some((turn, cid)) = first
                .filter(|(turn, _)| **turn < self.stood_long && !self.waiting.is_empty())
                .map(|(turn, cid)| (*turn, cid.clone()))
            else {
                break;
            };
            let must = !self.announced.contains(&turn);
            let Some(Standing { peer, .. }) = self.remove(&cid) else {
                break;
            };
            let want = Want { cid, peer };
            self.hand_out();
            if self.has_room() && self.peer_has_room(want.peer.as_deref()) {
                self.stand(want, must); // nobody could take its place
            } else {
                self.back.push(want.cid.clone());
                self.waiting.push_again(want, must);
            }
        }
        std::mem::take(&mut self.back)
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
        has.map_or(0, BTreeSet::len) < WANTS_PER_PEER_MAX
    }

    /// Let one that waits take the place of one that has stood for some seconds: one that held nodes link to, and that
    /// nobody was asked for yet.
    fn yield_one(&mut self) -> bool {
        let mut waiting = std::mem::take(&mut self.waiting);
        let found = waiting.take_fresh(|must, peer| {
            let oldest = self.oldest_beside(peer);
            must && oldest.is_some_and(|turn| turn < self.may_yield)
        });
        self.waiting = waiting;
        let Some((want, must)) = found else {
            return false;
        };
        let oldest = self.oldest_beside(want.peer.as_deref());
        if self.displace(oldest) {
            self.stand(want, must);
            true
        } else {
            self.waiting.push_fresh(want, must);
            false
        }
    }

    /// Whose place one could take that is charged to a peer: of its own ones, or of all where it has room.
    fn oldest_beside(&self, peer: Option<&str>) -> Option<u64> {
        if self.peer_has_room(peer) {
            return self.turns.keys().next().copied();
        }
        let own = peer.and_then(|peer| self.per_peer.get(peer))?;
        own.first().copied()
    }

    /// Room for one that nobody was asked for yet. False where there is none.
    fn make_room(&mut self, peer: Option<&str>, must: bool) -> bool {
        if self.peer_has_room(peer) && (self.has_room() || self.evict()) {
            return true;
        }
        must && self.displace(self.oldest_beside(peer))
    }

    /// Let one that has stood for some seconds wait again. False where this one has not.
    fn displace(&mut self, turn: Option<u64>) -> bool {
        let Some(turn) = turn.filter(|turn| *turn < self.may_yield) else {
            return false;
        };
        let must = !self.announced.contains(&turn);
        let Some(cid) = self.turns.get(&turn).cloned() else {
            return false;
        };
        let Some(Standing { peer, .. }) = self.remove(&cid) else {
            return false;
        };
        self.back.push(cid.clone());
        self.waiting.push_again(Want { cid, peer }, must);
        true
    }

    /// Make room. False where only what held nodes link to stands.
    fn evict(&mut self) -> bool {
        let oldest = self.announced.first();
        let Some(cid) = oldest.and_then(|turn| self.turns.get(turn)).cloned() else {
            return false;
        };
        let Some(Standing { turn, .. }) = self.remove(&cid) else {
            return false;
        };
        let was_asked = turn < self.asked;
        self.evicted.push(Evicted { cid, was_asked });
        true
    }

    fn stand(&mut self, want: Want, must: bool) {
        let turn = self.next_turn;
        self.next_turn += 1;
        if let Some(peer) = &want.peer {
            self.per_peer.entry(peer.clone()).or_default().insert(turn);
        }
        self.turns.insert(turn, want.cid.clone());
        if !must {
            self.announced.insert(turn);
        }
        let Want { cid, peer } = want;
        self.standing.insert(cid, Standing { peer, turn });
    }

    fn remove(&mut self, cid: &Cid) -> Option<Standing> {
        let standing = self.standing.remove(cid)?;
        self.turns.remove(&standing.turn);
        self.announced.remove(&standing.turn);
        if let Some(peer) = &standing.peer
            && let Some(turns) = self.per_peer.get_mut(peer)
        {
            turns.remove(&standing.turn);
            if turns.is_empty() {
                self.per_peer.remove(peer);
            }
        }
        Some(standing)
    }

    /// Give the freed room to those that wait and may have it.
    fn hand_out(&mut self) {
        while self.has_room() {
            let per_peer = &self.per_peer;
            let may_stand = |peer: Option<&str>| {
                let has = peer.and_then(|peer| per_peer.get(peer));
                has.map_or(0, BTreeSet::len) < WANTS_PER_PEER_MAX
            };
            let Some((want, must)) = self.waiting.take(may_stand) else {
                return;
            };
            self.stand(want, must);
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
        assert_eq!(wants.take_asks(0).len(), WANTS_PER_PEER_MAX + 1);
        for n in 0..WANTS_PER_PEER_MAX {
            assert!(wants.done(&cid(n)));
        }
        assert_eq!(wants.take_asks(0).len(), WANTS_PER_PEER_MAX);
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
        assert_eq!(wants.take_asks(0).len(), WANTS_MAX);
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
        assert_eq!(wants.take_asks(0).len(), 2);
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
        assert_eq!(wants.take_asks(0).len(), WANTS_MAX - 2);
        assert_eq!(wants.take_asks(0), []);
    }

    #[test]
    fn an_announced_block_takes_no_room_of_a_linked_one() {
        let mut wants = Wants::default();
        for n in 0..WANTS_MAX {
            assert!(wants.want(&cid(n), None, true));
        }
        assert!(wants.want(&cid(1 << 20), Some("peer"), false));
        assert_eq!(wants.take_evicted(), []);
        assert_eq!(wants.take_asks(0).len(), WANTS_MAX);
        // It waited, and is linked to by now: it does not go again once it stands.
        assert!(wants.want(&cid(1 << 20), Some("author"), true));
        assert!(wants.done(&cid(7)));
        assert_eq!(wants.take_asks(0).len(), 1);
        assert!(wants.want(&cid((1 << 20) + 1), Some("peer"), false));
        assert_eq!(wants.take_evicted(), []);
    }

    #[test]
    fn what_waits_has_its_turn_whatever_does_not_exist() {
        let mut wants = Wants::default();
        let dead = 2 * WANTS_PER_PEER_MAX;
        for n in 0..dead {
            assert!(wants.want(&cid(n), Some(NOBODY), true));
        }
        assert!(wants.want(&cid(dead), Some(NOBODY), true));
        let (mut now_ms, mut asked) = (0, Vec::new());
        while !asked.contains(&cid(dead)) {
            assert!(now_ms <= 2 * WANT_STANDS_MS);
            let cancelled = wants.take_turns(now_ms);
            assert!(cancelled.len() <= asked.len());
            let asks = wants.take_asks(now_ms).into_iter();
            asked.extend(
                asks.inspect(|want| assert_eq!(want.peer, None))
                    .map(|want| want.cid),
            );
            assert_eq!(wants.standing_count(), WANTS_PER_PEER_MAX);
            now_ms += 10_000;
        }
        assert!((0..=dead).all(|n| wants.is_wanted(&cid(n))));
        assert!(wants.done(&cid(dead)));
        // All others go round.
        let mut times: FxHashMap<Cid, usize> = FxHashMap::default();
        for _ in 0..100 {
            for want in wants.take_asks(now_ms) {
                *times.entry(want.cid).or_default() += 1;
            }
            wants.take_turns(now_ms);
            now_ms += 7_000;
        }
        assert!((0..dead).all(|n| times.get(&cid(n)).is_some_and(|&times| times > 2)));
        assert!(wants.asked_since.len() < 100 && wants.waiting.places() <= dead);
    }

    #[test]
    fn where_nobody_waits_everything_stands() {
        let mut wants = Wants::default();
        assert!(wants.want(&cid(1), Some("peer"), false));
        assert_eq!(wants.take_asks(0).len(), 1);
        for n in 2..1000 {
            let now_ms = n * WANT_STANDS_MS;
            assert_eq!(wants.take_turns(now_ms), []);
            assert_eq!(wants.take_asks(now_ms), []);
            assert!(wants.want(&cid(2), Some("peer"), false));
            assert_eq!(wants.take_asks(now_ms).len(), 1);
            assert!(wants.done(&cid(2)));
        }
        assert!(wants.asked_since.len() < 3);
        assert!(wants.is_standing(&cid(1)));
    }
}
