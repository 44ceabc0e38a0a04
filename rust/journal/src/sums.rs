//! What a batch adds to each key, summed up before anything is counted.
//!
//! Many rows on few keys: a row is then an addition in a small array, not in a record of a cache line of its own, and
//! each record is changed once. All rows are checked on the way, so that a batch is all or nothing without a copy of
//! its columns: every number is read once, and what was summed up is what is counted.
//!
//! A cell is 32 bytes of the journal, in which at most one record begins: none is shorter. It has 32 bits as long as the
//! magnitudes of all rows together do, and needs no check of its own then; from there on 64.

use std::ops::Range;

use crate::journal::Journal;
use crate::map::prefetch_word;
use crate::record::span;
use crate::slot::{Side, Slot};
use crate::starts::WORD_BITS;
use crate::valid::Valid;

/// 8-byte units of a cell.
const CELL_UNITS: usize = 4;
const _: () = assert!(span(1) >= CELL_UNITS * 8, "two records would share a cell");
/// Cells of one word of starts.
const WORD_CELLS: usize = WORD_BITS / CELL_UNITS;

/// Rows that are checked before they are added: their numbers stay in the first cache.
const ROWS: usize = 256;
/// Rows whose columns fill a cache line of ids, two of amounts.
const LINE_ROWS: usize = 16;

/// Sums by key and side. Empty when it is made, and after [`Journal::add_sums`] of all cells.
#[derive(Default)]
pub struct Sums {
    valid: Valid,
    /// Of increments; behind them, where there are any, of decrements.
    narrow: Vec<u32>,
    /// Instead of `narrow`, once the total is past 32 bits.
    wide: Vec<u64>,
    cells: usize,
    has_decr: bool,
    total: u64,
}

/// Where the rows that follow in columns of ids and amounts are, for the processor to fetch; nobody else reads there.
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
    /// The magnitudes of all rows together are 2⁶⁴ and more.
    TooLarge,
}

impl Sums {
    /// How many cells the keys of a journal take.
    pub fn cells_of(journal: &Journal) -> usize {
        journal.starts.words().len() * WORD_CELLS
    }

    /// Learns the keys that a journal has now, `cells_max` more cells of them at most. False: there are more.
    pub fn follow(&mut self, journal: &Journal, cells_max: usize) -> bool {
        let starts = journal.starts.words();
        self.valid.follow(starts, cells_max.div_ceil(WORD_CELLS));
        self.valid.len() == starts.len()
    }

    /// Makes room for sums of all keys that [`Sums::follow`] learned. False: there is no memory.
    pub fn make_room(&mut self) -> bool {
        let cells = self.valid.len() * WORD_CELLS;
        if cells != self.cells {
            *self = Sums {
                valid: std::mem::take(&mut self.valid),
                cells,
                ..Sums::default()
            };
        }
        grow(&mut self.narrow, cells)
    }

    pub fn cells(&self) -> usize {
        self.cells
    }

    /// Of the magnitudes of all rows.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of memory that are kept.
    pub fn bytes(&self) -> usize {
        self.valid.len() * size_of::<u32>()
            + self.narrow.len() * size_of::<u32>()
            + self.wide.len() * size_of::<u64>()
    }

