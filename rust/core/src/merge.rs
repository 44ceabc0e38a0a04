//! The elements of one node, joined into the state.

use crate::delta::Element;
use crate::element_key::{self, Side};
use crate::judge::{COUNTED_DEPTH_MAX, Dropped, Judged, Rules, clean_element_key, judge_element};
use crate::key;
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

/// The origin of the elements before: `/<replica>/<generation>`, which counts in a node of this author.
struct Run {
    suffix: String,
    origin: OriginId,
}

/// Join every element that counts. Order, repetition and loss of nodes cannot matter: the maximum stands.
pub fn merge_elements(rules: &Rules, state: &mut State, judged: &Judged<'_>) -> Merged {
    let author = judged.author.as_ref().map(ToString::to_string);
    let mut merged = Merged::default();
    let mut run = None;
    for element in &judged.node.delta.elements {
        let value = element.value_u64();
        if let Some((side, path, origin)) = in_run(run.as_ref(), element.key) {
            merged.join(state, path, origin, side, value);
        } else if let Err(reason) =
            merged.join_one(rules, state, author.as_deref(), element, &mut run)
        {
            *merged.dropped.entry(reason).or_default() += 1;
        }
    }
    merged
}

/// Elements of one node mostly have one origin. Then only the path between the same beginning and end is to be looked
/// at; it is what taking the whole key apart would give.
fn in_run<'a>(run: Option<&Run>, key: &'a str) -> Option<(Side, &'a str, OriginId)> {
    let run = run?;
    let (side, rest) = element_key::split_side(key)?;
    let path = rest.strip_suffix(run.suffix.as_str())?;
    (path.len() <= COUNTED_DEPTH_MAX && key::is_clean(path)).then_some((side, path, run.origin))
}

impl Merged {
    fn join(&mut self, state: &mut State, path: &str, origin: OriginId, side: Side, value: u64) {
        if value == 0 {
            return;
        }
        if state.own() == Some(origin) {
            let path = path.to_owned();
            self.own.push(OwnSeen { path, side, value });
        } else if state.raise_at(path, origin, side, value) == Some(true) {
            self.raised += 1;
        }
    }

    fn join_one(
        &mut self,
        rules: &Rules,
        state: &mut State,
        author: Option<&str>,
        element: &Element<'_>,
        run: &mut Option<Run>,
    ) -> Result<(), Dropped> {
        let clean = clean_element_key(rules, element.key)?;
        let counted = judge_element(rules, author, &clean)?;
        let value = element.value_u64();
        if !counted.exact {
            if value > 0 {
                let moved = state.raise_short(&clean, counted.path, counted.side, value);
                self.raised += u64::from(moved);
            }
            return Ok(());
        }
        let origin = state.origin(counted.replica, counted.generation);
        self.join(state, counted.path, origin, counted.side, value);
        let suffix = ["/", counted.replica, "/", counted.generation].concat();
        *run = Some(Run { suffix, origin });
        Ok(())
    }
}
