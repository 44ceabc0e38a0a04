//! New records: appended, and born by the one store of their third word, with the counts that they have by then.

use crate::ahead::KeyHash;
use crate::bringer::Bringer;
use crate::error::JournalError;
use crate::journal::Journal;
use crate::record::{KEY_BYTES_MAX, Kind, MARK_SHIFT, META_AT, Meta, TEXT_AT, UNREAD, span};
use crate::slot::{DECR_AT, INCR_AT, Side, Slot};

/// A journal of so many bytes gets a bringer: some 40,000 keys. Smaller ones have no thread.
const BROUGHT_BYTES_MIN: usize = 2 << 20;

/// What a record has from its birth on.
#[derive(Clone, Copy)]
pub(crate) struct Born {
    incr: u64,
    decr: u64,
    flags: u64,
}

impl Born {
    pub(crate) const EMPTY: Born = Born {
        incr: 0,
        decr: 0,
        flags: 0,
    };
}

impl Journal {
    /// Inserts a key that is not there, with a count of `n` on one side, which survives the death of the process when it
    /// returns. `mark`: as of [`Journal::set_mark`], or 0. The slot, and whether it is the first of the dirty list.
    ///
    /// # Errors
    /// `Key` (empty, longer than [`KEY_BYTES_MAX`]), `Full`, `TooLarge`, `NoMemory`, `Overflow`: nothing has changed.
    #[inline]
    pub fn insert_counted(
        &mut self,
        hash: KeyHash,
        key: &str,
        (side, n): (Side, u64),
        mark: u32,
    ) -> Result<(Slot, bool), JournalError> {
        if !self.note_size(n) {
            return Err(JournalError::Overflow {
                key: key.to_owned(),
            });
        }
        let (incr, decr) = match side {
            Side::Incr => (n, 0),
            Side::Decr => (0, n),
        };
        let listed = if n == 0 { 0 } else { side.dirty() | UNREAD };
        let flags = listed | u64::from(mark) << MARK_SHIFT;
        let slot = self.insert_text(hash.0, key, Born { incr, decr, flags })?;
        Ok((slot, n != 0 && self.list_born(slot)))
    }

    #[cold]
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        key: &[u8],
        born: Born,
    ) -> Result<Slot, JournalError> {
        let text = std::str::from_utf8(key).map_err(|_| bad_key("is not UTF-8"))?;
        self.insert_text(hash, text, born)
    }

    #[inline]
    fn insert_text(&mut self, hash: u64, key: &str, born: Born) -> Result<Slot, JournalError> {
        match key.len() {
            0 => return Err(bad_key("is empty")),
            1..=KEY_BYTES_MAX => {}
            _ => return Err(bad_key("is longer")),
        }
        if self.table.is_nearly_full() {
            self.make_table_room(1)?;
        }
        let slot = self.append(Kind::Key, key.as_bytes(), 0, born)?;
        self.table.insert(hash, slot);
        Ok(slot)
    }

    /// Adds a record with `body` bytes after its text. The store of its meta word is its birth.
    #[inline]
    pub(crate) fn append(
        &mut self,
        kind: Kind,
        text: &[u8],
        body: usize,
        born: Born,
    ) -> Result<Slot, JournalError> {
        let bytes = span(text.len()).saturating_add(body);
        self.make_room(bytes)?;
        let offset = self.end;
        let (Some(slot), Ok(text_bytes)) = (Slot::at(offset), u16::try_from(text.len())) else {
            return Err(self.too_large());
        };
        let sum = self.sums.record(offset as u64, kind, text);
        if kind == Kind::Lane {
            self.map.skip(offset + bytes); // mapped once more, elsewhere
        } else if !self.map.is_populated(offset + bytes) {
            self.populate(offset + bytes);
        }
        self.map.store_text(offset + TEXT_AT, text);
        for (at, count) in [(INCR_AT, born.incr), (DECR_AT, born.decr)] {
            if count != 0 {
                self.map.store(offset + at, count);
            }
        }
        let meta = Meta::new(sum, text_bytes, kind);
        self.map.store(offset + META_AT, meta.0 | born.flags);
        self.end = offset + bytes;
        Ok(slot)
    }
}

impl Journal {
    /// Has pages up to an offset brought, and what follows them by the bringer, once there is enough to do for one.
    #[cold]
    fn populate(&mut self, to: usize) {
        if to >= BROUGHT_BYTES_MIN && self.bringer.is_none() && !self.is_alone {
            self.bringer = Bringer::start(self.map.view());
            self.is_alone = self.bringer.is_none();
        }
        let pages = self.map.populate(to, self.bringer.is_some());
        if let (Some(bringer), Some((from, to))) = (&self.bringer, pages) {
            bringer.bring(from, to);
        }
    }

    /// Makes room for more keys in the table, and asks for the next one where that will be needed soon.
    #[cold]
    pub(crate) fn make_table_room(&mut self, keys: usize) -> Result<(), JournalError> {
        let Some(bringer) = &self.bringer else {
            return self.table.reserve(keys, None);
        };
        if !self.table.has_room(keys) {
            return self.table.reserve(keys, bringer.take_table());
        }
        let words = self.table.next_words();
        if let Some(words) = words.filter(|words| *words != self.asked_words) {
            self.asked_words = words;
            bringer.make_table(words);
        }
        Ok(())
    }

    /// Ends the bringer's thread, in the process that started it.
    pub(crate) fn stop_bringer(&mut self) {
        if let Some(bringer) = self.bringer.take() {
            bringer.stop();
        }
    }
}

#[cold]
fn bad_key(why: &'static str) -> JournalError {
    JournalError::Key {
        max: KEY_BYTES_MAX,
        why,
    }
}
