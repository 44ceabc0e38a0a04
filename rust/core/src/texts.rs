//! Texts side by side, each found by a 32-bit place: a third of what a `String` each would take.

use crate::ahead::prefetch;

/// Texts start at multiples of this, so that 16 GiB of them can be named.
const UNIT: usize = 4;

/// In the place of a length: the length follows.
const LONG: u16 = u16::MAX;

/// Grows only; nothing is ever moved or removed.
#[derive(Default)]
pub(crate) struct Texts {
    /// Each text: its length (u16, little-endian; [`LONG`] and a u32 where it is longer), its bytes, zeros up to
    /// [`UNIT`].
    bytes: Vec<u8>,
}

impl Texts {
    /// Keeps a text and gives its place; `None` where there are too many.
    pub fn push(&mut self, text: &str) -> Option<u32> {
        let place = u32::try_from(self.bytes.len() / UNIT).ok()?;
        match u16::try_from(text.len()).ok().filter(|len| *len != LONG) {
            Some(len) => self.bytes.extend_from_slice(&len.to_le_bytes()),
            None => {
                let len = u32::try_from(text.len()).ok()?;
                self.bytes.extend_from_slice(&LONG.to_le_bytes());
                self.bytes.extend_from_slice(&len.to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes
            .resize(self.bytes.len().next_multiple_of(UNIT), 0);
        Some(place)
    }

    /// The bytes of a text; empty for a place that is none.
    #[inline]
    pub fn bytes(&self, place: u32) -> &[u8] {
        self.find(place as usize * UNIT).unwrap_or(&[])
    }

    /// Ask the processor to fetch the beginning of a text.
    #[inline]
    pub fn prefetch(&self, place: u32) {
        prefetch(self.bytes.get(place as usize * UNIT));
    }

    #[inline]
    fn find(&self, at: usize) -> Option<&[u8]> {
        let (len, rest) = self.bytes.get(at..)?.split_first_chunk::<2>()?;
        let len = u16::from_le_bytes(*len);
        if len != LONG {
            return rest.get(..len as usize);
        }
        let (len, rest) = rest.split_first_chunk::<4>()?;
        rest.get(..u32::from_le_bytes(*len) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_all_lengths_come_back() {
        let mut texts = Texts::default();
        let lens = (0..70).chain((1 << 16) - 3..(1 << 16) + 3);
        let all: Vec<String> = lens
            .map(|n| "é".repeat(n / 2) + &"e".repeat(n % 2))
            .collect();
        let places: Vec<u32> = all.iter().map(|text| texts.push(text).unwrap()).collect();
        for (text, place) in all.iter().zip(places) {
            assert_eq!(texts.bytes(place), text.as_bytes());
        }
        assert_eq!(texts.bytes(u32::MAX), b"");
    }
}