    /// Adds amounts (1 each where there are none) to the slots `ids ^ mask`; `known`: each of them is a slot for sure.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn add(
        &mut self,
        ids: &[u32],
        mask: u32,
        known: bool,
        amounts: Option<&[i64]>,
        ahead: Ahead,
    ) -> Result<(), Refused> {
        let mut units = [0; ROWS];
        for (number, ids) in ids.chunks(ROWS).enumerate() {
            let from = number * ROWS;
            let units = units.get_mut(..ids.len()).unwrap_or(&mut []);
            for (units, id) in units.iter_mut().zip(ids) {
                *units = id ^ mask;
            }
            if !known && !self.valid.have(units) {
                let row = units.iter().position(|&units| !self.valid.has(units));
                return Err(Refused::Id {
                    row: from + row.unwrap_or(0),
                });
            }
            let amounts = amounts.map(|all| {
                let rest = all.get(from..).unwrap_or(&[]);
                rest.get(..ids.len()).unwrap_or(rest)
            });
            let has_decr =
                self.note_amounts(ids.len(), amounts)
                    .map_err(|refused| match refused {
                        Refused::Amount { row } => Refused::Amount { row: from + row },
                        other => other,
                    })?;
            let ahead = Ahead {
                ids: ahead.ids.wrapping_add(from),
                amounts: ahead.amounts.wrapping_add(from * size_of::<i64>()),
            };
            let cells = self.cells;
            let was_added = match (self.wide.is_empty(), has_decr) {
                (true, false) => add_up(&mut self.narrow, units, amounts, ahead),
                (false, false) => add_up(&mut self.wide, units, amounts, ahead),
                (true, true) => add_both(&mut self.narrow, cells, units, amounts),
                (false, true) => add_both(&mut self.wide, cells, units, amounts),
            };
            debug_assert!(was_added, "a known id that is none");
        }
        Ok(())
    }

    /// Checks amounts and notes what they come to. True where some are below 0.
    fn note_amounts(&mut self, rows: usize, amounts: Option<&[i64]>) -> Result<bool, Refused> {
        let (sum, has_decr) = match amounts {
            None => (rows as u64, false),
            Some(amounts) => sum_of(amounts)?,
        };
        self.total = self.total.checked_add(sum).ok_or(Refused::TooLarge)?;
        if has_decr && !self.has_decr {
            self.has_decr = true;
            let has_room = if self.wide.is_empty() {
                grow(&mut self.narrow, self.cells * 2)
            } else {
                grow(&mut self.wide, self.cells * 2)
            };
            if !has_room {
                return Err(Refused::TooLarge);
            }
        }
        if self.total > u64::from(u32::MAX) && self.wide.is_empty() {
            if !grow(&mut self.wide, self.narrow.len()) {
                return Err(Refused::TooLarge);
            }
            for (wide, narrow) in self.wide.iter_mut().zip(&self.narrow) {
                *wide = u64::from(*narrow);
            }
            self.narrow = Vec::new();
        }
        Ok(has_decr)
    }

    /// Takes the sums of increments and decrements of a cell.
    #[inline]
    fn take(&mut self, cell: usize) -> (u64, u64) {
        let mut take = |at: usize| {
            if let Some(sum) = self.narrow.get_mut(at) {
                return u64::from(std::mem::take(sum));
            }
            self.wide.get_mut(at).map_or(0, std::mem::take)
        };
        let incr = take(cell);
        (
            incr,
            if self.has_decr {
                take(self.cells + cell)
            } else {
                0
            },
        )
    }

    /// Whether cells have no sums.
    #[inline]
    fn are_zero(&self, cells: Range<usize>) -> bool {
        fn are_zero<C: Cell>(all: &[C], cells: Range<usize>) -> bool {
            let cells = all.get(cells).unwrap_or(&[]);
            cells
                .iter()
                .fold(true, |zero, cell| zero & (*cell == C::default()))
        }
        let decr = self.cells + cells.start..self.cells + cells.end;
        let of_side = |cells: Range<usize>| {
            are_zero(&self.narrow, cells.clone()) && are_zero(&self.wide, cells)
        };
        of_side(cells) && (!self.has_decr || of_side(decr))
    }

    /// Takes the sums of the slots in `cells` that have some, in the order of slots.
    fn take_all(&mut self, cells: Range<usize>, mut each: impl FnMut(Slot, u64, u64)) {
        for word in cells.start / WORD_CELLS..cells.end.div_ceil(WORD_CELLS) {
            let from = word * WORD_CELLS;
            if self.are_zero(from..from + WORD_CELLS) {
                continue;
            }
            let mut starts = self.valid.word(word);
            while starts != 0 {
                let units = word * WORD_BITS + starts.trailing_zeros() as usize;
                starts &= starts - 1;
                let (incr, decr) = self.take(units / CELL_UNITS);
                if incr | decr != 0 {
                    each(Slot::of_units(units as u32), incr, decr);
                }
            }
        }
    }

    /// Takes all sums, in the order of slots.
    pub fn take_moves(&mut self) -> Vec<(Slot, u64, u64)> {
        let mut all = Vec::new();
        self.take_all(0..self.cells, |slot, incr, decr| {
            all.push((slot, incr, decr))
        });
        self.reset();
        all
    }

    /// All cells were taken.
    fn reset(&mut self) {
        self.total = 0;
        self.wide = Vec::new();
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
        let is_last = cells.end >= sums.cells;
        sums.take_all(cells, |slot, incr, decr| {
            for (side, by) in [(Side::Incr, incr), (Side::Decr, decr)] {
                if by > 0 {
                    sizes |= self.add_promised(words, slot.units(), side, by);
                }
            }
        });
        self.note_size(sizes);
        if is_last {
            sums.reset();
        }
        was_clean && !self.is_clean()
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
        return Ok((sum, false)); // 256 numbers of 32 bits
    }
    let (mut sum, mut has_decr) = (0u64, false);
    for (row, n) in amounts.iter().enumerate() {
        if *n == i64::MIN {
            return Err(Refused::Amount { row });
        }
        has_decr |= *n < 0;
        sum = sum.saturating_add(n.unsigned_abs());
    }
    match sum {
        u64::MAX => Err(Refused::TooLarge), // or one less: the exact way is as right
        sum => Ok((sum, has_decr)),
    }
}

