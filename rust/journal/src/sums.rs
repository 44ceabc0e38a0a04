//! What a batch adds to each key, summed up before anything is counted.
//!
//! Many rows on few keys: a row is then an addition in a small array, not in a record of a cache line of its own, and
//! each record is changed once. All rows are checked on the way, so that a batch is all or nothing without a copy of
//! its columns: every number is read once, and what was summed up is what is counted.
//!
//! A cell is 32 bytes of the journal, in which at most one record begins: none is shorter. Its low bits (the tag) say
//! where, so that the load that a sum needs anyway tells whether an id is one; above them is the sum. Cells have 32
//! bits as long as the magnitudes of all rows together fit, and 64 from there on: no sum needs a check of its own.

use std::ops::Range;

use crate::journal::Journal;
use crate::map::prefetch_word;
use crate::record::span;
use crate::slot::{Side, Slot};
use crate::starts::WORD_BITS;

/// 8-byte units of a cell.
const CELL_UNITS: usize = 4;
const _: () = assert!(span(1) >= CELL_UNITS * 8, "two records would share a cell");
/// Cells of one word of starts.
const WORD_CELLS: usize = WORD_BITS / CELL_UNITS;
/// Bits of a tag: those of the units at which a record begins. Where none does it is the tag of no units in the cell.
const TAG_BITS: u32 = 3;
const TAG: u32 = (1 << TAG_BITS) - 1;
const ODD_CELL: u32 = CELL_UNITS as u32;

/// Rows that are looked at together: their numbers stay in the first cache.
const ROWS: usize = 256;
/// Rows whose columns fill a cache line of ids, two of amounts.
const LINE_ROWS: usize = 16;
/// Cells of which the sums are taken before they are counted.
const CELLS: usize = 512;

/// Sums by key and side. None when it is made, and after [`Journal::add_sums`] of all cells.
#[derive(Default)]
pub struct Sums {
    /// The starts of records as they were when they were learned.
    starts: Vec<u32>,
    /// Of increments; behind them, once there are any, of decrements.
    narrow: Vec<u32>,
    /// Instead of `narrow`, once the total is past it.
    wide: Vec<u64>,
    has_decr: bool,
    total: u64,
}

/// Where the rows that follow in columns of ids and amounts are, for the processor to fetch; nobody reads there.
#[derive(Clone, Copy)]
pub struct Ahead {
    pub ids: *const u32,
    pub amounts: *const u8,
}

/// Why rows were not added. The sums are of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The id of a row is no slot.
    Id { row: usize },
    /// The amount of a row is `i64::MIN`.
    Amount { row: usize },
    /// The magnitudes of all rows together are 2⁶¹ and more, or there is no memory.
    TooLarge,
}

impl Sums {
    /// How many cells the keys of a journal take.
    pub fn cells_of(journal: &Journal) -> usize {
        journal.starts.words().len() * WORD_CELLS
    }

    /// Has memory for so many cells. False: there is none.
    pub fn reserve(&mut self, cells: usize) -> bool {
        self.forget_others();
        let more = cells.saturating_sub(self.narrow.len());
        self.starts.try_reserve(more / WORD_CELLS).is_ok() && self.narrow.try_reserve(more).is_ok()
    }

    /// Only narrow increments are kept: what most batches do not need is made anew.
    fn forget_others(&mut self) {
        if self.has_decr || !self.wide.is_empty() {
            *self = Sums::default();
        }
    }

    /// Learns keys that a journal has now, those of `cells_max` cells at most. True: there are no more.
    ///
    /// # Errors
    /// `TooLarge`: there is no memory.
    pub fn learn(&mut self, journal: &Journal, cells_max: usize) -> Result<bool, Refused> {
        self.forget_others();
        let starts = journal.starts.words();
        // Keys are added at the end, so only the last word that is known already may have changed.
        let known = self.starts.len().saturating_sub(1);
        let new = starts.get(known..).unwrap_or(&[]);
        let new = new.get(..cells_max / WORD_CELLS + 1).unwrap_or(new);
        self.starts.truncate(known);
        self.narrow.truncate(known * WORD_CELLS);
        if self.starts.try_reserve(new.len()).is_err()
            || self.narrow.try_reserve(new.len() * WORD_CELLS).is_err()
        {
            return Err(Refused::TooLarge);
        }
        self.starts.extend_from_slice(new);
        self.narrow
            .extend(new.iter().flat_map(|starts| tags(*starts)));
        Ok(self.starts.len() == starts.len())
    }

