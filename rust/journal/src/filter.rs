//! Which keys are surely not in the table: small enough to stay in the processor's second cache, where the table does
//! not. Who asks for a key that is new need not wait for the table.
//!
//! A Bloom filter of two bits for each key, both in one word. It knows of a key what the table keeps of it, so that it
//! can be filled from there.

use crate::words::Words;

/// Words of the table for each word of the filter, which are for up to 20 keys then: one out of five new keys seems to
/// be there when the table is full, one out of fifteen after it has grown. Half a byte for each key.
const TABLE_WORDS: usize = 32;
/// A smaller table is near enough.
const TABLE_WORDS_MIN: usize = 1 << 15;
const TAG_BITS: u32 = u32::BITS;

pub(crate) struct Filter {
    /// None where everything may be there.
    words: Words,
    shift: u32,
}

impl Filter {
    /// Without keys, for a table of so many words, which are a power of two.
    pub(crate) fn of(table_words: usize) -> Self {
        let count = table_words / TABLE_WORDS;
        let words = if table_words < TABLE_WORDS_MIN {
            None
        } else {
            Words::zeroed(count).ok() // without it everything is slower, and no more
        };
        Self {
            words: words.unwrap_or(Words::none()),
            shift: TAG_BITS - count.max(1).trailing_zeros(),
        }
    }

    /// Has its memory brought.
    pub(crate) fn bring(&self) {
        self.words.bring();
    }

    /// Whether it knows anything.
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        !self.words.is_empty()
    }

    #[inline]
    pub(crate) fn add(&mut self, tag: u64) {
        if let Some(word) = self.words.get_mut((tag >> self.shift) as usize) {
            *word |= bits(tag);
        }
    }

    #[inline]
    pub(crate) fn may_have(&self, tag: u64) -> bool {
        match self.words.get((tag >> self.shift) as usize) {
            Some(word) => !word & bits(tag) == 0,
            None => true,
        }
    }
}

#[inline]
fn bits(tag: u64) -> u64 {
    let mixed = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    1 << (mixed >> 58) | 1 << (mixed >> 52 & 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_may_be_there_and_little_else() {
        let table_words = 1 << 16;
        let mut filter = Filter::of(table_words);
        let tag = |n: u32| u64::from(n.wrapping_mul(0x9e37_79b9) ^ n >> 7);
        let keys = table_words as u32 / 8 * 5;
        (0..keys).for_each(|n| filter.add(tag(n)));
        assert!((0..keys).all(|n| filter.may_have(tag(n))));
        let others = (keys..2 * keys).filter(|n| filter.may_have(tag(*n)));
        let share = others.count() as f64 / f64::from(keys);
        assert!((0.05..0.3).contains(&share), "{share}");
    }

    #[test]
    fn a_small_one_knows_nothing() {
        let mut filter = Filter::of(TABLE_WORDS_MIN / 2);
        filter.add(7);
        assert!(!filter.is_used() && filter.may_have(8) && filter.may_have(u64::from(u32::MAX)));
    }
}
