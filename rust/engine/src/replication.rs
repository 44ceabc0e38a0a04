//! What the replicator carries: payloads and blocks in, effects out.

use crate::error::EngineError;
use crate::{Core, Engine};
use crdtstats_core::cid::Cid;
use crdtstats_core::element_key::Side;
use crdtstats_core::replica::Effects;
use rustc_hash::FxHashSet;

impl Engine {
    /// Take a payload of the topic.
    ///
    /// # Errors
    /// Its sender is at fault: drop it and go on.
    pub fn handle_payload(&self, payload: &[u8], peer: Option<&str>) -> Result<(), EngineError> {
        let mut core = self.core();
        let handled = core.replica.handle_payload(payload, peer);
        self.after_merge(&mut core);
        Ok(handled?)
    }

    /// Take a block that the exchange fetched.
    ///
    /// # Errors
    /// Its sender is at fault: drop it and go on.
    pub fn handle_block(&self, cid: &Cid, block: &[u8]) -> Result<(), EngineError> {
        let mut core = self.core();
        let handled = core.replica.handle_block(cid, block);
        self.after_merge(&mut core);
        Ok(handled?)
    }

    /// What foreign nodes changed for the live journal; before the core is let go of.
    fn after_merge(&self, core: &mut Core) {
        self.note_shared(core);
        for seen in core.replica.take_own_seen() {
            let held = {
                let counting = self.counting(None);
                let journal = counting.journal.as_ref();
                let slot = journal.and_then(|journal| journal.find(seen.path.as_bytes()));
                journal.zip(slot).map(|(journal, slot)| journal.read(slot))
            };
            let (incr, decr) = held.unwrap_or_default();
            let held = match seen.side {
                Side::Incr => incr,
                Side::Decr => decr,
            };
            // Our own nodes come back to us; above our slot only a second writer can be.
            if seen.value > held {
                core.replica.note_doubled();
            }
        }
    }

    /// Whether this start of the store wrote a node.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.core().replica.has_written()
    }

    /// A peer connected.
    pub fn peer_connected(&self, now_ms: u64) {
        self.core().replica.peer_connected(now_ms);
    }

    /// What has to be done now.
    #[must_use]
    pub fn poll(&self, now_ms: u64) -> Effects {
        self.core().replica.poll(now_ms)
    }

    /// When [`Engine::poll`] has something to do without any input.
    #[must_use]
    pub fn due_ms(&self) -> u64 {
        self.core().replica.due_ms()
    }

    /// Whether a block is held and published: only such blocks are served.
    #[must_use]
    pub fn holds(&self, cid: &Cid) -> bool {
        self.core().replica.dag().holds(cid)
    }

    /// Held nodes at and below `cid`, nearest first.
    #[must_use]
    pub fn walk_down(&self, cid: &Cid, count: usize) -> Vec<Cid> {
        self.core().replica.dag().walk_down(cid, count)
    }

    /// Every head that is held, packed into broadcasts.
    #[must_use]
    pub fn announcement(&self) -> Vec<Vec<u8>> {
        self.core().replica.announcement(&FxHashSet::default())
    }

    /// (dagName, [(CID, height)]) of every DAG, sorted.
    #[must_use]
    pub fn heads(&self) -> Vec<(String, Vec<(Cid, u64)>)> {
        let heads = self.core().replica.dag().all_heads();
        heads
            .into_iter()
            .map(|(name, heads)| (name, heads.into_iter().map(|h| (h.cid, h.height)).collect()))
            .collect()
    }
}
