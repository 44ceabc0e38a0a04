//! Counting rows of ordinals: increments in cells, decrements in records.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::journal::{Journal, LARGE};
use crate::lanes::{Lanes, MOVED};
use crate::map::prefetch_far;
use crate::moved::Notes;
use crate::slot::{Side, Slot};

/// How many cells are on their way from memory, into the second cache, while one is worked on: more than the first
/// cache can wait for.
const AHEAD: usize = 128;
/// Rows that are looked at together.
const ROWS: usize = 256;

/// A row of a batch: an ordinal, and an amount of 32 bits, negative ones down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row(u64);

impl Row {
    #[inline]
    #[must_use]
    pub fn new(ordinal: u32, amount: i32) -> Self {
        Row(u64::from(ordinal) | u64::from(amount.cast_unsigned()) << 32)
    }

    #[inline]
    fn ordinal(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    fn amount(self) -> i64 {
        self.0.cast_signed() >> 32
    }
}

/// Cells that are raised.
struct Raising<'a> {
    words: &'a [AtomicU64],
    notes: Notes<'a>,
    #[cfg(test)]
    stores_left: crate::map::StoresLeft,
}

impl Lanes {
    /// All that a loop over so many rows needs.
    fn raising(&mut self, rows: usize) -> Option<Raising<'_>> {
        Some(Raising {
            words: self.cells.as_ref()?.words(),
            notes: self.moved.notes(rows),
            #[cfg(test)]
            stores_left: self.cells.as_ref()?.stores_left.clone(),
        })
    }
}

impl Journal {
    /// Adds the rows of a slice, each of an ordinal that was given, of a batch whose sum was promised
    /// ([`Journal::promise`]). True as of [`Journal::add`].
    pub fn add_rows(&mut self, rows: &[Row], slice: Range<usize>) -> bool {
        let was_clean = self.is_clean();
        let mine = rows.get(slice.clone()).unwrap_or(&[]);
        for (number, mine) in mine.chunks(ROWS).enumerate() {
            let ahead = slice.start + number * ROWS + AHEAD;
            let ahead = rows.get(ahead..).unwrap_or(&[]);
            if self.any_large {
                // A cell cannot hold every count; nor has it to, as it is not counted on any more.
                mine.iter().for_each(|row| self.add_to_record(*row));
            } else if mine.iter().fold(0, |any, row| any | row.0) >> 63 == 0 {
                self.add_up(mine, ahead);
            } else {
                self.add_both(mine, ahead);
            }
        }
        was_clean && !self.is_clean()
    }

    fn add_up(&mut self, rows: &[Row], ahead: &[Row]) {
        let mut sizes = 0;
        if let Some(mut cells) = self.lanes.raising(rows.len()) {
            for (n, row) in rows.iter().enumerate() {
                if let Some(next) = ahead.get(n) {
                    cells.prefetch(next.ordinal());
                }
                sizes |= cells.raise(row.ordinal(), row.amount().cast_unsigned());
            }
        }
        self.note_size(sizes);
    }

    /// Adds increments to cells and decrements to records. No branch on the sign: signs come in any order.
    fn add_both(&mut self, rows: &[Row], ahead: &[Row]) {
        let (mut sizes, mut count) = (0, 0);
        let (mut down, mut amounts) = ([0; ROWS], [0; ROWS]);
        if let Some(mut cells) = self.lanes.raising(rows.len()) {
            for (n, row) in rows.iter().enumerate() {
                if let Some(next) = ahead.get(n) {
                    cells.prefetch(next.ordinal());
                }
                let amount = row.amount();
                if let (Some(at), Some(by)) = (down.get_mut(count), amounts.get_mut(count)) {
                    (*at, *by) = (row.0 as u32, amount.unsigned_abs());
                }
                count += usize::from(amount < 0);
                sizes |= cells.raise(row.ordinal(), amount.max(0).cast_unsigned());
            }
        }
        self.note_size(sizes);
        let down = down.get_mut(..count).unwrap_or(&mut []);
        for at in &mut *down {
            *at = self.slot_of_ordinal(*at).units();
        }
        self.add_side(down, &amounts, Side::Decr);
    }

    /// Adds increments, by ordinal, whose sum was promised.
    pub(crate) fn add_to_cells(&mut self, all: impl Iterator<Item = (usize, u64)>, most: usize) {
        if self.any_large {
            for (at, by) in all {
                let units = self.slot_of_ordinal(at as u32).units();
                let view = self.map.view();
                let size = self.add_promised(view.words(), units, Side::Incr, by);
                self.note_size(size);
            }
            return;
        }
        let mut sizes = 0;
        if let Some(mut cells) = self.lanes.raising(most) {
            for (at, by) in all {
                sizes |= cells.raise(at, by);
            }
        }
        self.note_size(sizes);
    }

    fn add_to_record(&mut self, row: Row) {
        let units = self.slot_of_ordinal(row.0 as u32).units();
        let amount = row.amount();
        let side = if amount < 0 { Side::Decr } else { Side::Incr };
        let view = self.map.view();
        let size = self.add_promised(view.words(), units, side, amount.unsigned_abs());
        self.note_size(size);
    }

    /// Adds increments to the cell of a slot, if it has one and may be counted on; gives the new count. `None`: nothing
    /// was counted.
    #[inline]
    pub(crate) fn add_to_cell(&mut self, slot: Slot, by: u64) -> Option<u64> {
        let (ordinal, cell) = self.cell(slot).filter(|_| !self.any_large)?;
        let sum = (cell >> 1).checked_add(by).filter(|sum| *sum < LARGE)?;
        self.lanes.raising(1)?.raise(ordinal, by);
        Some(sum)
    }
}

impl Raising<'_> {
    #[inline]
    fn prefetch(&self, ordinal: usize) {
        prefetch_far(self.words.as_ptr().wrapping_add(ordinal).cast());
    }

    /// Adds to a cell; gives the new count.
    #[inline]
    fn raise(&mut self, ordinal: usize, by: u64) -> u64 {
        let Some(cell) = self.words.get(ordinal) else {
            return 0;
        };
        #[cfg(test)]
        if !self.stores_left.take_one() {
            return 0;
        }
        let held = cell.load(Ordering::Relaxed);
        let has_moved = u64::from(by != 0);
        self.notes
            .note(ordinal as u32, has_moved & !held & MOVED != 0);
        let raised = held.wrapping_add(by << 1) | has_moved;
        cell.store(raised, Ordering::Release);
        raised >> 1
    }
}
