//! What can go wrong, told apart by what the caller should do.

use std::io;
use std::path::{Path, PathBuf};

/// Why [`crate::Journal::add`] counted nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The sub-counter would pass 2⁶⁴ − 1.
    #[error("the sub-counter would pass 2^64 - 1: nothing was counted")]
    Overflow,
    /// The slot was not given out by this journal.
    #[error("the slot belongs to another journal: nothing was counted")]
    ForeignSlot,
}

/// Every other failure of this crate. Where one is returned nothing was counted and the journal goes on working.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// No room on the disk (or in the quota) for more records.
    #[error("no space for {needed} more bytes of the journal {path}: nothing was counted; free some space and repeat the call", path = path.display())]
    Full { path: PathBuf, needed: u64 },
    /// The journal has as many records as its offsets (or the address space of this process) can reach.
    #[error("the journal {path} would pass its limit of {limit} bytes: nothing was counted; flush and open the store again for a fresh one", path = path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    /// No memory for the key table.
    #[error("no memory for a key table of {words} words: nothing was counted")]
    NoMemory { words: usize },
    /// Another process (or another handle of this one) holds the journal's lock.
    #[error("the journal {path} is in use by a live writer", path = path.display())]
    Locked { path: PathBuf },
    /// Another recovery was faster: the name no longer leads to the file that was opened.
    #[error("the journal {path} is gone: somebody else recovered it", path = path.display())]
    Gone { path: PathBuf },
    /// The header cannot be trusted; the file was renamed and counts nowhere.
    #[error("the header of the journal {path} is damaged: it was set aside as {aside} and is not counted", path = path.display(), aside = aside.display())]
    Damaged { path: PathBuf, aside: PathBuf },
    /// A later release wrote this journal; it was left untouched.
    #[error("the journal {path} has format version {version}, this release reads {known}: open it with the release that wrote it", path = path.display())]
    Version {
        path: PathBuf,
        version: u32,
        known: u32,
    },
    /// The journal uses features this release does not know; it was left untouched.
    #[error("the journal {path} needs unknown features {flags:#x}: open it with the release that wrote it", path = path.display())]
    Features { path: PathBuf, flags: u32 },
    /// A key that no record can hold.
    #[error("a journal key is UTF-8 text of 1 to {max} bytes, this one {why}")]
    Key { max: usize, why: &'static str },
    /// A replica that no header can hold.
    #[error("a replica name has 1 to {max} bytes, this one has {bytes}")]
    Replica { max: usize, bytes: usize },
    /// A cursor name that no record can hold.
    #[error("a cursor name has 1 to {max} bytes, this one has {bytes}")]
    CursorName { max: usize, bytes: usize },
    /// The batch was counted before.
    #[error("the cursor {name:?} is at {held} already: a batch up to {asked} was refused")]
    CursorBehind { name: String, held: u64, asked: u64 },
    /// A sub-counter would pass 2⁶⁴ − 1; nothing of the batch was counted.
    #[error("the sub-counter of {key:?} would pass 2^64 - 1: nothing was counted")]
    Overflow { key: String },
    /// A slot of the batch was not given out by this journal; nothing of the batch was counted.
    #[error("a slot belongs to another journal: nothing was counted")]
    ForeignSlot,
    /// The journal was inherited through `fork()` and belongs to the parent.
    #[error("the journal {path} belongs to the process that opened it, not to its fork", path = path.display())]
    Forked { path: PathBuf },
}

impl JournalError {
    pub(crate) fn io(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io {
            what,
            path: path.to_path_buf(),
            source: source.into(),
        }
    }
}
