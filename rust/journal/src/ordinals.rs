//! Which ordinal the key of a slot has: memory of the live process, for keys that have one alone.

use crate::error::JournalError;
use crate::record::span;
use crate::slot::Slot;

/// 8-byte units in which at most one record begins.
const PLACE_UNITS: usize = 4;
const _: () = assert!(
    span(1) >= PLACE_UNITS * 8,
    "two records would share a place"
);
/// Places of a page: 2 KiB of the journal. Small, so that few keys with ordinals among many without take little.
const PAGE_PLACES: usize = 64;

#[derive(Default)]
pub(crate) struct Ordinals {
    /// By place: the ordinal and 1, or 0. Pages without any are empty.
    pages: Vec<Box<[u32]>>,
}

impl Ordinals {
    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<u32> {
        let (page, place) = place(slot);
        self.pages.get(page)?.get(place)?.checked_sub(1)
    }

    /// Gives a slot an ordinal below `u32::MAX`.
    ///
    /// # Errors
    /// `NoMemory`: nothing has changed.
    pub(crate) fn set(&mut self, slot: Slot, ordinal: u32) -> Result<(), JournalError> {
        let (page, place) = place(slot);
        let no_memory = JournalError::NoMemory { words: page + 1 };
        if page >= self.pages.len() {
            let more = page + 1 - self.pages.len();
            if self.pages.try_reserve(more).is_err() {
                return Err(no_memory);
            }
            self.pages.resize_with(page + 1, Box::default);
        }
        let Some(places) = self.pages.get_mut(page) else {
            return Err(no_memory);
        };
        if places.is_empty() {
            let mut made = Vec::new();
            if made.try_reserve_exact(PAGE_PLACES).is_err() {
                return Err(no_memory);
            }
            made.resize(PAGE_PLACES, 0);
            *places = made.into_boxed_slice();
        }
        if let Some(held) = places.get_mut(place) {
            *held = ordinal.saturating_add(1);
        }
        Ok(())
    }
}

#[inline]
fn place(slot: Slot) -> (usize, usize) {
    let place = slot.units() as usize / PLACE_UNITS;
    (place / PAGE_PLACES, place % PAGE_PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_its_own_ordinal_and_others_have_none() {
        let mut ordinals = Ordinals::default();
        let slots: Vec<Slot> = (0..2000).map(|n| Slot::of_units(512 + n * 4)).collect();
        for (ordinal, slot) in (0..).zip(slots.iter().rev().step_by(3)) {
            ordinals.set(*slot, ordinal).unwrap();
        }
        for (n, slot) in slots.iter().rev().enumerate() {
            let expected = (n % 3 == 0).then_some(n as u32 / 3);
            assert_eq!(ordinals.get(*slot), expected);
        }
        assert_eq!(ordinals.get(Slot::of_units(u32::MAX)), None);
        assert_eq!(ordinals.get(Slot::NONE), None);
    }
}
