//! Counting by columns: many rows in one call, all of them or none.
//!
//! An id stands for a key of this open store: its ordinal, under a mask of the store's own, so that an id of another
//! store is noticed. Rows of ids are counted in lanes of the journal where they fit there, 8 bytes a key.

use crate::blocks::{AmountBlocks, Amounts, BLOCK_ROWS, Block, Column};
use crate::error::EngineError;
use crate::sums::AHEAD_ROWS;
use crate::{Counting, Engine, Turn};
use crdtstats_core::key;
use crdtstats_journal::{Ahead, Journal, Row, Slot};

/// Rows that are checked, or counted, before others get their turn.
const SLICE_ROWS: usize = 8192;

/// The mask of a store's ids. The seed stays secret: the mask does not tell it.
pub(crate) fn mask(seed: u64) -> u32 {
    // splitmix64's last step: every bit of the seed is in every bit of the mask.
    let mut mixed = seed;
    for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9), (27, 0x94d0_49bb_1331_11eb)] {
        mixed = (mixed ^ mixed >> shift).wrapping_mul(factor);
    }
    (mixed >> 32) as u32
}

impl Engine {
    /// The ids of keys, in their order; valid for this open store. Keys that are new get a count of 0.
    ///
    /// # Errors
    /// A bad key, a full disk, a closed store.
    pub fn ids(&self, turn: Option<Turn<'_>>, keys: &[&str]) -> Result<Vec<u32>, EngineError> {
        let keys = keys
            .iter()
            .map(|key| key::data_key(key))
            .collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let (mut ids, mut slots) = (Vec::with_capacity(keys.len()), Vec::new());
        self.counting(turn).live()?;
        for keys in keys.chunks(SLICE_ROWS) {
            let mut counting = self.counting(turn);
            let journal = counting.live()?;
            slots.clear();
            journal.find_or_insert_all(keys, &mut slots)?;
            journal.ordinals_of(&slots, &mut ids)?;
        }
        let mask = self.ids_mask();
        ids.iter_mut().for_each(|id| *id ^= mask);
        Ok(ids)
    }

    /// Count on ids that [`Engine::ids`] gave: all rows, or none for bad input; a row may come several times. With a
    /// cursor, all or nothing for `kill -9` too.
    ///
    /// # Errors
    /// Columns of two lengths, an amount of `i64::MIN` or of 2⁶³ and more, an id of another store, an overflow, a
    /// closed store; a cursor that stands at or behind the position already. Nothing was counted.
    pub fn add_ids(
        &self,
        turn: Option<Turn<'_>>,
        ids: &dyn Column<u32>,
        amounts: Amounts<'_>,
        cursor: Option<(&str, u64)>,
    ) -> Result<(), EngineError> {
        amounts.check_rows(ids.rows())?;
        let count = self.counting(turn).live()?.ordinals();
        let mask = self.ids_mask();
        let rows = Ids { ids, mask, count };
        let is_first = match self.sum_up(turn, rows, amounts)? {
            Some(sums) => self.add_sums(turn, sums, cursor)?,
            None => match self.pack(turn, rows, amounts, cursor)? {
                Some(packed) => self.add_packed(turn, &packed),
                None => {
                    let units = self.units_of(turn, rows)?;
                    self.add_each(turn, &units, amounts, cursor)?
                }
            },
        };
        if is_first {
            self.bell().ring();
        }
        Ok(())
    }

    /// Count on a column of keys, as [`Engine::add_batch`].
    ///
    /// # Errors
    /// As [`Engine::add_ids`]; a bad key. Nothing was counted.
    pub fn add_keys(
        &self,
        turn: Option<Turn<'_>>,
        keys: &[&str],
        amounts: Amounts<'_>,
        cursor: Option<(&str, u64)>,
    ) -> Result<(), EngineError> {
        amounts.check_rows(keys.len())?;
        let keys = keys
            .iter()
            .map(|key| key::data_key(key))
            .collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let mut slots = Vec::with_capacity(keys.len());
        for keys in keys.chunks(SLICE_ROWS) {
            self.counting(turn)
                .live()?
                .find_or_insert_all(keys, &mut slots)?;
        }
        let units: Vec<u32> = slots.into_iter().map(Slot::units).collect();
        if self.add_each(turn, &units, amounts, cursor)? {
            self.bell().ring();
        }
        Ok(())
    }

