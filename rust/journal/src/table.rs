//! The hash table from keys to records: open addressing over words of (32-bit tag, 32-bit record offset / 8).
//!
//! It lives in memory only. The tag is the upper half of the hash and its upper bits are the home place, so growing
//! never looks at a record and walks both tables in order.

use crate::error::JournalError;
use crate::map::prefetch_word;
use crate::slot::Slot;

const WORDS_MIN: usize = 1 << 10;
/// Tags have 32 bits; 2³¹ words at 5/8 are more keys than 32 GiB of records can hold.
const WORDS_MAX: usize = 1 << 31;

pub(crate) struct Table {
    /// 0 = free; else tag << 32 | slot (which is never 0: the header is there). A power of two.
    words: Vec<u64>,
    mask: usize,
    shift: u32,
    used: usize,
}

impl Table {
    pub(crate) fn new() -> Result<Self, JournalError> {
        Self::of(WORDS_MIN)
    }

    fn of(count: usize) -> Result<Self, JournalError> {
        let mut words = Vec::new();
        if count > WORDS_MAX || words.try_reserve_exact(count).is_err() {
            return Err(JournalError::NoMemory { words: count });
        }
        words.resize(count, 0);
        Ok(Self {
            words,
            mask: count - 1,
            shift: 32 - count.trailing_zeros(),
            used: 0,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// The slot under this hash whose record `is_it`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let tag = hash >> 32;
        let mut place = (tag >> self.shift) as usize;
        // Never full (`reserve`), so the walk ends at a free word.
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

    /// The slot whose tag matches first, unchecked: good enough for a prefetch.
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> Option<Slot> {
        self.find(hash, |_| true)
    }

    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        if let Some(word) = self.words.get((hash >> 32 >> self.shift) as usize) {
            prefetch_word(word);
        }
    }

    /// Makes room for `more` keys, so that as many inserts cannot fail. Cost: now and then all words once.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<(), JournalError> {
        let keys = self.used.saturating_add(more);
        if keys <= self.words.len() / 8 * 5 {
            return Ok(());
        }
        let count = (keys / 5 + 1).saturating_mul(8).checked_next_power_of_two();
        let mut larger = Self::of(count.unwrap_or(usize::MAX).max(self.words.len() * 2))?;
        for word in self.words.iter().filter(|word| **word != 0) {
            larger.put(*word);
        }
        *self = larger;
        Ok(())
    }

    /// Adds a key that is not there yet; room was reserved.
    pub(crate) fn insert(&mut self, hash: u64, slot: Slot) {
        self.put(hash >> 32 << 32 | u64::from(slot.units()));
    }

    fn put(&mut self, word: u64) {
        let mut place = (word >> 32 >> self.shift) as usize;
        while let Some(held) = self.words.get_mut(place) {
            if *held == 0 {
                *held = word;
                self.used += 1;
                return;
            }
            place = (place + 1) & self.mask;
        }
    }
}
