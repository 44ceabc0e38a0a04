//! Element keys: `/STATS/{incr|decr}/<data key>/<replica>/<generation>`.

use crate::key::is_clean;

/// The first component of every counter's element key.
pub const NAMESPACE: &str = "/STATS";
/// Elements of a generation that begins so count only from a signed node of their replica.
pub const SIGNED_GENERATION_PREFIX: &str = "73696731";

/// Which of the two sums of a PN-counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Incr,
    Decr,
}

impl Side {
    /// Its component of the element key.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Incr => "incr",
            Side::Decr => "decr",
        }
    }
}

/// What an element is about, by its clean key. All texts are slices of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementKey<'a> {
    /// A sub-counter.
    Counter {
        side: Side,
        /// The data key, without leading `/`. It holds what lies between kind and replica; where the key has fewer
        /// than three components after its kind, all of them but the last.
        path: &'a str,
        /// Whether the key has a data key, a replica and a generation. If not, the whole element key is the
        /// sub-counter's identity, and it counts in prefixes at and above `path` only (strictly above itself).
        exact: bool,
        /// As text; `""` where not `exact`.
        replica: &'a str,
        /// As text; `""` where not `exact`.
        generation: &'a str,
    },
    /// Something else that shares the DAG.
    Other,
}

impl<'a> ElementKey<'a> {
    /// Tells what a *clean* element key is about; a key that is not clean is `Other`: clean first, then judge.
    #[must_use]
    pub fn parse(key: &'a str) -> Self {
        Self::parse_counter(key).unwrap_or(ElementKey::Other)
    }

    fn parse_counter(key: &'a str) -> Option<Self> {
        let rest = key.strip_prefix(NAMESPACE)?;
        let (side, rest) = match rest.get(..6) {
            Some("/incr/") => (Side::Incr, rest.get(6..)?),
            Some("/decr/") => (Side::Decr, rest.get(6..)?),
            _ => return None,
        };
        if !is_clean(key) {
            return None;
        }
        let (head, generation) = rest.rsplit_once('/').unwrap_or(("", rest));
        match head.rsplit_once('/') {
            Some((path, replica)) => Some(ElementKey::Counter {
                side,
                path,
                exact: true,
                replica,
                generation,
            }),
            None => Some(ElementKey::Counter {
                side,
                path: head,
                exact: false,
                replica: "",
                generation: "",
            }),
        }
    }
}

/// The element key of a sub-counter; `data_key` is clean and has no leading `/`.
#[must_use]
pub fn encode(side: Side, data_key: &str, replica: &str, generation: &str) -> String {
    let parts = [
        NAMESPACE,
        "/",
        side.as_str(),
        "/",
        data_key,
        "/",
        replica,
        "/",
        generation,
    ];
    parts.concat()
}

/// Whether elements of this generation count only from a signed node.
#[must_use]
pub fn is_signed_generation(generation: &str) -> bool {
    generation.starts_with(SIGNED_GENERATION_PREFIX)
}
