//! Where in the cache of tokens a token lies: its line, its tag, and the place in the line that is looked at first.
//!
//! A token is mixed by a multiplication. The upper bits of the product choose the line, the next ones the place: addresses
//! of objects that were made one after the other have even distances, and a product of such ones fills lines and places
//! more evenly than chance would. Where there are twice as many lines, one more bit chooses the line, so what was in line
//! n is in 2n or 2n + 1.

use crate::token_line::WAYS;

/// Addresses are multiples of 16 and have 48 bits: 44 say something.
const TOKEN_BITS: u32 = 48;
const ALIGN_BITS: u32 = 4;
const MIXED_BITS: u32 = TOKEN_BITS - ALIGN_BITS;
/// Above as many zeros what was mixed fills a word.
const UNMIXED_BITS: u32 = usize::BITS - MIXED_BITS;
/// Lines, as a power of two, that have the fewest: what is not in a tag chooses one of them.
const LINE_BITS_MIN: u32 = MIXED_BITS - u32::BITS;

/// Odd, so that the multiplication can be undone: `MIX * UNMIX` is 1. Found by trying: of strings of one length that were
/// made one after the other it puts at least 92 % into places of their own where there are three times as many, and by
/// chance it would be 85 %; the fractional part of the golden ratio does so for some distances only.
const MIX: usize = 0x0812_6c26_4f43;
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

/// Where a token lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub line: usize,
    pub tag: u32,
    /// The place in the line that is looked at first.
    pub way: usize,
}

/// How many lines there are: 4,096, doubled a number of times.
#[derive(Clone, Copy, Default)]
pub(crate) struct Shape {
    doublings: u32,
}

impl Shape {
    pub fn lines(self) -> usize {
        1 << (LINE_BITS_MIN + self.doublings)
    }

    pub fn doublings(self) -> u32 {
        self.doublings
    }

    pub fn doubled(self) -> Self {
        let doublings = self.doublings + 1;
        Self { doublings }
    }

    /// `None` for a number that is no such address.
    #[inline(always)]
    pub fn place(self, token: usize) -> Option<Place> {
        if token >> TOKEN_BITS != 0 || token & ((1 << ALIGN_BITS) - 1) != 0 {
            return None;
        }
        let mixed = (token >> ALIGN_BITS).wrapping_mul(MIX << UNMIXED_BITS);
        let tag = (mixed >> UNMIXED_BITS) as u32;
        let next_bits = tag << self.doublings;
        Some(Place {
            line: mixed >> (usize::BITS - LINE_BITS_MIN - self.doublings),
            tag,
            way: ((u64::from(next_bits) * WAYS as u64) >> u32::BITS) as usize,
        })
    }

    /// The token with this tag in this line.
    pub fn token(self, line: usize, tag: u32) -> usize {
        let upper = line >> self.doublings << (usize::BITS - LINE_BITS_MIN);
        let mixed = upper | (tag as usize) << UNMIXED_BITS;
        let token = (mixed >> UNMIXED_BITS).wrapping_mul(UNMIX);
        (token & ((1 << MIXED_BITS) - 1)) << ALIGN_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [usize; 5] = [
        16,
        0x7f12_3456_7890,
        0xffff_ffff_fff0,
        0x5555_5555_5550,
        1 << 47,
    ];

    #[test]
    fn a_token_can_be_made_of_its_place() {
        let mut shape = Shape::default();
        for _ in 0..8 {
            for token in TOKENS {
                let place = shape.place(token).unwrap();
                assert!(place.line < shape.lines() && place.way < WAYS);
                assert_eq!(shape.token(place.line, place.tag), token);
            }
            shape = shape.doubled();
        }
    }

    #[test]
    fn what_is_no_address_has_no_place() {
        let shape = Shape::default();
        assert_eq!((shape.place(8), shape.place(1 << 48)), (None, None));
    }

    #[test]
    fn with_twice_as_many_lines_a_line_becomes_two() {
        let small = Shape::default().doubled();
        for token in TOKENS {
            let (before, after) = (small.place(token), small.doubled().place(token));
            assert_eq!(before.unwrap().line, after.unwrap().line / 2);
        }
    }

    #[test]
    fn objects_one_after_the_other_fill_lines_and_places_evenly() {
        // As many as fill a third of the lines, of sizes that short strings have, in pools as CPython's.
        const POOL: usize = 16 << 10;
        const HEAD: usize = 48;
        let cases = [0, 3, 6]
            .into_iter()
            .flat_map(|n| (4..9).map(move |w| (n, 16 * w)));
        for (doublings, bytes) in cases {
            let in_pool = (POOL - HEAD) / bytes;
            let address = |n| POOL * (n / in_pool) + HEAD + bytes * (n % in_pool);
            let shape = (0..doublings).fold(Shape::default(), |shape, _| shape.doubled());
            let count = shape.lines() * WAYS / 3;
            let mut used = vec![[0u32; WAYS]; shape.lines()];
            for n in 0..count {
                let place = shape.place(0x7f00_1234_0000 + address(n)).unwrap();
                used[place.line][place.way] += 1;
            }
            let apart = used.iter().flatten().filter(|&&used| used > 0).count();
            let most = used.iter().map(|line| line.iter().sum::<u32>()).max();
            assert!(
                apart * 10 > count * 9,
                "{doublings}, {bytes}: {apart} of {count}"
            );
            assert!(
                most <= Some(WAYS as u32),
                "{doublings}, {bytes}: {most:?} in a line"
            );
        }
    }
}
