//! The elements of one node, joined into the state.

use crate::delta::Element;
use crate::element_key::{self, Side};
use crate::judge::{COUNTED_DEPTH_MAX, Dropped, Judged, Rules, clean_element_key, judge_element};
use crate::key;
use crate::state::{OriginId, Raise, State};
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

/// Elements that are raised together.
const RAISED_AT_ONCE: usize = 256;

/// The origin of the elements before: `/<replica>/<generation>`, which counts in a node of this author, and is not our
/// own live generation.
struct Run {
    suffix: String,
    origin: OriginId,
}

/// Join every element that counts. Order, repetition and loss of nodes cannot matter: the maximum stands.
pub fn merge_elements(rules: &Rules, state: &mut State, judged: &Judged<'_>) -> Merged {
    let author = judged.author.as_ref().map(ToString::to_string);
    let mut merged = Merged::default();
    let (mut run, mut raises) = (None, Vec::with_capacity(RAISED_AT_ONCE));
    for element in &judged.node.delta.elements {
        if let Some(raise) = in_run(run.as_ref(), element) {
            raises.push(raise);
            if raises.len() == RAISED_AT_ONCE {
                merged.join(state, &raises);
                raises.clear();
            }
        } else if let Err(reason) =
            merged.join_one(rules, state, author.as_deref(), element, &mut run)
        {
            *merged.dropped.entry(reason).or_default() += 1;
        }
    }
    merged.join(state, &raises);
    merged
}

/// Elements of one node mostly have one origin. Then only the path between the same beginning and end is to be looked
/// at; it is what taking the whole key apart would give.
fn in_run<'a>(run: Option<&Run>, element: &Element<'a>) -> Option<Raise<'a>> {
    let run = run?;
    let (side, rest) = element_key::split_side(element.key)?;
    let path = rest.strip_suffix(run.suffix.as_str())?;
    (path.len() <= COUNTED_DEPTH_MAX && key::is_clean(path)).then(|| Raise {
        path,
        origin: run.origin,
        side,
        value: element.value_u64(),
    })
}

impl Merged {
    fn join(&mut self, state: &mut State, raises: &[Raise<'_>]) {
        self.raised += state.raise_all(raises);
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
        let (path, side, value) = (counted.path, counted.side, element.value_u64());
        if !counted.exact {
            if value > 0 {
                let moved = state.raise_short(&clean, path, side, value);
                self.raised += u64::from(moved);
            }
            return Ok(());
        }
        let origin = state.origin(counted.replica, counted.generation);
        if state.own() == Some(origin) {
            if value > 0 {
                let path = path.to_owned();
                self.own.push(OwnSeen { path, side, value });
            }
            return Ok(());
        }
        let raise = Raise {
            path,
            origin,
            side,
            value,
        };
        self.join(state, &[raise]);
        let suffix = ["/", counted.replica, "/", counted.generation].concat();
        *run = Some(Run { suffix, origin });
        Ok(())
    }
}
