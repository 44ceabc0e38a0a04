//! Counting by columns: many rows in one call, all of them or none.
//!
//! An id stands for a key of this open store: the offset of its record in units of 8 bytes, under a mask of the store's
//! own, so that an id of another store is noticed.

use crate::blocks::{Amounts, BLOCK_ROWS, Column};
use crate::error::EngineError;
use crate::{Counting, Engine, Turn};
use crdtstats_core::key;
use crdtstats_journal::{Journal, Slot};

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
        let mut slots = Vec::with_capacity(keys.len());
        self.counting(turn)
            .live()?
            .find_or_insert_all(&keys, &mut slots)?;
        let mask = self.ids_mask();
        Ok(slots.into_iter().map(|slot| slot.units() ^ mask).collect())
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
        let rows = Rows {
            ids,
            mask: self.ids_mask(),
            known: false,
        };
        self.add_rows(turn, rows, amounts, cursor)
    }

    /// As [`Engine::add_ids`], of ids that this engine gave and nobody could change since.
    ///
    /// # Errors
    /// As there.
    pub fn add_own_ids(
        &self,
        turn: Option<Turn<'_>>,
        ids: &[u32],
        amounts: Amounts<'_>,
        cursor: Option<(&str, u64)>,
    ) -> Result<(), EngineError> {
        let rows = Rows {
            ids: &ids,
            mask: self.ids_mask(),
            known: true,
        };
        self.add_rows(turn, rows, amounts, cursor)
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
        let rows = Rows {
            ids: &units.as_slice(),
            mask: 0,
            known: true,
        };
        self.add_rows(turn, rows, amounts, cursor)
    }

    fn ids_mask(&self) -> u32 {
        self.ids_mask.get().copied().unwrap_or(0) // 0 without a journal: every call is refused
    }

    fn add_rows(
        &self,
        turn: Option<Turn<'_>>,
        rows: Rows<'_>,
        amounts: Amounts<'_>,
        cursor: Option<(&str, u64)>,
    ) -> Result<(), EngineError> {
        amounts.check_rows(rows.ids.rows())?;
        let is_first = match self.sum_up(turn, rows, amounts)? {
            Some(sums) => self.add_sums(turn, sums, cursor)?,
            None => self.add_each(turn, rows, amounts, cursor)?,
        };
        if is_first {
            self.bell().ring();
        }
        Ok(())
    }

    /// Count row by row. True where there was nothing to flush before.
    fn add_each(
        &self,
        turn: Option<Turn<'_>>,
        rows: Rows<'_>,
        amounts: Amounts<'_>,
        cursor: Option<(&str, u64)>,
    ) -> Result<bool, EngineError> {
        // Each number is read once: what is checked here is what is counted.
        let (mut units, mut scratch) = (Vec::with_capacity(rows.ids.rows()), [0; BLOCK_ROWS]);
        for from in (0..rows.ids.rows()).step_by(BLOCK_ROWS) {
            let block = rows.ids.block(from, &mut scratch);
            units.extend(block.iter().map(|id| id ^ rows.mask));
        }
        if !rows.known {
            self.check_ids(turn, &units, rows.mask)?;
        }
        let (amounts, sum) = amounts.read_all(units.len())?;
        let mut counting = self.counting(turn);
        let journal = counting.live_past(cursor)?;
        if let Some(sum) = sum.filter(|sum| cursor.is_none() && journal.promise(*sum)) {
            drop(counting);
            return Ok(self.add_in_slices(turn, &units, amounts.as_deref(), sum));
        }
        let rows = units.iter().enumerate().map(|(row, units)| {
            let n = amounts.as_ref().map_or(Some(1), |n| n.get(row).copied());
            let (incr, decr) = sides_of(n.unwrap_or(0));
            (Slot::of_units(*units), incr, decr)
        });
        count_batch(journal, &rows.collect::<Vec<_>>(), cursor)
    }

    fn check_ids(
        &self,
        turn: Option<Turn<'_>>,
        units: &[u32],
        mask: u32,
    ) -> Result<(), EngineError> {
        for (number, units) in units.chunks(SLICE_ROWS).enumerate() {
            let mut counting = self.counting(turn);
            let journal = counting.live()?;
            let is_wrong = |units: &u32| journal.slot_from_units(*units).is_none();
            if let Some(row) = units.iter().position(is_wrong) {
                let position = number * SLICE_ROWS + row;
                let id = units.get(row).copied().unwrap_or_default() ^ mask;
                return Err(EngineError::ForeignId { position, id });
            }
        }
        Ok(())
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

/// Rows of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// Units of slots, under a mask.
    pub(crate) ids: &'a dyn Column<u32>,
    pub(crate) mask: u32,
    /// Each of them is a slot of this journal for sure.
    pub(crate) known: bool,
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