    fn ids_mask(&self) -> u32 {
        self.ids_mask.get().copied().unwrap_or(0) // 0 without a journal: every call is refused
    }

    /// The rows in a form that a lane can be counted by, checked, and their sum promised; `None` where that cannot be, or
    /// a cursor moves: then each is counted in its record.
    fn pack(
        &self,
        turn: Option<Turn<'_>>,
        rows: Ids<'_>,
        amounts: Amounts<'_>,
        cursor: Option<(&str, u64)>,
    ) -> Result<Option<Packed>, EngineError> {
        if cursor.is_some() {
            return Ok(None);
        }
        let mut packed = Vec::with_capacity(rows.ids.rows());
        let (mut ids_room, mut blocks) = ([0; BLOCK_ROWS], AmountBlocks::new(amounts));
        let mut bits = 0;
        for from in (0..rows.ids.rows()).step_by(BLOCK_ROWS) {
            let ahead = Ahead {
                ids: rows.ids.place(from + AHEAD_ROWS),
                amounts: amounts.place(from + AHEAD_ROWS),
            };
            ahead.prefetch_rows(BLOCK_ROWS);
            let ids = rows.block(from, &mut ids_room)?;
            let amounts = blocks.read(from);
            // Without a branch, so that the compiler looks at many at once.
            let high = amounts.iter().fold(0, |any, n| any | (n ^ n >> 63));
            if high >> 31 != 0 {
                return Ok(None); // past 32 bits with its sign
            }
            bits |= amounts.iter().fold(high, |any, n| any | n & 1);
            let row = |(id, n): (&u32, &i64)| Row::new(id ^ rows.mask, *n as i32);
            packed.extend(ids.iter().zip(amounts).map(row));
        }
        // No magnitude is above `bits`, but that of a negative one by 1 at most.
        let sum = (packed.len() as u64).checked_mul(bits.cast_unsigned() + 1);
        let Some(sum) = sum.filter(|_| bits != 0) else {
            return Ok(None);
        };
        let has_promised = self.counting(turn).live()?.promise(sum);
        Ok(has_promised.then_some(Packed { rows: packed, sum }))
    }

    /// Count what was packed, letting others in between slices. A store does not close meanwhile.
    fn add_packed(&self, turn: Option<Turn<'_>>, packed: &Packed) -> bool {
        let mut is_first = false;
        for from in (0..packed.rows.len()).step_by(SLICE_ROWS) {
            let to = packed.rows.len().min(from + SLICE_ROWS);
            if let Some(journal) = self.counting(turn).journal.as_mut() {
                is_first |= journal.add_rows(&packed.rows, from..to);
            }
        }
        if let Some(journal) = self.counting(turn).journal.as_mut() {
            journal.keep_promise(packed.sum);
        }
        is_first
    }

    /// The slots of ids, each of which is read once.
    fn units_of(&self, turn: Option<Turn<'_>>, rows: Ids<'_>) -> Result<Vec<u32>, EngineError> {
        let (mut units, mut scratch) = (Vec::with_capacity(rows.ids.rows()), [0; BLOCK_ROWS]);
        for from in (0..rows.ids.rows()).step_by(BLOCK_ROWS) {
            let ids = rows.block(from, &mut scratch)?;
            let mut counting = self.counting(turn);
            let journal = counting.live()?;
            let unit = |id: &u32| journal.slot_of_ordinal(id ^ rows.mask).units();
            units.extend(ids.iter().map(unit));
        }
        Ok(units)
    }

    /// Count row by row. True where there was nothing to flush before.
    fn add_each(
        &self,
        turn: Option<Turn<'_>>,
        units: &[u32],
        amounts: Amounts<'_>,
        cursor: Option<(&str, u64)>,
    ) -> Result<bool, EngineError> {
        // Each number is read once: what is checked here is what is counted.
        let (amounts, sum) = amounts.read_all(units.len())?;
        let mut counting = self.counting(turn);
        let journal = counting.live_past(cursor)?;
        if let Some(sum) = sum.filter(|sum| cursor.is_none() && journal.promise(*sum)) {
            drop(counting);
            return Ok(self.add_in_slices(turn, units, amounts.as_deref(), sum));
        }
        let rows = units.iter().enumerate().map(|(row, units)| {
            let n = amounts.as_ref().map_or(Some(1), |n| n.get(row).copied());
            let (incr, decr) = sides_of(n.unwrap_or(0));
            (Slot::of_units(*units), incr, decr)
        });
        count_batch(journal, &rows.collect::<Vec<_>>(), cursor)
    }

