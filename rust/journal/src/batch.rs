//! Batches: many keys at once, all or nothing, with a cursor that moves in the same step.

use crate::birth::Born;
use crate::error::JournalError;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::intent::{self, CURSOR_NAME_BYTES_MAX, IntentRecord, Move};
use crate::journal::Journal;
use crate::map::prefetch_word;
use crate::record::{HAS_CELL, Kind, Meta, UNREAD};
use crate::slot::{DECR_AT, INCR_AT, Side, Slot};

/// How many keys of a batch are on their way from memory at once: more than line-fill buffers, fewer than a page.
const GROUP: usize = 32;
/// How many records are on their way from memory while one is worked on.
const AHEAD: usize = 32;
/// A batch larger than this does not keep its scratch memory.
const SCRATCH_KEPT: usize = 1 << 16;

/// The lists that a slot belongs to when it moves by so much.
fn flags_of(incr: u64, decr: u64) -> u64 {
    let side = |n: u64, side: Side| if n > 0 { side.dirty() | UNREAD } else { 0 };
    side(incr, Side::Incr) | side(decr, Side::Decr)
}

#[inline]
fn prefetch(words: &[AtomicU64], units: Option<&u32>) {
    if let Some(word) = units.and_then(|units| words.get(*units as usize)) {
        prefetch_word(word.as_ptr());
    }
}

impl Journal {
    /// Adds to the slots of `units`, each of them a slot of this journal, amounts (negative ones down, or 1 each) whose
    /// sum was promised ([`Journal::promise`]). True as of [`Journal::add`].
    pub fn add_units(&mut self, units: &[u32], amounts: Option<&[i64]>) -> bool {
        let was_clean = self.is_clean();
        let view = self.map.view();
        let words = view.words();
        let mut sizes = 0;
        match amounts {
            None => {
                for (n, &at) in units.iter().enumerate() {
                    prefetch(words, units.get(n + AHEAD));
                    sizes |= self.add_promised(words, at, Side::Incr, 1);
                }
            }
            Some(amounts) => {
                for (n, (&at, &by)) in units.iter().zip(amounts).enumerate() {
                    prefetch(words, units.get(n + AHEAD));
                    let side = if by < 0 { Side::Decr } else { Side::Incr };
                    sizes |= self.add_promised(words, at, side, by.unsigned_abs());
                }
            }
        }
        self.note_size(sizes);
        was_clean && !self.is_clean()
    }

    /// As [`Journal::add_units`], all on one side.
    pub(crate) fn add_side(&mut self, units: &[u32], amounts: &[u64], side: Side) {
        let view = self.map.view();
        let words = view.words();
        let mut sizes = 0;
        for (n, (&at, &by)) in units.iter().zip(amounts).enumerate() {
            prefetch(words, units.get(n + AHEAD));
            sizes |= self.add_promised(words, at, side, by);
        }
        self.note_size(sizes);
    }

    /// Gives the new count.
    #[inline]
    pub(crate) fn add_promised(
        &mut self,
        words: &[AtomicU64],
        units: u32,
        side: Side,
        by: u64,
    ) -> u64 {
        let at = units as usize;
        let Some([incr, decr, meta]) = words.get(at..).and_then(|rest| rest.first_chunk::<3>())
        else {
            return 0;
        };
        let count = match side {
            Side::Incr => incr,
            Side::Decr => decr,
        };
        let flags = side.dirty() | UNREAD;
        let meta = meta.load(Ordering::Relaxed);
        if meta & (flags | HAS_CELL) != flags {
            if by == 0 {
                return 0;
            }
            let slot = Slot::of_units(units);
            if meta & HAS_CELL != 0 && side == Side::Incr {
                return self.add_promised_with_cell(slot, by);
            }
            self.list(slot, flags);
        }
        let sum = count.load(Ordering::Relaxed).wrapping_add(by);
        count.store(sum, Ordering::Release);
        sum
    }

    /// As [`Journal::add_promised`], of increments of a slot that has a cell.
    #[inline(never)]
    fn add_promised_with_cell(&mut self, slot: Slot, by: u64) -> u64 {
        if let Some(sum) = self.add_to_cell(slot, by) {
            return sum;
        }
        self.settle_slot(slot);
        self.list(slot, Side::Incr.dirty() | UNREAD);
        let sum = self.in_record(slot).0.wrapping_add(by);
        self.map.store(slot.offset() + INCR_AT, sum);
        self.raise_cell(slot);
        sum
    }

