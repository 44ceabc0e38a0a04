//! A short way to a slot for callers who name the same key object again and again.
//!
//! A token is any number but 0 that stands for one immutable key as long as the caller keeps that key alive; the Python
//! binding uses the address of a `str`. What the cache drops is handed back, so that the caller can let go of it.

use crdtstats_journal::Slot;

/// Entries of the cache: 1 MiB. A hit costs one load; what does not fit costs a look-up by text, as without a cache.
const TOKENS_MAX: usize = 1 << 16;
/// How many misses at its place an entry outlives after a hit: keys that come once push none out that come often.
const CREDIT: u32 = 8;

#[derive(Clone, Copy)]
struct Entry {
    /// 0: free.
    token: usize,
    slot: Slot,
    credit: u32,
}

/// Two places for each token, side by side.
pub(crate) struct Tokens {
    entries: Box<[Entry]>,
}

fn place(token: usize) -> usize {
    // Addresses are multiples of 16; the multiplication spreads neighbours that differ in high bits only.
    (token >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - TOKENS_MAX.trailing_zeros())
}

impl Default for Tokens {
    fn default() -> Self {
        Tokens {
            entries: Box::default(),
        }
    }
}

impl Tokens {
    #[inline]
    pub fn find(&mut self, token: usize) -> Option<Slot> {
        let at = place(token);
        for at in [at, at ^ 1] {
            let entry = self.entries.get_mut(at)?;
            if entry.token == token {
                if entry.credit != CREDIT {
                    entry.credit = CREDIT;
                }
                return Some(entry.slot);
            }
        }
        None
    }

    /// Whether [`Tokens::keep`] would keep a token that was not found. Where not, the entries in its place lose credit.
    #[inline]
    pub fn wants(&mut self, token: usize) -> bool {
        if self.entries.is_empty() {
            self.entries = vec![FREE; TOKENS_MAX].into_boxed_slice();
        }
        let at = place(token);
        let mut wanted = false;
        for at in [at, at ^ 1] {
            if let Some(entry) = self.entries.get_mut(at) {
                wanted |= entry.credit == 0;
                entry.credit = entry.credit.saturating_sub(1);
            }
        }
        wanted
    }

    /// Keep a token that [`Tokens::wants`]; gives back the one whose place it took.
    pub fn keep(&mut self, token: usize, slot: Slot) -> Option<usize> {
        let at = place(token);
        let is_free = |at: usize| self.entries.get(at).is_some_and(|entry| entry.credit == 0);
        let at = if is_free(at) { at } else { at ^ 1 };
        let entry = self.entries.get_mut(at)?;
        let credit = 1;
        let dropped = std::mem::replace(
            entry,
            Entry {
                token,
                slot,
                credit,
            },
        );
        (dropped.token != 0).then_some(dropped.token)
    }

    /// Every token that is kept; none is afterwards.
    pub fn take(&mut self) -> Vec<usize> {
        let entries = std::mem::take(&mut self.entries);
        let tokens = entries.iter().map(|entry| entry.token);
        tokens.filter(|token| *token != 0).collect()
    }
}

const FREE: Entry = Entry {
    token: 0,
    slot: Slot::NONE,
    credit: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn count(tokens: &mut Tokens, token: usize, held: &mut Vec<usize>) -> bool {
        if let Some(slot) = tokens.find(token) {
            assert_eq!(slot.units() as usize, token);
            return true;
        }
        if tokens.wants(token) {
            held.push(token);
            let dropped = tokens.keep(token, Slot::of_units(token as u32));
            held.retain(|held| Some(*held) != dropped);
        }
        false
    }

    #[test]
    fn hot_tokens_are_found_and_cold_ones_push_few_out() {
        let (mut tokens, mut held) = (Tokens::default(), Vec::new());
        let hot: Vec<usize> = (1..=10_000).map(|n| n * 64).collect();
        for _ in 0..3 {
            hot.iter().for_each(|&token| {
                count(&mut tokens, token, &mut held);
            });
        }
        for token in 0..200_000 {
            count(&mut tokens, (1 << 26) + token * 64, &mut held);
            if token % 20 == 0 {
                let hot = hot[(token / 20) % hot.len()];
                count(&mut tokens, hot, &mut held);
            }
        }
        let found = hot
            .iter()
            .filter(|&&token| tokens.find(token).is_some())
            .count();
        assert!(found > 9_000, "{found}");
        let mut taken = tokens.take();
        taken.sort_unstable();
        held.sort_unstable();
        assert_eq!(taken, held);
    }
}