    pub fn cells(&self) -> usize {
        self.starts.len() * WORD_CELLS
    }

    /// Of the magnitudes of all rows.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of memory that are kept.
    pub fn bytes(&self) -> usize {
        size_of_val(self.starts.as_slice())
            + size_of_val(self.narrow.as_slice())
            + size_of_val(self.wide.as_slice())
    }

    /// Adds amounts, or 1 each, to the slots `ids ^ mask`.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn add(
        &mut self,
        ids: &[u32],
        mask: u32,
        amounts: Option<&[i64]>,
        ahead: Ahead,
    ) -> Result<(), Refused> {
        for (number, ids) in ids.chunks(ROWS).enumerate() {
            let from = number * ROWS;
            let amounts = amounts.map(|all| {
                let rest = all.get(from..).unwrap_or(&[]);
                rest.get(..ids.len()).unwrap_or(rest)
            });
            let ahead = Ahead {
                ids: ahead.ids.wrapping_add(from),
                amounts: ahead.amounts.wrapping_add(from * size_of::<i64>()),
            };
            self.add_rows(ids, mask, amounts, ahead)
                .map_err(|refused| refused.after(from))?;
        }
        Ok(())
    }

    /// As [`Sums::add`], of [`ROWS`] at most.
    fn add_rows(
        &mut self,
        ids: &[u32],
        mask: u32,
        amounts: Option<&[i64]>,
        ahead: Ahead,
    ) -> Result<(), Refused> {
        let ((sum, has_decr), by) = match amounts {
            None => ((ids.len() as u64, false), [1; ROWS].as_slice()),
            Some(amounts) => (sum_of(amounts)?, amounts),
        };
        self.make_room(sum, has_decr)?;
        let cells = self.cells();
        let is_wrong = if has_decr {
            match self.wide.as_mut_slice() {
                [] => add_both(&mut self.narrow, ids, mask, by),
                wide => add_both(wide, ids, mask, by),
            }
        } else {
            match self.wide.get_mut(..cells) {
                Some(wide) => add_up(wide, ids, mask, by, ahead),
                None => {
                    let narrow = self.narrow.get_mut(..cells).unwrap_or(&mut []);
                    add_up(narrow, ids, mask, by, ahead)
                }
            }
        };
        if is_wrong {
            let row = ids.iter().position(|id| !self.has(id ^ mask));
            return Err(Refused::Id {
                row: row.unwrap_or(0),
            });
        }
        Ok(())
    }

    /// Notes what rows come to, and makes room for that.
    fn make_room(&mut self, sum: u64, has_decr: bool) -> Result<(), Refused> {
        self.total = self.total.checked_add(sum).ok_or(Refused::TooLarge)?;
        if self.total > u64::MAX >> TAG_BITS {
            return Err(Refused::TooLarge);
        }
        if self.total > u64::from(u32::MAX >> TAG_BITS) && self.wide.is_empty() {
            if self.wide.try_reserve_exact(self.narrow.len()).is_err() {
                return Err(Refused::TooLarge);
            }
            self.wide
                .extend(self.narrow.iter().map(|cell| u64::from(*cell)));
            self.narrow = Vec::new();
        }
        if has_decr && !self.has_decr {
            self.has_decr = true;
            return match self.wide.is_empty() {
                true => repeat_tags(&mut self.narrow),
                false => repeat_tags(&mut self.wide),
            };
        }
        Ok(())
    }

    fn has(&self, units: u32) -> bool {
        let word = self.starts.get(units as usize / WORD_BITS);
        word.is_some_and(|word| word >> (units as usize % WORD_BITS) & 1 == 1)
    }

    /// Takes the sums of a side in some cells: the slots that have one, in their order.
    #[inline]
    fn take(&mut self, side: Side, cells: Range<usize>, taken: &mut Taken) {
        let from = match side {
            Side::Incr => cells.start,
            Side::Decr => cells.start + self.cells(),
        };
        if self.wide.is_empty() {
            taken.take(&mut self.narrow, from, cells);
        } else {
            taken.take(&mut self.wide, from, cells);
        }
    }

    /// Takes all sums: slots, increments, decrements. A slot that has both comes twice.
    pub fn take_all(&mut self) -> Vec<(Slot, u64, u64)> {
        let (mut all, mut taken) = (Vec::new(), Taken::default());
        for from in (0..self.cells()).step_by(CELLS) {
            let to = self.cells().min(from + CELLS);
            self.take(Side::Incr, from..to, &mut taken);
            all.extend(taken.iter().map(|(slot, by)| (slot, by, 0)));
            if self.has_decr {
                self.take(Side::Decr, from..to, &mut taken);
                all.extend(taken.iter().map(|(slot, by)| (slot, 0, by)));
            }
        }
        self.total = 0;
        all
    }
}

