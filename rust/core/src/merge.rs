//! The elements of one node, joined into the state.

use crate::element_key::Side;
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
    /// What the node says of our own live generation, which is not joined.
    pub own: Vec<OwnSeen>,
}

/// An element of our own live generation, as a block has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnSeen {
    pub path: String,
    pub side: Side,
    pub value: u64,
}

/// Join every element that counts. Order, repetition and loss of nodes cannot matter: the maximum stands.
pub fn merge_elements(rules: &Rules, state: &mut State, judged: &Judged<'_>) -> Merged {
    let author = judged.author.as_ref().map(ToString::to_string);
    let mut merged = Merged::default();
    // Elements of one node mostly have one origin: look it up once for each run of them.
    let mut last: Option<(String, String, OriginId)> = None;
    for element in &judged.node.delta.elements {
        let clean = match clean_element_key(rules, element.key) {
            Ok(clean) => clean,
            Err(reason) => {
                *merged.dropped.entry(reason).or_default() += 1;
                continue;
            }
        };
        let counted = match judge_element(rules, author.as_deref(), &clean) {
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
        if !counted.exact {
            let moved = state.raise_short(&clean, counted.path, counted.side, value);
            merged.raised += u64::from(moved);
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
                let (replica, generation) = (counted.replica, counted.generation);
                last = Some((replica.to_owned(), generation.to_owned(), origin));
                origin
            }
        };
        if state.own() == Some(origin) {
            merged.own.push(OwnSeen {
                path: counted.path.to_owned(),
                side: counted.side,
                value,
            });
            continue;
        }
        let Some(key) = state.intern(counted.path) else {
            continue;
        };
        if state.raise(key, origin, counted.side, value) {
            merged.raised += 1;
        }
    }
    merged
}
