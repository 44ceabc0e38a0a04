//! The record of a lane: cells of many keys.
//!
//! Its text is two words, how many cells it has and how far behind its start they are; its body:
//! ```text
//! cells   u64    increments of the key, absolute, times 2; the lowest bit: noted as moved, no meaning in a file
//! units   u32    its record (offset / 8); 0 = of no key yet
//! ```

use crate::record::span;

/// Text of a lane record.
pub(crate) const LANE_TEXT_BYTES: usize = 16;

/// Where the parts of a lane record are, from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) cells: usize,
    pub(crate) cells_at: usize,
}

impl Shape {
    pub(crate) fn encode(self) -> [u8; LANE_TEXT_BYTES] {
        let mut text = [0; LANE_TEXT_BYTES];
        let (cells, at) = text.split_at_mut(LANE_TEXT_BYTES / 2);
        cells.copy_from_slice(&(self.cells as u64).to_le_bytes());
        at.copy_from_slice(&(self.cells_at as u64).to_le_bytes());
        text
    }

    pub(crate) fn decode(text: &[u8]) -> Option<Self> {
        let word = |word: &[u8; 8]| usize::try_from(u64::from_le_bytes(*word)).ok();
        let (cells, at) = text.split_first_chunk::<8>()?;
        let shape = Self {
            cells: word(cells)?,
            cells_at: word(at.first_chunk::<8>()?)?,
        };
        let is_one = text.len() == LANE_TEXT_BYTES && shape.cells_at >= span(LANE_TEXT_BYTES);
        is_one.then_some(shape)
    }

    /// Where the units are.
    pub(crate) fn units_at(self) -> Option<usize> {
        self.cells
            .checked_mul(size_of::<u64>())?
            .checked_add(self.cells_at)
    }

    /// Bytes of the body.
    pub(crate) fn body_bytes(self) -> Option<usize> {
        let units = self.cells.checked_mul(size_of::<u32>())?;
        let end = self.units_at()?.checked_add(units)?;
        end.checked_next_multiple_of(8)?
            .checked_sub(span(LANE_TEXT_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_read_as_it_was_written_and_no_other_is() {
        let shape = Shape {
            cells: 8192,
            cells_at: 4096,
        };
        let text = shape.encode();
        assert_eq!(Shape::decode(&text), Some(shape));
        assert_eq!(shape.body_bytes(), Some(4096 + 8192 * 12 - 48));
        for bytes in 0..LANE_TEXT_BYTES {
            assert_eq!(Shape::decode(&text[..bytes]), None);
        }
        assert_eq!(Shape::decode(&[0; LANE_TEXT_BYTES]), None);
        let large = Shape::decode(&[0xff; LANE_TEXT_BYTES]).unwrap();
        assert_eq!((large.units_at(), large.body_bytes()), (None, None));
    }
}