impl Journal {
    /// Adds the sums in `cells`, a multiple of 8 of them, of a total that was promised ([`Journal::promise`]) to their
    /// keys. True as of [`Journal::add`].
    pub fn add_sums(&mut self, sums: &mut Sums, cells: Range<usize>) -> bool {
        let was_clean = self.is_clean();
        let end = cells.end.min(sums.cells());
        if end == sums.cells() {
            sums.total = 0;
        }
        let mut taken = Taken::default();
        for from in (cells.start..end).step_by(CELLS) {
            let to = end.min(from + CELLS);
            sums.take(Side::Incr, from..to, &mut taken);
            self.add_side(taken.units(), taken.sums(), Side::Incr);
            if sums.has_decr {
                sums.take(Side::Decr, from..to, &mut taken);
                self.add_side(taken.units(), taken.sums(), Side::Decr);
            }
        }
        was_clean && !self.is_clean()
    }
}

/// Sums that were taken, by slot.
struct Taken {
    units: [u32; CELLS],
    sums: [u64; CELLS],
    count: usize,
}

impl Default for Taken {
    fn default() -> Self {
        Taken {
            units: [0; CELLS],
            sums: [0; CELLS],
            count: 0,
        }
    }
}

impl Taken {
    /// Takes the sums of cells that are kept from `from` on.
    #[inline]
    fn take<C: Cell>(&mut self, kept: &mut [C], from: usize, cells: Range<usize>) {
        let kept = kept.get_mut(from..from + cells.len()).unwrap_or(&mut []);
        let first = (cells.start * CELL_UNITS) as u32;
        let mut count = 0;
        // No branch: which keys have a sum is chance where rows are not many times as many.
        for (units, cell) in (first..).step_by(CELL_UNITS).zip(kept) {
            let (place, sum) = cell.take();
            if let (Some(at), Some(by)) = (self.units.get_mut(count), self.sums.get_mut(count)) {
                (*at, *by) = (units | place, sum);
            }
            count += usize::from(sum != 0);
        }
        self.count = count;
    }

    fn units(&self) -> &[u32] {
        self.units.get(..self.count).unwrap_or(&[])
    }

    fn sums(&self) -> &[u64] {
        self.sums.get(..self.count).unwrap_or(&[])
    }

    fn iter(&self) -> impl Iterator<Item = (Slot, u64)> {
        let slots = self.units().iter().map(|units| Slot::of_units(*units));
        slots.zip(self.sums().iter().copied())
    }
}

impl Refused {
    fn after(self, rows: usize) -> Self {
        match self {
            Refused::Id { row } => Refused::Id { row: rows + row },
            Refused::Amount { row } => Refused::Amount { row: rows + row },
            Refused::TooLarge => Refused::TooLarge,
        }
    }
}

impl Ahead {
    pub const NONE: Ahead = Ahead {
        ids: std::ptr::null(),
        amounts: std::ptr::null(),
    };

    #[inline]
    fn prefetch(self, row: usize) {
        prefetch_word(self.ids.wrapping_add(row).cast());
        let amounts: *const u64 = self.amounts.cast::<u64>().wrapping_add(row);
        prefetch_word(amounts);
        prefetch_word(amounts.wrapping_add(LINE_ROWS / 2));
    }
}

/// The sum of the magnitudes of at most [`ROWS`] amounts, and whether some are below 0.
fn sum_of(amounts: &[i64]) -> Result<(u64, bool), Refused> {
    // Without a branch, so that the compiler takes many at once.
    let (sum, any) = amounts.iter().fold((0u64, 0u64), |(sum, any), n| {
        let n = n.cast_unsigned();
        (sum.wrapping_add(n & u64::from(u32::MAX)), any | n)
    });
    if any <= u64::from(u32::MAX) {
        return Ok((sum, false)); // of 256 numbers of 32 bits
    }
    let (mut low, mut high, mut any) = (0u64, 0u64, 0u64);
    for n in amounts {
        let n = n.unsigned_abs();
        low = low.wrapping_add(n & u64::from(u32::MAX));
        high = high.wrapping_add(n >> 32);
        any |= n;
    }
    if any >> 63 != 0 {
        let row = amounts.iter().position(|n| *n == i64::MIN).unwrap_or(0);
        return Err(Refused::Amount { row });
    }
    let has_decr = amounts.iter().fold(0, |any, n| any | n) < 0;
    match high.checked_mul(1 << 32).and_then(|n| n.checked_add(low)) {
        Some(sum) => Ok((sum, has_decr)),
        None => Err(Refused::TooLarge),
    }
}

