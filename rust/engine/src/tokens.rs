//! A short way to a slot for callers who name the same key object again and again.
//!
//! A token is any number but 0 that stands for one immutable key as long as the caller keeps that key alive; the Python
//! binding uses the address of a `str`. What the cache drops is handed back, so that the caller can let go of it.

use crdtstats_journal::Slot;

/// Lines of the cache, a power of two: 256 KiB, so that it stays in the processor's second cache beside what it leads to.
const LINES: usize = 1 << LINE_BITS;
const LINE_BITS: u32 = 12;
/// Entries of a line.
const WAYS: usize = 7;
/// Addresses are multiples of 16 and have 48 bits: 44 say something. 12 choose the line, the other 32 are the tag.
const TOKEN_BITS: u32 = 48;
const ALIGN_BITS: u32 = 4;
/// How many misses in its line an entry outlives after a hit.
const CREDIT: u32 = 15;
/// In a full line one miss out of so many puts an entry in: keys that come once push few out that come often.
const PATIENCE: u32 = 16;

/// One cache line of the processor: tags and slots apart, so that all tags are compared at once.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line {
    tags: [u32; WAYS],
    /// Four bits for each entry.
    credits: u32,
    /// [`Slot::NONE`]: free.
    slots: [Slot; WAYS],
}

const FREE: Line = Line {
    tags: [0; WAYS],
    credits: 0,
    slots: [Slot::NONE; WAYS],
};

#[derive(Default)]
pub(crate) struct Tokens {
    lines: Box<[Line]>,
    misses: u32,
}

/// Line and tag of a token, which it can be made of again; `None` for a number that is no such address.
#[inline]
fn place(token: usize) -> Option<(usize, u32)> {
    if token >> TOKEN_BITS != 0 || token & ((1 << ALIGN_BITS) - 1) != 0 {
        return None;
    }
    let mixed = (token >> ALIGN_BITS).wrapping_mul(MIX) & ((1 << (TOKEN_BITS - ALIGN_BITS)) - 1);
    Some((mixed >> u32::BITS, mixed as u32))
}

fn token_of(line: usize, tag: u32) -> usize {
    let mixed = line << u32::BITS | tag as usize;
    let token = mixed.wrapping_mul(UNMIX) & ((1 << (TOKEN_BITS - ALIGN_BITS)) - 1);
    token << ALIGN_BITS
}

/// Odd, so that the multiplication can be undone: `MIX * UNMIX` is 1.
const MIX: usize = 0x9e37_79b9_7f4a_7c15;
const UNMIX: usize = inverse(MIX);

