//! What a batch adds to each ordinal, summed up before anything is counted.
//!
//! Many rows on few keys: a row is then an addition in a small array that is near, and each key is counted once. All
//! rows are checked on the way, so that a batch is all or nothing without a copy of its columns: every number is read
//! once, and what was summed up is what is counted.
//!
//! Sums have 32 bits as long as the magnitudes of all rows together fit, and 64 from there on: no sum needs a check of
//! its own.

use std::ops::Range;

use crate::journal::{Journal, LARGE};
use crate::map::prefetch_word;
use crate::slot::{Side, Slot};

/// Rows that are looked at together: their numbers stay in the first cache.
const ROWS: usize = 256;
/// Rows whose columns fill a cache line of ids, two of amounts.
const LINE_ROWS: usize = 16;

/// Sums by ordinal and side.
#[derive(Default)]
pub struct Sums {
    /// Of increments; behind them, once there are any, of decrements.
    narrow: Vec<u32>,
    /// Instead of `narrow`, once the total is past it.
    wide: Vec<u64>,
    count: usize,
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
    /// The id of a row is no ordinal.
    Id { row: usize },
    /// The amount of a row is `i64::MIN`.
    Amount { row: usize },
    /// The magnitudes of all rows together are 2⁶² and more, or there is no memory.
    TooLarge,
}

impl Sums {
    /// Sums of 0 for so many ordinals, in the memory that there is already. False: there is none.
    pub fn clear(&mut self, count: usize) -> bool {
        self.wide = Vec::new();
        (self.count, self.has_decr, self.total) = (count, false, 0);
        self.narrow.clear();
        if self.narrow.try_reserve(count).is_err() {
            return false;
        }
        self.narrow.resize(count, 0);
        true
    }

    /// Of how many ordinals.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Of the magnitudes of all rows.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of memory that are kept.
    pub fn bytes(&self) -> usize {
        self.narrow.capacity() * size_of::<u32>() + self.wide.capacity() * size_of::<u64>()
    }

    /// Adds amounts, or 1 each, to the ordinals `ids ^ mask`.
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
        let count = self.count;
        let is_wrong = if has_decr {
            match self.wide.as_mut_slice() {
                [] => add_both(&mut self.narrow, count, ids, mask, by),
                wide => add_both(wide, count, ids, mask, by),
            }
        } else {
            match self.wide.get_mut(..count).filter(|wide| !wide.is_empty()) {
                Some(wide) => add_up(wide, ids, mask, by, ahead),
                None => {
                    let narrow = self.narrow.get_mut(..count).unwrap_or(&mut []);
                    add_up(narrow, ids, mask, by, ahead)
                }
            }
        };
        if is_wrong {
            let row = ids.iter().position(|id| (id ^ mask) as usize >= count);
            return Err(Refused::Id {
                row: row.unwrap_or(0),
            });
        }
        Ok(())
    }

    /// Notes what rows come to, and makes room for that.
    fn make_room(&mut self, sum: u64, has_decr: bool) -> Result<(), Refused> {
        self.total = self.total.checked_add(sum).ok_or(Refused::TooLarge)?;
        if self.total >= LARGE {
            return Err(Refused::TooLarge);
        }
        if self.total > u64::from(u32::MAX) && self.wide.is_empty() {
            if self.wide.try_reserve_exact(self.narrow.len()).is_err() {
                return Err(Refused::TooLarge);
            }
            self.wide
                .extend(self.narrow.iter().map(|sum| u64::from(*sum)));
            self.narrow = Vec::new();
        }
        if has_decr && !self.has_decr {
            self.has_decr = true;
            return match self.wide.is_empty() {
                true => double(&mut self.narrow),
                false => double(&mut self.wide),
            };
        }
        Ok(())
    }

    /// The sum of an ordinal on a side.
    #[inline]
    fn of(&self, ordinal: usize, side: Side) -> u64 {
        let at = match side {
            Side::Incr => ordinal,
            Side::Decr if self.has_decr => ordinal + self.count,
            Side::Decr => return 0,
        };
        let narrow = self.narrow.get(at).map(|sum| u64::from(*sum));
        narrow.or_else(|| self.wide.get(at).copied()).unwrap_or(0)
    }
}

