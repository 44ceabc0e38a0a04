//! One line of the cache of tokens: a cache line of the processor with seven entries, and what is done within it.

use crdtstats_journal::{LINE_HALVES, Slot};

/// Entries of a line.
pub(crate) const WAYS: usize = 7;
/// How many misses in its line an entry outlives after a hit.
const CREDIT: u32 = 15;
/// A line is its tags, its credits (four bits for each entry), its slots. Tags and slots lie apart, so that all tags are
/// compared at once. An entry whose slot is [`Slot::NONE`] is free: a line of zeros is empty.
const CREDITS_AT: usize = WAYS;
const SLOTS_AT: usize = WAYS + 1;

pub(crate) type Halves = [u32; LINE_HALVES];

/// An entry.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub tag: u32,
    pub slot: Slot,
    pub credit: u32,
}

pub(crate) trait Line {
    /// Where a tag is. One place is looked at first: then the slot is read before the tags were compared.
    fn way(&self, tag: u32, first: usize) -> Option<usize>;
    fn slot(&self, way: usize) -> Slot;
    /// A free place, the one that is looked at first if it can be.
    fn free(&self, first: usize) -> Option<usize>;
    /// A place whose entry was not hit for long.
    fn spent(&self) -> Option<usize>;
    /// The entry of a place, unless it is free.
    fn entry(&self, way: usize) -> Option<Entry>;
    fn put(&mut self, way: usize, entry: Entry);
    fn clear(&mut self, way: usize);
    /// Notes a hit.
    fn hit(&mut self, way: usize);
    /// Notes a miss.
    fn age(&mut self);
}

#[inline]
fn credits(line: &Halves) -> u32 {
    line.get(CREDITS_AT).copied().unwrap_or(0)
}

#[inline]
fn credit(line: &Halves, way: usize) -> u32 {
    credits(line) >> (4 * way) & CREDIT
}

#[inline(never)]
fn other_way(line: &Halves, tag: u32) -> Option<usize> {
    let mut ways = 0u32;
    for (way, held) in line.iter().take(WAYS).enumerate() {
        ways |= u32::from(*held == tag) << way;
    }
    while ways != 0 {
        let way = ways.trailing_zeros() as usize;
        if line.slot(way) != Slot::NONE {
            return Some(way);
        }
        ways &= ways - 1; // a free entry's tag is 0
    }
    None
}

impl Line for Halves {
    #[inline(always)]
    fn way(&self, tag: u32, first: usize) -> Option<usize> {
        if self.get(first) == Some(&tag) && self.slot(first) != Slot::NONE {
            return Some(first);
        }
        other_way(self, tag)
    }

    #[inline]
    fn slot(&self, way: usize) -> Slot {
        let units = self.get(SLOTS_AT + way);
        units.map_or(Slot::NONE, |units| Slot::of_units(*units))
    }

    fn free(&self, first: usize) -> Option<usize> {
        let is_free = |way: &usize| self.slot(*way) == Slot::NONE;
        Some(first)
            .filter(is_free)
            .or_else(|| (0..WAYS).find(is_free))
    }

    fn spent(&self) -> Option<usize> {
        (0..WAYS).find(|&way| credit(self, way) == 0)
    }

    fn entry(&self, way: usize) -> Option<Entry> {
        let slot = self.slot(way);
        let entry = Entry {
            tag: *self.get(way)?,
            slot,
            credit: credit(self, way),
        };
        (slot != Slot::NONE).then_some(entry)
    }

    fn put(&mut self, way: usize, entry: Entry) {
        if let Some(tag) = self.get_mut(way) {
            *tag = entry.tag;
        }
        if let Some(slot) = self.get_mut(SLOTS_AT + way) {
            *slot = entry.slot.units();
        }
        if let Some(credits) = self.get_mut(CREDITS_AT) {
            *credits = *credits & !(CREDIT << (4 * way)) | (entry.credit & CREDIT) << (4 * way);
        }
    }

    fn clear(&mut self, way: usize) {
        let none = Entry {
            tag: 0,
            slot: Slot::NONE,
            credit: 0,
        };
        self.put(way, none);
    }

    #[inline]
    fn hit(&mut self, way: usize) {
        let full = CREDIT << (4 * way);
        if let Some(credits) = self.get_mut(CREDITS_AT)
            && *credits & full != full
        {
            *credits |= full;
        }
    }

    fn age(&mut self) {
        let aged = (0..WAYS).map(|way| credit(self, way).saturating_sub(1) << (4 * way));
        let aged = aged.fold(0, |all, one| all | one);
        if let Some(credits) = self.get_mut(CREDITS_AT) {
            *credits = aged;
        }
    }
}
