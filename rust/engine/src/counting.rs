//! The way in: increments go into the slots of the live journal.

use std::sync::atomic::Ordering;

use crate::error::EngineError;
use crate::{Counting, Engine};
use crdtstats_core::key;
use crdtstats_journal::{Journal, Side, Slot};

/// How much to count, and on which side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Amount {
    pub side: Side,
    pub by: u64,
}

/// One line of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addition<'a> {
    pub key: &'a str,
    pub amount: Amount,
}

impl Counting {
    fn live(&mut self) -> Result<&mut Journal, EngineError> {
        if self.closing {
            return Err(EngineError::Closed);
        }
        self.journal.as_mut().ok_or(EngineError::Closed)
    }
}

fn slot_of(journal: &mut Journal, key: &str) -> Result<Slot, EngineError> {
    // Keys in the journal are clean: what is found as it stands needs no cleaning.
    match journal.find(key.as_bytes()) {
        Some(slot) => Ok(slot),
        None => Ok(journal.find_or_insert(key::data_key(key)?.as_bytes())?),
    }
}

impl Engine {
    /// Count on one key. When it returns, the count survives the death of the process.
    ///
    /// # Errors
    /// A bad key, an overflow, a full disk, a closed store: nothing was counted.
    pub fn add(&self, key: &str, amount: Amount) -> Result<(), EngineError> {
        let mut counting = self.counting();
        let journal = counting.live()?;
        if amount.by == 0 {
            key::data_key(key)?;
            return Ok(());
        }
        let slot = slot_of(journal, key)?;
        let was_clean = journal.dirty_len() == 0;
        journal
            .add(slot, amount.side, amount.by)
            .map_err(|error| EngineError::of_add(error, key))?;
        drop(counting);
        if was_clean {
            self.bell().ring();
        }
        Ok(())
    }

    /// Count on the key that a token stands for. False where the token is not known: nothing was counted.
    ///
    /// # Errors
    /// An overflow or a closed store: nothing was counted.
    #[inline]
    pub fn add_token(&self, token: usize, amount: Amount) -> Result<bool, EngineError> {
        let mut counting = self.counting();
        let Some(slot) = counting.tokens.find(token) else {
            return Ok(false);
        };
        let journal = counting.live()?;
        let was_clean = journal.dirty_len() == 0;
        if let Err(error) = journal.add(slot, amount.side, amount.by) {
            return Err(EngineError::of_add(error, journal.key(slot)));
        }
        drop(counting);
        if was_clean {
            self.bell().ring();
        }
        Ok(true)
    }

    /// Let a token stand for a key that is in the journal. The caller keeps the key alive until the token is given
    /// back, by this call or by [`Engine::take_tokens`]; gives back the token whose place this one took.
    ///
    /// # Errors
    /// A bad key, a full disk, a closed store.
    pub fn keep_token(&self, token: usize, key: &str) -> Result<Option<usize>, EngineError> {
        let mut counting = self.counting();
        let slot = slot_of(counting.live()?, key)?;
        Ok(counting.tokens.keep(token, slot))
    }

    /// Every token that is kept; none is known afterwards.
    #[must_use]
    pub fn take_tokens(&self) -> Vec<usize> {
        self.counting().tokens.take()
    }

    /// The slot of a key, for callers that count on it again and again.
    ///
    /// # Errors
    /// A bad key, a full disk, a closed store.
    pub fn resolve(&self, key: &str) -> Result<Slot, EngineError> {
        slot_of(self.counting().live()?, key)
    }

    /// Count on a slot that [`Engine::resolve`] gave.
    ///
    /// # Errors
    /// An overflow or a closed store: nothing was counted.
    pub fn add_slot(&self, slot: Slot, amount: Amount) -> Result<(), EngineError> {
        let mut counting = self.counting();
        let journal = counting.live()?;
        let was_clean = journal.dirty_len() == 0;
        if let Err(error) = journal.add(slot, amount.side, amount.by) {
            return Err(EngineError::of_add(error, journal.key(slot)));
        }
        drop(counting);
        if was_clean {
            self.bell().ring();
        }
        Ok(())
    }

    /// Count a batch, all or nothing for bad input; with a cursor, all or nothing for `kill -9` too.
    ///
    /// # Errors
    /// As [`Engine::add`]; a cursor that stands at or behind the position already. Nothing was counted.
    pub fn add_batch(
        &self,
        batch: &[Addition<'_>],
        cursor: Option<(&str, u64)>,
    ) -> Result<(), EngineError> {
        let keys = batch
            .iter()
            .map(|a| key::data_key(a.key))
            .collect::<Result<Vec<_>, _>>()?;
        let mut counting = self.counting();
        counting.live()?; // a closed store says so, whatever the cursor
        if let Some((name, position)) = cursor
            && let Some(at) = counting.cursor(name).filter(|&at| position <= at)
        {
            let name = name.to_owned();
            return Err(EngineError::CursorBehind { name, at, position });
        }
        let journal = counting.live()?;
        let counted: Vec<_> = keys
            .iter()
            .zip(batch)
            .filter(|(_, addition)| addition.amount.by > 0)
            .collect();
        let keys: Vec<&[u8]> = counted.iter().map(|(key, _)| key.as_bytes()).collect();
        let mut slots = Vec::with_capacity(keys.len());
        journal.find_or_insert_all(&keys, &mut slots)?;
        let sides = slots
            .into_iter()
            .zip(&counted)
            .map(|(slot, (_, addition))| match addition.amount {
                Amount {
                    side: Side::Incr,
                    by,
                } => (slot, by, 0),
                Amount {
                    side: Side::Decr,
                    by,
                } => (slot, 0, by),
            });
        let additions: Vec<_> = sides.collect();
        let was_clean = journal.dirty_len() == 0;
        match journal.add_batch(&additions, cursor) {
            Ok(()) => {
                drop(counting);
                if was_clean {
                    self.bell().ring();
                }
                Ok(())
            }
            Err(error) => Err(EngineError::of_batch(error)),
        }
    }

    /// The last position of a cursor, of this start or an earlier one.
    #[must_use]
    pub fn cursor(&self, name: &str) -> Option<u64> {
        self.counting().cursor(name)
    }

    /// Turn writers away. Reads and flushes go on.
    pub fn stop_counting(&self) {
        self.counting().closing = true;
    }

    /// Take the journal out of use: remove it where everything in it is durable in blocks, else leave it for the
    /// next open.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn finish(&self, durable: bool) -> Result<(), EngineError> {
        self.finished.store(true, Ordering::Relaxed);
        let mut counting = self.counting();
        counting.closing = true;
        match counting.journal.take() {
            Some(journal) if durable => Ok(journal.remove()?),
            Some(journal) => {
                journal.abandon()?;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Counting {
    pub(crate) fn cursor(&self, name: &str) -> Option<u64> {
        let live = self
            .journal
            .as_ref()
            .and_then(|journal| journal.cursor(name));
        live.max(self.cursors.get(name).copied())
    }

    pub(crate) fn all_cursors(&self) -> std::collections::BTreeMap<String, u64> {
        let mut out = self.cursors.clone();
        for (name, position) in self.journal.iter().flat_map(Journal::cursors) {
            let at = out.entry(name).or_default();
            *at = position.max(*at);
        }
        out
    }
}