impl Journal {
    /// Adds the sums of some ordinals, of a total that was promised ([`Journal::promise`]), to their keys. True as of
    /// [`Journal::add`].
    pub fn add_sums(&mut self, sums: &Sums, ordinals: Range<usize>) -> bool {
        let was_clean = self.is_clean();
        let ordinals = ordinals.start..ordinals.end.min(sums.count());
        let up = ordinals.clone().map(|at| (at, sums.of(at, Side::Incr)));
        self.add_to_cells(up.filter(|(_, by)| *by > 0), ordinals.len());
        if sums.has_decr {
            let (mut units, mut by) = (Vec::new(), Vec::new());
            for (at, sum) in ordinals.map(|at| (at, sums.of(at, Side::Decr))) {
                if sum > 0 {
                    units.push(self.slot_of_ordinal(at as u32).units());
                    by.push(sum);
                }
            }
            self.add_side(&units, &by, Side::Decr);
        }
        was_clean && !self.is_clean()
    }

    /// All sums: slots, increments, decrements.
    pub fn slots_of_sums(&self, sums: &Sums) -> Vec<(Slot, u64, u64)> {
        let all = (0..sums.count()).map(|at| {
            let slot = self.slot_of_ordinal(at as u32);
            (slot, sums.of(at, Side::Incr), sums.of(at, Side::Decr))
        });
        all.filter(|(_, incr, decr)| incr | decr != 0).collect()
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

    /// Asks the processor to fetch so many rows.
    #[inline]
    pub fn prefetch_rows(self, rows: usize) {
        (0..rows)
            .step_by(LINE_ROWS)
            .for_each(|row| self.prefetch(row));
    }

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

/// Makes room for the sums of the other side.
fn double<S: Sum>(sums: &mut Vec<S>) -> Result<(), Refused> {
    let count = sums.len();
    if sums.try_reserve_exact(count).is_err() {
        return Err(Refused::TooLarge);
    }
    sums.resize(2 * count, S::default());
    Ok(())
}

/// A sum that is known not to overflow.
trait Sum: Copy + Default {
    fn add(&mut self, n: u64);
}

impl Sum for u32 {
    #[inline]
    fn add(&mut self, n: u64) {
        *self = self.wrapping_add(n as u32);
    }
}

impl Sum for u64 {
    #[inline]
    fn add(&mut self, n: u64) {
        *self = self.wrapping_add(n);
    }
}

/// Adds to sums of increments. True: not all were ordinals, and the sums are worth nothing.
#[inline(never)] // a loop for itself gets all registers
fn add_up<S: Sum>(sums: &mut [S], ids: &[u32], mask: u32, by: &[i64], ahead: Ahead) -> bool {
    let by = by.get(..ids.len()).unwrap_or(by);
    let ((ids, ids_rest), (by, by_rest)) =
        (ids.as_chunks::<LINE_ROWS>(), by.as_chunks::<LINE_ROWS>());
    for (line, (ids, by)) in ids.iter().zip(by).enumerate() {
        ahead.prefetch(line * LINE_ROWS);
        for (id, n) in ids.iter().zip(by) {
            let Some(sum) = sums.get_mut((id ^ mask) as usize) else {
                return true;
            };
            sum.add(n.cast_unsigned());
        }
    }
    for (id, n) in ids_rest.iter().zip(by_rest) {
        let Some(sum) = sums.get_mut((id ^ mask) as usize) else {
            return true;
        };
        sum.add(n.cast_unsigned());
    }
    false
}

/// As [`add_up`], on both sides: behind the sums of `count` ordinals are those of decrements.
#[inline(never)]
fn add_both<S: Sum>(sums: &mut [S], count: usize, ids: &[u32], mask: u32, amounts: &[i64]) -> bool {
    for (id, n) in ids.iter().zip(amounts) {
        let ordinal = (id ^ mask) as usize;
        // No branch: signs come in any order.
        let decr_at = count & (n >> (i64::BITS - 1)).cast_unsigned() as usize;
        match sums.get_mut(ordinal + decr_at) {
            Some(sum) if ordinal < count => sum.add(n.unsigned_abs()),
            _ => return true,
        }
    }
    false
}
