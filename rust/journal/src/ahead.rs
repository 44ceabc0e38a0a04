//! Looking for many keys at once: what each will read is on its way from memory while others are worked on.

use crate::journal::Journal;
use crate::slot::Slot;

/// The text of a record begins in one cache line of the processor and, mostly, ends in the next one, which this offset
/// is in wherever a short record lies.
const SECOND_LINE: usize = 48;

/// The hash of a key under one journal's seed.
#[derive(Clone, Copy, Default)]
pub struct KeyHash(pub(crate) u64);

impl Journal {
    /// The hash of a key, for callers that look for many at once.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash(self.mixer.mix(key))
    }

    /// Has the place of a key in the table on the way from memory.
    #[inline]
    pub fn prefetch_hash(&self, hash: KeyHash) {
        self.table.prefetch(hash.0);
    }

    /// Has the record that is probably the key's on the way from memory.
    #[inline]
    pub fn prefetch_guess(&self, hash: KeyHash) {
        if let Some(slot) = self.table.guess(hash.0) {
            self.prefetch(slot);
            self.prefetch_second(slot);
        }
    }

    /// Has a record on the way from memory.
    #[inline]
    pub fn prefetch(&self, slot: Slot) {
        self.map.prefetch(slot.offset());
    }

    /// As [`Journal::find`], of a key whose hash is known.
    #[inline]
    pub fn find_hashed(&self, hash: KeyHash, key: &[u8]) -> Option<Slot> {
        self.find_mixed(hash.0, key)
    }

    /// As [`Journal::find_hashed`], for callers who insert the key where it is not there: among new keys they mostly need
    /// not wait for the table.
    #[inline]
    pub fn find_unless_new(&mut self, hash: KeyHash, key: &[u8]) -> Option<Slot> {
        if !self.table.may_have(hash.0) {
            return None;
        }
        let found = self.find_mixed(hash.0, key);
        if found.is_some() {
            self.table.note_known();
        }
        found
    }

    /// Has what follows the first cache line of a short record on the way from memory.
    #[inline]
    pub(crate) fn prefetch_second(&self, slot: Slot) {
        self.map.prefetch(slot.offset() + SECOND_LINE);
    }
}
