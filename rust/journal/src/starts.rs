//! Where the records of keys begin: one bit for each 8 bytes of the journal.
//!
//! A number that comes from outside is a slot only where its bit is set. The record alone could not tell: the text of
//! a key may look like a record. Cost: about one byte of memory for each key.

use crate::error::JournalError;
use crate::journal::Journal;
use crate::slot::Slot;

pub(crate) const WORD_BITS: usize = u32::BITS as usize;

#[derive(Default)]
pub(crate) struct Starts {
    words: Vec<u32>,
}

impl Starts {
    /// Notes that the record of a key begins at `slot`.
    ///
    /// # Errors
    /// `NoMemory`: nothing has changed.
    pub(crate) fn add(&mut self, slot: Slot) -> Result<(), JournalError> {
        let (word, bit) = place(slot.units());
        if word >= self.words.len() {
            let more = word + 1 - self.words.len();
            if self.words.try_reserve(more).is_err() {
                return Err(JournalError::NoMemory { words: word + 1 });
            }
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << bit;
        }
        Ok(())
    }

    /// All of them, as they are now.
    pub(crate) fn words(&self) -> &[u32] {
        &self.words
    }

    #[inline]
    fn has(&self, units: u32) -> bool {
        let (word, bit) = place(units);
        self.words
            .get(word)
            .is_some_and(|word| word >> bit & 1 == 1)
    }
}

#[inline]
fn place(units: u32) -> (usize, usize) {
    (units as usize / WORD_BITS, units as usize % WORD_BITS)
}

impl Journal {
    /// The slot that [`Slot::units`] gave the number of; `None` for any number that is no key's. Cost: one load.
    #[inline]
    pub fn slot_from_units(&self, units: u32) -> Option<Slot> {
        self.starts.has(units).then(|| Slot::of_units(units))
    }
}
