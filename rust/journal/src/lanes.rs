//! Dense increments of keys that were given an ordinal: a batch on ordinals touches 8 bytes of a key, not its record.
//!
//! A lane record has a text of two words, how many cells it has and how far behind its start they are, and a body:
//! ```text
//! cells   u64    increments of the key, absolute, times 2; the lowest bit: noted as moved, no meaning in a file
//! units   u32    its record (offset / 8); 0 = of no key yet
//! ```
//! The cells of all lanes are mapped behind each other once more, so that an ordinal is a place. They start at a page
//! of the file, those of large lanes at a huge one.
//!
//! The increments of a key are the larger one of what its record and its cell say. Both only grow and each was the
//! whole count at some moment, so a file in which one of them is older than the other, as after power loss, has an
//! older count and never a doubled one. Increments raise the cell alone. Before anything looks at what moved,
//! [`Journal::settle`] raises the records and lists their slots, so that all behind it knows records only. Who counts
//! on the record of such a key settles it first, and raises the cell, too.
//!
//! Which cells moved is noted in memory: who settles looks at these only.

use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::Advice;

use crate::error::JournalError;
use crate::journal::{Journal, LARGE};
use crate::map::{ADDRESS_BYTES_MAX, HUGE_BYTES, Map, prefetch_far};
use crate::moved::{Moved, Notes};
use crate::ordinals::Ordinals;
use crate::record::{DIRTY_INCR, HAS_CELL, Kind, META_AT, UNREAD, span};
use crate::slot::{INCR_AT, Side, Slot};

/// Text of a lane record.
pub(crate) const LANE_TEXT_BYTES: usize = 16;
/// A multiple of every page size there is.
const PAGE_BYTES: usize = 64 << 10;
/// Cells of the first lane: a page of them. Each further one doubles their number, ...
const CELLS_MIN: usize = PAGE_BYTES / size_of::<u64>();
/// ... up to lanes of one huge page of cells: more would have to be cleared while others wait.
const CELLS_MAX: usize = HUGE_BYTES / size_of::<u64>();
/// More cells in all than fit the journal with the records of their keys: addresses for them cost nothing.
const CELL_ADDRESS_BYTES_MAX: usize = ADDRESS_BYTES_MAX / 4;

/// How many cells are on their way from memory, into the second cache, while one is worked on: more than the first
/// cache can wait for.
const AHEAD: usize = 128;
/// Rows that are looked at together.
const ROWS: usize = 256;
/// Records that are raised before others get their turn.
const SETTLED_AT_ONCE: usize = 512;
/// How many of their cells are on their way from memory while one is read.
const SETTLED_AHEAD: usize = 16;

/// The lowest bit of a cell.
const MOVED: u64 = 1;

/// Where the parts of a lane record are, from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) cells: usize,
    pub(crate) cells_at: usize,
}

impl Shape {
    pub(crate) fn encode(self) -> [u8; LANE_TEXT_BYTES] {
        let mut text = [0; LANE_TEXT_BYTES];
        let (cells, at) = text.split_at_mut(LANE_TEXT_BYTES / 2);
        cells.copy_from_slice(&(self.cells as u64).to_le_bytes());
        at.copy_from_slice(&(self.cells_at as u64).to_le_bytes());
        text
    }

    pub(crate) fn decode(text: &[u8]) -> Option<Self> {
        let word = |word: &[u8; 8]| usize::try_from(u64::from_le_bytes(*word)).ok();
        let (cells, at) = text.split_first_chunk::<8>()?;
        let shape = Self {
            cells: word(cells)?,
            cells_at: word(at.first_chunk::<8>()?)?,
        };
        let is_one = text.len() == LANE_TEXT_BYTES && shape.cells_at >= span(LANE_TEXT_BYTES);
        is_one.then_some(shape)
    }

    /// Where the units are.
    pub(crate) fn units_at(self) -> Option<usize> {
        self.cells
            .checked_mul(size_of::<u64>())?
            .checked_add(self.cells_at)
    }

