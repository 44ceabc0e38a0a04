//! From dirty slots to durable, announced nodes: built here, stored outside, confirmed here.

use crate::Engine;
use crate::error::EngineError;
use crate::taken::Taken;
use crdtstats_core::element_key::Side;
use crdtstats_core::identity::Signer;
use crdtstats_core::replica::Flush;
use crdtstats_journal::Journal;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// Most slots of one flush: about 36 MB of blocks. More are flushed one after the other, so that memory for it stays
/// small beside that of the counters.
const FLUSH_SLOTS_MAX: usize = 1 << 18;

/// Slots read under one lock.
const READ_AT_ONCE: usize = 2048;

/// Flushes one after the other of what was dirty when the first of them began.
#[derive(Default)]
pub(crate) struct Series {
    /// Slots that none of them has taken yet.
    left: usize,
    /// The cursors, read before the first of them: they are stored with the last.
    cursors: BTreeMap<String, u64>,
}

/// What has to become durable in one step.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes of ours and the section they continue; `None` where only cursors moved.
    pub flush: Option<Arc<Flush>>,
    /// How many sub-counters are in it.
    pub slots: usize,
    /// All cursors as they were read before the values.
    pub cursors: BTreeMap<String, u64>,
    /// Built by an earlier call and not confirmed since: the same bytes again, which lack what was counted later.
    pub is_retry: bool,
    /// More was dirty than one flush takes: another one has to follow. The cursors are those of the one before, as they
    /// must not run ahead of their counts.
    pub is_partial: bool,
}

impl Engine {
    /// Whether anything was counted that no durable flush holds.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        let core = self.core();
        let counting = self.counting(None);
        core.pending.is_some()
            || counting
                .journal
                .as_ref()
                .is_some_and(|journal| !journal.is_clean())
            || counting.all_cursors() != core.stored_cursors
    }

    /// Lists all that was counted on ids, a slice at a time: whatever looks at lists sees it then.
    fn settle(&self) {
        let Some(pass) = self.counting(None).journal.as_ref().map(Journal::settling) else {
            return;
        };
        loop {
            let mut counting = self.counting(None);
            let journal = counting.journal.as_mut();
            if journal.is_none_or(|journal| journal.settle(&pass)) {
                return;
            }
        }
    }

    /// Number of sub-counters that changed since the last flush, as far as they are listed.
    #[must_use]
    pub fn dirty_len(&self) -> usize {
        self.counting(None)
            .journal
            .as_ref()
            .map_or(0, Journal::dirty_len)
    }

    /// Build the nodes of everything dirty, or give again what was built and not confirmed. `None`: nothing to do.
    /// `hurried`: somebody waits, so [`Engine::catch_up`] is called later. `first`: of a flush, which takes in all that is
    /// dirty now, whatever one before that was cut off had still to take.
    ///
    /// # Errors
    /// The signer refuses; everything stays dirty.
    pub fn begin_flush(
        &self,
        signer: &dyn Signer,
        hurried: bool,
        first: bool,
    ) -> Result<Option<Plan>, EngineError> {
        // One at a time.
        let mut series = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        if first {
            series.left = 0;
        }
        if let Some(plan) = &self.core().pending {
            series.left = 0; // what follows a retry is a flush of all that is dirty then
            return Ok(Some(Plan {
                is_retry: true,
                ..plan.clone()
            }));
        }
        if !hurried {
            self.catch_up();
        }
        if series.left == 0 {
            // The cursors first, then the values: a stored cursor never runs ahead of its counts.
            series.cursors = self.counting(None).all_cursors();
            self.settle();
            series.left = self.dirty_len();
        }
        let left = std::mem::take(&mut series.left); // unless all goes well, the next flush is of all that is dirty
        let mut taken = Taken::new(self);
        taken.take(left.min(FLUSH_SLOTS_MAX));
        let slots = taken.slots.len();
        let flush = self.build(signer, &mut taken)?;
        let mut core = self.core();
        if flush.is_some() {
            series.left = left.saturating_sub(slots);
        }
        let is_partial = series.left > 0;
        let cursors = if is_partial {
            core.stored_cursors.clone()
        } else {
            std::mem::take(&mut series.cursors)
        };
        if flush.is_none() && cursors == core.stored_cursors {
            return Ok(None);
        }
        if let Some(flush) = &flush {
            core.replica.note_built(flush);
        }
        let plan = Plan {
            flush: flush.map(Arc::new),
            slots,
            cursors,
            is_retry: false,
            is_partial,
        };
        core.pending = Some(plan.clone());
        taken.keep();
        Ok(Some(plan))
    }

    /// Bring what was counted into the totals, where nobody waits for it: its list does not grow for ever, and the next
    /// read finds little to do.
    pub fn catch_up(&self) {
        self.bring_in(&mut self.core(), None);
    }

    /// Nodes of slots that were taken. No lock is held while they are encoded, hashed and signed.
    fn build(
        &self,
        signer: &dyn Signer,
        taken: &mut Taken<'_>,
    ) -> Result<Option<Flush>, EngineError> {
        let Some(view) = self.slots.get().filter(|_| !taken.slots.is_empty()) else {
            return Ok(None);
        };
        let draft = {
            let mut core = self.core();
            let generation = core.generation.clone();
            core.replica.prepare_flush(signer.peer_id(), &generation)?
        };
        let (mut writer, mut key) = (draft.writer(signer, taken.slots.len()), Vec::new());
        // In slices: what was just read is still at hand when its key is copied.
        while let Some(slice) = taken.read(READ_AT_ONCE) {
            for dirty in slice {
                key.clear();
                view.copy_key(dirty.slot, &mut key);
                let path = std::str::from_utf8(&key)
                    .map_err(|_| EngineError::Internal("a key in the journal is not UTF-8"))?;
                if dirty.sides.0 {
                    writer.push(path, Side::Incr, dirty.incr)?;
                }
                if dirty.sides.1 {
                    writer.push(path, Side::Decr, dirty.decr)?;
                }
            }
        }
        Ok(Some(writer.finish()?))
    }

    /// The plan that [`Engine::begin_flush`] gave is durable.
    ///
    /// # Errors
    /// Our own nodes do not decode: a bug.
    pub fn flush_stored(&self) -> Result<(), EngineError> {
        let mut core = self.core();
        let Some(plan) = core.pending.take() else {
            return Ok(());
        };
        core.stored_cursors = plan.cursors;
        if let Some(flush) = &plan.flush {
            core.replica.flush_stored(flush)?;
            let is_ours = flush.author == *core.replica.me();
            if is_ours && let Some(journal) = self.counting(None).journal.as_mut() {
                journal.note_flushed(flush.section, flush.sequence);
            }
        }
        Ok(())
    }
}
