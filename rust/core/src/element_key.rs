//! Element keys: `/STATS/{incr|decr}/<data key>/<replica>/<generation>`.

/// Which half of a PN-counter.
/// In the order of their element keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Side {
    Decr,
    Incr,
}

/// Hex digits with which every generation begins whose elements count from nodes signed by their owner only.
pub const SIGNED_GENERATION_PREFIX: &str = "73696731";

const INCR: &str = "/STATS/incr/";
const DECR: &str = "/STATS/decr/";

/// What a clean element key names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElementKey<'a> {
    Counter {
        side: Side,
        /// Where it counts; no leading `/`.
        path: &'a str,
        /// Three components or more after the kind. Else it counts at `path`, strictly above itself, and has no
        /// replica or generation: the element key as a whole is the sub-counter.
        exact: bool,
        replica: &'a str,
        generation: &'a str,
    },
    Other,
}

/// The element key of one side of a sub-counter.
#[must_use]
pub fn encode(side: Side, data_key: &str, replica: &str, generation: &str) -> String {
    let mut out = String::new();
    push(&mut out, side, data_key, replica, generation);
    out
}

/// What the element keys of one side begin with, up to the data key.
#[must_use]
pub fn kind(side: Side) -> &'static str {
    match side {
        Side::Incr => INCR,
        Side::Decr => DECR,
    }
}

/// As [`encode`], at the end of `out`.
pub fn push(out: &mut String, side: Side, data_key: &str, replica: &str, generation: &str) {
    for part in [kind(side), data_key, "/", replica, "/", generation] {
        out.push_str(part);
    }
}

/// The kind of an element key, and what follows it.
#[must_use]
pub fn split_side(key: &str) -> Option<(Side, &str)> {
    match key.strip_prefix(INCR) {
        Some(rest) => Some((Side::Incr, rest)),
        None => Some((Side::Decr, key.strip_prefix(DECR)?)),
    }
}

/// Read a clean element key.
#[must_use]
pub fn parse(key: &str) -> ElementKey<'_> {
    let Some((side, rest)) = split_side(key) else {
        return ElementKey::Other;
    };
    let Some((above, generation)) = rest.rsplit_once('/') else {
        return ElementKey::Counter {
            side,
            path: "",
            exact: false,
            replica: "",
            generation: "",
        };
    };
    match above.rsplit_once('/') {
        Some((path, replica)) => ElementKey::Counter {
            side,
            path,
            exact: true,
            replica,
            generation,
        },
        None => ElementKey::Counter {
            side,
            path: above,
            exact: false,
            replica: "",
            generation: "",
        },
    }
}

/// Whether elements of this generation count from nodes signed by their owner only.
#[must_use]
pub fn is_signed_generation(generation: &str) -> bool {
    generation.starts_with(SIGNED_GENERATION_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_components_are_replica_and_generation() {
        let counter = |side, path, exact, replica, generation| ElementKey::Counter {
            side,
            path,
            exact,
            replica,
            generation,
        };
        let key = encode(Side::Incr, "a/b", "r", "g");
        assert_eq!(key, "/STATS/incr/a/b/r/g");
        assert_eq!(parse(&key), counter(Side::Incr, "a/b", true, "r", "g"));
        assert_eq!(
            parse("/STATS/decr/x/r/g"),
            counter(Side::Decr, "x", true, "r", "g")
        );
        assert_eq!(
            parse("/STATS/incr/x/y"),
            counter(Side::Incr, "x", false, "", "")
        );
        assert_eq!(
            parse("/STATS/incr/x"),
            counter(Side::Incr, "", false, "", "")
        );
        assert_eq!(parse("/STATS/incr"), ElementKey::Other);
        assert_eq!(parse("/STATS/other/a/b/c"), ElementKey::Other);
    }
}
