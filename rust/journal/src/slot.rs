//! Where a key's counts are, and the view of them for other threads.

use crate::map::View;
use crate::record::{DIRTY_DECR, DIRTY_INCR, META_AT, Meta, TEXT_AT};

/// The offset of the increments in a record; the decrements follow.
pub(crate) const INCR_AT: usize = 0;
pub(crate) const DECR_AT: usize = 8;

/// A key's record in one journal: valid as long as that journal, for it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// No key's: the header is there.
    pub const NONE: Slot = Slot(0);

    /// The slot of a record offset, which is a multiple of 8 and below 32 GiB.
    pub(crate) fn at(offset: usize) -> Option<Self> {
        u32::try_from(offset / 8).ok().map(Self)
    }

    /// What [`Slot::units`] gave. Other numbers name no slot: what they read and count is nobody's.
    #[inline]
    pub fn of_units(units: u32) -> Self {
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

    #[inline]
    pub(crate) fn dirty(self) -> u64 {
        match self {
            Self::Incr => DIRTY_INCR,
            Self::Decr => DIRTY_DECR,
        }
    }
}

/// A slot off the dirty list: which of its counts moved since the last flush, and what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dirty {
    pub slot: Slot,
    /// The increments moved; the decrements did.
    pub sides: (bool, bool),
    pub incr: u64,
    pub decr: u64,
}

/// A slot off the unread list: its counts, and what they were when it came onto the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    pub slot: Slot,
    pub before: (u64, u64),
    pub now: (u64, u64),
    /// What [`crate::Journal::set_note`] wrote; 0 at first.
    pub note: u32,
}

impl Unread {
    /// By how much increments minus decrements moved.
    #[must_use]
    pub fn moved(&self) -> i128 {
        let net = |(incr, decr): (u64, u64)| i128::from(incr) - i128::from(decr);
        net(self.now) - net(self.before)
    }
}

/// Reads counts and keys of a live journal from any thread, without the engine's lock. Cheap to clone.
///
/// It keeps the mapping, and with it the file's lock, until it is dropped (or the journal was removed or abandoned).
#[derive(Clone)]
pub struct Slots(pub(crate) View);

impl Slots {
    /// (increments, decrements) of a slot; each was there at some moment of the call, but for increments that are only in
    /// its cell yet ([`crate::Journal::settle`]). (0, 0) for a foreign slot beyond the end. Cost: two loads.
    #[inline]
    pub fn read(&self, slot: Slot) -> (u64, u64) {
        (
            self.0.load(slot.offset() + INCR_AT).unwrap_or(0),
            self.0.load(slot.offset() + DECR_AT).unwrap_or(0),
        )
    }

    /// Appends the key of a slot to `out`; nothing for a foreign one. Cost: its length.
    pub fn copy_key(&self, slot: Slot, out: &mut Vec<u8>) {
        if let Some(meta) = self.0.load(slot.offset() + META_AT).map(Meta)
            && meta.is_key()
        {
            self.0.copy(slot.offset() + TEXT_AT, meta.text_bytes(), out);
        }
    }
}