/// The cells of a word of starts, without sums.
fn tags(starts: u32) -> [u32; WORD_CELLS] {
    std::array::from_fn(|cell| {
        let units = (cell * CELL_UNITS) as u32;
        let of_cell = starts >> units & ((1 << CELL_UNITS) - 1);
        if of_cell == 0 {
            !units & ODD_CELL
        } else {
            (units + of_cell.trailing_zeros()) & TAG
        }
    })
}

/// Makes cells for the other side, without sums.
fn repeat_tags<C: Cell>(cells: &mut Vec<C>) -> Result<(), Refused> {
    let count = cells.len();
    if cells.try_reserve_exact(count).is_err() {
        return Err(Refused::TooLarge);
    }
    cells.extend_from_within(..);
    for cell in cells.iter_mut().skip(count) {
        cell.take();
    }
    Ok(())
}

/// A tag and a sum.
trait Cell: Copy {
    /// Adds what is known to fit; gives what was there, whose lowest bits are the tag.
    fn add(&mut self, n: u64) -> u32;

    /// Takes the sum; gives the place of the record in the cell, too.
    fn take(&mut self) -> (u32, u64);
}

const PLACE: u32 = CELL_UNITS as u32 - 1;

impl Cell for u32 {
    #[inline]
    fn add(&mut self, n: u64) -> u32 {
        let held = *self;
        *self = held.wrapping_add((n as u32) << TAG_BITS);
        held
    }

    #[inline]
    fn take(&mut self) -> (u32, u64) {
        let held = *self;
        *self = held & TAG;
        (held & PLACE, u64::from(held >> TAG_BITS))
    }
}

impl Cell for u64 {
    #[inline]
    fn add(&mut self, n: u64) -> u32 {
        let held = *self;
        *self = held.wrapping_add(n << TAG_BITS);
        held as u32
    }

    #[inline]
    fn take(&mut self) -> (u32, u64) {
        let held = *self;
        *self = held & u64::from(TAG);
        (held as u32 & PLACE, held >> TAG_BITS)
    }
}

/// Adds to cells of increments. True: not all were slots, and the sums are worth nothing.
#[inline(never)] // a loop for itself gets all registers
fn add_up<C: Cell>(cells: &mut [C], ids: &[u32], mask: u32, by: &[i64], ahead: Ahead) -> bool {
    let mut wrong = 0;
    let by = by.get(..ids.len()).unwrap_or(by);
    let ((ids, ids_rest), (by, by_rest)) =
        (ids.as_chunks::<LINE_ROWS>(), by.as_chunks::<LINE_ROWS>());
    for (line, (ids, by)) in ids.iter().zip(by).enumerate() {
        ahead.prefetch(line * LINE_ROWS);
        for (id, n) in ids.iter().zip(by) {
            let units = id ^ mask;
            let Some(cell) = cells.get_mut(units as usize / CELL_UNITS) else {
                return true;
            };
            wrong |= cell.add(n.cast_unsigned()) ^ units;
        }
    }
    for (id, n) in ids_rest.iter().zip(by_rest) {
        let units = id ^ mask;
        let Some(cell) = cells.get_mut(units as usize / CELL_UNITS) else {
            return true;
        };
        wrong |= cell.add(n.cast_unsigned()) ^ units;
    }
    wrong & TAG != 0
}

/// As [`add_up`], on both sides: the second half of cells is of decrements.
#[inline(never)]
fn add_both<C: Cell>(cells: &mut [C], ids: &[u32], mask: u32, amounts: &[i64]) -> bool {
    let mut wrong = 0;
    let of_side = cells.len() / 2;
    for (id, n) in ids.iter().zip(amounts) {
        let units = id ^ mask;
        let cell = units as usize / CELL_UNITS;
        // No branch: signs come in any order.
        let decr_at = of_side & (n >> (i64::BITS - 1)).cast_unsigned() as usize;
        match cells.get_mut(cell + decr_at) {
            Some(held) if cell < of_side => wrong |= held.add(n.unsigned_abs()) ^ units,
            _ => return true,
        }
    }
    wrong & TAG != 0
}
