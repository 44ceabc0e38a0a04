//! A short way to a slot for callers who name the same key object again and again.
//!
//! A token is any number that stands for one immutable key as long as the caller keeps that key alive; the Python
//! binding uses the address of a `str`. What the cache drops is handed back, so that the caller can let go of it.

use crdtstats_journal::Slot;

/// Entries of the cache: 1 MiB. A hit costs one load; what does not fit costs a look-up by text, as without a cache.
const TOKENS_MAX: usize = 1 << 16;

/// Direct-mapped: one place for each token.
#[derive(Default)]
pub(crate) struct Tokens {
    entries: Vec<(usize, Option<Slot>)>,
}

fn place(token: usize) -> usize {
    // Addresses are multiples of 16; the multiplication spreads neighbours that differ in high bits only.
    (token >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - TOKENS_MAX.trailing_zeros())
}

impl Tokens {
    #[inline]
    pub fn find(&self, token: usize) -> Option<Slot> {
        let (held, slot) = self.entries.get(place(token))?;
        if *held == token { *slot } else { None }
    }

    /// Keep a token; gives back the one whose place it took.
    pub fn keep(&mut self, token: usize, slot: Slot) -> Option<usize> {
        if self.entries.is_empty() {
            self.entries.resize(TOKENS_MAX, (0, None));
        }
        let entry = self.entries.get_mut(place(token))?;
        let (dropped, was) = std::mem::replace(entry, (token, Some(slot)));
        was.map(|_| dropped)
    }

    /// Every token that is kept; none is afterwards.
    pub fn take(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.entries)
            .into_iter()
            .filter(|(_, slot)| slot.is_some())
            .map(|(token, _)| token)
            .collect()
    }
}
