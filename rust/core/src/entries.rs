//! What a Go peer's datastore shows under raw keys: of a key's elements the one of the highest priority, at equal
//! priority the greatest bytes. A pure function of the elements, so their order cannot matter.
//!
//! Keys are known by a hash that nobody outside can aim at: own sub-counters are many, and their texts long.
//!
//! Room has an end, and others can reach it. What is said then is never wrong, only unknown: once an element was not
//! kept, no further key is (an element that it lost may stand above those that still come), so all that is known of a
//! key is known from its first element on. A sub-counter of ours is always kept; where an element of it may be lost, what
//! it shows is unknown until one of a higher priority than any lost one comes, which the next writing of ours is.

use crate::dag::HEIGHT_FREE_MAX;
use crate::limits::ENTRY_BYTES_MAX;
use rustc_hash::FxHashMap;

/// What an entry takes beside a long value.
const ENTRY_OVERHEAD_BYTES: usize = 96;

pub(crate) type KeyHash = [u8; 16];

/// A value; nearly all have eight bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Eight([u8; 8]),
    Other(Box<[u8]>),
}

/// The element that stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Winner {
    pub priority: u64,
    value: Value,
}

/// What is known of one key.
#[derive(Default)]
struct Entry {
    winner: Option<Winner>,
    /// The maximum that our nodes say, where the key is a sub-counter of ours.
    best: u64,
}

pub(crate) struct Entries {
    known: FxHashMap<KeyHash, Entry>,
    hash_key: [u8; 32],
    /// Of what others can make grow.
    bytes: usize,
    room: usize,
    /// The greatest priority of an element that was not kept, of whatever key.
    lost: Option<u64>,
    /// The same of the sub-counters of ours that may have lost one which stands above what is kept.
    uncertain: FxHashMap<KeyHash, u64>,
}

/// What is known of what Go shows under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    Value(Vec<u8>),
    Nothing,
    /// There was no room to keep all elements or tombstones, and one of those that were not kept may matter.
    Unknown,
}

impl Winner {
    /// `None` for what Go does not store: an empty value at priority 0.
    pub fn new(priority: u64, value: &[u8]) -> Option<Self> {
        let stored = priority > 0 || !value.is_empty();
        let value = match value.try_into() {
            Ok(eight) => Value::Eight(eight),
            Err(_) => Value::Other(value.into()),
        };
        stored.then_some(Winner { priority, value })
    }

    pub fn bytes(&self) -> &[u8] {
        match &self.value {
            Value::Eight(bytes) => bytes,
            Value::Other(bytes) => bytes,
        }
    }

    /// As Go reads a counter.
    pub fn value_u64(&self) -> u64 {
        let first = self.bytes().first_chunk::<8>();
        first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// Whether it stands against another one.
    pub fn beats(&self, other: Option<&Winner>) -> bool {
        let beats =
            |other: &Winner| (self.priority, self.bytes()) > (other.priority, other.bytes());
        other.is_none_or(beats)
    }

    fn long_bytes(&self) -> usize {
        match &self.value {
            Value::Eight(_) => 0,
            Value::Other(bytes) => bytes.len(),
        }
    }
}

impl Entry {
    /// Bytes that others made it take.
    fn cost(&self) -> usize {
        let long = self.winner.as_ref().map_or(0, Winner::long_bytes);
        let own = if self.best > 0 {
            0
        } else {
            ENTRY_OVERHEAD_BYTES
        };
        long + own
    }
}

impl Entries {
    pub fn new(seed: u64) -> Self {
        let mut hash_key = [0; 32];
        for (to, from) in hash_key.iter_mut().zip(seed.to_be_bytes()) {
            *to = from;
        }
        Entries {
            known: FxHashMap::default(),
            hash_key,
            bytes: 0,
            room: ENTRY_BYTES_MAX,
            lost: None,
            uncertain: FxHashMap::default(),
        }
    }

