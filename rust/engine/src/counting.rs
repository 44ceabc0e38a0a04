//! The way in: increments go into the slots of the live journal.
//!
//! Calls at high rate take the [`Turn`] of a caller that has one.

use std::sync::atomic::Ordering;

use crate::error::EngineError;
use crate::tokens::{SWEPT_LINES, Token, Tokens};
use crate::{Counting, Engine, Turn};
use crdtstats_core::key;
use crdtstats_journal::{Journal, Side, Slot};

/// How much to count, and on which side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Amount {
    pub side: Side,
    pub by: u64,
}

/// An amount by sides, one of which is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sides {
    pub incr: u64,
    pub decr: u64,
}

impl Amount {
    pub const ONE: Amount = Amount {
        side: Side::Incr,
        by: 1,
    };

    #[must_use]
    pub fn sides(self) -> Sides {
        let (incr, decr) = match self.side {
            Side::Incr => (self.by, 0),
            Side::Decr => (0, self.by),
        };
        Sides { incr, decr }
    }
}

/// One line of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addition<'a> {
    pub key: &'a str,
    pub amount: Amount,
}

impl Counting {
    pub(crate) fn live(&mut self) -> Result<&mut Journal, EngineError> {
        Ok(self.live_with_tokens()?.1)
    }

    pub(crate) fn live_with_tokens(&mut self) -> Result<(&mut Tokens, &mut Journal), EngineError> {
        match &mut self.journal {
            Some(journal) if !self.closing => Ok((&mut self.tokens, journal)),
            _ => Err(EngineError::Closed),
        }
    }
}

fn slot_of(journal: &mut Journal, key: &str) -> Result<Slot, EngineError> {
    // Keys in the journal are clean: what is found as it stands needs no cleaning.
    let hash = journal.hash(key.as_bytes());
    if let Some(slot) = journal.find_hashed(hash, key.as_bytes()) {
        return Ok(slot);
    }
    Ok(journal.find_or_insert(key::data_key(key)?.as_bytes())?)
}

impl Engine {
    /// Count on the key that a token stands for. When it returns true, the count survives the death of the process.
    /// False where the token is not known, or the amount does not fit: nothing was counted, and [`Engine::add`] tells.
    #[inline(always)]
    pub fn add_token(&self, turn: Turn<'_>, token: usize, amount: Amount) -> bool {
        let mut counting = self.counting(Some(turn));
        let counting = &mut *counting;
        if counting.tokens.skips() {
            return false;
        }
        // A store that turns writers away knows no token.
        let (Some(slot), Some(journal)) = (counting.tokens.find(token), &mut counting.journal)
        else {
            return false;
        };
        match journal.add(slot, amount.side, amount.by) {
            Ok(false) => true,
            // A bell is rung under no lock but this one: it takes a moment, and the first count after a flush only.
            Ok(true) => {
                self.bell().ring();
                true
            }
            Err(_) => false,
        }
    }

    /// Count on one key. When it returns, the count survives the death of the process. `token`: a token that may stand
    /// for the key from now on (see [`crate::tokens`]).
    ///
    /// # Errors
    /// A bad key, an overflow, a full disk, a closed store: nothing was counted.
    pub fn add(
        &self,
        turn: Option<Turn<'_>>,
        key: &str,
        amount: Amount,
        token: Option<usize>,
    ) -> Result<Token, EngineError> {
        let mut counting = self.counting(turn);
        let (tokens, journal) = counting.live_with_tokens()?;
        if amount.by == 0 {
            key::data_key(key)?;
            return Ok(Token::Forgotten);
        }
        let counted = (amount.side, amount.by);
        let hash = journal.hash(key.as_bytes());
        let slot = match journal.find_unless_new(hash, key.as_bytes()) {
            Some(slot) => slot,
            None if key::is_plain(key) => {
                let mark = token.map_or(0, |token| tokens.first_mark(token));
                let born = journal.insert_counted(hash, key, counted, mark);
                let (slot, is_first) = born.map_err(EngineError::of_batch)?;
                let kept = tokens.offer_first(token, slot);
                drop(counting);
                if is_first {
                    self.bell().ring();
                }
                return Ok(kept);
            }
            None => journal.find_or_insert(key::data_key(key)?.as_bytes())?,
        };
        let is_first = journal
            .add(slot, amount.side, amount.by)
            .map_err(|error| EngineError::of_add(error, key))?;
        let kept = match token {
            Some(token) => tokens.offer(token, slot, |mark| journal.set_mark(slot, mark)),
            None => {
                tokens.note_stranger();
                Token::Forgotten
            }
        };
        drop(counting);
        if is_first {
            self.bell().ring();
        }
        Ok(kept)
    }

