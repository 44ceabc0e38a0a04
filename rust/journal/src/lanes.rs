//! Dense increments of keys that were given an ordinal: a batch on ordinals touches 8 bytes of a key, not its record.
//!
//! A lane record has its number (u64) as its text; its body follows:
//! ```text
//!      0  4096 cells   u64    increments of the key, absolute, times 2; the lowest bit: more than its record says
//!  32768  4096 units   u32    its record (offset / 8); 0 = of no key yet
//! ```
//! The increments of a key are the larger one of what its record and its cell say. Both only grow and each was the
//! whole count at some moment, so a file in which one of them is older than the other, as after power loss, has an
//! older count and never a doubled one. Counting on ordinals raises the cell alone. Before anything looks at what moved,
//! [`Journal::settle`] raises the records and lists their slots, so that all behind it knows records only. Who counts
//! on the record of such a key settles it first, and raises the cell, too.
//!
//! Which cells moved is noted by line and by lane in memory: who settles looks at these only.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::JournalError;
use crate::journal::{Journal, LARGE};
use crate::map::prefetch_far;
use crate::ordinals::Ordinals;
use crate::record::{DIRTY_INCR, HAS_CELL, Kind, META_AT, UNREAD, span};
use crate::slot::{INCR_AT, Side, Slot};

/// Cells of a lane: 48 KiB of the file with their units, and few enough lanes that their places stay in the first cache.
pub(crate) const LANE_CELLS: usize = 4096;
pub(crate) const LANE_TEXT_BYTES: usize = 8;
const UNITS_AT: usize = LANE_CELLS * size_of::<u64>();
pub(crate) const LANE_BODY_BYTES: usize = UNITS_AT + LANE_CELLS * size_of::<u32>();

/// Cells that share a mark: their marks stay in the second cache, and looking at all of them costs no more than the
/// record of one.
const LINE_CELLS: usize = 32;
const LANE_LINES: usize = LANE_CELLS / LINE_CELLS;
/// How many cells are on their way from memory, into the second cache, while one is worked on: more than the first
/// cache can wait for.
const AHEAD: usize = 64;
/// Records that are raised before others get their turn.
const SETTLED_AT_ONCE: usize = 512;

/// The lowest bit of a cell.
const MOVED: u64 = 1;

/// Where the body of a lane starts, from the start of its record.
pub(crate) fn body_at() -> usize {
    span(LANE_TEXT_BYTES)
}

/// What a body says: the record offset and the increments of each key.
pub(crate) fn read(body: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    let (cells, units) = body.split_at(UNITS_AT.min(body.len()));
    let cells = cells.as_chunks::<8>().0.iter();
    let units = units.as_chunks::<4>().0.iter();
    units
        .map(|units| u64::from(u32::from_le_bytes(*units)) * 8)
        .zip(cells.map(|cell| u64::from_le_bytes(*cell) >> 1))
        .filter(|(offset, _)| *offset != 0)
}

/// A row of a batch: an ordinal, and an amount of 32 bits, negative ones down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row(u64);

impl Row {
    #[inline]
    #[must_use]
    pub fn new(ordinal: u32, amount: i32) -> Self {
        Row(u64::from(ordinal) | u64::from(amount.cast_unsigned()) << 32)
    }

    #[inline]
    fn ordinal(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    fn amount(self) -> i64 {
        self.0.cast_signed() >> 32
    }
}

/// The lanes of a live journal.
#[derive(Default)]
pub(crate) struct Lanes {
    /// Where the cells of each lane start, in words of the file.
    starts: Vec<u32>,
    /// How many ordinals were given.
    count: usize,
    ordinals: Ordinals,
    /// Lines, and lanes, with cells that moved.
    lines: Vec<u8>,
    lanes: Vec<u8>,
    /// Rows that were counted on cells, and how many of them are in the records for sure.
    counted: u64,
    settled: u64,
}

impl Lanes {
    #[inline]
    fn word(&self, ordinal: usize) -> Option<usize> {
        let start = self.starts.get(ordinal / LANE_CELLS)?;
        Some(*start as usize + ordinal % LANE_CELLS)
    }

