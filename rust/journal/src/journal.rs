//! The live journal.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;
use rustix::process::Pid;

use crate::birth::Born;
use crate::bringer::Bringer;
use crate::error::{AddError, JournalError};
use crate::file::{self, JournalFile};
use crate::generation::Generation;
use crate::header::{HEADER_BYTES, Header, REPLICA_BYTES_MAX, SECTION_AT, SEQUENCE_AT};
use crate::intent::{IntentRecord, Move};
use crate::lanes::Lanes;
use crate::map::Map;
use crate::mix::Mixer;
use crate::place;
use crate::queue::Queue;
use crate::record::{Checksums, META_AT, Meta, TEXT_AT, UNREAD, is_same_text};
use crate::slot::{DECR_AT, INCR_AT, Side, Slot, Slots};
use crate::table::Table;

/// The second word of the key table's hash seed: any constant.
const TABLE_SEED: u64 = 0x510e_527f_ade6_82d1;

/// Two counts below this have a sum that is far from an overflow.
pub(crate) const LARGE: u64 = 1 << 62;

/// The journal of one writer process and one generation. Made fresh, locked until it is dropped.
///
/// Methods that change take `&mut self`: the engine holds it under one mutex. Dropping it leaves the file behind, to be
/// found by [`crate::leftovers`]; so does the death of the process. In a forked child nothing of it may be called;
/// dropping it there does nothing at all (the fork handler closes [`Journal::raw_fd`]).
pub struct Journal {
    pub(crate) map: Map,
    pub(crate) table: Table,
    pub(crate) mixer: Mixer,
    pub(crate) lanes: Lanes,
    /// Where the next record goes.
    pub(crate) end: usize,
    /// A count of this journal is, or was to be, [`LARGE`] or above.
    pub(crate) any_large: bool,
    /// The sum of all that batches in the middle of being counted may still add.
    promised: u64,
    pub(crate) unread: Queue<(Slot, (u64, u64))>,
    pub(crate) dirty: Queue<Slot>,
    pub(crate) sums: Checksums,
    pub(crate) cursors: BTreeMap<String, Slot>,
    pub(crate) intent: Option<IntentRecord>,
    pub(crate) scratch: Vec<Move>,
    pub(crate) bringer: Option<Bringer>,
    /// There is no bringer to be had.
    pub(crate) is_alone: bool,
    /// Words of the table that the bringer was asked for last.
    pub(crate) asked_words: usize,
    pub(crate) file: JournalFile,
    replica: String,
    generation: Generation,
    maker: Pid,
}

impl Journal {
    /// Makes the journal `directory/<generation>.journal`: locked and its header durable when this returns.
    ///
    /// `seed` seeds the hash of the key table. Any number will do; one that nobody outside knows (random) keeps others
    /// from choosing keys that collide. Cost: a few disk syncs.
    ///
    /// # Errors
    /// `Replica`, `Full`, `Io` (also where a journal of that generation exists).
    pub fn create(
        directory: &Path,
        replica: &str,
        generation: Generation,
        seed: u64,
    ) -> Result<Self, JournalError> {
        if replica.is_empty() || replica.len() > REPLICA_BYTES_MAX {
            return Err(JournalError::Replica {
                max: REPLICA_BYTES_MAX,
                bytes: replica.len(),
            });
        }
        let table = Table::new()?;
        let mut map = Map::reserve()
            .map_err(|error| JournalError::io("reserve addresses for", directory, error))?;
        let boot_id = place::boot_id();
        let made = file::make(directory, &generation.to_string(), |made| {
            let header = Header {
                replica: replica.to_owned(),
                generation,
                boot_id,
                place: place::of_file(made)?,
                section: [0; 16],
                sequence: 0,
            };
            Ok(header.encode().to_vec())
        })?;
        if let Err(error) = map.extend(made.file.as_fd(), made.allocated as usize) {
            let _ = file::unlink(&made.path);
            return Err(JournalError::io("map", &made.path, error));
        }
        Ok(Self {
            map,
            table,
            mixer: Mixer::new(seed, TABLE_SEED),
            lanes: Lanes::default(),
            end: HEADER_BYTES,
            any_large: false,
            promised: 0,
            unread: Queue::default(),
            dirty: Queue::default(),
            sums: Checksums::new(generation),
            cursors: BTreeMap::new(),
            intent: None,
            scratch: Vec::new(),
            bringer: None,
            is_alone: false,
            asked_words: 0,
            file: made,
            replica: replica.to_owned(),
            generation,
            maker: rustix::process::getpid(),
        })
    }