    /// [`Journal::find_or_insert`] of many keys, appended to `slots` in their order. Faster for many cold keys: their
    /// cache misses overlap.
    ///
    /// # Errors
    /// As there. `slots` then ends before the refused key; keys that were inserted stay, with counts of 0.
    pub fn find_or_insert_all(
        &mut self,
        keys: &[&[u8]],
        slots: &mut Vec<Slot>,
    ) -> Result<(), JournalError> {
        slots.reserve(keys.len());
        let mut hashes = [0; GROUP];
        let mut guesses = [None; GROUP];
        for group in keys.chunks(GROUP) {
            for (hash, key) in hashes.iter_mut().zip(group) {
                *hash = self.mixer.mix(key);
                self.table.prefetch(*hash);
            }
            for (guess, hash) in guesses.iter_mut().zip(hashes).take(group.len()) {
                *guess = self.table.guess(hash);
                if let Some(slot) = *guess {
                    self.map.prefetch(slot.offset());
                }
            }
            for ((guess, hash), key) in guesses.iter().zip(hashes).zip(group) {
                let slot = match guess.filter(|slot| self.has_text(*slot, key)) {
                    Some(slot) => slot,
                    None => match self.find_mixed(hash, key) {
                        Some(slot) => slot,
                        None => self.insert(hash, key, Born::EMPTY)?,
                    },
                };
                slots.push(slot);
            }
        }
        Ok(())
    }

    /// Adds a batch of (slot, increments, decrements): all of it, or nothing when it is refused. A slot may come
    /// several times.
    ///
    /// With a cursor (name, position) the batch and the cursor move in one step that `kill -9` cannot split; the
    /// position must be beyond the one held. Without one, a kill can leave a part of the batch counted.
    ///
    /// # Errors
    /// `Overflow`, `ForeignSlot`, `CursorName`, `CursorBehind`, `Full`, `TooLarge`, `NoMemory`: nothing was counted.
    pub fn add_batch(
        &mut self,
        batch: &[(Slot, u64, u64)],
        cursor: Option<(&str, u64)>,
    ) -> Result<(), JournalError> {
        if cursor.is_none() && self.fits_surely(batch) {
            for (slot, incr, decr) in batch {
                self.settle_slot(*slot);
                self.list(*slot, flags_of(*incr, *decr));
                let (held_incr, held_decr) = self.in_record(*slot);
                let (incr, decr) = (
                    held_incr.saturating_add(*incr),
                    held_decr.saturating_add(*decr),
                );
                self.note_size(incr.max(decr));
                self.map.store(slot.offset() + INCR_AT, incr);
                self.map.store(slot.offset() + DECR_AT, decr);
                self.raise_cell(*slot);
            }
            return Ok(());
        }
        let mut moves = std::mem::take(&mut self.scratch);
        let done = self.add_moves(batch, cursor, &mut moves);
        moves.clear();
        moves.shrink_to(SCRATCH_KEPT);
        self.scratch = moves;
        done
    }

    /// The position of a cursor, if a batch has moved it in this journal.
    pub fn cursor(&self, name: &str) -> Option<u64> {
        self.cursors.get(name).and_then(|slot| self.position(*slot))
    }

    /// All cursors that have a position, sorted by name.
    pub fn cursors(&self) -> Vec<(String, u64)> {
        self.cursors
            .iter()
            .filter_map(|(name, slot)| Some((name.clone(), self.position(*slot)?)))
            .collect()
    }

    /// Whether no slot can overflow, whichever of them repeat: a cheap check that is right but for huge counts.
    fn fits_surely(&self, batch: &[(Slot, u64, u64)]) -> bool {
        let total = batch.iter().try_fold(0u64, |sum, (_, incr, decr)| {
            sum.checked_add(*incr)?.checked_add(*decr)
        });
        total.is_some_and(|total| self.surely_fits(total))
            && batch
                .iter()
                .all(|(slot, _, _)| self.meta(*slot).is_some_and(Meta::is_key))
    }

    fn add_moves(
        &mut self,
        batch: &[(Slot, u64, u64)],
        cursor: Option<(&str, u64)>,
        moves: &mut Vec<Move>,
    ) -> Result<(), JournalError> {
        self.collate(batch, moves)?;
        if let Some((name, position)) = cursor {
            let cursor = self.cursor_record(name, position)?;
            let intent = self.intent_record(moves.len())?;
            // From here on nothing can be refused.
            self.list_moves(moves);
            intent.write(&mut self.map, self.sums, moves, cursor, position);
            intent::apply(&mut self.map, moves);
            self.map.store(cursor.offset() + INCR_AT, position);
            self.map.store(cursor.offset() + DECR_AT, 1);
            intent.clear(&mut self.map);
        } else {
            self.list_moves(moves);
            intent::apply(&mut self.map, moves);
        }
        for step in moves.iter() {
            self.raise_cell(step.slot);
        }
        Ok(())
    }

