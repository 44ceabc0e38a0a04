//! (key, origin) → (increments, decrements). The first of a key lies at the key's own number and needs no index: most
//! keys have one. Further ones are 24 bytes each and an index of 4, so that a key may have any number of them.

use crate::ahead::prefetch;
use crate::element_key::Side;
use crate::paths::KeyId;
use crate::state::OriginId;
use hashbrown::HashTable;

/// The first sub-counters of so many keys are made at once: keys that others never counted on take none.
const CHUNK: usize = 512;
/// In [`First::origin`]: nobody.
const NOBODY: u32 = u32::MAX;

/// The counts of the origin that counted on a key first. 20 bytes, where alignment would make 24.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct First {
    incr: u64,
    decr: u64,
    origin: u32,
}

/// One further (replica, generation)'s counts of one key, as blocks hold them.
struct Further {
    key: KeyId,
    origin: OriginId,
    incr: u64,
    decr: u64,
}

#[derive(Default)]
pub(crate) struct SubCounters {
    /// By key. A chunk is empty where it was never needed.
    first: Vec<Box<[First]>>,
    first_count: usize,
    further: Vec<Further>,
    index: HashTable<u32>,
}

/// Both are small numbers in the order of appearance: they have to be spread, and nobody can choose them.
fn hash_of(key: KeyId, origin: OriginId) -> u64 {
    let both = u64::from(key.0) << 32 | u64::from(origin.0);
    let product = u128::from(both ^ 0x6a09_e667_f3bc_c909) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

fn rehash(further: &[Further], at: u32) -> u64 {
    further
        .get(at as usize)
        .map_or(0, |sub| hash_of(sub.key, sub.origin))
}

/// Lets the maximum stand; gives the new count and by how much it moved.
fn above(held: u64, value: u64) -> Option<(u64, u64)> {
    let by = value.checked_sub(held).filter(|&by| by > 0)?;
    Some((value, by))
}

impl First {
    const FREE: First = First {
        incr: 0,
        decr: 0,
        origin: NOBODY,
    };

    fn raise(&mut self, side: Side, value: u64) -> Option<u64> {
        let held = match side {
            Side::Incr => self.incr,
            Side::Decr => self.decr,
        };
        let (value, by) = above(held, value)?;
        match side {
            Side::Incr => self.incr = value,
            Side::Decr => self.decr = value,
        }
        Some(by)
    }
}

impl Further {
    fn raise(&mut self, side: Side, value: u64) -> Option<u64> {
        let side = match side {
            Side::Incr => &mut self.incr,
            Side::Decr => &mut self.decr,
        };
        let by;
        (*side, by) = above(*side, value)?;
        Some(by)
    }
}

impl SubCounters {
    pub fn len(&self) -> usize {
        self.first_count + self.further.len()
    }

    fn first(&self, key: KeyId) -> Option<&First> {
        let at = key.0 as usize;
        self.first.get(at / CHUNK)?.get(at % CHUNK)
    }

    /// The place of a key's first, made where there is none.
    fn first_mut(&mut self, key: KeyId) -> Option<&mut First> {
        let (chunk, at) = (key.0 as usize / CHUNK, key.0 as usize % CHUNK);
        if self.first.len() <= chunk {
            self.first.resize_with(chunk + 1, Box::default);
        }
        let chunk = self.first.get_mut(chunk)?;
        if chunk.is_empty() {
            *chunk = vec![First::FREE; CHUNK].into_boxed_slice();
        }
        chunk.get_mut(at)
    }

    fn find(&self, key: KeyId, origin: OriginId) -> Option<usize> {
        let found = self.index.find(hash_of(key, origin), |&at| {
            self.further
                .get(at as usize)
                .is_some_and(|sub| sub.key == key && sub.origin == origin)
        });
        found.map(|&at| at as usize)
    }

    /// Ask the processor to fetch what is known of the first to count on a key.
    #[inline]
    pub fn prefetch(&self, key: KeyId) {
        prefetch(self.first(key));
    }

    /// The counts of a sub-counter; (0, 0) for one that nobody counted.
    pub fn get(&self, key: KeyId, origin: OriginId) -> (u64, u64) {
        match self.first(key) {
            Some(first) if first.origin == origin.0 => (first.incr, first.decr),
            _ => self
                .find(key, origin)
                .and_then(|at| self.further.get(at))
                .map_or((0, 0), |sub| (sub.incr, sub.decr)),
        }
    }

    /// Lets the maximum stand on one side; gives by how much it moved. Cost: a cache line for the first to count on a
    /// key, three for others.
    #[inline]
    pub fn raise(&mut self, key: KeyId, origin: OriginId, side: Side, value: u64) -> Option<u64> {
        let first = self.first_mut(key)?;
        if first.origin == origin.0 {
            return first.raise(side, value);
        }
        if first.origin == NOBODY {
            first.origin = origin.0;
            let by = first.raise(side, value);
            self.first_count += 1;
            return by;
        }
        self.raise_further(key, origin, side, value)
    }

    /// Sets one side of a sub-counter that is here; false where it is not.
    pub fn set(&mut self, key: KeyId, origin: OriginId, side: Side, value: u64) -> bool {
        let first = self.first_mut(key).filter(|first| first.origin == origin.0);
        if let Some(first) = first {
            match side {
                Side::Incr => first.incr = value,
                Side::Decr => first.decr = value,
            }
            return true;
        }
        let further = self
            .find(key, origin)
            .and_then(|at| self.further.get_mut(at));
        let Some(further) = further else {
            return false;
        };
        match side {
            Side::Incr => further.incr = value,
            Side::Decr => further.decr = value,
        }
        true
    }

    fn raise_further(
        &mut self,
        key: KeyId,
        origin: OriginId,
        side: Side,
        value: u64,
    ) -> Option<u64> {
        if let Some(at) = self.find(key, origin) {
            return self.further.get_mut(at)?.raise(side, value);
        }
        let at = u32::try_from(self.further.len()).ok()?;
        self.further.push(Further {
            key,
            origin,
            incr: 0,
            decr: 0,
        });
        let further = &self.further;
        self.index
            .insert_unique(hash_of(key, origin), at, |&at| rehash(further, at));
        self.further.last_mut()?.raise(side, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_of_a_key_has_its_own_maximum() {
        let mut subs = SubCounters::default();
        let keys = [0, 1, 511, 512, 100_000].map(KeyId);
        for key in keys {
            for origin in [3, 0, 9].map(OriginId) {
                let value = u64::from(key.0 + origin.0) + 1;
                assert_eq!(subs.get(key, origin), (0, 0));
                assert_eq!(subs.raise(key, origin, Side::Incr, value), Some(value));
                assert_eq!(subs.raise(key, origin, Side::Incr, value), None);
                assert_eq!(subs.raise(key, origin, Side::Decr, 2), Some(2));
                assert_eq!(subs.raise(key, origin, Side::Decr, 7), Some(5));
                assert_eq!(subs.get(key, origin), (value, 7));
            }
        }
        assert_eq!(subs.len(), 15);
        for origin in [3, 9].map(OriginId) {
            assert!(subs.set(KeyId(512), origin, Side::Incr, 1));
            assert_eq!(subs.get(KeyId(512), origin), (1, 7));
        }
        assert!(!subs.set(KeyId(512), OriginId(4), Side::Incr, 1));
        assert!(!subs.set(KeyId(2), OriginId(3), Side::Decr, 1));
        assert_eq!(subs.get(KeyId(2), OriginId(3)), (0, 0));
    }
}
