//! The way out: reads are exact, so what was counted since the last one is brought into the totals first.

use crate::error::EngineError;
use crate::{Core, Engine, SLICE_SLOTS, Seen};
use crdtstats_core::key;
use crdtstats_core::state::State;
use std::collections::hash_map::Entry;
use std::sync::TryLockError;

impl Engine {
    /// Run a read on totals that hold everything counted before the call.
    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        let mut core = self.core();
        self.bring_in(&mut core);
        read(core.replica.state())
    }

    /// As [`Engine::read`], where nobody else is in the core just now.
    fn read_now<T>(&self, read: impl FnOnce(&State) -> T) -> Option<T> {
        let mut core = match self.core.try_lock() {
            Ok(core) => core,
            Err(TryLockError::Poisoned(core)) => core.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.bring_in(&mut core);
        Some(read(core.replica.state()))
    }

    /// Move the totals by what the slots gained since they were last looked at, a slice at a time.
    pub(crate) fn bring_in(&self, core: &mut Core) {
        let mut touched = Vec::new();
        // One pass over what is listed now: writers that never rest cannot keep a reader here for ever.
        let mut left = match &self.counting().journal {
            Some(journal) => journal.unread_len(),
            None => 0,
        };
        while left > 0 {
            touched.clear();
            let mut fresh = Vec::new();
            {
                let mut counting = self.counting();
                let Some(journal) = counting.journal.as_mut() else {
                    return;
                };
                journal.take_unread(SLICE_SLOTS.min(left), &mut touched);
                for &slot in &touched {
                    if !core.seen.contains_key(&slot) {
                        fresh.push((slot, journal.key(slot).to_owned()));
                    }
                }
            }
            if touched.is_empty() {
                return;
            }
            left = left.saturating_sub(touched.len());
            for (slot, key) in fresh {
                if let Some(path) = core.replica.state_mut().intern(&key)
                    && let Entry::Vacant(vacant) = core.seen.entry(slot)
                {
                    vacant.insert(Seen {
                        path,
                        incr: 0,
                        decr: 0,
                    });
                }
            }
            for &slot in &touched {
                let (incr, decr) = self.read_slot(slot);
                let Some(seen) = core.seen.get_mut(&slot) else {
                    continue;
                };
                let (more, less) = (
                    incr.saturating_sub(seen.incr),
                    decr.saturating_sub(seen.decr),
                );
                (seen.incr, seen.decr) = (incr, decr);
                let path = seen.path;
                core.replica.state_mut().own_moved(path, more, less);
            }
        }
    }

    /// Exactly this key.
    ///
    /// # Errors
    /// A bad key.
    pub fn get(&self, key: &str) -> Result<i128, EngineError> {
        let key = key::prefix(key)?;
        Ok(self.read(|state| state.get(&key)))
    }

    /// [`Engine::get`] without waiting; `None` where somebody else is in the core.
    ///
    /// # Errors
    /// A bad key.
    pub fn try_get(&self, key: &str) -> Result<Option<i128>, EngineError> {
        let key = key::prefix(key)?;
        Ok(self.read_now(|state| state.get(&key)))
    }

    /// [`Engine::total`] without waiting; `None` where somebody else is in the core.
    ///
    /// # Errors
    /// A bad key.
    pub fn try_total(&self, prefix: &str) -> Result<Option<i128>, EngineError> {
        let prefix = key::prefix(prefix)?;
        Ok(self.read_now(|state| state.total(&prefix)))
    }

    /// This key and all below it.
    ///
    /// # Errors
    /// A bad key.
    pub fn total(&self, prefix: &str) -> Result<i128, EngineError> {
        let prefix = key::prefix(prefix)?;
        Ok(self.read(|state| state.total(&prefix)))
    }

    /// (component, total) one component below, sorted.
    ///
    /// # Errors
    /// A bad key.
    pub fn children(&self, prefix: &str) -> Result<Vec<(String, i128)>, EngineError> {
        let prefix = key::prefix(prefix)?;
        Ok(self.read(|state| state.children(&prefix)))
    }

    /// The `n` largest keys strictly below, ties by key.
    ///
    /// # Errors
    /// A bad key.
    pub fn top(&self, prefix: &str, n: usize) -> Result<Vec<(String, i128)>, EngineError> {
        let prefix = key::prefix(prefix)?;
        Ok(self.read(|state| state.top(&prefix, n)))
    }

    /// (key, value) of every key at or below, sorted by key.
    ///
    /// # Errors
    /// A bad key.
    pub fn items(&self, prefix: &str) -> Result<Vec<(String, i128)>, EngineError> {
        let prefix = key::prefix(prefix)?;
        Ok(self.read(|state| state.items(&prefix)))
    }
}