    /// The file offset of the units of an ordinal.
    #[inline]
    fn units_at(&self, ordinal: usize) -> Option<usize> {
        let start = self.starts.get(ordinal / LANE_CELLS)?;
        let at = ordinal % LANE_CELLS * size_of::<u32>();
        Some(*start as usize * size_of::<u64>() + UNITS_AT + at)
    }

    #[inline]
    fn mark(&mut self, ordinal: usize) {
        if let Some(line) = self.lines.get_mut(ordinal / LINE_CELLS) {
            *line = 1;
        }
        if let Some(lane) = self.lanes.get_mut(ordinal / LANE_CELLS) {
            *lane = 1;
        }
    }

    /// Whether records say all that cells do.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.counted == self.settled
    }

    /// How many cells moved, at most.
    pub(crate) fn moved_at_most(&self) -> usize {
        let rows = usize::try_from(self.counted - self.settled).unwrap_or(usize::MAX);
        rows.min(self.count)
    }
}

/// How far a pass of [`Journal::settle`] is.
#[derive(Debug)]
pub struct Settling {
    lane: usize,
    /// Rows that were counted when it began.
    until: u64,
}

impl Journal {
    /// How many ordinals were given: the next one.
    #[inline]
    pub fn ordinals(&self) -> usize {
        self.lanes.count
    }

    /// The ordinals of slots, in their order; a slot that has none gets the next one, for the life of this journal.
    ///
    /// # Errors
    /// `ForeignSlot`, `Full`, `TooLarge`, `NoMemory`: `out` ends before the refused slot.
    pub fn ordinals_of(&mut self, slots: &[Slot], out: &mut Vec<u32>) -> Result<(), JournalError> {
        out.reserve(slots.len());
        let mut done = Ok(());
        self.prefetch_ahead(slots.iter().copied(), |journal, _, slot| {
            if done.is_ok() {
                done = journal.ordinal_of(slot).map(|ordinal| out.push(ordinal));
            }
        });
        done
    }

    fn ordinal_of(&mut self, slot: Slot) -> Result<u32, JournalError> {
        let meta = self.meta(slot).filter(|meta| meta.is_key());
        let meta = meta.ok_or(JournalError::ForeignSlot)?;
        if meta.has_cell() {
            return self
                .lanes
                .ordinals
                .get(slot)
                .ok_or(JournalError::ForeignSlot);
        }
        let next = u32::try_from(self.lanes.count).map_err(|_| self.too_large())?;
        if self.lanes.count == self.lanes.starts.len() * LANE_CELLS {
            self.add_lane()?;
        }
        self.lanes.ordinals.set(slot, next)?;
        self.lanes.count += 1;
        // The cell before it belongs to anybody, and both before the record tells to look there.
        self.raise_cell(slot);
        if let Some(at) = self.lanes.units_at(next as usize) {
            self.map.store_half(at, slot.units());
        }
        self.map.store(slot.offset() + META_AT, meta.0 | HAS_CELL);
        Ok(next)
    }

    #[cold]
    fn add_lane(&mut self) -> Result<(), JournalError> {
        let lanes = &mut self.lanes;
        let number = lanes.starts.len();
        if lanes.starts.try_reserve(1).is_err()
            || lanes.lanes.try_reserve(1).is_err()
            || lanes.lines.try_reserve(LANE_LINES).is_err()
        {
            return Err(JournalError::NoMemory { words: number + 1 });
        }
        let text = (number as u64).to_le_bytes();
        let slot = self.append(Kind::Lane, &text, LANE_BODY_BYTES)?;
        let start = slot.units() + (body_at() / size_of::<u64>()) as u32;
        self.lanes.starts.push(start);
        self.lanes.lanes.push(0);
        self.lanes.lines.resize((number + 1) * LANE_LINES, 0);
        Ok(())
    }

    /// The slot that has an ordinal; `Slot::NONE` for what was not given.
    #[inline]
    pub fn slot_of_ordinal(&self, ordinal: u32) -> Slot {
        let at = self.lanes.units_at(ordinal as usize);
        let units = at.and_then(|at| self.map.load_half(at));
        Slot::of_units(units.unwrap_or(0))
    }

