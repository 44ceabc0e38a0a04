//! What a batch adds to each key, summed up before anything is counted.
//!
//! Many rows on few keys: a row is then an addition in a small array, not in a record of a cache line of its own, and
//! each record is changed once. All rows are checked on the way, so that a batch is all or nothing without a copy of
//! its columns: every number is read once, and what was summed up is what is counted.
//!
//! A cell is 32 bytes of the journal, in which at most one record begins: none is shorter. Its low bits say where
//! (a tag), so that the load that a sum needs anyway tells whether an id is one; above them is the sum. Cells have 32
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
/// Bits of a tag: the unit of its cell in which a record begins, or [`NO_START`].
const TAG_BITS: u32 = 3;
const NO_START: u32 = 4;
const TAG: u32 = (1 << TAG_BITS) - 1;
const OF_CELL: u32 = CELL_UNITS as u32 - 1;

/// Rows that are looked at together: their numbers stay in the first cache.
const ROWS: usize = 256;
/// Rows whose columns fill a cache line of ids, two of amounts.
const LINE_ROWS: usize = 16;

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

    /// Learns keys that a journal has now, those of `cells_max` cells at most. True: there are no more.
    ///
    /// # Errors
    /// `TooLarge`: there is no memory.
    pub fn learn(&mut self, journal: &Journal, cells_max: usize) -> Result<bool, Refused> {
        if self.has_decr || !self.wide.is_empty() {
            *self = Sums::default(); // what most batches do not need is made anew
        }
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
        let mut units = [0; ROWS];
        let units = units.get_mut(..ids.len()).unwrap_or(&mut []);
        for (units, id) in units.iter_mut().zip(ids) {
            *units = id ^ mask;
        }
        let mut by = [1; ROWS];
        let mut has_decr = false;
        let (sum, by): (u64, &[i64]) = match amounts {
            None => (ids.len() as u64, &by),
            Some(amounts) => match small_sum(amounts) {
                Some(sum) => (sum, amounts),
                None => {
                    let by = by.get_mut(..amounts.len()).unwrap_or(&mut []);
                    has_decr = amounts.iter().any(|n| *n < 0);
                    (magnitudes(amounts, by)?, by)
                }
            },
        };
        self.make_room(sum, has_decr)?;
        let cells = self.cells();
        let is_wrong = if has_decr {
            let mut decr_at = [0; ROWS];
            let decr_at = decr_at.get_mut(..ids.len()).unwrap_or(&mut []);
            for (at, n) in decr_at.iter_mut().zip(amounts.unwrap_or(&[])) {
                // No branch: signs come in any order.
                *at = cells as u32 & (*n >> (i64::BITS - 1)) as u32;
            }
            match self.wide.as_mut_slice() {
                [] => add_both(&mut self.narrow, units, decr_at, by),
                wide => add_both(wide, units, decr_at, by),
            }
        } else {
            match self.wide.get_mut(..cells) {
                Some(wide) => add_up(wide, units, by, ahead),
                None => add_up(
                    self.narrow.get_mut(..cells).unwrap_or(&mut []),
                    units,
                    by,
                    ahead,
                ),
            }
        };
        if is_wrong {
            let row = units.iter().position(|units| !self.has(*units));
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

    /// Takes the sums of the slots in `cells` that have some, in the order of slots.
    fn take(&mut self, cells: Range<usize>, each: impl FnMut(Slot, u64, u64)) {
        let decr_at = self.cells();
        let words = cells.start / WORD_CELLS..cells.end.min(decr_at) / WORD_CELLS;
        if self.wide.is_empty() {
            take_sums(&self.starts, &mut self.narrow, decr_at, words, each);
        } else {
            take_sums(&self.starts, &mut self.wide, decr_at, words, each);
        }
    }

    /// Takes all sums, in the order of slots.
    pub fn take_all(&mut self) -> Vec<(Slot, u64, u64)> {
        let mut all = Vec::new();
        self.take(0..self.cells(), |slot, incr, decr| {
            all.push((slot, incr, decr))
        });
        self.total = 0;
        all
    }
}

impl Journal {
    /// Adds the sums in `cells`, a multiple of 8 of them, of a total that was promised ([`Journal::promise`]) to their
    /// keys. True as of [`Journal::add`].
    pub fn add_sums(&mut self, sums: &mut Sums, cells: Range<usize>) -> bool {
        let was_clean = self.is_clean();
        let view = self.map.view();
        let words = view.words();
        let mut sizes = 0;
        if cells.end >= sums.cells() {
            sums.total = 0;
        }
        sums.take(cells, |slot, incr, decr| {
            if incr > 0 {
                sizes |= self.add_promised(words, slot.units(), Side::Incr, incr);
            }
            if decr > 0 {
                sizes |= self.add_promised(words, slot.units(), Side::Decr, decr);
            }
        });
        self.note_size(sizes);
        was_clean && !self.is_clean()
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

/// The sum of at most [`ROWS`] amounts that are all below 2³²; `None` where one is not, or is below 0.
fn small_sum(amounts: &[i64]) -> Option<u64> {
    // Without a branch, so that the compiler takes many at once.
    let (sum, any) = amounts.iter().fold((0u64, 0u64), |(sum, any), n| {
        let n = n.cast_unsigned();
        (sum.wrapping_add(n & u64::from(u32::MAX)), any | n)
    });
    (any <= u64::from(u32::MAX)).then_some(sum)
}

/// The magnitudes of at most [`ROWS`] amounts, and their sum.
fn magnitudes(amounts: &[i64], out: &mut [i64]) -> Result<u64, Refused> {
    let (mut low, mut high, mut any) = (0u64, 0u64, 0);
    for (out, n) in out.iter_mut().zip(amounts) {
        *out = n.wrapping_abs(); // of i64::MIN itself: the only one that stays below 0
        any |= *out;
        low = low.wrapping_add(out.cast_unsigned() & u64::from(u32::MAX));
        high = high.wrapping_add(out.cast_unsigned() >> 32);
    }
    if any < 0 {
        let row = amounts.iter().position(|n| *n == i64::MIN).unwrap_or(0);
        return Err(Refused::Amount { row });
    }
    let sum = high
        .checked_mul(1 << 32)
        .and_then(|high| high.checked_add(low));
    sum.ok_or(Refused::TooLarge)
}

/// The cells of a word of starts, without sums.
fn tags(starts: u32) -> [u32; WORD_CELLS] {
    std::array::from_fn(|cell| {
        let starts = starts >> (cell * CELL_UNITS);
        let of_cell = starts & ((1 << CELL_UNITS) - 1);
        if of_cell == 0 {
            NO_START
        } else {
            of_cell.trailing_zeros()
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
    /// Adds what is known to fit; gives the tag, and other bits above it.
    fn add(&mut self, n: i64) -> u32;

    /// Takes the sum.
    fn take(&mut self) -> u64;

    /// 0 where the sum is.
    fn sum_bits(self) -> u64;
}

impl Cell for u32 {
    #[inline]
    fn add(&mut self, n: i64) -> u32 {
        let held = *self;
        *self = held.wrapping_add((n as u32) << TAG_BITS);
        held
    }

    #[inline]
    fn take(&mut self) -> u64 {
        let sum = *self >> TAG_BITS;
        *self &= TAG;
        u64::from(sum)
    }

    #[inline]
    fn sum_bits(self) -> u64 {
        u64::from(self & !TAG)
    }
}

impl Cell for u64 {
    #[inline]
    fn add(&mut self, n: i64) -> u32 {
        let held = *self;
        *self = held.wrapping_add(n.cast_unsigned() << TAG_BITS);
        held as u32
    }

    #[inline]
    fn take(&mut self) -> u64 {
        let sum = *self >> TAG_BITS;
        *self &= u64::from(TAG);
        sum
    }

    #[inline]
    fn sum_bits(self) -> u64 {
        self & !u64::from(TAG)
    }
}

/// Adds to cells of increments. True: not all were slots, and the sums are worth nothing.
#[inline(never)] // a loop for itself gets all registers
fn add_up<C: Cell>(cells: &mut [C], units: &[u32], by: &[i64], ahead: Ahead) -> bool {
    let mut wrong = 0;
    let mut add = |units: u32, n: i64| match cells.get_mut(units as usize / CELL_UNITS) {
        Some(cell) => wrong |= cell.add(n) ^ (units & OF_CELL),
        None => wrong |= TAG,
    };
    let by = by.get(..units.len()).unwrap_or(by);
    let ((units, units_rest), (by, by_rest)) =
        (units.as_chunks::<LINE_ROWS>(), by.as_chunks::<LINE_ROWS>());
    for (line, (units, by)) in units.iter().zip(by).enumerate() {
        ahead.prefetch(line * LINE_ROWS);
        for (units, n) in units.iter().zip(by) {
            add(*units, *n);
        }
    }
    for (units, n) in units_rest.iter().zip(by_rest) {
        add(*units, *n);
    }
    wrong & TAG != 0
}

/// As [`add_up`], to the cells of decrements where `decr_at` says where they begin.
#[inline(never)]
fn add_both<C: Cell>(cells: &mut [C], units: &[u32], decr_at: &[u32], by: &[i64]) -> bool {
    let mut wrong = 0;
    let of_side = cells.len() / 2;
    for ((units, decr_at), n) in units.iter().zip(decr_at).zip(by) {
        let cell = *units as usize / CELL_UNITS;
        match cells.get_mut(cell + *decr_at as usize) {
            Some(held) if cell < of_side => wrong |= held.add(*n) ^ (units & OF_CELL),
            _ => wrong |= TAG,
        }
    }
    wrong & TAG != 0
}

/// Takes the sums of the slots in words of starts. Those of decrements begin at `decr_at`, where there are some.
#[inline]
fn take_sums<C: Cell>(
    starts: &[u32],
    cells: &mut [C],
    decr_at: usize,
    words: Range<usize>,
    mut each: impl FnMut(Slot, u64, u64),
) {
    let (incr, decr) = cells.split_at_mut(decr_at.min(cells.len()));
    let (incr, _) = incr.as_chunks_mut::<WORD_CELLS>();
    let (decr, _) = decr.as_chunks_mut::<WORD_CELLS>();
    let from = words.start;
    let starts = starts.get(words.clone()).unwrap_or(&[]);
    let incr = incr.get_mut(words.clone()).unwrap_or(&mut []);
    let mut decr = decr.get_mut(words).unwrap_or(&mut []).iter_mut();
    for (word, (starts, incr)) in starts.iter().zip(incr).enumerate() {
        let mut decr = decr.next();
        let of_word =
            |cells: &[C; WORD_CELLS]| cells.iter().fold(0, |any, cell| any | cell.sum_bits());
        if of_word(incr) | decr.as_deref().map_or(0, of_word) == 0 {
            continue;
        }
        let mut starts = *starts;
        while starts != 0 {
            let bit = starts.trailing_zeros() as usize;
            starts &= starts - 1;
            let cell = bit / CELL_UNITS % WORD_CELLS;
            let up = incr.get_mut(cell).map_or(0, Cell::take);
            let down = decr
                .as_deref_mut()
                .and_then(|decr| decr.get_mut(cell))
                .map_or(0, Cell::take);
            if up | down != 0 {
                let units = (from + word) * WORD_BITS + bit;
                each(Slot::of_units(units as u32), up, down);
            }
        }
    }
}
