//! Dense increments of keys that were given an ordinal: a batch on ordinals touches 8 bytes of a key, not its record.
//!
//! They are cells in lanes (`lane`). The cells of all lanes are mapped behind each other once more, so that an ordinal is
//! a place. They start at a page of the file, those of large lanes at a huge one.
//!
//! The increments of a key are the larger one of what its record and its cell say. Both only grow and each was the
//! whole count at some moment, so a file in which one of them is older than the other, as after power loss, has an
//! older count and never a doubled one. Increments raise the cell alone (`rows`). Before anything looks at what moved,
//! the records are raised and their slots listed (`settling`), so that all behind it knows records only. Who counts on
//! the record of such a key settles it first, and raises the cell, too.

use std::os::fd::AsFd;

use rustix::fs::Advice;

use crate::birth::Born;
use crate::error::JournalError;
use crate::journal::Journal;
use crate::lane::{LANE_TEXT_BYTES, Shape};
use crate::map::{ADDRESS_BYTES_MAX, HUGE_BYTES, Map};
use crate::moved::Moved;
use crate::ordinals::Ordinals;
use crate::record::{HAS_CELL, Kind, META_AT, span};
use crate::slot::Slot;

/// A multiple of every page size there is.
const PAGE_BYTES: usize = 64 << 10;
/// Cells of the first lane: a page of them. Each further one doubles their number, ...
const CELLS_MIN: usize = PAGE_BYTES / size_of::<u64>();
/// ... up to lanes of one huge page of cells: more would have to be cleared while others wait.
const CELLS_MAX: usize = HUGE_BYTES / size_of::<u64>();
/// More cells in all than fit the journal with the records of their keys: addresses for them cost nothing.
const CELL_ADDRESS_BYTES_MAX: usize = ADDRESS_BYTES_MAX / 4;

/// The lowest bit of a cell.
pub(crate) const MOVED: u64 = 1;

/// The lanes of a live journal.
#[derive(Default)]
pub(crate) struct Lanes {
    /// The cells of all lanes; none as long as nobody has an ordinal.
    pub(crate) cells: Option<Map>,
    /// Where in the file the units of each [`CELLS_MIN`] ordinals are: no lane ends between.
    units: Vec<usize>,
    /// How many ordinals were given.
    count: usize,
    ordinals: Ordinals,
    pub(crate) moved: Moved,
    /// Room for what is settled at once: ordinals, units and counts.
    pub(crate) taken: Vec<u32>,
    pub(crate) raised: Vec<(u32, u64)>,
}

impl Lanes {
    /// How many cells there are.
    fn room(&self) -> usize {
        let bytes = self.cells.as_ref().map_or(0, Map::mapped);
        bytes / size_of::<u64>()
    }

    /// Where in the file the units of an ordinal are.
    pub(crate) fn units_at(&self, ordinal: usize) -> Option<usize> {
        let at = self.units.get(ordinal / CELLS_MIN)?;
        Some(at + ordinal % CELLS_MIN * size_of::<u32>())
    }

    pub(crate) fn load(&self, ordinal: usize) -> Option<u64> {
        self.cells.as_ref()?.load(ordinal * size_of::<u64>())
    }

    pub(crate) fn store(&mut self, ordinal: usize, cell: u64) {
        if let Some(cells) = &mut self.cells {
            cells.store(ordinal * size_of::<u64>(), cell);
        }
    }
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
            None => Map::reserve_most(CELL_ADDRESS_BYTES_MAX.min(self.map.limit() / 4))
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
        // The record comes after the mapping: one whose cells could not be mapped would take its place for nothing.
        self.make_room(span(LANE_TEXT_BYTES).saturating_add(body))?;
        if is_huge {
            // Small pages that were read ahead there would stay.
            let bytes = std::num::NonZeroU64::new((count * size_of::<u64>()) as u64);
            let _ = rustix::fs::fadvise(&self.file.file, cells_at as u64, bytes, Advice::DontNeed);
        }
        cells
            .extend_from(self.file.file.as_fd(), cells_at, all * size_of::<u64>())
            .map_err(|error| JournalError::io("map cells of", &self.file.path, error))?;
        let offset = self
            .append(Kind::Lane, &shape.encode(), body, Born::EMPTY)?
            .offset();
        if is_huge {
            // At once: what is read ahead near it would take its place in small pages.
            cells.advise_huge(place);
            cells.skip(place);
            cells.populate(all * size_of::<u64>(), false);
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

    /// The ordinal of a slot, and what its cell says.
    #[inline]
    pub(crate) fn cell(&self, slot: Slot) -> Option<(usize, u64)> {
        let ordinal = self.lanes.ordinals.get(slot)? as usize;
        Some((ordinal, self.lanes.load(ordinal)?))
    }
}
