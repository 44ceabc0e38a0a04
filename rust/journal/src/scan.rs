//! Reads the records of a journal that nobody writes any more.
//!
//! With `pread` through a window, not by a mapping: a failing disk is an error then, not a signal.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::JournalError;
use crate::header::HEADER_BYTES;
use crate::intent;
use crate::lane::Shape;
use crate::record::{Checksums, Kind, META_AT, Meta, TEXT_AT, span};
use crate::slot::{DECR_AT, INCR_AT};

/// Larger than any record's head and key: one read for many records.
const WINDOW_BYTES: usize = 256 << 10;

/// A part of a file, read ahead.
pub(crate) struct Window<'a> {
    file: &'a File,
    bytes: Vec<u8>,
    start: u64,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a File) -> Self {
        Self {
            file,
            bytes: Vec::new(),
            start: 0,
        }
    }

    /// `count` bytes at an offset; `None` where the file ends before.
    pub(crate) fn get(&mut self, at: u64, count: usize) -> io::Result<Option<&[u8]>> {
        let held = self.start..=self.start + self.bytes.len() as u64;
        if !(held.contains(&at) && held.contains(&at.saturating_add(count as u64))) {
            self.fill(at, count.max(WINDOW_BYTES))?;
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..).and_then(|rest| rest.get(..count)))
    }

    fn fill(&mut self, at: u64, count: usize) -> io::Result<()> {
        self.bytes.clear();
        self.bytes.resize(count, 0);
        self.start = at;
        let mut got = 0;
        while let Some(rest) = self.bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, at + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.truncate(got);
        Ok(())
    }

    fn word(&mut self, at: u64) -> io::Result<Option<u64>> {
        Ok(self
            .get(at, 8)?
            .and_then(|bytes| bytes.first_chunk::<8>())
            .map(|word| u64::from_le_bytes(*word)))
    }
}

/// A record, as it stands.
pub(crate) struct Record {
    pub(crate) offset: u64,
    pub(crate) kind: Kind,
    pub(crate) text: Vec<u8>,
    pub(crate) incr: u64,
    pub(crate) decr: u64,
}

/// Walks the records from the first to the journal's end: the first one that is not whole.
pub(crate) struct Records<'a> {
    pub(crate) window: Window<'a>,
    file_bytes: u64,
    sums: Checksums,
    pub(crate) at: u64,
}

impl<'a> Records<'a> {
    pub(crate) fn new(file: &'a File, file_bytes: u64, sums: Checksums) -> Self {
        Self {
            window: Window::new(file),
            file_bytes,
            sums,
            at: HEADER_BYTES as u64,
        }
    }

