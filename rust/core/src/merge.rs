//! The elements of one node, joined into the state.

use crate::judge::{Dropped, Judged, Rules, clean_element_key, judge_element};
use crate::state::{OriginId, State};
use std::collections::BTreeMap;

/// What came of it.
#[derive(Default, Debug)]
pub struct Merged {
    /// Sub-counters that moved.
    pub raised: u64,
    /// Why elements did not count, and how many.
    pub dropped: BTreeMap<Dropped, u64>,
    /// A value of our own live generation was above what we published.
    pub own_raised: bool,
}

/// Join every element that counts. Order, repetition and loss of nodes cannot matter: the maximum stands.
pub fn merge_elements(rules: &Rules, state: &mut State, judged: &Judged<'_>) -> Merged {
    let author = judged.author.as_ref().map(ToString::to_string);
    let mut merged = Merged::default();
    // Elements of one node mostly have one origin: look it up once for each run of them.
    let mut last: Option<(String, String, OriginId)> = None;
    for element in &judged.node.delta.elements {
        let counted = clean_element_key(rules, element.key);
        let clean = match &counted {
            Ok(clean) => clean,
            Err(reason) => {
                *merged.dropped.entry(*reason).or_default() += 1;
                continue;
            }
        };
        let counted = match judge_element(rules, author.as_deref(), clean) {
            Ok(counted) => counted,
            Err(reason) => {
                *merged.dropped.entry(reason).or_default() += 1;
                continue;
            }
        };
        let value = element.value_u64();
        if value == 0 {
            continue;
        }
        let Some(path) = state.intern(counted.path) else {
            continue;
        };
        if !counted.exact {
            merged.raised += u64::from(state.raise_short(clean, path, counted.side, value));
            continue;
        }
        let origin = match &last {
            Some((replica, generation, origin))
                if replica == counted.replica && generation == counted.generation =>
            {
                *origin
            }
            _ => {
                let origin = state.origin(counted.replica, counted.generation);
                last = Some((
                    counted.replica.to_owned(),
                    counted.generation.to_owned(),
                    origin,
                ));
                origin
            }
        };
        if state.raise(path, origin, counted.side, value) {
            merged.raised += 1;
            merged.own_raised |= state.own() == Some(origin);
        }
    }
    merged
}
