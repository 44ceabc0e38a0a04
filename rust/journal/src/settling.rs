//! Bringing what cells say into records, and onto the lists.

use crate::journal::{Journal, LARGE};
use crate::lanes::{Lanes, MOVED};
use crate::map::Map;
use crate::record::{DIRTY_INCR, UNREAD};
use crate::slot::{INCR_AT, Slot};

/// Records that are raised before others get their turn.
const SETTLED_AT_ONCE: usize = 512;
/// How many of their cells are on their way from memory while one is read.
const SETTLED_AHEAD: usize = 16;

/// How far a pass of [`Journal::settle`] is.
#[derive(Debug)]
pub struct Settling {
    /// What was noted before it began.
    until: u64,
}

impl Journal {
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