    /// The slot of a key, if it has one. Cost: about 5 ns when hot.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<Slot> {
        self.find_mixed(self.mixer.mix(key), key)
    }

    /// The slot of a key; a new key gets a record with counts of 0.
    ///
    /// # Errors
    /// `Key` (empty, longer than [`crate::KEY_BYTES_MAX`], not UTF-8), `Full`, `TooLarge`, `NoMemory`: nothing has changed.
    #[inline]
    pub fn find_or_insert(&mut self, key: &[u8]) -> Result<Slot, JournalError> {
        let hash = self.mixer.mix(key);
        match self.find_mixed(hash, key) {
            Some(slot) => Ok(slot),
            None => self.insert(hash, key, Born::EMPTY),
        }
    }

    /// Makes room for `keys` more keys of `text_bytes` in all, so that inserting them cannot fail for want of it.
    ///
    /// # Errors
    /// `Full`, `TooLarge`, `NoMemory`: nothing has changed.
    pub fn reserve(&mut self, keys: usize, text_bytes: usize) -> Result<(), JournalError> {
        self.make_table_room(keys)?;
        let most = keys.saturating_mul(TEXT_AT + 7).saturating_add(text_bytes);
        self.make_room(most)
    }

    /// The key of a slot ("" for a foreign one). Cost: its length (it is checked to be UTF-8).
    pub fn key(&self, slot: Slot) -> &str {
        let text = match self.meta(slot) {
            Some(meta) if meta.is_key() => {
                self.map.bytes(slot.offset() + TEXT_AT, meta.text_bytes())
            }
            _ => &[],
        };
        std::str::from_utf8(text).unwrap_or("")
    }

    /// (increments, decrements) of a slot; (0, 0) for a foreign one beyond the end.
    #[inline]
    pub fn read(&self, slot: Slot) -> (u64, u64) {
        let (incr, decr) = self.in_record(slot);
        match self.meta(slot) {
            Some(meta) if meta.has_cell() => (self.incr_with_cell(slot), decr),
            _ => (incr, decr),
        }
    }

    /// What the record of a slot says: its counts, but for those that [`Journal::settle`] has not brought there yet.
    #[inline]
    pub(crate) fn in_record(&self, slot: Slot) -> (u64, u64) {
        (
            self.map.load(slot.offset() + INCR_AT).unwrap_or(0),
            self.map.load(slot.offset() + DECR_AT).unwrap_or(0),
        )
    }

    /// A view of the counts for other threads.
    pub fn slots(&self) -> Slots {
        Slots(self.map.view())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no key yet.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Adds `n` to one side of a slot; survives the death of the process when it returns. 0 is legal and free.
    /// True where the slot is the first of the dirty list: there was nothing to flush before.
    ///
    /// # Errors
    /// `Overflow`, `ForeignSlot`: nothing was counted.
    #[inline]
    pub fn add(&mut self, slot: Slot, side: Side, n: u64) -> Result<bool, AddError> {
        let meta = self.meta(slot).ok_or(AddError::ForeignSlot)?;
        if !meta.is_plain_key() {
            return self.add_with_cell(slot, side, n);
        }
        self.add_in_record(slot, meta, side, n)
    }

    /// As [`Journal::add`], on a slot that has a cell, or is none.
    #[cold]
    fn add_with_cell(&mut self, slot: Slot, side: Side, n: u64) -> Result<bool, AddError> {
        if !self.meta(slot).is_some_and(Meta::is_key) {
            return Err(AddError::ForeignSlot);
        }
        let was_clean = self.is_clean();
        if side == Side::Incr && self.add_to_cell(slot, n).is_some() {
            return Ok(was_clean && n > 0);
        }
        self.settle_slot(slot);
        let meta = self.meta(slot).ok_or(AddError::ForeignSlot)?;
        let is_first = self.add_in_record(slot, meta, side, n)?;
        self.raise_cell(slot);
        Ok(is_first)
    }

    #[inline]
    fn add_in_record(
        &mut self,
        slot: Slot,
        meta: Meta,
        side: Side,
        n: u64,
    ) -> Result<bool, AddError> {
        let at = slot.offset() + side.at();
        let held = self.map.load(at).ok_or(AddError::ForeignSlot)?;
        let sum = held.checked_add(n).ok_or(AddError::Overflow)?;
        if !self.note_size(sum) {
            return Err(AddError::Overflow);
        }
        let flags = side.dirty() | UNREAD;
        if meta.0 & flags == flags || n == 0 {
            self.map.store(at, sum);
            return Ok(false);
        }
        // Listed before the count moves: the unread list holds what was there before.
        let is_first = self.list(slot, flags);
        self.map.store(at, sum);
        Ok(is_first)
    }

    /// Whether additions of `total` in all cannot overflow, wherever they go. False now and then where they could not
    /// either, once a count is huge.
    #[inline]
    pub fn surely_fits(&self, total: u64) -> bool {
        !self.any_large && total.saturating_add(self.promised) < LARGE
    }

    /// Promise that `total` more will fit wherever it is added, until [`Journal::keep_promise`] is called with the same
    /// number: for batches that are counted slice by slice, with others in between. False: it cannot be promised.
    pub fn promise(&mut self, total: u64) -> bool {
        let fits = self.surely_fits(total);
        if fits {
            self.promised += total; // below LARGE, as it fits
        }
        fits
    }

    pub fn keep_promise(&mut self, total: u64) {
        self.promised = self.promised.saturating_sub(total);
    }

    /// Whether somebody is in the middle of a batch.
    pub fn has_promised(&self) -> bool {
        self.promised > 0
    }

    /// Notes what a count will be. False: it would take what was promised to others.
    #[inline]
    pub(crate) fn note_size(&mut self, count: u64) -> bool {
        count < LARGE || self.note_large(count)
    }

    #[cold]
    fn note_large(&mut self, count: u64) -> bool {
        let fits = count.checked_add(self.promised).is_some();
        self.any_large |= fits;
        fits
    }

    /// Adds to many slots where the sum of all [`Journal::surely_fits`]; what is no slot of a key is passed over.
    /// `amount` gives side and amount by position. True as of [`Journal::add`].
    #[inline]
    pub fn add_all(&mut self, slots: &[Slot], amount: impl Fn(usize) -> (Side, u64)) -> bool {
        let was_clean = self.is_clean();
        self.prefetch_ahead(slots.iter().copied(), |journal, n, slot| {
            let (side, by) = amount(n);
            let _ = journal.add(slot, side, by);
        });
        was_clean && !self.is_clean()
    }

    /// Notes the section and sequence number of the last durable flush in the header. A kill in between leaves
    /// sequence 0 ("none known") rather than a wrong pair.
    pub fn note_flushed(&mut self, section: [u8; 16], sequence: u64) {
        if self.map.bytes(SECTION_AT, 16) != section {
            self.map.store(SEQUENCE_AT, 0);
            let (words, _) = section.as_chunks::<8>();
            for (at, word) in (SECTION_AT..).step_by(8).zip(words) {
                self.map.store(at, u64::from_le_bytes(*word));
            }
        }
        self.map.store(SEQUENCE_AT, sequence);
    }

    /// Bytes of disk that the journal has reserved.
    pub fn allocated_bytes(&self) -> u64 {
        self.file.allocated
    }

    /// Bytes of the journal that hold something.
    pub fn used_bytes(&self) -> u64 {
        self.end as u64
    }

    pub fn path(&self) -> &Path {
        &self.file.path
    }

    pub fn replica(&self) -> &str {
        &self.replica
    }

    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The descriptor that holds the lock: the fork handler closes it in the child, and nobody else touches it.
    pub fn raw_fd(&self) -> RawFd {
        self.file.file.as_raw_fd()
    }

    /// Makes everything that was counted so far survive power loss. Cost: a disk sync; writers are not held up by it
    /// except through the engine's mutex.
    ///
    /// # Errors
    /// `Io`.
    pub fn sync(&self) -> Result<(), JournalError> {
        rustix::io::retry_on_intr(|| rustix::fs::fdatasync(&self.file.file))
            .map_err(|error| JournalError::io("sync", &self.file.path, error))
    }

    /// Removes the file, durably: for when all of its values are durable elsewhere.
    ///
    /// # Errors
    /// `Io`, `Forked`: the file may then still be there, as a leftover.
    pub fn remove(self) -> Result<(), JournalError> {
        self.check_maker()?;
        file::unlink(&self.file.path)
    }

    /// Lets go of the file and its lock, even while [`Slots`] are alive: a leftover for the next open.
    ///
    /// # Errors
    /// `Forked`.
    pub fn abandon(self) -> Result<PathBuf, JournalError> {
        self.check_maker()?;
        rustix::fs::flock(&self.file.file, FlockOperation::Unlock)
            .map_err(|error| JournalError::io("unlock", &self.file.path, error))?;
        Ok(self.file.path.clone())
    }

    fn check_maker(&self) -> Result<(), JournalError> {
        if rustix::process::getpid() == self.maker {
            return Ok(());
        }
        Err(JournalError::Forked {
            path: self.file.path.clone(),
        })
    }

    #[inline]
    pub(crate) fn meta(&self, slot: Slot) -> Option<Meta> {
        self.map.load(slot.offset() + META_AT).map(Meta)
    }

    #[inline]
    pub(crate) fn find_mixed(&self, hash: u64, key: &[u8]) -> Option<Slot> {
        self.table.find(hash, |slot| self.has_text(slot, key))
    }

    #[inline]
    pub(crate) fn has_text(&self, slot: Slot, key: &[u8]) -> bool {
        self.prefetch_second(slot);
        let is_as_long = self
            .meta(slot)
            .is_some_and(|meta| meta.text_bytes() == key.len());
        is_as_long && is_same_text(self.map.bytes(slot.offset() + TEXT_AT, key.len()), key)
    }

    /// Reserves and maps so that `bytes` more fit.
    #[inline]
    pub(crate) fn make_room(&mut self, bytes: usize) -> Result<(), JournalError> {
        if bytes <= self.map.mapped() - self.end {
            return Ok(());
        }
        self.grow(bytes)
    }

    #[cold]
    fn grow(&mut self, bytes: usize) -> Result<(), JournalError> {
        let limit = self.map.limit();
        let needed = self
            .end
            .checked_add(bytes)
            .filter(|needed| *needed <= limit);
        let needed = needed.ok_or_else(|| self.too_large())?;
        if needed as u64 > self.file.allocated {
            self.file.grow(needed as u64, limit as u64)?;
        }
        self.map
            .extend(self.file.file.as_fd(), self.file.allocated as usize)
            .map_err(|error| JournalError::io("map", &self.file.path, error))
    }

    pub(crate) fn too_large(&self) -> JournalError {
        JournalError::TooLarge {
            path: self.file.path.clone(),
            limit: self.map.limit() as u64,
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // In a fork the descriptor is the fork handler's: its number may be somebody else's by now. Never close it there.
        if rustix::process::getpid() != self.maker {
            std::mem::forget(Arc::clone(&self.file.file));
            // So is its thread, which may have been in the middle of anything.
            std::mem::forget(self.bringer.take());
            return;
        }
        self.stop_bringer();
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("path", &self.file.path)
            .field("keys", &self.len())
            .finish_non_exhaustive()
    }
}
