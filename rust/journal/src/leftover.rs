//! What a dead process left: found, locked, read, removed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::JournalError;
use crate::file::{self, DAMAGED_SUFFIX, SUFFIX, TEMPORARY_SUFFIX};
use crate::generation::Generation;
use crate::header::{HEADER_BYTES, Header, Unreadable, VERSION};
use crate::intent;
use crate::place;
use crate::record::{Checksums, Kind};
use crate::scan::{Cells, Entries, Record, Records};

/// More damaged files of one name than this are not kept apart: somebody should look.
const DAMAGED_NAMES_MAX: usize = 1000;

/// The journals in a directory that no live writer holds, sorted by name. Temporary files of dead makers are removed.
/// A directory that is not there has none.
///
/// # Errors
/// `Io` where the directory cannot be read. Files that cannot be looked at are listed: opening them tells why.
pub fn leftovers(directory: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(|error| JournalError::io("list", directory, error))?,
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry.map_err(|error| JournalError::io("list", directory, error))?;
        let path = entry.path();
        let is_temporary = path
            .extension()
            .is_some_and(|suffix| suffix == TEMPORARY_SUFFIX);
        if !is_temporary && path.extension().is_none_or(|suffix| suffix != SUFFIX) {
            continue;
        }
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        match open_locked(&path) {
            Ok(_held) if is_temporary => drop(fs::remove_file(&path)),
            Err(JournalError::Locked { .. } | JournalError::Gone { .. }) => {}
            _ if is_temporary => {}
            _ => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

/// How much of a leftover could not be used. All zero after a mere death of its process, but for a record that was
/// just being written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Bytes behind the record that ended the journal, up to the last that is not zero.
    pub tail_bytes: u64,
    /// Intents whose checksum fails.
    pub intents: u64,
    /// Counts and cursors of complete intents, and counts of cells, whose record is lost.
    pub without_record: u64,
}

/// A journal of a dead process, locked.
#[derive(Debug)]
pub struct Leftover {
    path: PathBuf,
    file: File,
    header: Header,
    file_bytes: u64,
    end: u64,
    cursors: BTreeMap<String, u64>,
    /// New absolute values from complete intents, by record offset.
    intended: BTreeMap<u64, (u64, u64)>,
    /// Increments that cells hold, by record offset, sorted.
    cells: Vec<(u64, u64)>,
    dropped: Dropped,
    is_in_place: bool,
}

impl Leftover {
    /// Locks and reads a leftover. Cost: one pass over the file; 16 bytes of memory for each key that has an ordinal.
    ///
    /// # Errors
    /// `Locked`, `Gone`; `Damaged` (the header: the file was renamed to `*.damaged`); `Version`, `Features` (the file is
    /// left untouched); `Io`.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let file = open_locked(path)?;
        let mut bytes = vec![0; HEADER_BYTES];
        let decoded = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Header::decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Unreadable::Damaged),
            Err(error) => return Err(JournalError::io("read", path, error)),
        };
        let header = decoded.map_err(|why| match why {
            Unreadable::Damaged => set_aside(path),
            Unreadable::Version(version) => JournalError::Version {
                path: path.to_path_buf(),
                version,
                known: VERSION,
            },
            Unreadable::Flags(flags) => JournalError::Features {
                path: path.to_path_buf(),
                flags,
            },
        })?;
        let boot_id = place::boot_id();
        let is_in_place = boot_id != [0; 16]
            && boot_id == header.boot_id
            && place::of_file(&file).is_ok_and(|place| place.is_same(&header.place));
        let mut leftover = Self {
            path: path.to_path_buf(),
            file,
            header,
            file_bytes: 0,
            end: 0,
            cursors: BTreeMap::new(),
            intended: BTreeMap::new(),
            cells: Vec::new(),
            dropped: Dropped::default(),
            is_in_place,
        };
        leftover
            .read()
            .map_err(|error| JournalError::io("read", path, error))?;
        Ok(leftover)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn replica(&self) -> &str {
        &self.header.replica
    }

    pub fn generation(&self) -> Generation {
        self.header.generation
    }

    /// Section and sequence number of the last flush that was noted; sequence 0 is "none".
    pub fn section_sequence(&self) -> ([u8; 16], u64) {
        (self.header.section, self.header.sequence)
    }

    /// The counts. Cost: one pass over the file.
    pub fn entries(&self) -> Entries<'_> {
        Entries {
            records: self.records(),
            intended: &self.intended,
            cells: Cells(&self.cells),
            path: &self.path,
            end: self.end,
        }
    }

    /// The cursors, sorted by name. Believe them only if [`Leftover::cursors_believed`].
    pub fn cursors(&self) -> Vec<(String, u64)> {
        self.cursors
            .iter()
            .map(|(name, position)| (name.clone(), *position))
            .collect()
    }

    /// Whether neither power was lost nor the file copied since it was made: boot id, inode and birth time are those of
    /// the header. Otherwise a cursor could run ahead of its counts.
    pub fn cursors_believed(&self) -> bool {
        self.is_in_place
    }

    /// What could not be used.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Removes the file, durably: for when its values are durable elsewhere.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove(self) -> Result<(), JournalError> {
        file::unlink(&self.path)
    }

    fn sums(&self) -> Checksums {
        Checksums::new(self.header.generation)
    }

    fn records(&self) -> Records<'_> {
        Records::new(&self.file, self.file_bytes, self.sums())
    }

    fn read(&mut self) -> io::Result<()> {
        self.file_bytes = self.file.metadata()?.len();
        let mut cursor_names = BTreeMap::new();
        let mut cursors = BTreeMap::new();
        let (mut intents, mut cells) = (Vec::new(), Vec::new());
        let mut dropped = Dropped::default();
        let mut records = self.records();
        while let Some(record) = records.next()? {
            match record.kind {
                Kind::Key => {}
                Kind::Cursor => {
                    let name = String::from_utf8_lossy(&record.text).into_owned();
                    if record.decr == 1 {
                        cursors.insert(name.clone(), record.incr);
                    }
                    cursor_names.insert(record.offset, name);
                }
                Kind::Lane => records.cells(&record, &mut cells)?,
                Kind::Intent if record.incr == 0 => {}
                Kind::Intent => match self.intent(&mut records, &record)? {
                    Some(intent) => intents.push(intent),
                    None => dropped.intents += 1,
                },
            }
        }
        dropped.tail_bytes = records.tail_bytes()?;
        let end = records.at;
        cells.sort_unstable();
        let lost = cells.len() - cells.partition_point(|(offset, _)| *offset < end);
        dropped.without_record += lost as u64;
        let mut intended = BTreeMap::<u64, (u64, u64)>::new();
        for intent in intents {
            for (offset, incr, decr) in intent.moves {
                if offset >= end {
                    dropped.without_record += 1;
                    continue;
                }
                let held = intended.entry(offset).or_default();
                *held = (held.0.max(incr), held.1.max(decr));
            }
            match cursor_names.get(&intent.cursor_offset) {
                Some(name) => {
                    let held = cursors.entry(name.clone()).or_insert(intent.position);
                    *held = intent.position.max(*held);
                }
                None => dropped.without_record += 1,
            }
        }
        (self.end, self.cursors, self.intended, self.dropped) = (end, cursors, intended, dropped);
        self.cells = cells;
        Ok(())
    }

    fn intent(
        &self,
        records: &mut Records<'_>,
        record: &Record,
    ) -> io::Result<Option<intent::Intent>> {
        let at = record.offset + intent::body_at() as u64;
        let first = records
            .window
            .get(at, 8)?
            .and_then(|bytes| bytes.first_chunk::<8>());
        let count = first.map(|word| intent::entries(u64::from_le_bytes(*word)));
        let (Some(count), Some(capacity)) = (count, record.capacity()) else {
            return Ok(None);
        };
        let Some(bytes) = intent::body_bytes(count).filter(|_| count <= capacity) else {
            return Ok(None);
        };
        let body = records.window.get(at, bytes)?;
        Ok(body.and_then(|body| intent::read(self.sums(), record.offset, record.incr, body)))
    }
}

