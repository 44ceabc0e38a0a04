//! From dirty slots to durable, announced nodes: built here, stored outside, confirmed here.

use crate::error::EngineError;
use crate::{Engine, SLICE_SLOTS};
use crdtstats_core::identity::Signer;
use crdtstats_core::replica::{Changed, Flush};
use std::collections::BTreeMap;

/// What has to become durable in one step.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes of ours and the section they continue; `None` where only cursors moved.
    pub flush: Option<Flush>,
    /// All cursors as they were read before the values.
    pub cursors: BTreeMap<String, u64>,
    /// Built by an earlier call and not confirmed since: the same bytes again, which lack what was counted later.
    pub is_retry: bool,
}

impl Engine {
    /// Whether anything was counted that no durable flush holds.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        let core = self.core();
        let counting = self.counting();
        core.pending.is_some()
            || counting
                .journal
                .as_ref()
                .is_some_and(|journal| journal.dirty_len() > 0)
            || counting.all_cursors() != core.stored_cursors
    }

    /// Number of sub-counters that changed since the last flush.
    #[must_use]
    pub fn dirty_len(&self) -> usize {
        self.counting()
            .journal
            .as_ref()
            .map_or(0, crdtstats_journal::Journal::dirty_len)
    }

    /// Build the nodes of everything dirty, or give again what was built and not confirmed. `None`: nothing to do.
    ///
    /// # Errors
    /// The signer refuses; everything stays dirty.
    pub fn begin_flush(&self, signer: &dyn Signer) -> Result<Option<Plan>, EngineError> {
        let mut core = self.core();
        if let Some(plan) = &core.pending {
            return Ok(Some(Plan {
                is_retry: true,
                ..plan.clone()
            }));
        }
        // The cursors first, then the values: a stored cursor never runs ahead of its counts.
        let cursors = self.counting().all_cursors();
        let (mut changed, mut slots) = (Vec::new(), Vec::new());
        // What is listed now, once each: writers that never rest cannot keep a flush here for ever.
        let mut left = self.dirty_len();
        while left > 0 {
            let from = slots.len();
            let mut counting = self.counting();
            let Some(journal) = counting.journal.as_mut() else {
                break;
            };
            journal.take_dirty(SLICE_SLOTS.min(left), &mut slots);
            let keys: Vec<String> = slots
                .iter()
                .skip(from)
                .map(|&slot| journal.key(slot).to_owned())
                .collect();
            drop(counting);
            if keys.is_empty() {
                break;
            }
            // The flags are cleared by now, so whatever is counted from here on is dirty again.
            for (path, &slot) in keys.into_iter().zip(slots.iter().skip(from)) {
                let (incr, decr) = self.read_slot(slot);
                changed.push(Changed { path, incr, decr });
            }
            left = left.saturating_sub(slots.len() - from);
        }
        let generation = core.generation.clone();
        let flush = match core.replica.build_flush(signer, &generation, &changed) {
            Ok(flush) => flush,
            Err(error) => {
                if let Some(journal) = self.counting().journal.as_mut() {
                    slots.iter().for_each(|&slot| journal.mark_dirty(slot));
                }
                return Err(error.into());
            }
        };
        if flush.is_none() && cursors == core.stored_cursors {
            return Ok(None);
        }
        let plan = Plan {
            flush,
            cursors,
            is_retry: false,
        };
        core.pending = Some(plan.clone());
        Ok(Some(plan))
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
            if let Some(journal) = self.counting().journal.as_mut() {
                journal.note_flushed(flush.section, flush.sequence);
            }
        }
        Ok(())
    }
}
