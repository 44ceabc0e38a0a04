//! The memory-mapped journal of one writer process and one generation.
//!
//! A journal is at once the log, the table's storage and the counters: one packed record per key in a shared file
//! mapping, in which an increment *is* the write. The kernel keeps it when the process dies, so a count that returned
//! survives `kill -9`. Nothing is promised for power loss before [`Journal::sync`]; what is found then is a prefix of
//! the records, each with a count that was once there (see [`Leftover`]).
//!
//! Keys that many rows come for have an ordinal and, beside their record, a cell among others of their kind, so that a
//! row touches 8 bytes (`lanes`).
//!
//! * [`Journal`] is the live one: made by [`Journal::create`], locked for its whole life, changed through `&mut`.
//! * [`Slots`] reads the counts of a live journal from other threads, without the engine's lock.
//! * [`leftovers`] and [`Leftover`] find and read what dead processes left.
//! * [`place`] tells whether a file is still where it was made.
//!
//! The crate makes no random numbers: the generation and the seed of the key table are arguments.

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!(
    "the journal maps little-endian words of a file into a 64-bit address space, with Linux calls"
);

mod ahead;
mod batch;
mod birth;
mod bringer;
mod error;
mod file;
mod filter;
mod generation;
mod header;
mod intent;
mod journal;
mod lane;
mod lanes;
mod leftover;
mod lists;
mod map;
mod mix;
mod moved;
mod ordinals;
pub mod place;
mod queue;
mod record;
mod rows;
mod scan;
mod settling;
mod slot;
mod sums;
mod table;
mod words;

#[cfg(test)]
mod kill_tests;

pub use ahead::KeyHash;
pub use error::{AddError, JournalError};
pub use generation::Generation;
pub use header::REPLICA_BYTES_MAX;
pub use intent::CURSOR_NAME_BYTES_MAX;
pub use journal::Journal;
pub use leftover::{Dropped, Leftover, leftovers};
pub use lists::MARK_MAX;
pub use record::KEY_BYTES_MAX;
pub use rows::Row;
pub use scan::{Entries, Entry};
pub use settling::Settling;
pub use slot::{Dirty, Side, Slot, Slots, Unread};
pub use sums::{Ahead, Refused, Sums};
pub use words::{LINE_HALVES, Words};
