//! The intent of a batch with a cursor: what makes counts and cursor move in one step.
//!
//! An intent record has the body's capacity (entries, u64) as its text; the body follows it:
//! ```text
//!  0  entries u32, cursor record u32 (offset / 8)
//!  8  position u64
//! 16  entries: record offset u64, increments u64, decrements u64 (absolute values)
//! ```
//! The record's first word is the checksum of the body. Order of stores: body, checksum (now the intent is complete),
//! counts, cursor, checksum 0. Recovery applies a complete intent by maximum, which repeats harmlessly, and ignores
//! any other. The record stays and is used again; a larger batch gets a larger one.

use crate::map::Map;
use crate::record::{Checksums, span};
use crate::slot::{DECR_AT, INCR_AT, Slot};

/// The longest cursor name: a name, not a document.
pub const CURSOR_NAME_BYTES_MAX: usize = 255;
/// The smallest capacity: 1.5 KiB, a batch of common size.
pub(crate) const ENTRIES_MIN: usize = 64;
pub(crate) const CAPACITY_TEXT_BYTES: usize = 8;

const BODY_HEAD_BYTES: usize = 16;
const ENTRY_BYTES: usize = 24;

/// Where the body starts, from the start of the record.
pub(crate) fn body_at() -> usize {
    span(CAPACITY_TEXT_BYTES)
}

/// Bytes of a body of so many entries; `None` beyond any file.
pub(crate) fn body_bytes(entries: usize) -> Option<usize> {
    entries
        .checked_mul(ENTRY_BYTES)?
        .checked_add(BODY_HEAD_BYTES)
}

/// New absolute values of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) slot: Slot,
    pub(crate) incr: u64,
    pub(crate) decr: u64,
}

/// The intent record of a live journal.
#[derive(Clone, Copy)]
pub(crate) struct IntentRecord {
    pub(crate) offset: usize,
    pub(crate) capacity: usize,
}

impl IntentRecord {
    /// Stores the intent, completely; the record has room for it.
    pub(crate) fn write(
        &self,
        map: &mut Map,
        sums: Checksums,
        moves: &[Move],
        cursor: Slot,
        position: u64,
    ) {
        let mut at = self.offset + body_at();
        for word in body_words(moves, cursor, position) {
            map.store(at, word);
            at += 8;
        }
        let sum = sums.intent(self.offset as u64, body_words(moves, cursor, position));
        map.store(self.offset + INCR_AT, sum);
    }

    pub(crate) fn clear(&self, map: &mut Map) {
        map.store(self.offset + INCR_AT, 0);
    }
}

/// Lets the counts move to their new values.
pub(crate) fn apply(map: &mut Map, moves: &[Move]) {
    for step in moves {
        map.store(step.slot.offset() + INCR_AT, step.incr);
        map.store(step.slot.offset() + DECR_AT, step.decr);
    }
}

fn body_words(moves: &[Move], cursor: Slot, position: u64) -> impl Iterator<Item = u64> {
    [
        moves.len() as u64 | u64::from(cursor.units()) << 32,
        position,
    ]
    .into_iter()
    .chain(
        moves
            .iter()
            .flat_map(|step| [step.slot.offset() as u64, step.incr, step.decr]),
    )
}

/// A complete intent, as recovery found it.
pub(crate) struct Intent {
    /// (record offset, increments, decrements)
    pub(crate) moves: Vec<(u64, u64, u64)>,
    pub(crate) cursor_offset: u64,
    pub(crate) position: u64,
}

/// How many entries are in use, from the body's first word.
pub(crate) fn entries(first: u64) -> usize {
    first as u32 as usize
}

/// Reads the used part of a body; `None` when the checksum says that it is incomplete.
pub(crate) fn read(sums: Checksums, offset: u64, checksum: u64, body: &[u8]) -> Option<Intent> {
    let (words, _) = body.as_chunks::<8>();
    let words = || words.iter().map(|word| u64::from_le_bytes(*word));
    if sums.intent(offset, words()) != checksum {
        return None;
    }
    let mut rest = words();
    let (first, position) = (rest.next()?, rest.next()?);
    let mut moves = Vec::new();
    while let (Some(at), Some(incr), Some(decr)) = (rest.next(), rest.next(), rest.next()) {
        moves.push((at, incr, decr));
    }
    Some(Intent {
        moves,
        cursor_offset: (first >> 32) * 8,
        position,
    })
}