/// Opens a journal and takes its lock. Never waits: not for a lock, not for the other end of a pipe.
fn open_locked(path: &Path) -> Result<File, JournalError> {
    let named = || path.to_path_buf();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => JournalError::Gone { path: named() },
            _ => JournalError::io("open", path, error),
        })?;
    match file::lock(&file) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(JournalError::Locked { path: named() }),
        Err(error) => return Err(JournalError::io("lock", path, error)),
    }
    // Between open and lock another recovery may have removed it.
    if !file::is_named(&file, path) {
        return Err(JournalError::Gone { path: named() });
    }
    Ok(file)
}

/// Renames a journal that cannot be trusted, under its lock, and gives the error that says so.
fn set_aside(path: &Path) -> JournalError {
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for number in 0..DAMAGED_NAMES_MAX {
        let mut name = path.as_os_str().to_owned();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        name.push(format!(".{DAMAGED_SUFFIX}"));
        let aside = PathBuf::from(name);
        match file::rename_new(path, &aside) {
            Ok(()) => {
                return match file::sync_directory_of(path) {
                    Ok(()) => JournalError::Damaged {
                        path: path.to_path_buf(),
                        aside,
                    },
                    Err(error) => error,
                };
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => {
                last = error;
                break;
            }
        }
    }
    JournalError::io("set aside the damaged", path, last)
}