    /// Count what was promised to fit, letting others in between slices. A store does not close meanwhile.
    fn add_in_slices(
        &self,
        turn: Option<Turn<'_>>,
        units: &[u32],
        amounts: Option<&[i64]>,
        sum: u64,
    ) -> bool {
        let mut is_first = false;
        for (number, units) in units.chunks(SLICE_ROWS).enumerate() {
            let from = number * SLICE_ROWS;
            let amounts = amounts.map(|all| all.get(from..).unwrap_or(&[]));
            if let Some(journal) = self.counting(turn).journal.as_mut() {
                is_first |= journal.add_units(units, amounts);
            }
        }
        if let Some(journal) = self.counting(turn).journal.as_mut() {
            journal.keep_promise(sum);
        }
        is_first
    }
}

/// The ids of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Ids<'a> {
    /// Ordinals of keys, under a mask.
    pub(crate) ids: &'a dyn Column<u32>,
    pub(crate) mask: u32,
    /// How many ordinals there are.
    pub(crate) count: usize,
}

impl<'a> Ids<'a> {
    /// As [`Column::block`]; each of them is an id.
    fn block(&self, from: usize, scratch: &'a mut Block<u32>) -> Result<&'a [u32], EngineError> {
        let ids = self.ids.block(from, scratch);
        // Without a branch: all of them are looked at, many at once.
        let is_wrong = |id: &u32| (id ^ self.mask) as usize >= self.count;
        let any = ids.iter().fold(false, |any, id| any | is_wrong(id));
        match any.then(|| ids.iter().position(is_wrong)).flatten() {
            Some(row) => Err(self.foreign(from, ids, row)),
            None => Ok(ids),
        }
    }

    /// The id of a row of a block is none.
    pub(crate) fn foreign(&self, from: usize, ids: &[u32], row: usize) -> EngineError {
        EngineError::ForeignId {
            position: from + row,
            id: ids.get(row).copied().unwrap_or_default(),
        }
    }
}

/// Rows whose sum, or more, was promised.
struct Packed {
    rows: Vec<Row>,
    sum: u64,
}

impl Counting {
    /// The journal, where a cursor may move as asked. A closed store says so, whatever the cursor.
    pub(crate) fn live_past(
        &mut self,
        cursor: Option<(&str, u64)>,
    ) -> Result<&mut Journal, EngineError> {
        self.live()?;
        self.check_cursor(cursor)?;
        self.live()
    }

    /// Cursors of earlier generations are held here, not in the journal, which checks its own.
    fn check_cursor(&self, cursor: Option<(&str, u64)>) -> Result<(), EngineError> {
        let Some((name, position)) = cursor else {
            return Ok(());
        };
        match self.cursor(name) {
            Some(at) if position <= at => Err(EngineError::CursorBehind {
                name: name.to_owned(),
                at,
                position,
            }),
            _ => Ok(()),
        }
    }
}

/// Adds a batch; true where there was nothing to flush before.
pub(crate) fn count_batch(
    journal: &mut Journal,
    batch: &[(Slot, u64, u64)],
    cursor: Option<(&str, u64)>,
) -> Result<bool, EngineError> {
    let was_clean = journal.is_clean();
    journal
        .add_batch(batch, cursor)
        .map_err(EngineError::of_batch)?;
    Ok(was_clean)
}

fn sides_of(n: i64) -> (u64, u64) {
    if n < 0 {
        (0, n.unsigned_abs())
    } else {
        (n.unsigned_abs(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_neighbouring_seeds_differ_in_about_half_of_their_bits() {
        for seed in 0..100 {
            let differing = (mask(seed) ^ mask(seed + 1)).count_ones();
            assert!((4..=28).contains(&differing), "{seed}: {differing}");
        }
    }
}
