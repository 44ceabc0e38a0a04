//! `Engine`: what the replicator and the life cycle of a store call.

use crate::blocks::Block;
use crate::errors::{closed, data, internal, overflow, remote, unavailable, usage};
use crate::keys::{let_go, let_go_of_some_dead};
use crate::leftover::Leftover;
use crate::memory;
use crate::process::Guarded;
use crate::signer::with_signer;
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::entries::Shown;
use crdtstats_core::error::WireError;
use crdtstats_core::judge::Rules;
use crdtstats_core::peer_id::PeerId;
use crdtstats_core::replica::Config;
use crdtstats_engine::{EngineError, Plan};
use crdtstats_journal::{Generation, JournalError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The first 32 bits of a generation whose elements count from signed nodes only: "sig1".
const SIGNED_GENERATION: [u8; 4] = *b"sig1";

pub fn engine_error(py: Python<'_>, error: EngineError) -> PyErr {
    let message = error.to_string();
    match error {
        EngineError::Key(_)
        | EngineError::CursorBehind { .. }
        | EngineError::ForeignId { .. }
        | EngineError::ColumnLengths { .. }
        | EngineError::AmountRange { .. } => usage(py, &message),
        EngineError::Overflow { .. } | EngineError::TotalRange { .. } => overflow(py, &message),
        EngineError::Closed => closed(py, &message),
        EngineError::Journal(error) => journal_error(py, error),
        EngineError::Wire(error) => wire_error(py, &error),
        EngineError::Internal(_) => internal(py, &message),
        EngineError::Data(_) => data(py, &message),
    }
}

pub fn wire_error(py: Python<'_>, error: &WireError) -> PyErr {
    remote(py, &error.to_string())
}

type Wants = Vec<(Py<PyBytes>, Option<String>)>;

/// What the outside has to do.
#[pyclass(frozen, get_all, module = "crdtstats._core")]
pub struct Effects {
    store: Vec<(Py<PyBytes>, Py<PyBytes>)>,
    refused: Vec<Py<PyBytes>>,
    want: Wants,
    cancel: Vec<Py<PyBytes>>,
    announce: Vec<Py<PyBytes>>,
    warnings: Vec<String>,
}

/// Nodes of ours that have to become durable in one step.
#[pyclass(frozen, get_all, module = "crdtstats._core")]
pub struct FlushPlan {
    author: Option<String>,
    blocks: Vec<(Py<PyBytes>, Py<Block>)>,
    cursors: BTreeMap<String, u64>,
    is_retry: bool,
    is_partial: bool,
}

fn bytes(py: Python<'_>, data: &[u8]) -> Py<PyBytes> {
    PyBytes::new(py, data).unbind()
}

fn plan(py: Python<'_>, plan: Plan) -> PyResult<FlushPlan> {
    let mut blocks = Vec::new();
    if let Some(flush) = &plan.flush {
        for (built, block) in flush.blocks.iter().zip(Block::all(flush)) {
            blocks.push((bytes(py, built.cid.as_bytes()), Py::new(py, block)?));
        }
    }
    Ok(FlushPlan {
        author: plan.flush.as_ref().map(|flush| flush.author.to_string()),
        blocks,
        cursors: plan.cursors,
        is_retry: plan.is_retry,
        is_partial: plan.is_partial,
    })
}

/// Every call that takes the core's lock lets go of the GIL first: who holds that lock may be waiting for the GIL (to
/// ask a host to sign), and a call that waits must not stop the other threads.
#[pyclass(frozen, module = "crdtstats._core")]
pub struct Engine {
    engine: Arc<crdtstats_engine::Engine>,
    /// The live journal's descriptor: a forked child closes it, or the journal would stay locked as long as the
    /// child lives.
    journal: Guarded,
}

impl Engine {
    pub fn shared(&self) -> Arc<crdtstats_engine::Engine> {
        self.engine.clone()
    }
}

fn cid_of(py: Python<'_>, cid: &[u8]) -> PyResult<Cid> {
    Cid::from_bytes(cid).map_err(|error| usage(py, &error.to_string()))
}

/// What is no CID is passed over: no peer has it either.
fn all_cids(cids: &[Bound<'_, PyBytes>]) -> Vec<Cid> {
    let cids = cids.iter().map(|cid| Cid::from_bytes(cid.as_bytes()));
    cids.flatten().collect()
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*, topic, native, hash, peer_id, announce_interval_s, now_ms, seed))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        topic: String,
        native: bool,
        hash: &str,
        peer_id: &str,
        announce_interval_s: f64,
        now_ms: u64,
        seed: u64,
    ) -> PyResult<Self> {
        let hash = HashKind::from_name(hash)
            .ok_or_else(|| usage(py, &format!("unknown hash {hash:?}")))?;
        let me = PeerId::parse(peer_id).map_err(|error| usage(py, &error.to_string()))?;
        if !announce_interval_s.is_finite() || announce_interval_s <= 0.0 {
            return Err(usage(py, "announce_interval_s is above 0"));
        }
        let announce_interval_ms = Duration::from_secs_f64(announce_interval_s).as_millis() as u64;
        let config = Config {
            rules: Rules { topic, native },
            hash,
            announce_interval_ms,
        };
        Ok(Engine {
            engine: Arc::new(crdtstats_engine::Engine::new(config, me, now_ms, seed)),
            journal: Guarded::none(),
        })
    }

    /// Take stored blocks in. Gives the damaged ones, with the reason.
    fn load(
        &self,
        py: Python<'_>,
        blocks: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<(Py<PyBytes>, String)>> {
        let mut damaged = Vec::new();
        for pair in blocks.try_iter()? {
            let (name, block): (Bound<'_, PyBytes>, Bound<'_, PyBytes>) = pair?.extract()?;
            let (name, block) = (name.as_bytes(), block.as_bytes());
            let loaded = py.detach(|| self.engine.load_block(&Cid::from_bytes(name)?, block));
            if let Err(error) = loaded {
                damaged.push((bytes(py, name), error.to_string()));
            }
        }
        Ok(damaged)
    }

    fn note_lost(&self, py: Python<'_>, cids: Vec<Bound<'_, PyBytes>>) {
        let cids = all_cids(&cids);
        py.detach(|| self.engine.note_lost(cids));
    }

    fn load_refused(&self, py: Python<'_>, cids: Vec<Bound<'_, PyBytes>>) {
        let cids = all_cids(&cids);
        py.detach(|| self.engine.load_refused(cids));
    }

    fn load_cursors(&self, py: Python<'_>, cursors: BTreeMap<String, u64>) {
        py.detach(|| self.engine.load_cursors(cursors));
    }

    fn recover(
        &self,
        py: Python<'_>,
        leftover: &Bound<'_, Leftover>,
        signer: &Bound<'_, PyAny>,
        section: [u8; 16],
    ) -> PyResult<Option<FlushPlan>> {
        let leftover = leftover
            .get()
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(leftover) = leftover.as_ref() else {
            return Err(closed(py, "the journal is closed"));
        };
        let found = with_signer(signer, |signer| {
            self.engine.recover(leftover, signer, section)
        })?;
        let found = found.map_err(|error| engine_error(py, error))?;
        found.map(|found| plan(py, found)).transpose()
    }

    /// Make the live journal. `random` is 96 fresh random bits, `section` 128, `table_seed` 64.
    fn start(
        &self,
        py: Python<'_>,
        journal_dir: PathBuf,
        random: [u8; 12],
        section: [u8; 16],
        table_seed: u64,
    ) -> PyResult<()> {
        let mut generation = [0; 16];
        for (to, from) in generation
            .iter_mut()
            .zip(SIGNED_GENERATION.iter().chain(&random))
        {
            *to = *from;
        }
        self.engine
            .start(&journal_dir, Generation(generation), section, table_seed)
            .map_err(|error| engine_error(py, error))?;
        self.engine
            .journal_fd()
            .map_or(Ok(()), |fd| self.journal.guard(fd))
    }

    fn begin_flush(
        &self,
        py: Python<'_>,
        signer: &Bound<'_, PyAny>,
        hurried: bool,
        first: bool,
    ) -> PyResult<Option<FlushPlan>> {
        if first && !hurried {
            let_go_of_some_dead(py, &self.engine); // of the store's own flushes: nobody waits
        }
        let found = with_signer(signer, |signer| {
            self.engine.begin_flush(signer, hurried, first)
        })?;
        let found = found.map_err(|error| engine_error(py, error))?;
        found.map(|found| plan(py, found)).transpose()
    }

    fn flush_stored(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.engine.flush_stored())
            .map_err(|error| engine_error(py, error))
    }

    /// Bring what was counted into the totals, where nobody waits for it.
    fn catch_up(&self, py: Python<'_>) {
        py.detach(|| self.engine.catch_up());
        let_go_of_some_dead(py, &self.engine);
    }

    /// Give memory back to the system that large work has left with the allocator. Takes a few milliseconds.
    #[staticmethod]
    fn trim_memory(py: Python<'_>) {
        py.detach(memory::trim);
    }

    fn is_dirty(&self, py: Python<'_>) -> bool {
        py.detach(|| self.engine.is_dirty())
    }

    fn has_written(&self, py: Python<'_>) -> bool {
        py.detach(|| self.engine.has_written())
    }

    fn handle_payload(&self, py: Python<'_>, payload: &[u8], peer: Option<&str>) -> PyResult<()> {
        py.detach(|| self.engine.handle_payload(payload, peer))
            .map_err(|error| engine_error(py, error))
    }

    fn handle_block(&self, py: Python<'_>, cid: &[u8], block: &[u8]) -> PyResult<()> {
        let cid = cid_of(py, cid)?;
        py.detach(|| self.engine.handle_block(&cid, block))
            .map_err(|error| engine_error(py, error))
    }

    fn peer_connected(&self, py: Python<'_>, now_ms: u64) {
        py.detach(|| self.engine.peer_connected(now_ms));
    }

    fn poll(&self, py: Python<'_>, now_ms: u64) -> Effects {
        let effects = py.detach(|| self.engine.poll(now_ms));
        Effects {
            store: effects
                .store
                .iter()
                .map(|(cid, block)| (bytes(py, cid.as_bytes()), bytes(py, block)))
                .collect(),
            refused: effects
                .refused
                .iter()
                .map(|cid| bytes(py, cid.as_bytes()))
                .collect(),
            want: effects
                .want
                .iter()
                .map(|want| (bytes(py, want.cid.as_bytes()), want.peer.clone()))
                .collect(),
            cancel: effects
                .cancel
                .iter()
                .map(|cid| bytes(py, cid.as_bytes()))
                .collect(),
            announce: effects
                .announce
                .iter()
                .map(|payload| bytes(py, payload))
                .collect(),
            warnings: effects.warnings,
        }
    }

    fn due_ms(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.engine.due_ms())
    }

    fn holds(&self, py: Python<'_>, cid: &[u8]) -> PyResult<bool> {
        let cid = cid_of(py, cid)?;
        Ok(py.detach(|| self.engine.holds(&cid)))
    }

    fn walk_down(&self, py: Python<'_>, cid: &[u8], count: usize) -> PyResult<Vec<Py<PyBytes>>> {
        let cid = cid_of(py, cid)?;
        let found = py.detach(|| self.engine.walk_down(&cid, count));
        Ok(found.iter().map(|cid| bytes(py, cid.as_bytes())).collect())
    }

    fn announcement(&self, py: Python<'_>) -> Vec<Py<PyBytes>> {
        py.detach(|| self.engine.announcement())
            .iter()
            .map(|payload| bytes(py, payload))
            .collect()
    }

    /// {dagName: [(CID, height)]}
    fn heads<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        for (name, heads) in py.detach(|| self.engine.heads()) {
            let heads: Vec<_> = heads
                .into_iter()
                .map(|(cid, height)| (bytes(py, cid.as_bytes()), height))
                .collect();
            out.set_item(name, heads)?;
        }
        Ok(out)
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let status = py.detach(|| self.engine.status());
        let out = PyDict::new(py);
        out.set_item("keys", status.keys)?;
        out.set_item("sub_counters", status.sub_counters)?;
        out.set_item("dirty", status.dirty)?;
        out.set_item("blocks", status.blocks)?;
        out.set_item("heads", status.heads)?;
        out.set_item("missing", status.missing)?;
        out.set_item("wanted", status.wanted)?;
        out.set_item("newer", status.newer)?;
        out.set_item("entries", status.entries)?;
        out.set_item("tombstones", status.tombstones)?;
        out.set_item("recounting", status.recounting)?;
        out.set_item("healed", status.healed)?;
        out.set_item("dropped", status.dropped)?;
        out.set_item("forked", status.forked)?;
        out.set_item("paused", status.paused)?;
        out.set_item("clone_seen", status.clone_seen)?;
        out.set_item("doubled", status.doubled)?;
        out.set_item("journal_bytes", status.journal_bytes)?;
        Ok(out)
    }

    fn hold(&self, py: Python<'_>, peer_id: &str) -> PyResult<()> {
        let identity = PeerId::parse(peer_id).map_err(|error| usage(py, &error.to_string()))?;
        py.detach(|| self.engine.hold(&identity));
        Ok(())
    }

    fn entry(&self, py: Python<'_>, key: &str) -> PyResult<Option<Py<PyBytes>>> {
        match py.detach(|| self.engine.entry(key)) {
            Some(Shown::Value(value)) => Ok(Some(bytes(py, &value))),
            Some(Shown::Nothing) => Ok(None),
            Some(Shown::Unknown) => Err(unavailable(
                py,
                &format!("others wrote more than is kept: what {key:?} shows is not known"),
            )),
            None => Err(usage(
                py,
                &format!(
                    "{key:?} is a sub-counter of another replica, or the network is native: no entry is kept for it"
                ),
            )),
        }
    }

    fn take_again(&self, py: Python<'_>, now_ms: u64) -> Vec<Py<PyBytes>> {
        let cids = py.detach(|| self.engine.take_again(now_ms));
        cids.iter().map(|cid| bytes(py, cid.as_bytes())).collect()
    }

    fn look_again(&self, py: Python<'_>, cid: &[u8], block: Option<&[u8]>) -> PyResult<()> {
        let cid = cid_of(py, cid)?;
        py.detach(|| self.engine.look_again(&cid, block));
        Ok(())
    }

    fn heal_due_ms(&self, py: Python<'_>, now_ms: u64) -> Option<u64> {
        py.detach(|| self.engine.heal_due_ms(now_ms))
    }

    fn begin_heal(
        &self,
        py: Python<'_>,
        signer: &Bound<'_, PyAny>,
        section: [u8; 16],
        now_ms: u64,
    ) -> PyResult<Option<FlushPlan>> {
        let found = with_signer(signer, |signer| {
            self.engine.begin_heal(signer, section, now_ms)
        })?;
        let found = found.map_err(|error| engine_error(py, error))?;
        found.map(|found| plan(py, found)).transpose()
    }

    fn stop_counting(&self) {
        self.engine.stop_counting();
    }

    fn finish(&self, py: Python<'_>, durable: bool) -> PyResult<()> {
        self.journal.release();
        let finished = py.detach(|| self.engine.finish(durable));
        // It counts no more, so it needs no key's object any more.
        for token in self.engine.take_tokens() {
            // SAFETY: it was held when it was kept, and the engine gives it back once.
            unsafe { let_go(py, token) };
        }
        finished.map_err(|error| engine_error(py, error))
    }

    /// Wake whoever is in `wait`.
    fn ring(&self) {
        self.engine.bell().ring();
    }

    /// Wait until something was counted after a flush, or somebody rang, or the time is over.
    fn wait(&self, py: Python<'_>, timeout_s: f64) {
        let timeout = Duration::from_secs_f64(timeout_s.clamp(0.0, 3600.0));
        py.detach(|| self.engine.bell().wait(timeout));
    }
}

pub fn journal_error(py: Python<'_>, error: JournalError) -> PyErr {
    let message = error.to_string();
    match error {
        JournalError::Io { .. } | JournalError::Full { .. } | JournalError::TooLarge { .. } => {
            unavailable(py, &message)
        }
        JournalError::NoMemory { .. } | JournalError::Locked { .. } | JournalError::Gone { .. } => {
            unavailable(py, &message)
        }
        JournalError::Damaged { .. }
        | JournalError::Version { .. }
        | JournalError::Features { .. } => data(py, &message),
        JournalError::Key { .. }
        | JournalError::Replica { .. }
        | JournalError::CursorName { .. } => usage(py, &message),
        JournalError::CursorBehind { .. } => usage(py, &message),
        JournalError::Overflow { .. } => overflow(py, &message),
        JournalError::Forked { .. } => closed(py, &message),
        _ => internal(py, &message),
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Engine>()?;
    m.add_class::<Effects>()?;
    m.add_class::<FlushPlan>()
}
