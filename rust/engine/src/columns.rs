//! Counting by columns: many rows in one call, all of them or none.
//!
//! An id stands for a key of this open store: the offset of its record in units of 8 bytes, under a mask of the store's
//! own, so that an id of another store is noticed.

use crate::blocks::{AmountBlocks, Amounts, BLOCK_ROWS, Column};
use crate::error::EngineError;
use crate::{Counting, Engine, Turn};
use crdtstats_core::key;
use crdtstats_journal::{Journal, Side, Slot};

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
        let mask = self.ids_mask();
        self.add_rows(turn, cursor, |journal| {
            let mut rows = Rows::with_capacity(ids.rows());
            let mut amounts = AmountBlocks::new(amounts);
            let mut scratch = [0; BLOCK_ROWS];
            // Each number is read once: what is checked here is what is counted.
            for from in (0..ids.rows()).step_by(BLOCK_ROWS) {
                let amounts = amounts.read(from)?;
                let ids = ids.block(from, &mut scratch);
                for (position, (&id, n)) in (from..).zip(ids.iter().zip(amounts)) {
                    let Some(slot) = journal.slot_from_units(id ^ mask) else {
                        return Err(EngineError::ForeignId { position, id });
                    };
                    rows.push(slot, *n);
                }
            }
            Ok(rows)
        })
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
        let mut amounts = AmountBlocks::new(amounts);
        let mut clean = Vec::with_capacity(keys.len());
        let mut counted = Vec::with_capacity(keys.len());
        for (number, keys) in keys.chunks(BLOCK_ROWS).enumerate() {
            for (key, n) in keys.iter().zip(amounts.read(number * BLOCK_ROWS)?) {
                let key = key::data_key(key)?;
                // A key on which nothing is counted is checked, and makes no record.
                if *n != 0 {
                    clean.push(key);
                    counted.push(*n);
                }
            }
        }
        let clean: Vec<&[u8]> = clean.iter().map(|key| key.as_bytes()).collect();
        self.add_rows(turn, cursor, |journal| {
            let mut slots = Vec::with_capacity(clean.len());
            journal.find_or_insert_all(&clean, &mut slots)?;
            let mut rows = Rows::with_capacity(slots.len());
            for (slot, n) in slots.into_iter().zip(counted) {
                rows.push(slot, n);
            }
            Ok(rows)
        })
    }

    fn ids_mask(&self) -> u32 {
        self.ids_mask.get().copied().unwrap_or(0) // 0 without a journal: every call is refused
    }

    /// Count the rows that `rows` finds in the journal.
    fn add_rows(
        &self,
        turn: Option<Turn<'_>>,
        cursor: Option<(&str, u64)>,
        rows: impl FnOnce(&mut Journal) -> Result<Rows, EngineError>,
    ) -> Result<(), EngineError> {
        let mut counting = self.counting(turn);
        counting.live()?; // a closed store says so, whatever the cursor
        counting.check_cursor(cursor)?;
        let journal = counting.live()?;
        let rows = rows(journal)?;
        let is_first = if cursor.is_none() && rows.fit_surely(journal) {
            journal.add_all(&rows.slots, |row| side_of(rows.amount(row)))
        } else {
            let was_clean = journal.is_clean();
            journal
                .add_batch(&rows.sides(), cursor)
                .map_err(EngineError::of_batch)?;
            was_clean
        };
        drop(counting);
        if is_first {
            self.bell().ring();
        }
        Ok(())
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

/// Slots and what is counted on each of them.
struct Rows {
    slots: Vec<Slot>,
    amounts: Vec<i64>,
    /// The sum of all magnitudes; `None` past 2⁶⁴ − 1.
    sum: Option<u64>,
}

impl Rows {
    fn with_capacity(rows: usize) -> Self {
        Rows {
            slots: Vec::with_capacity(rows),
            amounts: Vec::with_capacity(rows),
            sum: Some(0),
        }
    }

    fn push(&mut self, slot: Slot, n: i64) {
        self.slots.push(slot);
        self.amounts.push(n);
        self.sum = self.sum.and_then(|sum| sum.checked_add(n.unsigned_abs()));
    }

    fn amount(&self, row: usize) -> i64 {
        self.amounts.get(row).copied().unwrap_or(0)
    }

    /// Whether no slot can overflow, whichever of them repeat: a cheap check that is right but for huge counts.
    fn fit_surely(&self, journal: &Journal) -> bool {
        self.sum.is_some_and(|sum| journal.surely_fits(sum))
    }

    /// Each slot with its increments and decrements.
    fn sides(&self) -> Vec<(Slot, u64, u64)> {
        let rows = self.slots.iter().zip(&self.amounts);
        rows.map(|(slot, n)| match side_of(*n) {
            (Side::Incr, by) => (*slot, by, 0),
            (Side::Decr, by) => (*slot, 0, by),
        })
        .collect()
    }
}

fn side_of(n: i64) -> (Side, u64) {
    let side = if n < 0 { Side::Decr } else { Side::Incr };
    (side, n.unsigned_abs())
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
