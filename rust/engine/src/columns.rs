//! Counting by columns: many rows in one call, all of them or none.
//!
//! An id stands for a key of this open store: the offset of its record in units of 8 bytes, under a mask of the store's
//! own, so that an id of another store is noticed.

use crate::blocks::{Amounts, BLOCK_ROWS, Column};
use crate::error::EngineError;
use crate::{Counting, Engine, Turn};
use crdtstats_core::key;
use crdtstats_journal::Slot;

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
        amounts.check_rows(ids.rows())?;
        // Each number is read once: what is checked here is what is counted.
        let (mut copy, mut scratch) = (Vec::with_capacity(ids.rows()), [0; BLOCK_ROWS]);
        for from in (0..ids.rows()).step_by(BLOCK_ROWS) {
            copy.extend_from_slice(ids.block(from, &mut scratch));
        }
        let mask = self.ids_mask();
        for (number, ids) in copy.chunks(SLICE_ROWS).enumerate() {
            let mut counting = self.counting(turn);
            let journal = counting.live()?;
            let is_wrong = |id: &u32| journal.slot_from_units(id ^ mask).is_none();
            if let Some(row) = ids.iter().position(is_wrong) {
                let position = number * SLICE_ROWS + row;
                let id = ids.get(row).copied().unwrap_or_default();
                return Err(EngineError::ForeignId { position, id });
            }
        }
        self.add_rows(turn, &copy, mask, amounts, cursor)
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
        amounts.check_rows(ids.len())?;
        self.add_rows(turn, ids, self.ids_mask(), amounts, cursor)
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
        self.add_rows(turn, &units, 0, amounts, cursor)
    }

    fn ids_mask(&self) -> u32 {
        self.ids_mask.get().copied().unwrap_or(0) // 0 without a journal: every call is refused
    }

    /// Count rows whose slots are known to be this journal's.
    fn add_rows(
        &self,
        turn: Option<Turn<'_>>,
        units: &[u32],
        mask: u32,
        amounts: Amounts<'_>,
        cursor: Option<(&str, u64)>,
    ) -> Result<(), EngineError> {
        let (amounts, sum) = amounts.read_all(units.len())?;
        let mut counting = self.counting(turn);
        counting.live()?; // a closed store says so, whatever the cursor
        counting.check_cursor(cursor)?;
        let journal = counting.live()?;
        let promised = sum.filter(|sum| cursor.is_none() && journal.promise(*sum));
        let is_first = if let Some(sum) = promised {
            drop(counting);
            self.add_in_slices(turn, units, mask, amounts.as_deref(), sum)
        } else {
            let was_clean = journal.is_clean();
            let rows = units.iter().enumerate().map(|(row, units)| {
                let n = amounts.as_ref().map_or(Some(1), |n| n.get(row).copied());
                let (incr, decr) = sides_of(n.unwrap_or(0));
                (Slot::of_units(units ^ mask), incr, decr)
            });
            let rows: Vec<_> = rows.collect();
            journal
                .add_batch(&rows, cursor)
                .map_err(EngineError::of_batch)?;
            was_clean
        };
        if is_first {
            self.bell().ring();
        }
        Ok(())
    }

    /// Count what was promised to fit, letting others in between slices. A store does not close meanwhile.
    fn add_in_slices(
        &self,
        turn: Option<Turn<'_>>,
        units: &[u32],
        mask: u32,
        amounts: Option<&[i64]>,
        sum: u64,
    ) -> bool {
        let mut is_first = false;
        for (number, units) in units.chunks(SLICE_ROWS).enumerate() {
            let from = number * SLICE_ROWS;
            let amounts = amounts.map(|all| all.get(from..).unwrap_or(&[]));
            if let Some(journal) = self.counting(turn).journal.as_mut() {
                is_first |= journal.add_units(units, mask, amounts);
            }
        }
        if let Some(journal) = self.counting(turn).journal.as_mut() {
            journal.keep_promise(sum);
        }
        is_first
    }
}

impl Counting {
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
