//! Many rows on few ids: summed up by key first, then each key is counted once (see [`Sums`]).

use crate::blocks::{AmountBlocks, Amounts, BLOCK_ROWS};
use crate::columns::{Ids, count_batch};
use crate::error::EngineError;
use crate::{Engine, Turn};
use crdtstats_journal::{Ahead, Refused, Sums};

/// Fewer rows than this are counted at once: asking for a lock some times more costs as much as they do.
const ROWS_MIN: usize = 1024;
/// Keys are few where rows are so many times as many: with fewer rows the cells of a lane, with their marks, are reached
/// as fast as the sums and then the cells.
const ROWS_PER_KEY_MIN: usize = 4;
/// 16 MiB of sums by 32 bits; more are so slow to reach themselves that nothing is gained.
const KEYS_MAX: usize = 1 << 22;
/// Sums that are counted before others get their turn: some 20 µs.
const SLICE_SUMS: usize = 1 << 13;
/// Rows that the columns are fetched ahead of being read: two blocks.
pub(crate) const AHEAD_ROWS: usize = 2 * BLOCK_ROWS;
/// Room of up to so many bytes is kept for the next batch: to have it made and cleared costs a tenth of a small one.
const BYTES_KEPT: usize = 1 << 20;

impl Engine {
    /// What rows add to each key; `None` where counting each row is the better way, or the only one.
    ///
    /// # Errors
    /// An id of another store, a bad amount, a closed store.
    pub(crate) fn sum_up(
        &self,
        turn: Option<Turn<'_>>,
        rows: Ids<'_>,
        amounts: Amounts<'_>,
    ) -> Result<Option<Box<Sums>>, EngineError> {
        let (count, keys) = (rows.ids.rows(), rows.count);
        if count < ROWS_MIN || keys > KEYS_MAX || keys * ROWS_PER_KEY_MIN > count {
            return Ok(None);
        }
        let sums = self.counting(turn).sums.take();
        // Under no lock: memory has to be cleared.
        let mut sums = sums.unwrap_or_default();
        if !sums.clear(keys) {
            return Ok(None);
        }
        let (mut ids_room, mut blocks) = ([0; BLOCK_ROWS], AmountBlocks::new(amounts));
        for from in (0..rows.ids.rows()).step_by(BLOCK_ROWS) {
            let ids = rows.ids.block(from, &mut ids_room);
            let amounts_of_ids = match amounts {
                Amounts::Ones => None,
                _ => Some(blocks.read(from)),
            };
            let ahead = Ahead {
                ids: rows.ids.place(from + AHEAD_ROWS),
                amounts: amounts.place(from + AHEAD_ROWS),
            };
            match sums.add(ids, rows.mask, amounts_of_ids, ahead) {
                Ok(()) => {}
                Err(Refused::Id { row }) => return Err(rows.foreign(from, ids, row)),
                Err(Refused::Amount { row }) => {
                    let position = from + row;
                    return Err(EngineError::AmountRange { position });
                }
                Err(Refused::TooLarge) => return Ok(None),
            }
        }
        Ok(Some(sums))
    }

    /// Count what [`Engine::sum_up`] gave, all or nothing. True where there was nothing to flush before.
    pub(crate) fn add_sums(
        &self,
        turn: Option<Turn<'_>>,
        sums: Box<Sums>,
        cursor: Option<(&str, u64)>,
    ) -> Result<bool, EngineError> {
        let mut counting = self.counting(turn);
        let journal = counting.live_past(cursor)?;
        let total = sums.total();
        if cursor.is_some() || !journal.promise(total) {
            let is_first = count_batch(journal, &journal.slots_of_sums(&sums), cursor)?;
            counting.keep_room(sums);
            return Ok(is_first);
        }
        // A store does not close meanwhile.
        let (mut is_first, mut from) = (false, 0);
        while from < sums.count() {
            let to = from + SLICE_SUMS;
            if let Some(journal) = counting.journal.as_mut() {
                is_first |= journal.add_sums(&sums, from..to);
            }
            from = to;
            drop(counting);
            counting = self.counting(turn);
        }
        if let Some(journal) = counting.journal.as_mut() {
            journal.keep_promise(total);
        }
        counting.keep_room(sums);
        Ok(is_first)
    }
}

impl crate::Counting {
    fn keep_room(&mut self, sums: Box<Sums>) {
        if sums.bytes() <= BYTES_KEPT {
            self.sums = Some(sums);
        }
    }
}
