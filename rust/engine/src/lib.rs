//! One open store in memory: the journal and the core, joined under their locks.
//!
//! Two locks, always taken in this order: `core` (state, DAG, chain), then `counting` (the live journal). An increment
//! takes `counting` alone and holds it for nanoseconds; who else takes it holds it for a slice of about a thousand
//! slots at most. Neither is held across I/O, nor while nodes are encoded, hashed and signed.

mod batch;
mod bell;
mod blocks;
mod columns;
mod counting;
mod error;
mod flushing;
mod reading;
mod recovery;
mod replication;
mod status;
mod sums;
mod table;
mod taken;
mod token_line;
mod token_place;
mod tokens;
mod values;

pub use batch::{Batch, Kept};
pub use bell::Bell;
pub use blocks::{Amounts, BLOCK_ROWS, Block, Column};
pub use counting::{Addition, Amount, Sides};
pub use crdtstats_lock::Turn;
pub use error::EngineError;
pub use flushing::Plan;
pub use status::Status;
pub use table::{Offsets, Table, Totals};
pub use tokens::Token;

use crdtstats_core::paths::OutsideTexts;
use crdtstats_core::peer_id::PeerId;
use crdtstats_core::replica::{Config, Replica};
use crdtstats_journal::{Generation, Journal, Slot, Slots, Sums, Unread};
use crdtstats_lock::{ShortGuard, ShortLock};
use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The live journal, and what turns writers away.
struct Counting {
    journal: Option<Journal>,
    closing: bool,
    tokens: tokens::Tokens,
    /// Tokens that stand for nothing any more, and whose keys are still held for us.
    forgotten: Vec<usize>,
    /// Cursors of earlier generations: from the datastore, and from journals that may be believed.
    cursors: BTreeMap<String, u64>,
    /// Room for the next batch of many rows on few keys.
    sums: Option<Box<Sums>>,
}

struct Core {
    replica: Replica,
    generation: String,
    /// A flush that was built and is not known to be durable: a retry stores the same bytes.
    pending: Option<Plan>,
    /// The cursors that the last durable flush stored.
    stored_cursors: BTreeMap<String, u64>,
    /// Room for what a read has to bring in: a read of little would wait for memory longer than for its keys.
    touched: Vec<Unread>,
}

/// One open store.
pub struct Engine {
    counting: ShortLock<Counting>,
    core: Mutex<Core>,
    /// Held while a flush is built: one at a time.
    flushing: Mutex<flushing::Series>,
    slots: OnceLock<Slots>,
    ids_mask: OnceLock<u32>,
    bell: Bell,
    finished: AtomicBool,
}

impl Engine {
    /// A store without a journal yet: blocks are loaded and journals recovered first, then [`Engine::start`].
    #[must_use]
    pub fn new(config: Config, me: PeerId, now_ms: u64, seed: u64) -> Self {
        Engine {
            counting: ShortLock::new(Counting {
                journal: None,
                closing: false,
                tokens: tokens::Tokens::default(),
                forgotten: Vec::new(),
                cursors: BTreeMap::new(),
                sums: None,
            }),
            core: Mutex::new(Core {
                replica: Replica::new(config, me, now_ms, seed),
                generation: String::new(),
                pending: None,
                stored_cursors: BTreeMap::new(),
                touched: Vec::new(),
            }),
            flushing: Mutex::default(),
            slots: OnceLock::new(),
            ids_mask: OnceLock::new(),
            bell: Bell::default(),
            finished: AtomicBool::new(false),
        }
    }

    /// Make the live journal: from now on the store counts.
    ///
    /// # Errors
    /// The journal cannot be made.
    pub fn start(
        &self,
        journal_dir: &Path,
        generation: Generation,
        section: [u8; 16],
        table_seed: u64,
    ) -> Result<(), EngineError> {
        let mut core = self.core();
        let me = core.replica.me().clone();
        let journal = Journal::create(journal_dir, &me.to_string(), generation, table_seed)?;
        core.generation = generation.to_string();
        core.replica.open_section(me, section);
        let generation = core.generation.clone();
        let keys = KeysOfSlots(journal.slots());
        core.replica
            .set_live_generation(&generation, Box::new(keys));
        let _ = self.slots.set(journal.slots());
        let _ = self.ids_mask.set(columns::mask(table_seed));
        self.counting(None).journal = Some(journal);
        Ok(())
    }

    /// The descriptor that holds the live journal's lock: it must not live on in a forked child.
    #[must_use]
    pub fn journal_fd(&self) -> Option<RawFd> {
        self.counting(None).journal.as_ref().map(Journal::raw_fd)
    }

    /// Whether the store was closed: nothing may be read or counted any more.
    #[inline]
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }

    /// Rings when something was counted after a quiet time.
    #[must_use]
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn counting(&self, turn: Option<Turn<'_>>) -> ShortGuard<'_, Counting> {
        match turn {
            Some(turn) => self.counting.lock_in_turn(turn),
            None => self.counting.lock(),
        }
    }
}

/// Keys stay in the journal; the state asks for their texts.
struct KeysOfSlots(Slots);

impl OutsideTexts for KeysOfSlots {
    fn copy(&self, place: u32, out: &mut Vec<u8>) {
        self.0.copy_key(Slot::of_units(place), out);
    }
}
