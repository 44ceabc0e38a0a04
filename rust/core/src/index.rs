//! A hash table from 32-bit tags to places in an array: open addressing over words of (tag, place).
//!
//! A home is proportional to its tag, so the words lie nearly sorted by tag: growing walks through both tables from
//! front to back, never looks at a text, and may be by less than the double. What a look-up needs can be asked for
//! ahead ([`Index::prefetch`]), which is worth more than anything else where there are millions of keys.

use crate::ahead::prefetch;

/// A table is never smaller, so that small ones need not grow at every step.
const WORDS_MIN: usize = 16;

/// 0 = free; else tag << 32 | place + 1. The first free word from the home on ends a search.
#[derive(Default)]
pub(crate) struct Index {
    words: Vec<u64>,
    used: usize,
}

/// How many words so many entries have at most one place for: 3 of 4 are used, then it grows by half.
fn fits(entries: usize, words: usize) -> bool {
    entries <= words / 4 * 3
}

impl Index {
    /// Makes room for so many more. Cost: a walk through the table where it grows.
    pub fn reserve(&mut self, more: usize) {
        let entries = self.used.saturating_add(more);
        if fits(entries, self.words.len()) {
            return;
        }
        let count = (entries / 3 + 1).saturating_mul(4);
        let count = count.max(self.words.len() / 2 * 3).max(WORDS_MIN);
        let before = std::mem::replace(&mut self.words, vec![0; count]);
        for word in before.into_iter().filter(|word| *word != 0) {
            self.put(word);
        }
    }

    /// The first place under a tag that `is_it`.
    #[inline]
    pub fn find(&self, tag: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(tag);
        loop {
            let word = *self.words.get(at)?;
            if word == 0 {
                return None;
            }
            if (word >> 32) as u32 == tag {
                let place = (word as u32).wrapping_sub(1);
                if is_it(place) {
                    return Some(place);
                }
            }
            at = self.after(at);
        }
    }

    /// The first place under a tag, unchecked: good enough for a prefetch.
    #[inline]
    pub fn guess(&self, tag: u32) -> Option<u32> {
        self.find(tag, |_| true)
    }

    /// Ask the processor to fetch what [`Index::find`] looks at first.
    #[inline]
    pub fn prefetch(&self, tag: u32) {
        prefetch(self.words.get(self.home(tag)));
    }

    /// Adds a place, which is below 2³² − 1.
    #[inline]
    pub fn insert(&mut self, tag: u32, place: u32) {
        self.reserve(1);
        self.put(u64::from(tag) << 32 | u64::from(place.wrapping_add(1)));
        self.used += 1;
    }

    #[inline]
    fn home(&self, tag: u32) -> usize {
        // Below the number of words, of which there are fewer than 2³².
        ((u64::from(tag) * self.words.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        let next = at + 1;
        if next == self.words.len() { 0 } else { next }
    }

    /// There is a free word: see [`fits`].
    #[inline]
    fn put(&mut self, word: u64) {
        let mut at = self.home((word >> 32) as u32);
        while let Some(held) = self.words.get_mut(at) {
            if *held == 0 {
                *held = word;
                return;
            }
            at = self.after(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(n: u32) -> u32 {
        n.wrapping_mul(0x9e37_79b9)
    }

    #[test]
    fn every_place_is_found_while_it_grows() {
        let mut index = Index::default();
        assert_eq!(index.find(0, |_| true), None);
        index.prefetch(7);
        for n in 0..20_000 {
            assert_eq!(index.find(tag(n), |place| place == n), None);
            index.insert(tag(n), n);
            for known in [n, n / 2, n / 3, 0] {
                assert_eq!(index.find(tag(known), |place| place == known), Some(known));
            }
        }
        index.reserve(100_000);
        assert!((0..20_000).all(|n| index.guess(tag(n)) == Some(n)));
    }

    #[test]
    fn equal_tags_and_those_at_the_end_are_all_found() {
        for tag in [0, 7, u32::MAX] {
            let mut index = Index::default();
            for n in 0..100 {
                index.insert(tag, n);
            }
            assert!((0..100).all(|n| index.find(tag, |place| place == n) == Some(n)));
            assert_eq!(index.find(tag, |place| place == 100), None);
        }
    }
}
