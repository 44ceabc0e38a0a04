//! The way out: reads are exact, so what was counted since the last one is brought into the totals first.

use crate::error::EngineError;
use crate::tokens::Token;
use crate::{Core, Engine, Turn};
use crdtstats_core::key;
use crdtstats_core::paths::KeyId;
use crdtstats_core::state::State;
use crdtstats_journal::{Journal, Slot};
use std::sync::{MutexGuard, TryLockError};

/// With more slots to bring in than this, a read is no short call any more: about 50 µs.
const SHORT_READ_SLOTS: usize = 1024;
/// How many keys' totals are on their way from memory while one is moved.
const AHEAD: usize = 32;

fn net((incr, decr): (u64, u64)) -> i128 {
    i128::from(incr) - i128::from(decr)
}

/// The place in the state of an own key that was brought in.
fn brought_in(journal: &Journal, key: &str) -> Option<(Slot, KeyId)> {
    let slot = journal.find(key.as_bytes())?;
    Some((slot, KeyId::of_note(journal.note(slot))?))
}

impl Engine {
    /// Run a read on totals that hold everything counted before the call.
    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        let mut core = self.core();
        self.bring_in(&mut core, None);
        read(core.replica.state())
    }

    /// The core, where nobody else is in it just now and little has to be brought in.
    fn core_now(&self, turn: Turn<'_>) -> Option<MutexGuard<'_, Core>> {
        let mut core = match self.core.try_lock() {
            Ok(core) => core,
            Err(TryLockError::Poisoned(core)) => core.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let unread = match &self.counting(Some(turn)).journal {
            Some(journal) if !journal.is_read() => journal.unread_len(),
            _ => 0,
        };
        if unread > SHORT_READ_SLOTS {
            return None;
        }
        if unread > 0 {
            self.bring_in(&mut core, Some(turn));
        }
        Some(core)
    }

    /// Move the totals by what the slots gained since they were last looked at, a slice at a time.
    pub(crate) fn bring_in(&self, core: &mut Core, turn: Option<Turn<'_>>) {
        // One pass over what moved before: writers that never rest cannot keep a reader here for ever.
        let mut pass = self.counting(turn).journal.as_ref().map(Journal::settling);
        let mut left = usize::MAX;
        let mut touched = std::mem::take(&mut core.touched);
        while left > 0 {
            touched.clear();
            {
                let mut counting = self.counting(turn);
                let Some(journal) = counting.journal.as_mut() else {
                    break;
                };
                if pass.as_ref().is_some_and(|pass| journal.settle(pass)) {
                    (pass, left) = (None, journal.unread_len()); // all of it is listed
                }
                journal.take_unread(&mut touched);
                for unread in touched.iter_mut().filter(|unread| unread.note == 0) {
                    unread.note = meet(journal, core.replica.state_mut(), unread.slot);
                }
            }
            if touched.is_empty() && pass.is_none() {
                break;
            }
            left = left.saturating_sub(touched.len());
            let state = core.replica.state_mut();
            for (n, unread) in touched.iter().enumerate() {
                let ahead = touched.get(n + AHEAD);
                if let Some(key) = ahead.and_then(|ahead| KeyId::of_note(ahead.note)) {
                    state.paths().prefetch(key);
                }
                if let Some(key) = KeyId::of_note(unread.note) {
                    state.own_moved(key, unread.moved());
                }
            }
        }
        core.touched = touched;
    }

    /// Keys that others have counted on are not to be read from their slots alone any more. Before the core is let go
    /// of, so that whoever has seen the new totals sees it too.
    pub(crate) fn note_shared(&self, core: &mut Core) {
        let shared = core.replica.state_mut().take_newly_shared();
        for slice in shared.chunks(SHORT_READ_SLOTS) {
            let mut counting = self.counting(None);
            if let Some(journal) = counting.journal.as_mut() {
                for &units in slice {
                    let slot = Slot::of_units(units);
                    journal.set_note(slot, journal.note(slot), false);
                }
            }
        }
    }

    fn value_in(&self, core: &Core, turn: Option<Turn<'_>>, key: &str) -> i128 {
        let state = core.replica.state();
        let counting = self.counting(turn);
        let own = counting.journal.as_ref().and_then(|j| brought_in(j, key));
        own.map_or_else(|| state.get(key), |(_, key)| state.paths().value(key))
    }

    fn total_in(&self, core: &Core, turn: Option<Turn<'_>>, prefix: &str) -> i128 {
        let below = core.replica.state().total_below(prefix);
        below.unwrap_or_else(|| self.value_in(core, turn, prefix))
    }

    /// (increments, decrements) of exactly the key that a token stands for, where that is known and nobody else counts
    /// on it.
    #[inline(always)]
    pub fn get_token(&self, turn: Turn<'_>, token: usize) -> Option<(u64, u64)> {
        let mut counting = self.counting(Some(turn));
        if counting.tokens.skips() {
            return None;
        }
        let slot = counting.tokens.find(token)?;
        counting.journal.as_ref()?.read_sole(slot)
    }

    /// Where, as far as is known, nobody else counts on the key. Cost: one look-up, and no other lock.
    #[inline]
    fn get_sole(
        &self,
        turn: Option<Turn<'_>>,
        key: &str,
        token: Option<usize>,
    ) -> Option<(i128, Token)> {
        let mut counting = self.counting(turn);
        let counting = &mut *counting;
        let journal = counting.journal.as_ref()?;
        let slot = journal.find(key.as_bytes())?;
        let value = net(journal.read_sole(slot)?);
        let token = token.filter(|_| !counting.closing);
        let kept = token.map_or(Token::Forgotten, |token| {
            let tokens = &mut counting.tokens;
            tokens.offer_again(token, slot, |mark| journal.has_mark(slot, mark))
        });
        Some((value, kept))
    }

    /// Exactly this key. `None` where the call has to be repeated without a turn, as it may take long. `token`: as of
    /// [`Engine::add`], but kept only where a count was on the key by it before: a read writes nothing into the journal.
    ///
    /// # Errors
    /// A bad key.
    pub fn get(
        &self,
        turn: Option<Turn<'_>>,
        key: &str,
        token: Option<usize>,
    ) -> Result<Option<(i128, Token)>, EngineError> {
        if let Some(found) = self.get_sole(turn, key, token) {
            return Ok(Some(found));
        }
        let key = key::prefix(key)?;
        let mut core = match turn {
            Some(turn) => match self.core_now(turn) {
                Some(core) => core,
                None => return Ok(None),
            },
            None => self.core(),
        };
        if turn.is_none() {
            self.bring_in(&mut core, None);
        }
        Ok(Some((self.value_in(&core, turn, &key), Token::Forgotten)))
    }

    /// This key and all below it. `None` as of [`Engine::get`].
    ///
    /// # Errors
    /// A bad key.
    pub fn total(&self, turn: Option<Turn<'_>>, prefix: &str) -> Result<Option<i128>, EngineError> {
        let prefix = key::prefix(prefix)?;
        if let Some(turn) = turn {
            let core = self.core_now(turn);
            return Ok(core.map(|core| self.total_in(&core, Some(turn), &prefix)));
        }
        let mut core = self.core();
        self.bring_in(&mut core, None);
        Ok(Some(self.total_in(&core, None, &prefix)))
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
        let mut core = self.core();
        self.bring_in(&mut core, None);
        let own = {
            let counting = self.counting(None);
            let own = counting.journal.as_ref();
            own.and_then(|journal| brought_in(journal, &prefix))
        };
        let own = own.map(|(_, key)| key);
        Ok(core.replica.state().items(&prefix, own))
    }
}

/// A slot that was never brought in gets its key's place in the state; gives the note that is on it from now on.
fn meet(journal: &mut Journal, state: &mut State, slot: Slot) -> u32 {
    let find = |key: &str| Some(brought_in(journal, key)?.1);
    let Some((key, known)) = state.intern_own(journal.key(slot), slot.units(), &find) else {
        return 0;
    };
    journal.set_note(slot, key.note(), !known);
    key.note()
}
