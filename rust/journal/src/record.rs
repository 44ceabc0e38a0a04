//! One record: 28 bytes, then its text, filled up to a multiple of 8.
//!
//! ```text
//!  0  increments        u64    (cursor: position            intent: checksum of the body, 0 = none)
//!  8  decrements        u64    (cursor: 1 = has a position  intent: 0)
//! 16  checksum          u32    over generation, offset, kind and text
//! 20  bytes of text     u16
//! 22  kind              u8     highest bit, of a key: a cell has increments of it, too (see `lanes`)
//! 23  flags             u8     of the live process; outside the checksum, no meaning in a file
//! 24  note              u32    of the live process, too: what its engine wrote down about the key
//! 28  text
//! ```
//! Checksum, length, kind and flags are one word, stored last: that one store is the birth of the record. A word of
//! zeros ends the journal.

use crate::generation::Generation;
use crate::mix::{Mixer, fold};

pub(crate) const META_AT: usize = 16;
pub(crate) const NOTE_AT: usize = 24;
pub(crate) const TEXT_AT: usize = 28;

/// The longest key a record can hold: its length is a u16.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// The highest bit of the kind: the key has a cell. Not in the checksum: what it says stands in the cell's lane, too.
pub(crate) const HAS_CELL: u64 = 1 << 55;
/// Flags: the increments, the decrements moved since the last flush. With either one the slot is on the dirty list.
pub(crate) const DIRTY_INCR: u64 = 1 << 56;
pub(crate) const DIRTY_DECR: u64 = 1 << 57;
pub(crate) const DIRTY: u64 = DIRTY_INCR | DIRTY_DECR;
/// Flag: on the list of what no read has brought in yet.
pub(crate) const UNREAD: u64 = 1 << 58;
/// Flag: nobody but this process has counted on the key, as far as the engine knows.
pub(crate) const SOLE: u64 = 1 << 59;
/// The flags above: a mark of the object that named the key last; 0: of none.
pub(crate) const MARK_SHIFT: u32 = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Key = 1,
    Cursor = 2,
    Intent = 3,
    Lane = 4,
}

/// The third word of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta(pub(crate) u64);

impl Meta {
    pub(crate) fn new(checksum: u32, text_bytes: u16, kind: Kind) -> Self {
        Self(u64::from(checksum) | u64::from(text_bytes) << 32 | (kind as u64) << 48)
    }

    pub(crate) fn checksum(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    pub(crate) fn text_bytes(self) -> usize {
        (self.0 >> 32) as u16 as usize
    }

    #[inline]
    pub(crate) fn is_key(self) -> bool {
        ((self.0 & !HAS_CELL) >> 48) as u8 == Kind::Key as u8
    }

    /// Of a key whose counts are in its record alone.
    #[inline]
    pub(crate) fn is_plain_key(self) -> bool {
        (self.0 >> 48) as u8 == Kind::Key as u8
    }

    #[inline]
    pub(crate) fn has_cell(self) -> bool {
        self.0 & HAS_CELL != 0
    }

    pub(crate) fn kind(self) -> Option<Kind> {
        match (self.0 >> 48) as u8 {
            1 | 0x81 => Some(Kind::Key),
            2 => Some(Kind::Cursor),
            3 => Some(Kind::Intent),
            4 => Some(Kind::Lane),
            _ => None,
        }
    }
}

/// Bytes that a record with this text takes.
pub(crate) const fn span(text_bytes: usize) -> usize {
    (TEXT_AT + text_bytes).next_multiple_of(8)
}

/// Whether two texts are the same. Keys are short and of many lengths: words, the last of them overlapping, take half
/// the time of the library's call.
#[inline]
pub(crate) fn is_same_text(mine: &[u8], theirs: &[u8]) -> bool {
    let (Some(my_last), Some(their_last)) = (mine.last_chunk::<8>(), theirs.last_chunk::<8>())
    else {
        return mine.len() == theirs.len()
            && mine.iter().zip(theirs).all(|(my, their)| my == their);
    };
    let ((my_words, _), (their_words, _)) = (mine.as_chunks::<8>(), theirs.as_chunks::<8>());
    mine.len() == theirs.len()
        && my_last == their_last
        && my_words
            .iter()
            .zip(their_words)
            .all(|(my, their)| my == their)
}

/// Makes the checksums of one journal.
#[derive(Clone, Copy)]
pub(crate) struct Checksums(Mixer);

impl Checksums {
    pub(crate) fn new(generation: Generation) -> Self {
        let whole = u128::from_le_bytes(generation.0);
        Self(Mixer::new(whole as u64, (whole >> 64) as u64))
    }

    /// Of a record: text under another key, offset or generation fails.
    pub(crate) fn record(self, offset: u64, kind: Kind, text: &[u8]) -> u32 {
        let hash = self.0.mix(text) ^ offset;
        (fold(hash, 0x9e37_79b9_7f4a_7c15 ^ kind as u64) >> 32) as u32
    }

    /// Of an intent's body; never 0, which means "none".
    pub(crate) fn intent(self, offset: u64, words: impl Iterator<Item = u64>) -> u64 {
        let start = self.0.mix(&offset.to_le_bytes());
        let sum = words.fold(start, |sum, word| {
            fold(sum ^ word, 0x9e37_79b9_7f4a_7c15) ^ sum.rotate_left(32)
        });
        sum.max(1)
    }
}
