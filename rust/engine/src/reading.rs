//! The way out: reads are exact, so what was counted since the last one is brought into the totals first.

use crate::error::EngineError;
use crate::tokens::Token;
use crate::{Core, Engine, Turn};
use crdtstats_core::key;
use crdtstats_core::paths::KeyId;
use crdtstats_core::state::State;
use crdtstats_journal::{Journal, Slot, Unread};
use std::cell::RefCell;
use std::sync::{MutexGuard, TryLockError};

/// With more slots to bring in than this, a read is no short call any more: about 50 µs.
const SHORT_READ_SLOTS: usize = 1024;
/// How many keys' totals are on their way from memory while one is moved.
const AHEAD: usize = 32;

/// Slots that are brought in at once: their lock is taken for some ten microseconds, which is what taking it costs.
const TAKEN_AT_ONCE: usize = 2048;
/// Room for so many is kept.
const TOUCHED_KEPT: usize = 1024;
/// After so many keys that are new to the state writers are let in: some microseconds.
const MET_AT_ONCE: usize = 32;

/// What is to be noted about slots whose keys the state has met: slot, note, and whether nobody else counts on the key.
#[derive(Default)]
struct Met(RefCell<Vec<(Slot, u32, bool)>>);

impl Met {
    fn push(&self, slot: Slot, note: u32, sole: bool) {
        self.0.borrow_mut().push((slot, note, sole));
    }

    fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    fn note(&self, journal: &mut Journal) {
        for (slot, note, sole) in self.0.borrow_mut().drain(..) {
            journal.set_note(slot, note, sole);
        }
    }
}

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
                loop {
                    let before = touched.len();
                    journal.take_unread(&mut touched);
                    if touched.len() == before || touched.len() >= TAKEN_AT_ONCE {
                        break;
                    }
                }
            }
            if touched.is_empty() && pass.is_none() {
                break;
            }
            left = left.saturating_sub(touched.len());
            let state = core.replica.state_mut();
            self.meet(state, turn, &mut touched);
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
        touched.clear();
        touched.shrink_to(TOUCHED_KEPT);
        core.touched = touched;
    }

    /// Slots that were never brought in get their keys' places in the state, and notes of them. Writers are let in
    /// between: what takes long, the state, is asked without their lock.
    fn meet(&self, state: &mut State, turn: Option<Turn<'_>>, touched: &mut [Unread]) {
        let Some(view) = self.slots.get() else {
            return;
        };
        let (met, mut text) = (Met::default(), Vec::new());
        for group in touched.chunks_mut(MET_AT_ONCE) {
            let guard = RefCell::new(None);
            for unread in group.iter_mut().filter(|unread| unread.note == 0) {
                text.clear();
                view.copy_key(unread.slot, &mut text);
                let Ok(key) = std::str::from_utf8(&text) else {
                    continue;
                };
                // Asked for few keys only, and then mostly for many of a group.
                let find = |key: &str| {
                    let mut guard = guard.borrow_mut();
                    let counting = guard.get_or_insert_with(|| self.counting(turn));
                    let journal = counting.journal.as_mut()?;
                    met.note(journal);
                    Some(brought_in(journal, key)?.1)
                };
                if let Some((key, known)) = state.intern_own(key, unread.slot.units(), &find) {
                    unread.note = key.note();
                    met.push(unread.slot, key.note(), !known);
                }
            }
        }
        if !met.is_empty()
            && let Some(journal) = self.counting(turn).journal.as_mut()
        {
            met.note(journal);
        }
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
