//! Values as Go peers show them: kept blocks are looked at again, and what they show too little of is written again.

use crate::Engine;
use crate::error::EngineError;
use crate::flushing::Plan;
use crdtstats_core::chain::Written;
use crdtstats_core::cid::Cid;
use crdtstats_core::entries::Shown;
use crdtstats_core::identity::Signer;
use crdtstats_core::peer_id::PeerId;
use std::sync::{Arc, PoisonError};

impl Engine {
    /// An identity whose key is at hand beside our own. Before blocks are loaded.
    pub fn hold(&self, identity: &PeerId) {
        self.core().replica.hold(identity);
    }

    /// What a Go peer that holds the same blocks shows under a raw key; `None` where that is not kept.
    #[must_use]
    pub fn entry(&self, raw_key: &str) -> Option<Shown> {
        self.core().replica.entry(raw_key)
    }

    /// Kept blocks that are needed again now; each is to be given to [`Engine::look_again`].
    #[must_use]
    pub fn take_again(&self, now_ms: u64) -> Vec<Cid> {
        self.core().replica.take_again(now_ms)
    }

    /// A block that [`Engine::take_again`] asked for; `None` where it is not to be had.
    pub fn look_again(&self, cid: &Cid, block: Option<&[u8]>) {
        self.core().replica.look_again(cid, block);
    }

    /// When [`Engine::begin_heal`] has something to do, as far as is known.
    #[must_use]
    pub fn heal_due_ms(&self, now_ms: u64) -> Option<u64> {
        self.core().replica.heal_due_ms(now_ms)
    }

    /// Build nodes of the sub-counters of one identity of ours of which Go peers show too little. `None`: none is due, or
    /// a flush before is not confirmed. `section` as in [`crdtstats_core::replica::Replica::prepare_heal`].
    ///
    /// # Errors
    /// The signer refuses: the values are due again after an interval.
    pub fn begin_heal(
        &self,
        signer: &dyn Signer,
        section: [u8; 16],
        now_ms: u64,
    ) -> Result<Option<Plan>, EngineError> {
        let _one_at_a_time = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let again = {
            let mut core = self.core();
            if core.pending.is_some() {
                return Ok(None);
            }
            core.replica
                .prepare_heal(signer.peer_id(), section, now_ms)?
        };
        let Some(again) = again else {
            return Ok(None);
        };
        let lines = again.values.iter();
        let written: Vec<Written<'_>> = lines
            .map(|(key, value)| Written { key, value: *value })
            .collect();
        let flush = again.draft.build_written(signer, &written)?;
        let mut core = self.core();
        core.replica.note_built(&flush);
        let plan = Plan {
            flush: Some(Arc::new(flush)),
            slots: 0,
            cursors: core.stored_cursors.clone(),
            is_retry: false,
            is_partial: false,
        };
        core.pending = Some(plan.clone());
        Ok(Some(plan))
    }
}
