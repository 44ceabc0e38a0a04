//! Which slots moved: the dirty list, for the next flush, and the unread list, for the next read. And what the engine
//! writes down about a key, which says how it can be read, and the mark of who named it.

use crate::journal::Journal;
use crate::queue::{Piece, Run};
use crate::record::{
    DIRTY, DIRTY_DECR, DIRTY_INCR, MARK_SHIFT, META_AT, Meta, NOTE_AT, SOLE, UNREAD, span,
};
use crate::slot::{Dirty, Slot, Unread};

/// Marks have four bits of a record.
pub const MARK_MAX: u32 = 15;

/// How many records are on their way from memory while one is worked on.
const AHEAD: usize = 32;

impl Journal {
    /// Takes the oldest slots off the unread list, some hundreds at most; none when it is empty.
    pub fn take_unread(&mut self, out: &mut Vec<Unread>) {
        let piece = match self.unread.take() {
            Piece::Items(items) => items,
            // Born with their counts: there was nothing before.
            Piece::Run(run) => self.records(run).map(|slot| (slot, (0, 0))).collect(),
        };
        out.reserve(piece.len());
        self.prefetch_ahead(piece.iter().map(|(slot, _)| *slot), |journal, n, slot| {
            let before = piece.get(n).map_or((0, 0), |(_, before)| *before);
            journal.clear_flags(slot, UNREAD);
            out.push(Unread {
                slot,
                before,
                now: journal.in_record(slot),
                note: journal.note(slot),
            });
        });
        self.unread.reuse(piece);
    }

    /// Takes the oldest slots off the dirty list, about `count` at most; none when it is empty. They stay marked, so
    /// that nothing lists them again, until [`Journal::read_dirty`] was called for them, which somebody has to do.
    pub fn take_dirty(&mut self, count: usize, out: &mut Vec<Slot>) {
        let until = out.len().saturating_add(count);
        while out.len() < until && !self.dirty.is_empty() {
            match self.dirty.take() {
                Piece::Items(items) => out.extend_from_slice(&items),
                Piece::Run(run) => out.extend(self.records(run)),
            }
        }
    }

    /// Reads slots that were taken, and takes their mark off: what moves from now on is listed again.
    pub fn read_dirty(&mut self, slots: &[Slot], out: &mut Vec<Dirty>) {
        out.reserve(slots.len());
        self.prefetch_ahead(slots.iter().copied(), |journal, _, slot| {
            let flags = journal.meta(slot).map_or(0, |meta| meta.0);
            journal.clear_flags(slot, DIRTY);
            let (incr, decr) = journal.in_record(slot);
            let sides = (flags & DIRTY_INCR != 0, flags & DIRTY_DECR != 0);
            out.push(Dirty {
                slot,
                sides,
                incr,
                decr,
            });
        });
    }

    /// Puts back on the dirty list what a failed flush has taken.
    pub fn mark_dirty(&mut self, dirty: &Dirty) {
        let side = |moved, flag| if moved { flag } else { 0 };
        let flags = side(dirty.sides.0, DIRTY_INCR) | side(dirty.sides.1, DIRTY_DECR);
        self.list(dirty.slot, flags);
    }

    /// What [`Journal::set_note`] wrote; 0 at first.
    #[inline]
    pub fn note(&self, slot: Slot) -> u32 {
        self.map.load_half(slot.offset() + NOTE_AT).unwrap_or(0)
    }

    /// Write something down about a key, for the life of this journal. `sole`: nobody else counts on the key.
    pub fn set_note(&mut self, slot: Slot, note: u32, sole: bool) {
        if !self.meta(slot).is_some_and(Meta::is_key) {
            return;
        }
        self.map.store_half(slot.offset() + NOTE_AT, note);
        if sole {
            self.set_flags(slot, SOLE);
        } else {
            self.clear_flags(slot, SOLE);
        }
    }

    /// (increments, decrements) where, as the last [`Journal::set_note`] has it, nobody else counts on the key.
    #[inline]
    pub fn read_sole(&self, slot: Slot) -> Option<(u64, u64)> {
        let meta = self.meta(slot).filter(|meta| meta.0 & SOLE != 0)?;
        Some(match meta.has_cell() {
            false => self.in_record(slot),
            true => self.read(slot),
        })
    }

