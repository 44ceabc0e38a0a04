//! The hash table from keys to records: open addressing over words of (32-bit tag, 32-bit record offset / 8).
//!
//! It lives in memory only. The tag is the upper half of the hash and its upper bits are the home place, so growing
//! never looks at a record. It grows bit by bit: each insert moves a few words of the table before it, so no writer
//! ever waits until all of them are moved.
//!
//! A large table is far away: a key that is surely new (see [`Filter`]) is not looked for in it, and its word waits
//! until the place that it goes to has come from memory.

use crate::error::JournalError;
use crate::filter::Filter;
use crate::map::prefetch_word;
use crate::slot::Slot;
use crate::words::Words;

const WORDS_MIN: usize = 1 << 10;
/// Tags have 32 bits; 2³¹ words at 5/8 are more keys than 32 GiB of records can hold.
const WORDS_MAX: usize = 1 << 31;
/// Words that an insert moves: the smaller table is moved long before the larger one is full.
const WORDS_MOVED: usize = 32;
/// So many words are brought by the one insert that needs them, which takes up to a quarter of a millisecond: page by
/// page, as keys come to them, it takes four times as long. Of larger ones the pages are huge.
const BROUGHT_MIN: usize = 1 << 13;
const BROUGHT_MAX: usize = 1 << 17;
/// Of its keys the last one in so many.
const NEARLY: usize = 32;
/// After so many new keys the next one is probably new, too.
const NEW_IN_A_ROW: u32 = 4;
/// So many inserts later its place has come.
const WAITING: usize = 16;

/// 0 = free; else tag << 32 | slot (which is never 0: the header is there). A power of two of words, never full.
pub(crate) struct Places {
    words: Words,
    filter: Filter,
    mask: usize,
    shift: u32,
}

