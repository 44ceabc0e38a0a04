//! From a directory to a running store: stored blocks are loaded, journals of dead processes published.

use crate::Engine;
use crate::error::EngineError;
use crate::flushing::Plan;
use crdtstats_core::cid::Cid;
use crdtstats_core::identity::Signer;
use crdtstats_core::replica::{Changed, author_and_links};
use crdtstats_journal::Leftover;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Takes stored blocks in, one after the other, in any order.
///
/// A node of our own counts as ours only where the recorded head reaches it: a crash between "blocks stored" and
/// "head moved" leaves nodes that were never announced, and whose values the journal still has.
pub struct Loader<'a> {
    engine: &'a Engine,
    own_head: Option<Cid>,
    own: FxHashMap<Cid, (Vec<Cid>, Vec<u8>)>,
}

impl Loader<'_> {
    /// Take a stored block in.
    ///
    /// # Errors
    /// The block does not match its CID, or is no DAG node: it is damaged.
    pub fn load(&mut self, cid: &Cid, block: &[u8]) -> Result<(), EngineError> {
        let mut core = self.engine.core();
        cid.check(block)?;
        let (author, links) = author_and_links(core.replica.rules(), block)?;
        if author.as_ref() == Some(core.replica.me()) {
            self.own.insert(cid.clone(), (links, block.to_vec()));
            return Ok(());
        }
        Ok(core.replica.load(cid, block)?)
    }

    /// Load what the own head reaches; give the own nodes that it does not reach.
    ///
    /// # Errors
    /// A block that was checked before does not load: a bug.
    pub fn finish(mut self) -> Result<Vec<Cid>, EngineError> {
        let mut core = self.engine.core();
        let mut next: Vec<Cid> = self.own_head.into_iter().collect();
        while let Some(cid) = next.pop() {
            if let Some((links, block)) = self.own.remove(&cid) {
                core.replica.load(&cid, &block)?;
                next.extend(links);
            }
        }
        let mut orphans: Vec<Cid> = self.own.into_keys().collect();
        orphans.sort_unstable();
        Ok(orphans)
    }
}

impl Engine {
    /// Begin to take stored blocks in. `own_head` is the last durable node of our own.
    #[must_use]
    pub fn loader(&self, own_head: Option<Cid>) -> Loader<'_> {
        Loader {
            engine: self,
            own_head,
            own: FxHashMap::default(),
        }
    }

    /// Take the cursors of the last durable flush in.
    pub fn load_cursors(&self, cursors: BTreeMap<String, u64>) {
        self.core().stored_cursors.clone_from(&cursors);
        self.counting().cursors = cursors;
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
        let mut changed = Vec::new();
        for entry in leftover.entries() {
            let entry = entry?;
            changed.push(Changed {
                path: entry.key,
                incr: entry.incr,
                decr: entry.decr,
            });
        }
        core.replica.open_section(signer.peer_id().clone(), section);
        let flush =
            core.replica
                .build_flush(signer, &leftover.generation().to_string(), &changed)?;
        let mut counting = self.counting();
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
            cursors,
            is_retry: false,
        };
        core.pending = Some(plan.clone());
        Ok(Some(plan))
    }
}
