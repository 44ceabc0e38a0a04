//! (key, origin) → (increments, decrements): 24 bytes each and an index of 4, so that a key may have any number of them.

use crate::element_key::Side;
use crate::paths::KeyId;
use crate::state::OriginId;
use hashbrown::HashTable;

/// One (replica, generation)'s counts of one key, as blocks hold them.
struct SubCounter {
    key: KeyId,
    origin: OriginId,
    incr: u64,
    decr: u64,
}

#[derive(Default)]
pub(crate) struct SubCounters {
    all: Vec<SubCounter>,
    index: HashTable<u32>,
}

/// Both are small numbers in the order of appearance: they have to be spread, and nobody can choose them.
fn hash_of(key: KeyId, origin: OriginId) -> u64 {
    let both = u64::from(key.0) << 32 | u64::from(origin.0);
    let product = u128::from(both ^ 0x6a09_e667_f3bc_c909) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

impl SubCounters {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, more: usize) {
        self.all.reserve_exact(more);
        let all = &self.all;
        self.index.reserve(more, |&at| rehash(all, at));
    }

    fn find(&self, key: KeyId, origin: OriginId) -> Option<usize> {
        let found = self.index.find(hash_of(key, origin), |&at| {
            self.all
                .get(at as usize)
                .is_some_and(|sub| sub.key == key && sub.origin == origin)
        });
        found.map(|&at| at as usize)
    }

    /// The counts of a sub-counter; (0, 0) for one that nobody counted.
    pub fn get(&self, key: KeyId, origin: OriginId) -> (u64, u64) {
        self.find(key, origin)
            .and_then(|at| self.all.get(at))
            .map_or((0, 0), |sub| (sub.incr, sub.decr))
    }

    /// Sets one side of a sub-counter that is here; false where it is not.
    pub fn set(&mut self, key: KeyId, origin: OriginId, side: Side, value: u64) -> bool {
        let Some(known) = self.find(key, origin).and_then(|at| self.all.get_mut(at)) else {
            return false;
        };
        match side {
            Side::Incr => known.incr = value,
            Side::Decr => known.decr = value,
        }
        true
    }

    /// Lets the maximum stand on one side; gives by how much it moved. `fresh`: nobody has counted on the key before.
    /// Cost: three cache lines.
    pub fn raise(
        &mut self,
        key: KeyId,
        origin: OriginId,
        side: Side,
        value: u64,
        fresh: bool,
    ) -> Option<u64> {
        let hash = hash_of(key, origin);
        let known = if fresh { None } else { self.find(key, origin) };
        let known = match known.and_then(|at| self.all.get_mut(at)) {
            Some(sub) => sub,
            None => {
                let at = u32::try_from(self.all.len()).ok()?;
                self.all.push(SubCounter {
                    key,
                    origin,
                    incr: 0,
                    decr: 0,
                });
                let all = &self.all;
                self.index.insert_unique(hash, at, |&at| rehash(all, at));
                self.all.last_mut()?
            }
        };
        let side = match side {
            Side::Incr => &mut known.incr,
            Side::Decr => &mut known.decr,
        };
        let by = value.checked_sub(*side).filter(|&by| by > 0)?;
        *side = value;
        Some(by)
    }
}

fn rehash(all: &[SubCounter], at: u32) -> u64 {
    all.get(at as usize)
        .map_or(0, |sub| hash_of(sub.key, sub.origin))
}