    pub fn hash(&self, clean_key: &str) -> KeyHash {
        let hash = blake3::keyed_hash(&self.hash_key, clean_key.as_bytes());
        let first = hash.as_bytes().first_chunk();
        first.copied().unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn winner(&self, key: &KeyHash) -> Option<&Winner> {
        self.known.get(key)?.winner.as_ref()
    }

    /// What Go shows under a key.
    pub fn shown(&self, key: &KeyHash) -> Shown {
        match self.known.get(key) {
            Some(_) if self.uncertain.contains_key(key) => Shown::Unknown,
            Some(entry) => match &entry.winner {
                Some(winner) => Shown::Value(winner.bytes().to_vec()),
                None => Shown::Nothing,
            },
            None if self.lost.is_some() => Shown::Unknown,
            None => Shown::Nothing,
        }
    }

    /// Whether an element would stand under a key, for certain.
    pub fn would_stand(&self, key: &KeyHash, winner: &Winner) -> bool {
        let lost = self.uncertain.get(key);
        winner.beats(self.winner(key)) && lost.is_none_or(|lost| winner.priority > *lost)
    }

    /// One more element of a key. False where there was no room for it.
    pub fn offer(&mut self, key: KeyHash, winner: Winner) -> bool {
        if self.lost.is_some() && !self.known.contains_key(&key) {
            self.lost = self.lost.max(Some(winner.priority));
            return false;
        }
        if !winner.beats(self.winner(&key)) {
            return true;
        }
        if self
            .uncertain
            .get(&key)
            .is_some_and(|lost| winner.priority > *lost)
        {
            self.uncertain.remove(&key);
        }
        self.change(key, |entry| entry.winner = Some(winner))
    }

    /// All elements of a key were counted again: this is what stands.
    pub fn set(&mut self, key: KeyHash, winner: Option<Winner>) -> bool {
        self.uncertain.remove(&key);
        self.change(key, |entry| entry.winner = winner)
    }

    /// A node of ours says this much of a sub-counter of ours.
    pub fn raise_best(&mut self, key: KeyHash, value: u64) {
        if value == 0 {
            return;
        }
        if let Some(lost) = self.lost
            && !self.known.contains_key(&key)
        {
            self.uncertain.insert(key, lost);
        }
        self.change(key, |entry| entry.best = entry.best.max(value));
    }

    /// The maximum of a sub-counter of ours where Go shows less, or may, and a node of ours could change it.
    pub fn above_shown(&self, key: &KeyHash) -> Option<u64> {
        let entry = self.known.get(key)?;
        let lost = self.uncertain.get(key);
        if lost.is_some_and(|priority| *priority >= HEIGHT_FREE_MAX) {
            return None; // no node of ours will be so high
        }
        let certain = entry
            .winner
            .as_ref()
            .filter(|_| !self.uncertain.contains_key(key));
        let shown = certain.map_or(0, Winner::value_u64);
        (shown < entry.best).then_some(entry.best)
    }

    /// False where there was no room for what stands then: it is lost.
    fn change(&mut self, key: KeyHash, change: impl FnOnce(&mut Entry)) -> bool {
        let mut entry = self.known.remove(&key).unwrap_or_default();
        let before = if entry.best > 0 || entry.winner.is_some() {
            entry.cost()
        } else {
            0
        };
        change(&mut entry);
        self.bytes = self.bytes.saturating_sub(before);
        if entry.best == 0 && entry.winner.is_none() {
            return true;
        }
        if entry.cost() > 0 && self.bytes + entry.cost() > self.room {
            let lost = entry.winner.take().map(|winner| winner.priority);
            self.lost = self.lost.max(lost);
            if let Some(lost) = lost.filter(|_| entry.best > 0) {
                // Not what it shows, but what it should: it is written again.
                let known = self.uncertain.entry(key).or_default();
                *known = lost.max(*known);
                self.known.insert(key, entry);
            }
            return false;
        }
        self.bytes += entry.cost();
        self.known.insert(key, entry);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_of_priority_and_bytes_stands_in_any_order() {
        let offers: [(u64, &[u8]); 6] = [
            (0, b""),
            (0, b"9"),
            (3, b""),
            (3, b"12345678"),
            (3, b"123456789"),
            (2, b"z"),
        ];
        arbtest::arbtest(|u| {
            let mut left: Vec<_> = offers.to_vec();
            let (mut entries, mut best) = (Entries::new(1), None);
            let key = entries.hash("/k");
            while !left.is_empty() {
                let (priority, value) = left.swap_remove(u.choose_index(left.len())?);
                if let Some(winner) = Winner::new(priority, value) {
                    assert!(entries.offer(key, winner));
                    best = best.max(Some((priority, value)));
                }
                let shown = best.map_or(Shown::Nothing, |(_, value)| Shown::Value(value.to_vec()));
                assert_eq!(entries.shown(&key), shown);
            }
            Ok(())
        });
    }

    #[test]
    fn room_has_an_end_beyond_which_nothing_is_claimed() {
        let mut entries = Entries::new(1);
        let value = vec![1; 16 << 20];
        let kept = (0..100)
            .take_while(|n| {
                let key = entries.hash(&format!("/{n}"));
                entries.offer(key, Winner::new(1, &value).unwrap())
            })
            .count();
        assert!((10..16).contains(&kept));
        let (first, last) = (entries.hash("/0"), entries.hash(&format!("/{kept}")));
        assert_eq!(entries.shown(&first), Shown::Value(value));
        assert_eq!(entries.shown(&last), Shown::Unknown);
        assert_eq!(entries.len(), kept);
        entries.set(first, None);
        assert_eq!(
            (entries.len(), entries.bytes / (16 << 20)),
            (kept - 1, kept - 1)
        );
        // There is room again, but not for what comes after an element that was lost.
        assert!(!entries.offer(last, Winner::new(0, b"low").unwrap()));
        assert_eq!(entries.shown(&last), Shown::Unknown);
    }

    #[test]
    fn what_is_ours_is_never_forgotten() {
        let mut entries = Entries::new(1);
        entries.room = 0;
        let (foreign, ours) = (entries.hash("/f"), entries.hash("/o"));
        let seven = |priority| Winner::new(priority, &7u64.to_be_bytes()).unwrap();
        assert!(!entries.offer(foreign, seven(4)));
        entries.raise_best(ours, 7);
        assert_eq!(entries.above_shown(&ours), Some(7));
        // It may have lost one of priority 4.
        assert!(!entries.would_stand(&ours, &seven(4)));
        assert!(entries.offer(ours, seven(4)));
        assert_eq!(entries.shown(&ours), Shown::Unknown);
        assert_eq!(entries.above_shown(&ours), Some(7));
        assert!(entries.would_stand(&ours, &seven(5)) && entries.offer(ours, seven(5)));
        assert_eq!(
            entries.shown(&ours),
            Shown::Value(seven(5).bytes().to_vec())
        );
        assert_eq!(entries.above_shown(&ours), None);
        // Somebody else wrote a long value, which does not fit.
        assert!(!entries.offer(ours, Winner::new(9, &[0; 9]).unwrap()));
        assert_eq!(entries.above_shown(&ours), Some(7));
        assert!(entries.offer(ours, seven(8)));
        assert_eq!(entries.above_shown(&ours), Some(7));
        // Lost above all that we can write: nothing is to be done about it.
        assert!(!entries.offer(ours, Winner::new(u64::MAX, &[0; 9]).unwrap()));
        assert_eq!(entries.above_shown(&ours), None);
        assert_eq!(entries.shown(&ours), Shown::Unknown);
        entries.set(ours, Some(seven(8))); // counted again: it was removed
        assert_eq!(entries.above_shown(&ours), None);
    }

    #[test]
    fn what_is_shown_is_never_wrong_however_little_room_there_is() {
        let values: [&[u8]; 4] = [&[0; 8], &[9; 8], &[5; 60], b""];
        arbtest::arbtest(|u| {
            let mut entries = Entries::new(1);
            entries.room = u.int_in_range(0..=500)?;
            let keys = ["/a", "/b", "/c", "/d"].map(|key| entries.hash(key));
            let mut stands: [Option<(u64, &[u8])>; 4] = [None; 4];
            let mut best = [0; 4];
            for _ in 0..u.int_in_range(0..=40)? {
                let at = u.choose_index(keys.len())?;
                if u.ratio(1, 5)? {
                    let value = u.int_in_range(0..=1 << 60)?;
                    best[at] = value.max(best[at]);
                    entries.raise_best(keys[at], value);
                } else if u.ratio(1, 5)? {
                    let (priority, value) = (u.int_in_range(0..=5)?, *u.choose(&values)?);
                    // Some were named by tombstones: this is what is left.
                    let winner = Winner::new(priority, value);
                    stands[at] = winner.is_some().then_some((priority, value));
                    entries.set(keys[at], winner);
                } else {
                    let (priority, value) = (u.int_in_range(0..=5)?, *u.choose(&values)?);
                    if let Some(winner) = Winner::new(priority, value) {
                        stands[at] = stands[at].max(Some((priority, value)));
                        entries.offer(keys[at], winner);
                    }
                }
                for ((key, stands), best) in keys.iter().zip(stands).zip(best) {
                    let want = stands.map_or(Shown::Nothing, |(_, v)| Shown::Value(v.to_vec()));
                    let shown = entries.shown(key);
                    assert!(shown == want || (shown == Shown::Unknown && entries.lost.is_some()));
                    let winner = stands.and_then(|(priority, value)| Winner::new(priority, value));
                    let is_less = winner.map_or(0, |winner| winner.value_u64()) < best;
                    assert!(!is_less || entries.above_shown(key) == Some(best));
                }
            }
            Ok(())
        });
    }
}