    /// The next record; `None` at the end, which is then at `self.at`.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        let offset = self.at;
        let (Some(incr), Some(decr), Some(meta)) = (
            self.window.word(offset + INCR_AT as u64)?,
            self.window.word(offset + DECR_AT as u64)?,
            self.window.word(offset + META_AT as u64)?,
        ) else {
            return Ok(None);
        };
        let meta = Meta(meta);
        let Some(kind) = meta.kind().filter(|_| meta.text_bytes() > 0) else {
            return Ok(None);
        };
        let Some(text) = self
            .window
            .get(offset + TEXT_AT as u64, meta.text_bytes())?
        else {
            return Ok(None);
        };
        if self.sums.record(offset, kind, text) != meta.checksum()
            || matches!(kind, Kind::Key | Kind::Cursor) && std::str::from_utf8(text).is_err()
        {
            return Ok(None);
        }
        let record = Record {
            offset,
            kind,
            text: text.to_vec(),
            incr,
            decr,
        };
        let body = match kind {
            Kind::Intent => record.capacity().and_then(intent::body_bytes),
            Kind::Lane => Shape::decode(&record.text).and_then(Shape::body_bytes),
            Kind::Key | Kind::Cursor => Some(0),
        };
        let end = body
            .and_then(|body| (offset + span(record.text.len()) as u64).checked_add(body as u64))
            .filter(|end| *end <= self.file_bytes);
        let Some(end) = end else {
            return Ok(None);
        };
        self.at = end;
        Ok(Some(record))
    }

    /// What the cells of a lane record say.
    pub(crate) fn cells(&mut self, lane: &Record, out: &mut Vec<(u64, u64)>) -> io::Result<()> {
        let Some((shape, units_at)) =
            Shape::decode(&lane.text).and_then(|shape| Some((shape, shape.units_at()?)))
        else {
            return Ok(());
        };
        let (mut cells, mut units) = (Window::new(self.window.file), Window::new(self.window.file));
        for n in 0..shape.cells as u64 {
            let at = lane.offset + shape.cells_at as u64 + n * 8;
            let cell = cells.word(at)?.unwrap_or(0);
            let at = lane.offset + units_at as u64 + n * 4;
            let record = units.get(at, 4)?.and_then(|bytes| bytes.first_chunk::<4>());
            let record = record.map_or(0, |units| u32::from_le_bytes(*units));
            if record != 0 && cell >> 1 > 0 {
                out.push((u64::from(record) * 8, cell >> 1));
            }
        }
        Ok(())
    }

    /// Bytes from the journal's end to the last one that is not zero: what was lost with a torn record.
    pub(crate) fn tail_bytes(&mut self) -> io::Result<u64> {
        let (end, mut at, mut last) = (self.at, self.at, self.at);
        while at < self.file_bytes {
            let count = (self.file_bytes - at).min(WINDOW_BYTES as u64) as usize;
            let Some(bytes) = self.window.get(at, count)? else {
                break;
            };
            if let Some(found) = bytes.iter().rposition(|byte| *byte != 0) {
                last = at + found as u64 + 1;
            }
            at += count as u64;
        }
        Ok(last - end)
    }
}

impl Record {
    /// Of an intent record: how many entries its body has room for.
    pub(crate) fn capacity(&self) -> Option<usize> {
        let text = self
            .text
            .first_chunk::<8>()
            .filter(|_| self.text.len() == 8)?;
        usize::try_from(u64::from_le_bytes(*text)).ok()
    }
}

/// What cells say, by record offset: sorted, and taken in the order of the records.
pub(crate) struct Cells<'a>(pub(crate) &'a [(u64, u64)]);

impl Cells<'_> {
    /// The increments of the record at an offset, above all that were asked for before.
    fn take(&mut self, offset: u64) -> u64 {
        let mut most = 0;
        while let Some(((at, incr), rest)) = self.0.split_first().filter(|(c, _)| c.0 <= offset) {
            if *at == offset {
                most = *incr.max(&most);
            }
            self.0 = rest;
        }
        most
    }
}

/// The counts of one key in a leftover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub incr: u64,
    pub decr: u64,
}

/// Gives the keys of a leftover that counted something, in the order of their insertion.
///
/// Ends after the first error (the disk's).
pub struct Entries<'a> {
    pub(crate) records: Records<'a>,
    pub(crate) intended: &'a BTreeMap<u64, (u64, u64)>,
    pub(crate) cells: Cells<'a>,
    pub(crate) path: &'a Path,
    /// The journal's end: as found at open.
    pub(crate) end: u64,
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.records.at < self.end {
            let record = match self.records.next() {
                Ok(record) => record?,
                Err(error) => {
                    self.end = 0;
                    return Some(Err(JournalError::io("read", self.path, error)));
                }
            };
            if record.kind != Kind::Key {
                continue;
            }
            let (incr, decr) = self.intended.get(&record.offset).copied().unwrap_or((0, 0));
            let of_cell = self.cells.take(record.offset);
            let (incr, decr) = (record.incr.max(incr).max(of_cell), record.decr.max(decr));
            if incr | decr != 0
                && let Ok(key) = String::from_utf8(record.text)
            {
                return Some(Ok(Entry { key, incr, decr }));
            }
        }
        None
    }
}