    /// Every token that is kept; none is known afterwards.
    #[must_use]
    pub fn take_tokens(&self) -> Vec<usize> {
        let mut counting = self.counting(None);
        let mut tokens = counting.tokens.take();
        tokens.append(&mut counting.forgotten);
        tokens
    }

    /// Look over tokens that are kept, the next `lines` of seven, [`SWEPT_LINES`] at most; `dropped` gets those that are
    /// not needed: nobody knows them any more, and the caller lets go of their keys. Where few are kept at all nothing
    /// is done. Cost: 0.2 ms at most.
    pub fn sweep_tokens(
        &self,
        turn: Turn<'_>,
        lines: usize,
        is_needed: impl Fn(usize) -> bool,
        dropped: &mut Vec<usize>,
    ) {
        let mut counting = self.counting(Some(turn));
        let lines = lines.min(SWEPT_LINES);
        counting.tokens.sweep(lines, is_needed, dropped);
    }

    /// How often [`Engine::sweep_tokens`] is to be called with all lines after a flush.
    #[must_use]
    pub fn token_sweeps(&self, turn: Turn<'_>) -> usize {
        self.counting(Some(turn)).tokens.slices()
    }

    /// The slot of a key, for callers that count on it again and again.
    ///
    /// # Errors
    /// A bad key, a full disk, a closed store.
    pub fn resolve(&self, turn: Option<Turn<'_>>, key: &str) -> Result<Slot, EngineError> {
        slot_of(self.counting(turn).live()?, key)
    }

    /// Count on a slot that [`Engine::resolve`] gave.
    ///
    /// # Errors
    /// An overflow or a closed store: nothing was counted.
    #[inline]
    pub fn add_slot(
        &self,
        turn: Option<Turn<'_>>,
        slot: Slot,
        amount: Amount,
    ) -> Result<(), EngineError> {
        let mut counting = self.counting(turn);
        let journal = counting.live()?;
        match journal.add(slot, amount.side, amount.by) {
            Ok(false) => Ok(()),
            Ok(true) => {
                drop(counting);
                self.bell().ring();
                Ok(())
            }
            Err(error) => Err(EngineError::of_add(error, journal.key(slot))),
        }
    }

    /// Count a batch, all or nothing for bad input; with a cursor, all or nothing for `kill -9` too.
    ///
    /// # Errors
    /// As [`Engine::add`]; a cursor that stands at or behind the position already. Nothing was counted.
    pub fn add_batch(
        &self,
        turn: Option<Turn<'_>>,
        batch: &[Addition<'_>],
        cursor: Option<(&str, u64)>,
    ) -> Result<(), EngineError> {
        let keys = batch
            .iter()
            .map(|a| key::data_key(a.key))
            .collect::<Result<Vec<_>, _>>()?;
        let mut counting = self.counting(turn);
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
            .map(|(slot, (_, addition))| {
                let Sides { incr, decr } = addition.amount.sides();
                (slot, incr, decr)
            });
        let additions: Vec<_> = sides.collect();
        let was_clean = journal.is_clean();
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
        self.counting(None).cursor(name)
    }

    /// Turn writers away. Reads and flushes go on.
    pub fn stop_counting(&self) {
        loop {
            let mut counting = self.counting(None);
            counting.closing = true;
            counting.forget_tokens();
            // A batch that others see a part of is counted to its end.
            if !counting.journal.as_ref().is_some_and(Journal::has_promised) {
                return;
            }
            drop(counting);
            std::thread::yield_now();
        }
    }

    /// Take the journal out of use: remove it where everything in it is durable in blocks, else leave it for the
    /// next open. `durable` says that a flush was; nothing may have been counted or built since.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn finish(&self, durable: bool) -> Result<(), EngineError> {
        self.finished.store(true, Ordering::Relaxed);
        let is_pending = self.core().pending.is_some();
        let mut counting = self.counting(None);
        counting.closing = true;
        counting.forget_tokens();
        match counting.journal.take() {
            Some(journal) if durable && !is_pending && journal.is_clean() => Ok(journal.remove()?),
            Some(journal) => {
                journal.abandon()?;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Counting {
    /// No token is known from here on. They are still kept: [`Engine::take_tokens`] gives them back.
    fn forget_tokens(&mut self) {
        let tokens = self.tokens.take();
        self.forgotten.extend(tokens);
    }

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