    /// Bytes of the body.
    pub(crate) fn body_bytes(self) -> Option<usize> {
        let units = self.cells.checked_mul(size_of::<u32>())?;
        let end = self.units_at()?.checked_add(units)?;
        end.checked_next_multiple_of(8)?
            .checked_sub(span(LANE_TEXT_BYTES))
    }
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
    /// The cells of all lanes; none as long as nobody has an ordinal.
    cells: Option<Map>,
    /// Where in the file the units of each [`CELLS_MIN`] ordinals are: no lane ends between.
    units: Vec<usize>,
    /// How many ordinals were given.
    count: usize,
    ordinals: Ordinals,
    pub(crate) moved: Moved,
    /// Room for what is settled at once: ordinals, units and counts.
    taken: Vec<u32>,
    raised: Vec<(u32, u64)>,
}

impl Lanes {
    /// How many cells there are.
    fn room(&self) -> usize {
        let bytes = self.cells.as_ref().map_or(0, Map::mapped);
        bytes / size_of::<u64>()
    }

    /// Where in the file the units of an ordinal are.
    fn units_at(&self, ordinal: usize) -> Option<usize> {
        let at = self.units.get(ordinal / CELLS_MIN)?;
        Some(at + ordinal % CELLS_MIN * size_of::<u32>())
    }

    fn load(&self, ordinal: usize) -> Option<u64> {
        self.cells.as_ref()?.load(ordinal * size_of::<u64>())
    }

    fn store(&mut self, ordinal: usize, cell: u64) {
        if let Some(cells) = &mut self.cells {
            cells.store(ordinal * size_of::<u64>(), cell);
        }
    }

    /// All that a loop over so many rows needs.
    fn raising(&mut self, rows: usize) -> Option<Raising<'_>> {
        Some(Raising {
            words: self.cells.as_ref()?.words(),
            notes: self.moved.notes(rows),
            #[cfg(test)]
            stores_left: self.cells.as_ref()?.stores_left.clone(),
        })
    }
}

/// Cells that are raised.
struct Raising<'a> {
    words: &'a [AtomicU64],
    notes: Notes<'a>,
    #[cfg(test)]
    stores_left: crate::map::StoresLeft,
}

/// How far a pass of [`Journal::settle`] is.
#[derive(Debug)]
pub struct Settling {
    /// What was noted before it began.
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
        if self.lanes.count >= self.lanes.room() {
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
        let held = self.lanes.room();
        let path = self.file.path.clone();
        let failed = |what, error| JournalError::io(what, &path, error);
        let mut cells = match self.lanes.cells.take() {
            Some(cells) => cells,
            None => Map::reserve_most(CELL_ADDRESS_BYTES_MAX)
                .map_err(|error| failed("reserve addresses for cells of", error))?,
        };
        #[cfg(test)]
        cells.stores_left.clone_from(&self.map.stores_left);
        let (done, cells) = (self.map_lane(held, &mut cells), cells);
        self.lanes.cells = Some(cells);
        done
    }

    /// Makes a lane behind so many cells, and maps its cells.
    fn map_lane(&mut self, held: usize, cells: &mut Map) -> Result<(), JournalError> {
        let count = held.clamp(CELLS_MIN, CELLS_MAX);
        let all = held + count;
        let place = held * size_of::<u64>();
        if all * size_of::<u64>() > cells.limit() {
            return Err(self.too_large());
        }
        if self.lanes.units.try_reserve(count / CELLS_MIN).is_err() {
            return Err(JournalError::NoMemory { words: count });
        }
        // The largest lanes are huge pages, where addresses are as well.
        let is_huge = count == CELLS_MAX && cells.is_huge_at(place);
        let align = if is_huge { HUGE_BYTES } else { PAGE_BYTES };
        let cells_at = (self.end + span(LANE_TEXT_BYTES)).next_multiple_of(align);
        let shape = Shape {
            cells: count,
            cells_at: cells_at - self.end,
        };
        let (Some(body), Some(units_at)) = (shape.body_bytes(), shape.units_at()) else {
            return Err(self.too_large());
        };
        let offset = self.append(Kind::Lane, &shape.encode(), body)?.offset();
        if is_huge {
            // Small pages that were read ahead there would stay.
            let bytes = std::num::NonZeroU64::new((count * size_of::<u64>()) as u64);
            let _ = rustix::fs::fadvise(&self.file.file, cells_at as u64, bytes, Advice::DontNeed);
        }
        cells
            .extend_from(self.file.file.as_fd(), cells_at, all * size_of::<u64>())
            .map_err(|error| JournalError::io("map cells of", &self.file.path, error))?;
        if is_huge {
            // At once: what is read ahead near it would take its place in small pages.
            cells.advise_huge(place);
            cells.skip(place);
            cells.populate(all * size_of::<u64>());
        }
        let bytes = count * size_of::<u32>();
        let units = (units_at..units_at + bytes).step_by(CELLS_MIN * size_of::<u32>());
        self.lanes.units.extend(units.map(|at| offset + at));
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
        for (number, mine) in mine.chunks(ROWS).enumerate() {
            let ahead = slice.start + number * ROWS + AHEAD;
            let ahead = rows.get(ahead..).unwrap_or(&[]);
            if self.any_large {
                // A cell cannot hold every count; nor has it to, as it is not counted on any more.
                mine.iter().for_each(|row| self.add_to_record(*row));
            } else if mine.iter().fold(0, |any, row| any | row.0) >> 63 == 0 {
                self.add_up(mine, ahead);
            } else {
                self.add_both(mine, ahead);
            }
        }
        was_clean && !self.is_clean()
    }