    /// Adds the rows of a slice, each of an ordinal that was given, of a batch whose sum was promised
    /// ([`Journal::promise`]). True as of [`Journal::add`].
    pub fn add_rows(&mut self, rows: &[Row], slice: Range<usize>) -> bool {
        let was_clean = self.is_clean();
        let mine = rows.get(slice.clone()).unwrap_or(&[]);
        let ahead = rows.get(slice.start + AHEAD..).unwrap_or(&[]);
        let (mut down, mut amounts) = (Vec::new(), Vec::new());
        if self.any_large {
            // A cell cannot hold every count; nor has it to, as it is not counted on any more.
            for row in mine {
                let units = self.slot_of_ordinal(row.0 as u32).units();
                self.add_signed(units, row.amount());
            }
        } else {
            let view = self.map.view();
            let words = view.words();
            let mut lanes = std::mem::take(&mut self.lanes);
            let mut sizes = 0;
            for (n, row) in mine.iter().enumerate() {
                if let Some(next) = ahead.get(n)
                    && let Some(word) = lanes.word(next.ordinal())
                {
                    prefetch_far(words.as_ptr().wrapping_add(word).cast());
                }
                let Ok(by) = u64::try_from(row.amount()) else {
                    down.push(row.0 as u32);
                    amounts.push(row.amount().unsigned_abs());
                    continue;
                };
                #[cfg(test)]
                if !self.map.stores_one() {
                    continue;
                }
                sizes |= lanes.raise(words, row.ordinal(), by);
            }
            lanes.counted += mine.len() as u64;
            self.lanes = lanes;
            self.note_size(sizes);
        }
        if !down.is_empty() {
            for at in &mut down {
                *at = self.slot_of_ordinal(*at).units();
            }
            self.add_side(&down, &amounts, Side::Decr);
        }
        was_clean && !self.is_clean()
    }

    /// Adds increments, by ordinal, whose sum was promised.
    pub(crate) fn add_to_cells(&mut self, all: impl Iterator<Item = (usize, u64)>) {
        if self.any_large {
            for (at, by) in all {
                let units = self.slot_of_ordinal(at as u32).units();
                let view = self.map.view();
                let size = self.add_promised(view.words(), units, Side::Incr, by);
                self.note_size(size);
            }
            return;
        }
        let view = self.map.view();
        let words = view.words();
        let mut lanes = std::mem::take(&mut self.lanes);
        let (mut sizes, mut count) = (0, 0);
        for (at, by) in all {
            #[cfg(test)]
            if !self.map.stores_one() {
                continue;
            }
            sizes |= lanes.raise(words, at, by);
            count += 1;
        }
        lanes.counted += count;
        self.lanes = lanes;
        self.note_size(sizes);
    }

    fn add_signed(&mut self, units: u32, amount: i64) {
        let view = self.map.view();
        let side = if amount < 0 { Side::Decr } else { Side::Incr };
        let size = self.add_promised(view.words(), units, side, amount.unsigned_abs());
        self.note_size(size);
    }

    /// Begin a pass of [`Journal::settle`].
    pub fn settling(&self) -> Settling {
        Settling {
            lane: 0,
            until: self.lanes.counted,
        }
    }

    /// Raises records to what their cells say and lists their slots, some hundreds at a time; true once that is done
    /// with all that was counted before the pass began. Cost: some 50 ns for each key that moved.
    pub fn settle(&mut self, pass: &mut Settling) -> bool {
        if self.lanes.is_settled() {
            return true;
        }
        let mut lanes = std::mem::take(&mut self.lanes);
        let mut moved = Moved::default();
        while let Some(is_marked) = lanes.lanes.get(pass.lane) {
            if *is_marked == 1 && !lanes.take_moved(self, pass.lane, &mut moved) {
                break;
            }
            pass.lane += 1;
        }
        let is_done = pass.lane >= lanes.lanes.len();
        if is_done {
            lanes.settled = lanes.settled.max(pass.until);
        }
        self.lanes = lanes;
        for (units, count) in moved.iter() {
            self.raise_record(Slot::of_units(units), count);
        }
        is_done
    }

