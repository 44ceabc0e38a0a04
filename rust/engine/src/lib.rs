//! One open store in memory: the journal and the core, joined under their locks.
//!
//! Two locks, always taken in this order: `core` (state, DAG, chain), then `counting` (the live journal). An increment
//! takes `counting` alone and holds it for nanoseconds; nothing holds it for longer than a slice of
//! [`SLICE_SLOTS`] slots, and neither is held across I/O.

mod bell;
mod counting;
mod error;
mod flushing;
mod lock;
mod reading;
mod recovery;
mod replication;
mod status;
mod tokens;

pub use bell::Bell;
pub use counting::{Addition, Amount};
pub use error::EngineError;
pub use flushing::Plan;
pub use status::Status;

use crdtstats_core::paths::PathId;
use crdtstats_core::peer_id::PeerId;
use crdtstats_core::replica::{Config, Replica};
use crdtstats_journal::{Generation, Journal, Slot, Slots};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Slots that are taken off a list in one go: bounds how long an increment waits for a read or a flush.
pub const SLICE_SLOTS: usize = 4096;

/// The live journal, and what turns writers away.
struct Counting {
    journal: Option<Journal>,
    closing: bool,
    tokens: tokens::Tokens,
    /// Cursors of earlier generations: from the datastore, and from journals that may be believed.
    cursors: BTreeMap<String, u64>,
}

/// What has been brought into the totals of one slot.
struct Seen {
    path: PathId,
    incr: u64,
    decr: u64,
}

struct Core {
    replica: Replica,
    generation: String,
    /// By slot: what of it is in the totals.
    seen: FxHashMap<Slot, Seen>,
    /// A flush that was built and is not known to be durable: a retry stores the same bytes.
    pending: Option<Plan>,
    /// The cursors that the last durable flush stored.
    stored_cursors: BTreeMap<String, u64>,
}

/// One open store.
pub struct Engine {
    counting: lock::ShortLock<Counting>,
    core: Mutex<Core>,
    slots: OnceLock<Slots>,
    bell: Bell,
    finished: AtomicBool,
}

impl Engine {
    /// A store without a journal yet: blocks are loaded and journals recovered first, then [`Engine::start`].
    #[must_use]
    pub fn new(config: Config, me: PeerId, now_ms: u64, seed: u64) -> Self {
        Engine {
            counting: lock::ShortLock::new(Counting {
                journal: None,
                closing: false,
                tokens: tokens::Tokens::default(),
                cursors: BTreeMap::new(),
            }),
            core: Mutex::new(Core {
                replica: Replica::new(config, me, now_ms, seed),
                generation: String::new(),
                seen: FxHashMap::default(),
                pending: None,
                stored_cursors: BTreeMap::new(),
            }),
            slots: OnceLock::new(),
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
        core.replica.set_live_generation(&generation);
        let _ = self.slots.set(journal.slots());
        self.counting().journal = Some(journal);
        Ok(())
    }

    /// The descriptor that holds the live journal's lock: it must not live on in a forked child.
    #[must_use]
    pub fn journal_fd(&self) -> Option<RawFd> {
        self.counting().journal.as_ref().map(Journal::raw_fd)
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
    fn counting(&self) -> lock::ShortGuard<'_, Counting> {
        self.counting.lock()
    }

    fn read_slot(&self, slot: Slot) -> (u64, u64) {
        self.slots.get().map_or((0, 0), |slots| slots.read(slot))
    }
}
