//! From a directory to a running store: stored blocks are loaded, journals of dead processes published.

use crate::Engine;
use crate::error::EngineError;
use crate::flushing::Plan;
use crdtstats_core::cid::Cid;
use crdtstats_core::element_key::Side;
use crdtstats_core::identity::Signer;
use crdtstats_core::replica::Changes;
use crdtstats_journal::Leftover;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    /// Take a stored block in, in any order. One of our own too, whether a head reaches it or not: what we signed is
    /// true, and joining it is always safe.
    ///
    /// # Errors
    /// The block does not match its CID, or is no DAG node: it is damaged.
    pub fn load_block(&self, cid: &Cid, block: &[u8]) -> Result<(), EngineError> {
        Ok(self.core().replica.load(cid, block)?)
    }

    /// Note blocks that were here before and could not be loaded; before anything comes in from peers.
    pub fn note_lost(&self, cids: Vec<Cid>) {
        self.core().replica.note_lost(cids);
    }

    /// Note blocks that are known to be refused; before or after the blocks.
    pub fn load_refused(&self, cids: Vec<Cid>) {
        self.core().replica.load_refused(cids);
    }

    /// Take the cursors of the last durable flush in.
    pub fn load_cursors(&self, cursors: BTreeMap<String, u64>) {
        self.core().stored_cursors.clone_from(&cursors);
        self.counting(None).cursors = cursors;
    }

    /// Take the journal of a dead process in: what exceeds the blocks becomes nodes of its own replica and generation.
    /// Its cursors move ours where the file shows that they did not run ahead of its counts. `None`: nothing to store.
    ///
    /// # Errors
    /// The signer refuses, or is not the journal's replica.
    pub fn recover(
        &self,
        leftover: &Leftover,
        signer: &dyn Signer,
        section: [u8; 16],
    ) -> Result<Option<Plan>, EngineError> {
        let mut core = self.core();
        if signer.peer_id().to_string() != leftover.replica() {
            return Err(EngineError::Internal(
                "a journal is recovered under its own replica only",
            ));
        }
        if core.pending.is_some() {
            return Err(EngineError::Internal("the flush before is not confirmed"));
        }
        let mut changes = Changes::default();
        for entry in leftover.entries() {
            let entry = entry?;
            changes.push(&entry.key, Side::Incr, entry.incr);
            changes.push(&entry.key, Side::Decr, entry.decr);
        }
        let (author, generation) = (signer.peer_id(), leftover.generation().to_string());
        core.replica.open_section(author.clone(), section);
        let changes = core.replica.above_known(author, &generation, &changes);
        let flush = if changes.is_empty() {
            None
        } else {
            let draft = core.replica.prepare_flush(author, &generation)?;
            let flush = draft.build(signer, &changes)?;
            core.replica.note_built(&flush);
            Some(Arc::new(flush))
        };
        let mut counting = self.counting(None);
        if leftover.cursors_believed() {
            for (name, position) in leftover.cursors() {
                let at = counting.cursors.entry(name).or_default();
                *at = position.max(*at);
            }
        }
        let cursors = counting.cursors.clone();
        if flush.is_none() && cursors == core.stored_cursors {
            return Ok(None);
        }
        let plan = Plan {
            flush,
            slots: 0,
            cursors,
            is_retry: false,
            is_partial: false,
        };
        core.pending = Some(plan.clone());
        Ok(Some(plan))
    }
}