    /// Raises a record to what its cell says. Cost: a load or two where there is nothing to do.
    pub(crate) fn settle_slot(&mut self, slot: Slot) {
        let Some((at, cell)) = self.cell(slot) else {
            return;
        };
        if cell & MOVED != 0 {
            self.map.store(at, cell & !MOVED);
            self.raise_record(slot, cell >> 1);
        }
    }

    fn raise_record(&mut self, slot: Slot, count: u64) {
        if count > self.in_record(slot).0 {
            self.list(slot, DIRTY_INCR | UNREAD);
            self.map.store(slot.offset() + INCR_AT, count);
        }
    }

    /// Raises the cell of a slot that is settled, if it has one, to what its record says. Counts that are large no
    /// cell is counted on after.
    pub(crate) fn raise_cell(&mut self, slot: Slot) {
        let count = self.in_record(slot).0;
        if count < LARGE
            && let Some((at, _)) = self.cell(slot)
        {
            self.map.store(at, count << 1);
        }
    }

    /// The increments of a slot that has a cell.
    #[cold]
    pub(crate) fn incr_with_cell(&self, slot: Slot) -> u64 {
        let of_cell = self.cell(slot).map_or(0, |(_, cell)| cell >> 1);
        of_cell.max(self.in_record(slot).0)
    }

    /// Where the cell of a slot is, and what it says.
    fn cell(&self, slot: Slot) -> Option<(usize, u64)> {
        let ordinal = self.lanes.ordinals.get(slot)?;
        let at = self.lanes.word(ordinal as usize)? * size_of::<u64>();
        Some((at, self.map.load(at)?))
    }
}

impl Lanes {
    /// Adds to a cell; gives the new count.
    #[inline]
    fn raise(&mut self, words: &[AtomicU64], ordinal: usize, by: u64) -> u64 {
        let Some(cell) = self.word(ordinal).and_then(|word| words.get(word)) else {
            return 0;
        };
        let raised = cell.load(Ordering::Relaxed).wrapping_add(by << 1) | MOVED;
        self.mark(ordinal);
        cell.store(raised, Ordering::Release);
        raised >> 1
    }

    /// Takes the cells of a lane that moved; false where there are more than fit.
    fn take_moved(&mut self, journal: &mut Journal, lane: usize, moved: &mut Moved) -> bool {
        let first = lane * LANE_LINES;
        for line in first..first + LANE_LINES {
            let Some(is_marked) = self.lines.get_mut(line).filter(|mark| **mark == 1) else {
                continue;
            };
            if moved.is_full() {
                return false;
            }
            *is_marked = 0;
            for ordinal in line * LINE_CELLS..(line + 1) * LINE_CELLS {
                let (Some(word), Some(units_at)) = (self.word(ordinal), self.units_at(ordinal))
                else {
                    continue;
                };
                let at = word * size_of::<u64>();
                let cell = journal.map.load(at).unwrap_or(0);
                if cell & MOVED != 0 {
                    let units = journal.map.load_half(units_at).unwrap_or(0);
                    journal.map.prefetch(Slot::of_units(units).offset());
                    journal.map.store(at, cell & !MOVED);
                    moved.push(units, cell >> 1);
                }
            }
        }
        if let Some(is_marked) = self.lanes.get_mut(lane) {
            *is_marked = 0;
        }
        true
    }
}

/// Cells that moved: units and counts.
struct Moved {
    all: [(u32, u64); SETTLED_AT_ONCE + LINE_CELLS],
    count: usize,
}

impl Default for Moved {
    fn default() -> Self {
        Moved {
            all: [(0, 0); SETTLED_AT_ONCE + LINE_CELLS],
            count: 0,
        }
    }
}

impl Moved {
    fn is_full(&self) -> bool {
        self.count >= SETTLED_AT_ONCE
    }

    fn push(&mut self, units: u32, count: u64) {
        if let Some(next) = self.all.get_mut(self.count) {
            *next = (units, count);
            self.count += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        self.all.get(..self.count).unwrap_or(&[]).iter().copied()
    }
}