    fn list_moves(&mut self, moves: &[Move]) {
        for step in moves {
            let (incr, decr) = self.in_record(step.slot);
            self.list(
                step.slot,
                flags_of(
                    step.incr.saturating_sub(incr),
                    step.decr.saturating_sub(decr),
                ),
            );
        }
    }

    /// Sums a batch by slot and gives the new absolute values, sorted by slot; slots that do not move are left out.
    fn collate(
        &mut self,
        batch: &[(Slot, u64, u64)],
        moves: &mut Vec<Move>,
    ) -> Result<(), JournalError> {
        moves.clear();
        if moves.try_reserve(batch.len()).is_err() {
            return Err(JournalError::NoMemory { words: batch.len() });
        }
        moves.extend(batch.iter().map(|(slot, incr, decr)| Move {
            slot: *slot,
            incr: *incr,
            decr: *decr,
        }));
        moves.sort_unstable_by_key(|step| step.slot);
        let mut overflow = None;
        moves.dedup_by(|step, kept| {
            if step.slot != kept.slot {
                return false;
            }
            match (
                kept.incr.checked_add(step.incr),
                kept.decr.checked_add(step.decr),
            ) {
                (Some(incr), Some(decr)) => (kept.incr, kept.decr) = (incr, decr),
                _ => overflow = Some(kept.slot),
            }
            true
        });
        for step in moves.iter_mut() {
            if !self.meta(step.slot).is_some_and(Meta::is_key) {
                return Err(JournalError::ForeignSlot);
            }
            self.settle_slot(step.slot);
            let (incr, decr) = self.in_record(step.slot);
            match (incr.checked_add(step.incr), decr.checked_add(step.decr)) {
                (Some(new_incr), Some(new_decr)) if self.note_size(new_incr.max(new_decr)) => {
                    (step.incr, step.decr) = (new_incr, new_decr);
                }
                _ => overflow = overflow.or(Some(step.slot)),
            }
        }
        if let Some(slot) = overflow {
            return Err(JournalError::Overflow {
                key: self.key(slot).to_owned(),
            });
        }
        moves.retain(|step| self.in_record(step.slot) != (step.incr, step.decr));
        Ok(())
    }

    fn position(&self, slot: Slot) -> Option<u64> {
        let (position, has_one) = self.in_record(slot);
        (has_one == 1).then_some(position)
    }

    /// The record of a cursor that may move to `position`; made where there is none.
    fn cursor_record(&mut self, name: &str, position: u64) -> Result<Slot, JournalError> {
        if name.is_empty() || name.len() > CURSOR_NAME_BYTES_MAX {
            return Err(JournalError::CursorName {
                max: CURSOR_NAME_BYTES_MAX,
                bytes: name.len(),
            });
        }
        if let Some(slot) = self.cursors.get(name).copied() {
            return match self.position(slot) {
                Some(held) if position <= held => Err(JournalError::CursorBehind {
                    name: name.to_owned(),
                    held,
                    asked: position,
                }),
                _ => Ok(slot),
            };
        }
        let slot = self.append(Kind::Cursor, name.as_bytes(), 0, Born::EMPTY)?;
        self.cursors.insert(name.to_owned(), slot);
        Ok(slot)
    }

    /// An intent record with room for so many entries: the one there is, or a new one at least twice as large.
    fn intent_record(&mut self, entries: usize) -> Result<IntentRecord, JournalError> {
        if let Some(record) = self.intent.filter(|record| record.capacity >= entries) {
            return Ok(record);
        }
        let double = self
            .intent
            .map_or(intent::ENTRIES_MIN, |record| record.capacity * 2);
        let made = self.make_intent(entries.max(double));
        // On a full disk the smallest that does.
        let record = match made {
            Err(JournalError::Full { .. }) if entries < double => self.make_intent(entries)?,
            other => other?,
        };
        self.intent = Some(record);
        Ok(record)
    }

    fn make_intent(&mut self, capacity: usize) -> Result<IntentRecord, JournalError> {
        let bytes = intent::body_bytes(capacity).filter(|_| u32::try_from(capacity).is_ok());
        let bytes = bytes.ok_or_else(|| self.too_large())?;
        let text = (capacity as u64).to_le_bytes();
        let offset = self
            .append(Kind::Intent, &text, bytes, Born::EMPTY)?
            .offset();
        Ok(IntentRecord { offset, capacity })
    }
}
