//! Many rows on few keys: summed up by key first, then each key is counted once (see [`Sums`]).

use crate::blocks::{AmountBlocks, Amounts, BLOCK_ROWS};
use crate::columns::{Rows, count_batch};
use crate::error::EngineError;
use crate::{Engine, Turn};
use crdtstats_journal::{Ahead, Refused, Sums};

/// Fewer rows than this are counted at once: asking for a lock some times more costs as much as they do.
const ROWS_MIN: usize = 1024;
/// Keys are few where there are no more cells than rows: looking through the cells costs about as much for each as
/// waiting for a record that is near.
const CELLS_PER_ROW_MAX: usize = 1;
/// 16 MiB of sums by 32 bits; more are so slow to reach themselves that nothing is gained.
const CELLS_MAX: usize = 1 << 22;
/// Cells that are looked through, or learned, before others get their turn: some 0.1 ms, where all records are far.
const SLICE_CELLS: usize = 1 << 13;
const LEARNED_CELLS: usize = 1 << 15;
/// Rows that the columns are fetched ahead of being read: two blocks.
const AHEAD_ROWS: usize = 2 * BLOCK_ROWS;
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
        rows: Rows<'_>,
        amounts: Amounts<'_>,
    ) -> Result<Option<Box<Sums>>, EngineError> {
        if rows.ids.rows() < ROWS_MIN {
            return Ok(None);
        }
        let Some(mut sums) = self.room_for_sums(turn, rows.ids.rows())? else {
            return Ok(None);
        };
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
                Err(Refused::Id { row }) => {
                    let (position, id) = (from + row, ids.get(row).copied().unwrap_or_default());
                    return Err(EngineError::ForeignId { position, id });
                }
                Err(Refused::Amount { row }) => {
                    let position = from + row;
                    return Err(EngineError::AmountRange { position });
                }
                Err(Refused::TooLarge) => return Ok(None),
            }
        }
        Ok(Some(sums))
    }

    /// Empty sums for all keys that there are, if they are few.
    fn room_for_sums(
        &self,
        turn: Option<Turn<'_>>,
        rows: usize,
    ) -> Result<Option<Box<Sums>>, EngineError> {
        let mut counting = self.counting(turn);
        let cells = Sums::cells_of(counting.live()?);
        if cells > CELLS_MAX || cells / CELLS_PER_ROW_MAX > rows {
            return Ok(None);
        }
        let mut sums = counting.sums.take().unwrap_or_default();
        // Under no lock: memory that grows bit by bit is copied now and then.
        drop(counting);
        if !sums.reserve(cells) {
            return Ok(None);
        }
        let mut counting = self.counting(turn);
        loop {
            match sums.learn(counting.live()?, LEARNED_CELLS) {
                Ok(true) => return Ok(Some(sums)),
                Ok(false) => {}
                Err(_) => return Ok(None),
            }
            drop(counting);
            counting = self.counting(turn);
        }
    }

    /// Count what [`Engine::sum_up`] gave, all or nothing. True where there was nothing to flush before.
    pub(crate) fn add_sums(
        &self,
        turn: Option<Turn<'_>>,
        mut sums: Box<Sums>,
        cursor: Option<(&str, u64)>,
    ) -> Result<bool, EngineError> {
        let mut counting = self.counting(turn);
        let journal = counting.live_past(cursor)?;
        let total = sums.total();
        if cursor.is_some() || !journal.promise(total) {
            let is_first = count_batch(journal, &sums.take_all(), cursor)?;
            counting.keep_room(sums);
            return Ok(is_first);
        }
        // A store does not close meanwhile.
        let (mut is_first, mut from) = (false, 0);
        while from < sums.cells() {
            let to = from + SLICE_CELLS;
            if let Some(journal) = counting.journal.as_mut() {
                is_first |= journal.add_sums(&mut sums, from..to);
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
