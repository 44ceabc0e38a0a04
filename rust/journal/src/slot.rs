//! Where a key's counts are, and the view of them for other threads.

use crate::map::View;

/// The offset of the increments in a record; the decrements follow.
pub(crate) const INCR_AT: usize = 0;
pub(crate) const DECR_AT: usize = 8;

/// A key's record in one journal: valid as long as that journal, for it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// The slot of a record offset, which is a multiple of 8 and below 32 GiB.
    pub(crate) fn at(offset: usize) -> Option<Self> {
        u32::try_from(offset / 8).ok().map(Self)
    }

    pub(crate) fn from_units(units: u32) -> Self {
        Self(units)
    }

    #[inline]
    pub(crate) fn offset(self) -> usize {
        self.0 as usize * 8
    }

    /// The record offset in units of 8 bytes: unique in its journal, rising in the order of insertion, not dense.
    #[inline]
    pub fn units(self) -> u32 {
        self.0
    }
}

/// Which of the two sub-counters of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Increments.
    Incr,
    /// Decrements.
    Decr,
}

impl Side {
    #[inline]
    pub(crate) fn at(self) -> usize {
        match self {
            Self::Incr => INCR_AT,
            Self::Decr => DECR_AT,
        }
    }
}

/// Reads counts of a live journal from any thread, without the engine's lock. Cheap to clone.
///
/// It keeps the mapping, and with it the file's lock, until it is dropped (or the journal was removed or abandoned).
#[derive(Clone)]
pub struct Slots(pub(crate) View);

impl Slots {
    /// (increments, decrements) of a slot; each was there at some moment of the call. (0, 0) for a foreign slot beyond
    /// the end. Cost: two loads.
    #[inline]
    pub fn read(&self, slot: Slot) -> (u64, u64) {
        (
            self.0.load(slot.offset() + INCR_AT).unwrap_or(0),
            self.0.load(slot.offset() + DECR_AT).unwrap_or(0),
        )
    }
}
