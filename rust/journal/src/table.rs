//! The hash table from keys to records: open addressing over words of (32-bit tag, 32-bit record offset / 8).
//!
//! It lives in memory only. The tag is the upper half of the hash and its upper bits are the home place, so growing
//! never looks at a record. It grows bit by bit: each insert moves a few words of the table before it, so no writer
//! ever waits until all of them are moved.

use crate::error::JournalError;
use crate::map::prefetch_word;
use crate::slot::Slot;
use crate::words::Words;

const WORDS_MIN: usize = 1 << 10;
/// Tags have 32 bits; 2³¹ words at 5/8 are more keys than 32 GiB of records can hold.
const WORDS_MAX: usize = 1 << 31;
/// Words that an insert moves: the smaller table is moved long before the larger one is full.
const WORDS_MOVED: usize = 32;

/// 0 = free; else tag << 32 | slot (which is never 0: the header is there). A power of two of words, never full.
struct Places {
    words: Words,
    mask: usize,
    shift: u32,
}

impl Places {
    fn of(count: usize) -> Result<Self, JournalError> {
        if count > WORDS_MAX {
            return Err(JournalError::NoMemory { words: count });
        }
        Ok(Self {
            words: Words::zeroed(count)?,
            mask: count - 1,
            shift: 32 - count.trailing_zeros(),
        })
    }

    #[inline]
    fn find(&self, hash: u64, is_it: &mut impl FnMut(Slot) -> bool) -> Option<Slot> {
        let tag = hash >> 32;
        let mut place = (tag >> self.shift) as usize;
        loop {
            let word = *self.words.get(place)?;
            if word >> 32 == tag && word != 0 {
                let slot = Slot::of_units(word as u32);
                if is_it(slot) {
                    return Some(slot);
                }
            } else if word == 0 {
                return None;
            }
            place = (place + 1) & self.mask;
        }
    }

    fn put(&mut self, word: u64) {
        let mut place = (word >> 32 >> self.shift) as usize;
        while let Some(held) = self.words.get_mut(place) {
            if *held == 0 {
                *held = word;
                return;
            }
            place = (place + 1) & self.mask;
        }
    }
}

/// The table before, on the way into the larger one. What was moved stays in it, too.
struct Before {
    places: Places,
    moved: usize,
}

pub(crate) struct Table {
    places: Places,
    before: Option<Before>,
    used: usize,
}

impl Table {
    pub(crate) fn new() -> Result<Self, JournalError> {
        Ok(Self {
            places: Places::of(WORDS_MIN)?,
            before: None,
            used: 0,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// The slot under this hash whose record `is_it`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(Slot) -> bool) -> Option<Slot> {
        match self.places.find(hash, &mut is_it) {
            None if self.before.is_some() => self.find_before(hash, &mut is_it),
            found => found,
        }
    }

    #[cold]
    fn find_before(&self, hash: u64, is_it: &mut impl FnMut(Slot) -> bool) -> Option<Slot> {
        self.before.as_ref()?.places.find(hash, is_it)
    }

    /// The slot whose tag matches first, unchecked: good enough for a prefetch.
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> Option<Slot> {
        self.find(hash, |_| true)
    }

    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        let place = (hash >> 32 >> self.places.shift) as usize;
        if let Some(word) = self.places.words.get(place) {
            prefetch_word(std::ptr::from_ref(word));
        }
    }

    /// Makes room for `more` keys, so that as many inserts cannot fail. Cost: constant, where they are few.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<(), JournalError> {
        let keys = self.used.saturating_add(more);
        if keys <= self.places.words.len() / 8 * 5 {
            return Ok(());
        }
        let count = (keys / 5 + 1).saturating_mul(8).checked_next_power_of_two();
        let count = count.unwrap_or(usize::MAX).max(self.places.words.len() * 2);
        let larger = Places::of(count)?;
        // Only where many keys are reserved at once is something left to move.
        self.move_words(usize::MAX);
        let places = std::mem::replace(&mut self.places, larger);
        self.before = Some(Before { places, moved: 0 });
        Ok(())
    }

    /// Adds a key that is not there yet; room was reserved.
    pub(crate) fn insert(&mut self, hash: u64, slot: Slot) {
        self.places.put(hash >> 32 << 32 | u64::from(slot.units()));
        self.used += 1;
        if self.before.is_some() {
            self.move_words(WORDS_MOVED);
        }
    }

    #[cold]
    fn move_words(&mut self, count: usize) {
        let Some(before) = &mut self.before else {
            return;
        };
        let words = before.places.words.get(before.moved..).unwrap_or(&[]);
        for word in words.iter().take(count).filter(|word| **word != 0) {
            self.places.put(*word);
        }
        before.moved = before.moved.saturating_add(count);
        if before.moved >= before.places.words.len() {
            self.before = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: u32) -> u64 {
        u64::from(key)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    }

    #[test]
    fn every_key_is_found_at_every_moment_of_growing() {
        let mut table = Table::new().unwrap();
        let find = |table: &Table, key: u32| table.find(hash(key), |slot| slot.units() == key);
        let mut seen_growing = 0;
        for key in 1..=20_000 {
            assert_eq!(find(&table, key), None);
            table.reserve(1).unwrap();
            table.insert(hash(key), Slot::of_units(key));
            seen_growing += usize::from(table.before.is_some());
            for known in [key, key / 2 + 1, key / 3 + 1, 1] {
                assert_eq!(find(&table, known).map(Slot::units), Some(known), "{key}");
            }
        }
        assert!(seen_growing > 100, "{seen_growing}");
        table.reserve(100_000).unwrap();
        table.reserve(300_000).unwrap();
        assert!((1..=20_000).all(|key| find(&table, key).is_some()));
        assert_eq!(table.len(), 20_000);
    }
}