    fn add_up(&mut self, rows: &[Row], ahead: &[Row]) {
        let mut sizes = 0;
        if let Some(mut cells) = self.lanes.raising(rows.len()) {
            for (n, row) in rows.iter().enumerate() {
                if let Some(next) = ahead.get(n) {
                    cells.prefetch(next.ordinal());
                }
                sizes |= cells.raise(row.ordinal(), row.amount().cast_unsigned());
            }
        }
        self.note_size(sizes);
    }

    /// Adds increments to cells and decrements to records. No branch on the sign: signs come in any order.
    fn add_both(&mut self, rows: &[Row], ahead: &[Row]) {
        let (mut sizes, mut count) = (0, 0);
        let (mut down, mut amounts) = ([0; ROWS], [0; ROWS]);
        if let Some(mut cells) = self.lanes.raising(rows.len()) {
            for (n, row) in rows.iter().enumerate() {
                if let Some(next) = ahead.get(n) {
                    cells.prefetch(next.ordinal());
                }
                let amount = row.amount();
                if let (Some(at), Some(by)) = (down.get_mut(count), amounts.get_mut(count)) {
                    (*at, *by) = (row.0 as u32, amount.unsigned_abs());
                }
                count += usize::from(amount < 0);
                sizes |= cells.raise(row.ordinal(), amount.max(0).cast_unsigned());
            }
        }
        self.note_size(sizes);
        let down = down.get_mut(..count).unwrap_or(&mut []);
        for at in &mut *down {
            *at = self.slot_of_ordinal(*at).units();
        }
        self.add_side(down, &amounts, Side::Decr);
    }

    /// Adds increments, by ordinal, whose sum was promised.
    pub(crate) fn add_to_cells(&mut self, all: impl Iterator<Item = (usize, u64)>, most: usize) {
        if self.any_large {
            for (at, by) in all {
                let units = self.slot_of_ordinal(at as u32).units();
                let view = self.map.view();
                let size = self.add_promised(view.words(), units, Side::Incr, by);
                self.note_size(size);
            }
            return;
        }
        let mut sizes = 0;
        if let Some(mut cells) = self.lanes.raising(most) {
            for (at, by) in all {
                sizes |= cells.raise(at, by);
            }
        }
        self.note_size(sizes);
    }

    fn add_to_record(&mut self, row: Row) {
        let units = self.slot_of_ordinal(row.0 as u32).units();
        let amount = row.amount();
        let side = if amount < 0 { Side::Decr } else { Side::Incr };
        let view = self.map.view();
        let size = self.add_promised(view.words(), units, side, amount.unsigned_abs());
        self.note_size(size);
    }