    /// Whether the last [`Journal::set_mark`] of a key was of this mark (1 to [`MARK_MAX`]).
    #[inline]
    pub fn has_mark(&self, slot: Slot, mark: u32) -> bool {
        self.meta(slot)
            .is_some_and(|meta| meta.0 >> MARK_SHIFT == u64::from(mark))
    }

    /// Marks a key, for the life of this journal; true where it had this mark already. Cost: a load, mostly a store.
    #[inline]
    pub fn set_mark(&mut self, slot: Slot, mark: u32) -> bool {
        let Some(meta) = self.meta(slot).filter(|meta| meta.is_key()) else {
            return false;
        };
        let marked = meta.0 & !(u64::from(MARK_MAX) << MARK_SHIFT)
            | u64::from(mark & MARK_MAX) << MARK_SHIFT;
        if marked == meta.0 {
            return true;
        }
        self.map.store(slot.offset() + META_AT, marked);
        false
    }

    /// Whether a slot moved since it was last taken off the unread list.
    #[inline]
    pub fn is_unread(&self, slot: Slot) -> bool {
        self.meta(slot).is_some_and(|meta| meta.0 & UNREAD != 0)
            || self.read(slot) != self.in_record(slot)
    }

    /// How many slots are listed: all that moved since the last flush, where [`Journal::settle`] has listed them.
    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// Whether nothing moved since the last flush. Cost: constant.
    #[inline]
    pub fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.lanes.moved.is_empty()
    }

    /// How many slots moved since the last read, at most; exactly, where [`Journal::settle`] has listed them.
    pub fn unread_len(&self) -> usize {
        self.unread.len() + self.lanes.moved.len()
    }

    /// Whether nothing moved since the last read. Cost: constant.
    #[inline]
    pub fn is_read(&self) -> bool {
        self.unread.is_empty() && self.lanes.moved.is_empty()
    }

    /// Puts a slot on the lists of those `flags` that it does not have yet, before its counts move. True where it is
    /// the first one of the dirty list.
    pub(crate) fn list(&mut self, slot: Slot, flags: u64) -> bool {
        let Some(meta) = self.meta(slot).filter(|meta| meta.is_key()) else {
            return false;
        };
        let missing = flags & !meta.0;
        if missing & UNREAD != 0 {
            let before = self.in_record(slot);
            self.unread.push((slot, before));
        }
        self.map.store(slot.offset() + META_AT, meta.0 | missing);
        if missing & DIRTY == 0 || meta.0 & DIRTY != 0 {
            return false;
        }
        let is_first = self.dirty.is_empty();
        self.dirty.push(slot);
        is_first
    }

    /// Puts the last record, which was born with a count and the flags of one, on the lists. True where it is the first
    /// one of the dirty list.
    #[inline]
    pub(crate) fn list_born(&mut self, slot: Slot) -> bool {
        let (from, to) = (slot.offset(), self.end);
        self.unread.push_record(from, to, (slot, (0, 0)));
        let is_first = self.dirty.is_empty();
        self.dirty.push_record(from, to, slot);
        is_first
    }

    fn records(&self, run: Run) -> impl Iterator<Item = Slot> {
        let mut offset = run.from;
        (0..run.count).filter_map(move |_| {
            let slot = Slot::at(offset)?;
            offset += span(self.meta(slot)?.text_bytes());
            Some(slot)
        })
    }

    fn set_flags(&mut self, slot: Slot, flags: u64) {
        if let Some(meta) = self.meta(slot) {
            self.map.store(slot.offset() + META_AT, meta.0 | flags);
        }
    }

    fn clear_flags(&mut self, slot: Slot, flags: u64) {
        if let Some(meta) = self.meta(slot) {
            self.map.store(slot.offset() + META_AT, meta.0 & !flags);
        }
    }

    /// Calls with (self, index, slot) for each slot, its record on the way from memory long before.
    pub(crate) fn prefetch_ahead(
        &mut self,
        slots: impl Iterator<Item = Slot> + Clone,
        mut each: impl FnMut(&mut Self, usize, Slot),
    ) {
        let mut ahead = slots.clone();
        for slot in ahead.by_ref().take(AHEAD) {
            self.map.prefetch(slot.offset());
        }
        for (n, slot) in slots.enumerate() {
            if let Some(next) = ahead.next() {
                self.map.prefetch(next.offset());
            }
            each(self, n, slot);
        }
    }
}
