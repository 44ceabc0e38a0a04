//! Whether numbers that come from outside are slots: many at once.

/// The starts of records as they were at one moment (see [`crate::starts`]), and a word without any behind them.
#[derive(Default)]
pub(crate) struct Valid {
    words: Vec<u32>,
}

impl Valid {
    /// Takes over what was added to `starts` since. Starts are added in their order, so only the last word that is
    /// here already may have changed.
    pub(crate) fn follow(&mut self, starts: &[u32], words_max: usize) {
        let known = self.words.len().saturating_sub(2);
        self.words.truncate(known);
        let new = starts.get(known..).unwrap_or(&[]);
        self.words
            .extend_from_slice(new.get(..words_max).unwrap_or(new));
        self.words.push(0);
    }

    /// How many words of starts are here.
    pub(crate) fn len(&self) -> usize {
        self.words.len().saturating_sub(1)
    }

    /// The starts of word number `word`.
    #[inline]
    pub(crate) fn word(&self, word: usize) -> u32 {
        self.words.get(word).copied().unwrap_or(0)
    }

    /// Whether a record begins at a number of units.
    #[inline]
    pub(crate) fn has(&self, units: u32) -> bool {
        self.word(units as usize / 32) >> (units % 32) & 1 == 1
    }

    /// Whether one begins at each of them. Cost: 0.2 ns for each, where the bitmap is in the first cache.
    pub(crate) fn have(&self, units: &[u32]) -> bool {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { self.have_avx2(units) };
        }
        self.have_one_by_one(units)
    }

    fn have_one_by_one(&self, units: &[u32]) -> bool {
        units.iter().fold(true, |all, &one| all & self.has(one))
    }

    /// Eight loads by one instruction: one by one they take a third of all that a row costs.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn have_avx2(&self, units: &[u32]) -> bool {
        use std::arch::x86_64::{
            _mm256_and_si256, _mm256_i32gather_epi32, _mm256_min_epu32, _mm256_movemask_epi8,
            _mm256_set_epi32, _mm256_set1_epi32, _mm256_slli_epi32, _mm256_srli_epi32,
            _mm256_srlv_epi32,
        };
        let Some(last) = self.words.len().checked_sub(1) else {
            return units.is_empty();
        };
        let last = _mm256_set1_epi32(i32::try_from(last).unwrap_or(0));
        let of_word = _mm256_set1_epi32(31);
        let mut all = _mm256_set1_epi32(-1);
        let (eights, rest) = units.as_chunks::<8>();
        for eight in eights {
            let [a, b, c, d, e, f, g, h] = eight.map(u32::cast_signed);
            let units = _mm256_set_epi32(h, g, f, e, d, c, b, a);
            // What is past the end finds the word without starts.
            let at = _mm256_min_epu32(_mm256_srli_epi32::<5>(units), last);
            // SAFETY: no index is above that of the last word.
            let words = unsafe { _mm256_i32gather_epi32::<4>(self.words.as_ptr().cast(), at) };
            let found = _mm256_srlv_epi32(words, _mm256_and_si256(units, of_word));
            all = _mm256_and_si256(all, found);
        }
        let lowest_bits = _mm256_movemask_epi8(_mm256_slli_epi32::<31>(all)).cast_unsigned();
        lowest_bits & 0x8888_8888 == 0x8888_8888 && self.have_one_by_one(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_wrong_is_found_wherever_it_is() {
        let starts: Vec<u32> = (0..100u32)
            .map(|n| n.wrapping_mul(0x9e37_79b1) | 1)
            .collect();
        let mut valid = Valid::default();
        for words in [1, 2, 3, 50, 50, 100] {
            valid.follow(&starts[..words], usize::MAX);
            assert_eq!(valid.len(), words);
            let units = |is: bool| {
                let end = words as u32 * 32;
                let held = move |u: &u32| *u < end && starts_bit(*u);
                (0..end + 100)
                    .chain([u32::MAX, 1 << 31])
                    .filter(move |u| held(u) == is)
            };
            let good: Vec<u32> = units(true).collect();
            assert!(valid.have(&good) && valid.have(&[]) && valid.have_one_by_one(&good));
            for (n, wrong) in units(false).enumerate() {
                for rows in [1, 7, 8, 9, 40] {
                    let mut mixed: Vec<u32> = good.iter().cycle().take(rows).copied().collect();
                    mixed[n % rows] = wrong;
                    assert!(!valid.have(&mixed), "{wrong} among {rows}");
                    assert!(!valid.have_one_by_one(&mixed));
                }
            }
        }
    }

    fn starts_bit(units: u32) -> bool {
        ((units / 32).wrapping_mul(0x9e37_79b1) | 1) >> (units % 32) & 1 == 1
    }
}
