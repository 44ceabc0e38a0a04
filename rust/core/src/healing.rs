//! Sub-counters of ours of which Go peers show less than we know: which have to be written again, and when.
//!
//! Go decides by priority, we by maximum. They differ after an old value was published again at a greater height
//! (restored backup, lost power), or after somebody wrote or removed what is ours: Go looks at no signature.

use crate::dag::HEIGHT_FREE_MAX;
use crate::error::WireError;
use crate::peer_id::PeerId;
use crate::replica::Replica;
use crate::writing::Draft;
use std::collections::{BTreeMap, BTreeSet};

/// Least time between two writings of the same maximum, in ms.
pub const HEAL_INTERVAL_MS: u64 = 60_000;
/// How long a difference has to last, in ms: while history comes in, most disappear by themselves.
pub const HEAL_DELAY_MS: u64 = 1_000;

/// What becomes of a key that is due.
pub(crate) enum Due<T> {
    Write(T),
    /// It is of no use now; not before an interval is over.
    Later,
    /// Somebody else writes it.
    NotMine,
}

/// Element keys that differ, and when each may be written.
#[derive(Default)]
pub(crate) struct Healing {
    /// Found since the last look at the clock.
    fresh: BTreeSet<Box<str>>,
    due: BTreeMap<Box<str>, u64>,
    /// When what was written within the last interval was written.
    written: BTreeMap<Box<str>, u64>,
    /// Not after the first of `due`.
    next_ms: Option<u64>,
    healed: u64,
}

impl Healing {
    /// Whether Go shows less of this sub-counter than we know.
    pub fn note(&mut self, element_key: &str, less: bool) {
        if !less {
            self.fresh.remove(element_key);
            self.due.remove(element_key);
        } else if !self.due.contains_key(element_key) {
            self.fresh.insert(element_key.into());
        }
    }

    /// When there is something to write, as far as is known. Looks at the clock.
    pub fn due_ms(&mut self, now_ms: u64) -> Option<u64> {
        for key in std::mem::take(&mut self.fresh) {
            let again = self
                .written
                .get(&key)
                .map_or(0, |at| at.saturating_add(HEAL_INTERVAL_MS));
            let due = now_ms.saturating_add(HEAL_DELAY_MS).max(again);
            self.next_ms = Some(self.next_ms.map_or(due, |next| next.min(due)));
            self.due.insert(key, due);
        }
        if self.due.is_empty() {
            self.next_ms = None;
        }
        self.next_ms
    }

    /// At most `count` keys that are due, and what `take` gives for them. They are not due again for an interval.
    pub fn take_due<T>(
        &mut self,
        now_ms: u64,
        count: usize,
        mut take: impl FnMut(&str) -> Due<T>,
    ) -> Vec<(Box<str>, T)> {
        if self.due_ms(now_ms).is_none_or(|due| due > now_ms) {
            return Vec::new();
        }
        let again = now_ms.saturating_add(HEAL_INTERVAL_MS);
        self.written
            .retain(|_, at| at.saturating_add(HEAL_INTERVAL_MS) > now_ms);
        let mut out = Vec::new();
        for (key, due) in &mut self.due {
            if *due > now_ms || out.len() >= count {
                continue;
            }
            match take(key) {
                Due::NotMine => {}
                Due::Later => *due = again,
                Due::Write(taken) => {
                    *due = again;
                    self.written.insert(key.clone(), now_ms);
                    out.push((key.clone(), taken));
                }
            }
        }
        self.healed = self.healed.saturating_add(out.len() as u64);
        self.next_ms = self.due.values().min().copied();
        out
    }

    /// How many values were written again.
    pub fn healed(&self) -> u64 {
        self.healed
    }
}

/// Values to be written again.
pub struct Again {
    pub draft: Draft,
    /// Element keys and maxima.
    pub values: Vec<(Box<str>, u64)>,
}

impl Replica {
    /// When values of ours have to be written again, as far as is known. Looks at the clock.
    pub fn heal_due_ms(&mut self, now_ms: u64) -> Option<u64> {
        self.values.healing.due_ms(now_ms)
    }

    /// How often a value of ours was written again because Go peers showed less.
    #[must_use]
    pub fn healed(&self) -> u64 {
        self.values.healing.healed()
    }

    /// What has to be written again for an author whose key is at hand, and what building its nodes needs. `section` is
    /// fresh randomness, for an author that has none open. Nothing may be prepared for the author before
    /// [`Replica::note_built`] was told, or the draft is given up.
    ///
    /// # Errors
    /// None but a bug.
    pub fn prepare_heal(
        &mut self,
        author: &PeerId,
        section: [u8; 16],
        now_ms: u64,
    ) -> Result<Option<Again>, WireError> {
        if self.heal_due_ms(now_ms).is_none_or(|due| due > now_ms) {
            return Ok(None);
        }
        if !self.sections.contains_key(author) {
            self.open_section(author.clone(), section);
        }
        let mut draft = self.prepare_nodes(author, "")?;
        // Above what is held and not complete, too: Go has taken it already. Not above what others may take freely.
        draft.above = self.dag.height_max().min(HEIGHT_FREE_MAX - 1);
        let heads = draft.heads.iter().map(|head| head.height).max();
        let height = heads.max(Some(draft.above)).unwrap_or(0).saturating_add(1);
        let values = self.values.take_less(now_ms, &author.to_string(), height);
        Ok((!values.is_empty()).then_some(Again { draft, values }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(healing: &mut Healing, now_ms: u64) -> Vec<String> {
        let taken = healing.take_due(now_ms, 2, |_| Due::Write(()));
        taken.into_iter().map(|(key, ())| key.into()).collect()
    }

    #[test]
    fn each_key_is_written_once_in_an_interval_and_only_while_it_differs() {
        let mut healing = Healing::default();
        assert_eq!(healing.due_ms(0), None);
        for key in ["a", "b", "c"] {
            healing.note(key, true);
        }
        assert_eq!(healing.due_ms(5), Some(5 + HEAL_DELAY_MS));
        assert!(due(&mut healing, 5).is_empty());
        healing.note("b", false);
        let now = 5 + HEAL_DELAY_MS;
        assert_eq!(due(&mut healing, now), ["a", "c"]);
        assert!(due(&mut healing, now + HEAL_INTERVAL_MS - 1).is_empty());
        healing.note("c", false);
        healing.note("c", true); // it differs again: not before the interval is over either
        assert!(due(&mut healing, now + HEAL_INTERVAL_MS - 1).is_empty());
        assert_eq!(due(&mut healing, now + HEAL_INTERVAL_MS), ["a"]);
        let noticed = now + HEAL_INTERVAL_MS - 1;
        assert_eq!(due(&mut healing, noticed + HEAL_DELAY_MS), ["c"]);
        healing.note("a", false);
        healing.note("c", false);
        assert_eq!(healing.due_ms(u64::MAX), None);
        assert_eq!(healing.healed(), 4);
    }

    #[test]
    fn more_than_one_flush_takes_is_left_for_the_next() {
        let mut healing = Healing::default();
        for key in ["a", "b", "c"] {
            healing.note(key, true);
        }
        assert_eq!(healing.due_ms(0), Some(HEAL_DELAY_MS));
        assert_eq!(due(&mut healing, HEAL_DELAY_MS), ["a", "b"]);
        assert_eq!(due(&mut healing, HEAL_DELAY_MS), ["c"]);
        assert!(due(&mut healing, HEAL_DELAY_MS).is_empty());
    }
}
