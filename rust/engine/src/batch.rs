//! Many keys at once, each named by an object of the caller's: resolved all, checked all, then counted.

use crate::counting::{Amount, Sides};
use crate::error::EngineError;
use crate::tokens::Token;
use crate::{Engine, Turn};
use crdtstats_core::key;
use crdtstats_journal::{KeyHash, Side, Slot};

/// How many keys are on their way from memory at once.
const GROUP: usize = 32;

/// Keys as tokens (see [`Engine::add_token`]), and how to get their texts.
pub trait Batch<'k> {
    type Error: From<EngineError>;

    /// Ask the processor to fetch what [`Batch::text`] reads.
    fn prefetch(&self, token: usize);

    /// Whether the object of a token is likely to come again: others are not kept.
    fn may_come_again(&self, token: usize) -> bool;

    /// The text of the key that a token stands for.
    ///
    /// # Errors
    /// It is no key.
    fn text(&self, token: usize) -> Result<&'k str, Self::Error>;
}

/// What a call did to the cache of tokens: the caller takes hold of the first ones, then lets go of the others.
#[derive(Default)]
pub struct Kept {
    pub kept: Vec<usize>,
    pub dropped: Vec<usize>,
}

impl Engine {
    /// Count on the keys that tokens stand for: `amounts`, or 1 each. All of it, or nothing where an error is returned.
    ///
    /// # Errors
    /// A bad key, an overflow, a full disk, a closed store; what `batch` says.
    pub fn add_tokens<'k, B: Batch<'k>>(
        &self,
        turn: Turn<'_>,
        tokens: &[usize],
        amounts: Option<&[Amount]>,
        batch: &B,
        kept: &mut Kept,
    ) -> Result<(), B::Error> {
        let most = match amounts {
            None => Some(tokens.len() as u64),
            Some(amounts) => amounts
                .iter()
                .try_fold(0u64, |sum, amount| sum.checked_add(amount.by)),
        };
        let mut slots = Vec::with_capacity(tokens.len());
        let mut counting = self.counting(Some(turn));
        let (cache, journal) = counting.live_with_tokens()?;
        let mut found = [Slot::NONE; GROUP];
        let mut texts = [("", KeyHash::default()); GROUP];
        let mut ahead = tokens.chunks(GROUP).skip(1);
        for group in tokens.chunks(GROUP) {
            let next = ahead.next().filter(|_| cache.is_large());
            let mut is_all_found = !cache.skips();
            if is_all_found {
                let next = next.unwrap_or_default();
                next.iter().for_each(|&token| cache.prefetch(token));
                for (found, &token) in found.iter_mut().zip(group) {
                    *found = cache.find(token).unwrap_or(Slot::NONE);
                    is_all_found &= *found != Slot::NONE;
                }
            } else {
                found.fill(Slot::NONE);
            }
            if is_all_found {
                slots.extend_from_slice(found.get(..group.len()).unwrap_or_default());
                continue;
            }
            let is_new = |found: &Slot| *found == Slot::NONE;
            for (_, &token) in found.iter().zip(group).filter(|(found, _)| is_new(found)) {
                batch.prefetch(token);
            }
            let ways = found.iter().zip(&mut texts).zip(group);
            for ((_, text), &token) in ways.filter(|((found, _), _)| is_new(found)) {
                let key = batch.text(token)?;
                *text = (key, journal.hash(key.as_bytes()));
                journal.prefetch_hash(text.1);
            }
            let ways = found.iter().zip(&texts).take(group.len());
            for (_, text) in ways.filter(|(found, _)| is_new(found)) {
                journal.prefetch_guess(text.1);
            }
            for ((found, &(text, hash)), &token) in found.iter().zip(&texts).zip(group) {
                if !is_new(found) {
                    slots.push(*found);
                    continue;
                }
                let slot = match journal.find_hashed(hash, text.as_bytes()) {
                    Some(slot) => slot,
                    None => {
                        let key = key::data_key(text).map_err(EngineError::from)?;
                        let key = key.as_bytes();
                        journal.find_or_insert(key).map_err(EngineError::from)?
                    }
                };
                if batch.may_come_again(token)
                    && let Token::Kept(dropped) =
                        cache.offer(token, slot, |mark| journal.set_mark(slot, mark))
                {
                    kept.kept.push(token);
                    kept.dropped.extend(dropped);
                }
                slots.push(slot);
            }
        }
        let is_first = if most.is_some_and(|most| journal.surely_fits(most)) {
            journal.add_all(&slots, |n| match amounts {
                None => (Side::Incr, 1),
                Some(amounts) => amounts.get(n).map_or((Side::Incr, 0), |a| (a.side, a.by)),
            })
        } else {
            let rows: Vec<(Slot, u64, u64)> = slots
                .iter()
                .enumerate()
                .map(|(n, &slot)| {
                    let amount = amounts.and_then(|amounts| amounts.get(n));
                    let Sides { incr, decr } = amount.copied().unwrap_or(Amount::ONE).sides();
                    (slot, incr, decr)
                })
                .collect();
            let was_clean = journal.is_clean();
            journal
                .add_batch(&rows, None)
                .map_err(EngineError::of_batch)?;
            was_clean
        };
        drop(counting);
        if is_first {
            self.bell().ring();
        }
        Ok(())
    }
}