impl Places {
    pub(crate) fn of(count: usize) -> Result<Self, JournalError> {
        if count > WORDS_MAX {
            return Err(JournalError::NoMemory { words: count });
        }
        Ok(Self {
            words: Words::zeroed(count)?,
            filter: Filter::of(count),
            mask: count - 1,
            shift: 32 - count.trailing_zeros(),
        })
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// Has its memory brought.
    pub(crate) fn bring(&self) {
        self.words.bring();
        self.filter.bring();
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

    #[inline]
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
    /// Words that wait for their places, 0 for none; only where there is a filter, which knows them.
    waiting: [u64; WAITING],
    next_waiting: usize,
    used: usize,
    nearly_full: usize,
    /// How many inserts there were since [`Table::note_known`].
    new_in_a_row: u32,
}

/// Keys that so many words are for.
fn keys_max(words: usize) -> usize {
    words / 8 * 5
}

/// So many are so near that the next table may be made: later than a round number of keys, which are mostly not followed
/// by others, and early enough for a thread that makes it meanwhile.
fn nearly_full(words: usize) -> usize {
    keys_max(words) / NEARLY * (NEARLY - 1)
}

impl Table {
    pub(crate) fn new() -> Result<Self, JournalError> {
        Ok(Self {
            places: Places::of(WORDS_MIN)?,
            before: None,
            waiting: [0; WAITING],
            next_waiting: 0,
            used: 0,
            nearly_full: nearly_full(WORDS_MIN),
            new_in_a_row: 0,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// The slot under this hash whose record `is_it`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(Slot) -> bool) -> Option<Slot> {
        match self.places.find(hash, &mut is_it) {
            None if self.before.is_some() || self.places.filter.is_used() => {
                self.find_elsewhere(hash, &mut is_it)
            }
            found => found,
        }
    }

    #[cold]
    fn find_elsewhere(&self, hash: u64, is_it: &mut impl FnMut(Slot) -> bool) -> Option<Slot> {
        let tag = hash >> 32;
        let waiting = self.waiting.iter();
        let mut waiting = waiting.filter(|word| **word >> 32 == tag && **word != 0);
        let found =
            waiting.find_map(|word| Some(Slot::of_units(*word as u32)).filter(|s| is_it(*s)));
        found.or_else(|| self.before.as_ref()?.places.find(hash, is_it))
    }

    /// Whether a key of this hash may be there, as far as is worth knowing: the filter is asked where the last keys were
    /// new. Asks for its place in the table.
    #[inline]
    pub(crate) fn may_have(&self, hash: u64) -> bool {
        if self.new_in_a_row < NEW_IN_A_ROW {
            return true;
        }
        self.prefetch(hash);
        let may_have = |places: &Places| places.filter.may_have(hash >> 32);
        may_have(&self.places) || self.before.as_ref().is_some_and(|b| may_have(&b.places))
    }

    /// The slot whose tag matches first, unchecked: good enough for a prefetch.
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> Option<Slot> {
        self.find(hash, |_| true)
    }

    /// Notes that a key was there.
    #[inline]
    pub(crate) fn note_known(&mut self) {
        self.new_in_a_row = 0;
    }

    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        let place = (hash >> 32 >> self.places.shift) as usize;
        if let Some(word) = self.places.words.get(place) {
            prefetch_word(std::ptr::from_ref(word));
        }
    }

    /// Whether it is full, or will be soon.
    #[inline]
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.used >= self.nearly_full
    }

    /// Of a large table that is nearly full: words of the one that will follow it.
    pub(crate) fn next_words(&self) -> Option<usize> {
        let is_large = self.places.filter.is_used();
        (is_large && self.is_nearly_full()).then_some(self.places.words.len() * 2)
    }

    /// Whether as many more inserts need no larger table.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.used.saturating_add(more) <= keys_max(self.places.words.len())
    }

    /// Makes room for `more` keys, so that as many inserts cannot fail. Cost: constant, where they are few. `made`: the
    /// table that will follow, if there is one already.
    pub(crate) fn reserve(
        &mut self,
        more: usize,
        made: Option<Places>,
    ) -> Result<(), JournalError> {
        if self.has_room(more) {
            return Ok(());
        }
        let keys = self.used.saturating_add(more);
        let count = (keys / 5 + 1).saturating_mul(8).checked_next_power_of_two();
        let count = count.unwrap_or(usize::MAX).max(self.places.words.len() * 2);
        let larger = match made.filter(|made| made.words.len() == count) {
            Some(made) => made,
            None => {
                let made = Places::of(count)?;
                if (BROUGHT_MIN..=BROUGHT_MAX).contains(&count) {
                    made.bring();
                }
                made
            }
        };
        self.nearly_full = nearly_full(count);
        for word in std::mem::take(&mut self.waiting) {
            if word != 0 {
                self.places.put(word);
            }
        }
        // Only where many keys are reserved at once is something left to move.
        self.move_words(usize::MAX);
        let places = std::mem::replace(&mut self.places, larger);
        self.before = Some(Before { places, moved: 0 });
        Ok(())
    }

    /// Adds a key that is not there yet; room was reserved.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, slot: Slot) {
        let mut word = hash >> 32 << 32 | u64::from(slot.units());
        if self.places.filter.is_used() {
            self.places.filter.add(hash >> 32);
            if let Some(waiting) = self.waiting.get_mut(self.next_waiting) {
                std::mem::swap(waiting, &mut word);
            }
            self.next_waiting = (self.next_waiting + 1) % WAITING;
        }
        if word != 0 {
            self.places.put(word);
        }
        self.used += 1;
        self.new_in_a_row = self.new_in_a_row.saturating_add(1);
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
            self.places.filter.add(*word >> 32);
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
        let mut surely_new = 0;
        for key in 1..=100_000 {
            assert_eq!(find(&table, key), None);
            surely_new += usize::from(!table.may_have(hash(key)));
            table.reserve(1, None).unwrap();
            table.insert(hash(key), Slot::of_units(key));
            seen_growing += usize::from(table.before.is_some());
            for known in [key, key / 2 + 1, key / 3 + 1, 1] {
                assert!(table.may_have(hash(known)));
                assert_eq!(find(&table, known).map(Slot::units), Some(known), "{key}");
            }
        }
        assert!(seen_growing > 100, "{seen_growing}");
        assert!(surely_new > 60_000, "{surely_new}");
        table.reserve(200_000, None).unwrap();
        table.reserve(600_000, None).unwrap();
        assert!((1..=100_000).all(|key| find(&table, key).is_some()));
        assert_eq!(table.len(), 100_000);
    }
}