trait Cell: Copy + Default + PartialEq {
    /// Adds what is known to fit.
    fn add(&mut self, n: u64);
}

impl Cell for u32 {
    #[inline]
    fn add(&mut self, n: u64) {
        *self = self.wrapping_add(n as u32);
    }
}

impl Cell for u64 {
    #[inline]
    fn add(&mut self, n: u64) {
        *self = self.wrapping_add(n);
    }
}

/// Makes cells of 0 up to a length. False: there is no memory.
fn grow<C: Cell>(cells: &mut Vec<C>, length: usize) -> bool {
    let more = length.saturating_sub(cells.len());
    if cells.try_reserve_exact(more).is_err() {
        return false;
    }
    if more > 0 {
        cells.resize(length, C::default());
    }
    true
}

/// Adds amounts of which none is below 0. False: there was a number past the last cell.
#[inline(never)] // a loop for itself gets all registers
fn add_up<C: Cell>(cells: &mut [C], units: &[u32], amounts: Option<&[i64]>, ahead: Ahead) -> bool {
    let mut all = true;
    let mut add = |units: u32, n: u64| match cells.get_mut(units as usize / CELL_UNITS) {
        Some(cell) => cell.add(n),
        None => all = false,
    };
    let Some(amounts) = amounts else {
        units.iter().for_each(|units| add(*units, 1));
        return all;
    };
    let ((units, units_rest), (amounts, amounts_rest)) = (
        units.as_chunks::<LINE_ROWS>(),
        amounts.as_chunks::<LINE_ROWS>(),
    );
    for (line, (units, amounts)) in units.iter().zip(amounts).enumerate() {
        ahead.prefetch(line * LINE_ROWS);
        for (units, n) in units.iter().zip(amounts) {
            add(*units, n.cast_unsigned());
        }
    }
    for (units, n) in units_rest.iter().zip(amounts_rest) {
        add(*units, n.cast_unsigned());
    }
    all
}

/// As [`add_up`], of amounts on both sides.
#[inline(never)]
fn add_both<C: Cell>(
    cells: &mut [C],
    of_side: usize,
    units: &[u32],
    amounts: Option<&[i64]>,
) -> bool {
    let mut all = true;
    for (units, n) in units.iter().zip(amounts.unwrap_or(&[])) {
        let side = if *n < 0 { of_side } else { 0 };
        match cells.get_mut(*units as usize / CELL_UNITS + side) {
            Some(cell) => cell.add(n.unsigned_abs()),
            None => all = false,
        }
    }
    all
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