const fn inverse(odd: usize) -> usize {
    // Newton's method: each step doubles the bits that are right, of which there are three at first.
    let (mut inverse, mut step) = (odd, 0);
    while step < 5 {
        inverse = inverse.wrapping_mul(2usize.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
}

/// Where in its line a tag is put, if it can be.
#[inline]
fn favourite(tag: u32) -> usize {
    ((u64::from(tag) * WAYS as u64) >> u32::BITS) as usize
}

impl Line {
    /// The entry of a tag. The favourite place is looked at first: then the slot is read before the tags were compared.
    #[inline]
    fn way(&self, tag: u32) -> Option<usize> {
        let way = favourite(tag);
        if self.tags.get(way) == Some(&tag) && self.slots.get(way) != Some(&Slot::NONE) {
            return Some(way);
        }
        self.other_way(tag)
    }

    #[inline(never)]
    fn other_way(&self, tag: u32) -> Option<usize> {
        let mut ways = 0u32;
        for (way, held) in self.tags.iter().enumerate() {
            ways |= u32::from(*held == tag) << way;
        }
        while ways != 0 {
            let way = ways.trailing_zeros() as usize;
            if self.slots.get(way) != Some(&Slot::NONE) {
                return Some(way);
            }
            ways &= ways - 1; // a free entry's tag is 0
        }
        None
    }

    fn credit(&self, way: usize) -> u32 {
        self.credits >> (4 * way) & CREDIT
    }

    fn free(&self, tag: u32) -> Option<usize> {
        let is_free = |way: &usize| self.slots.get(*way) == Some(&Slot::NONE);
        let favourite = Some(favourite(tag)).filter(is_free);
        favourite.or_else(|| (0..WAYS).find(is_free))
    }
}

impl Tokens {
    #[inline]
    pub fn find(&mut self, token: usize) -> Option<Slot> {
        let (line, tag) = place(token)?;
        let line = self.lines.get_mut(line)?;
        let way = line.way(tag)?;
        if line.credits >> (4 * way) & CREDIT != CREDIT {
            line.credits |= CREDIT << (4 * way);
        }
        line.slots.get(way).copied()
    }

    /// Whether a token that was not found should be kept. Asking counts as a miss.
    pub fn wants(&mut self, token: usize) -> bool {
        if self.lines.is_empty() {
            self.lines = vec![FREE; LINES].into_boxed_slice();
        }
        let Some((at, tag)) = place(token) else {
            return false;
        };
        let Some(line) = self.lines.get_mut(at) else {
            return false;
        };
        if line.free(tag).is_some() {
            return true;
        }
        self.misses = self.misses.wrapping_add(1);
        if !self.misses.is_multiple_of(PATIENCE) {
            return false;
        }
        let spent = (0..WAYS).any(|way| line.credit(way) == 0);
        for way in 0..WAYS {
            line.credits -= u32::from(line.credit(way) > 0) << (4 * way);
        }
        spent
    }

    /// Keep a token that [`Tokens::wants`]; gives back the one whose place it took.
    pub fn keep(&mut self, token: usize, slot: Slot) -> Option<usize> {
        let (at, tag) = place(token)?;
        let line = self.lines.get_mut(at)?;
        let free = line.free(tag);
        let spent = || (0..WAYS).find(|&way| line.credit(way) == 0);
        let way = free.or_else(spent)?;
        let dropped = line.tags.get(way).map(|tag| token_of(at, *tag));
        *line.tags.get_mut(way)? = tag;
        *line.slots.get_mut(way)? = slot;
        line.credits |= 1 << (4 * way);
        dropped.filter(|_| free.is_none())
    }

    /// Every token that is kept; none is afterwards.
    pub fn take(&mut self) -> Vec<usize> {
        let lines = std::mem::take(&mut self.lines);
        let entries = lines.iter().enumerate().flat_map(|(at, line)| {
            let entries = line.tags.iter().zip(&line.slots);
            let kept = entries.filter(|(_, slot)| **slot != Slot::NONE);
            kept.map(move |(tag, _)| token_of(at, *tag))
        });
        entries.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(tokens: &mut Tokens, token: usize, held: &mut Vec<usize>) -> bool {
        if let Some(slot) = tokens.find(token) {
            assert_eq!(slot.units() as usize, token >> 4);
            return true;
        }
        if tokens.wants(token) {
            held.push(token);
            let dropped = tokens.keep(token, Slot::of_units((token >> 4) as u32));
            held.retain(|held| Some(*held) != dropped);
        }
        false
    }

    #[test]
    fn a_token_can_be_made_of_its_place() {
        for token in [16, 0x7f12_3456_7890, 0xffff_ffff_fff0, 0x5555_5555_5550] {
            let (line, tag) = place(token).unwrap();
            assert!(line < LINES);
            assert_eq!(token_of(line, tag), token);
        }
        assert_eq!((place(8), place(1 << 48)), (None, None));
    }

    #[test]
    fn hot_tokens_are_found_and_cold_ones_push_few_out() {
        let (mut tokens, mut held) = (Tokens::default(), Vec::new());
        let hot: Vec<usize> = (1..=10_000).map(|n| n * 112).collect();
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