    /// Adds increments to the cell of a slot, if it has one and may be counted on; gives the new count. `None`: nothing
    /// was counted.
    #[inline]
    pub(crate) fn add_to_cell(&mut self, slot: Slot, by: u64) -> Option<u64> {
        let (ordinal, cell) = self.cell(slot).filter(|_| !self.any_large)?;
        let sum = (cell >> 1).checked_add(by).filter(|sum| *sum < LARGE)?;
        self.lanes.raising(1)?.raise(ordinal, by);
        Some(sum)
    }

    /// Begin a pass of [`Journal::settle`].
    pub fn settling(&self) -> Settling {
        Settling {
            until: self.lanes.moved.noted(),
        }
    }

    /// Raises records to what their cells say and lists their slots, some hundreds at a time; true once that is done
    /// with all that was counted before the pass began. Cost: some 50 ns for each key that moved.
    pub fn settle(&mut self, pass: &Settling) -> bool {
        if self.lanes.moved.taken() >= pass.until {
            return true;
        }
        let mut taken = std::mem::take(&mut self.lanes.taken);
        let mut raised = std::mem::take(&mut self.lanes.raised);
        self.lanes.moved.take(SETTLED_AT_ONCE, &mut taken);
        self.lanes.take_cells(&self.map, &taken, &mut raised);
        let slots = raised.iter().map(|(units, _)| Slot::of_units(*units));
        self.prefetch_ahead(slots, |journal, n, slot| {
            let count = raised.get(n).map_or(0, |(_, count)| *count);
            journal.raise_record(slot, count);
        });
        taken.clear();
        raised.clear();
        (self.lanes.taken, self.lanes.raised) = (taken, raised);
        self.lanes.moved.taken() >= pass.until
    }

    /// Raises a record to what its cell says, which stays noted. Cost: a load or two where there is nothing to do.
    pub(crate) fn settle_slot(&mut self, slot: Slot) {
        if let Some((_, cell)) = self.cell(slot) {
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
            && let Some((ordinal, cell)) = self.cell(slot)
        {
            self.lanes.store(ordinal, count << 1 | cell & MOVED);
        }
    }

    /// The increments of a slot that has a cell.
    #[cold]
    pub(crate) fn incr_with_cell(&self, slot: Slot) -> u64 {
        let of_cell = self.cell(slot).map_or(0, |(_, cell)| cell >> 1);
        of_cell.max(self.in_record(slot).0)
    }

    /// The ordinal of a slot, and what its cell says.
    #[inline]
    fn cell(&self, slot: Slot) -> Option<(usize, u64)> {
        let ordinal = self.lanes.ordinals.get(slot)? as usize;
        Some((ordinal, self.lanes.load(ordinal)?))
    }
}

impl Raising<'_> {
    #[inline]
    fn prefetch(&self, ordinal: usize) {
        prefetch_far(self.words.as_ptr().wrapping_add(ordinal).cast());
    }

    /// Adds to a cell; gives the new count.
    #[inline]
    fn raise(&mut self, ordinal: usize, by: u64) -> u64 {
        let Some(cell) = self.words.get(ordinal) else {
            return 0;
        };
        #[cfg(test)]
        if !self.stores_left.take_one() {
            return 0;
        }
        let held = cell.load(Ordering::Relaxed);
        let has_moved = u64::from(by != 0);
        self.notes
            .note(ordinal as u32, has_moved & !held & MOVED != 0);
        let raised = held.wrapping_add(by << 1) | has_moved;
        cell.store(raised, Ordering::Release);
        raised >> 1
    }
}

impl Lanes {
    /// Takes what cells say that moved: units and counts.
    fn take_cells(&mut self, map: &Map, ordinals: &[u32], out: &mut Vec<(u32, u64)>) {
        for (n, ordinal) in ordinals.iter().enumerate() {
            if let Some((next, cells)) = ordinals.get(n + SETTLED_AHEAD).zip(self.cells.as_ref()) {
                cells.prefetch(*next as usize * size_of::<u64>());
                map.prefetch(self.units_at(*next as usize).unwrap_or(0));
            }
            let ordinal = *ordinal as usize;
            let cell = self.load(ordinal).unwrap_or(0);
            let units = self.units_at(ordinal).and_then(|at| map.load_half(at));
            self.store(ordinal, cell & !MOVED);
            out.push((units.unwrap_or(0), cell >> 1));
        }
    }
}
