//! The tree of key paths: every key and every path component above it, with running totals.

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use std::hash::Hasher;

/// A path component's place in the tree; valid for the life of its [`Paths`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PathId(u32);

impl PathId {
    /// The path above all keys.
    pub const ROOT: PathId = PathId(0);
}

/// Sum of increments and sum of decrements. Exact: 2⁶⁴ sub-counters of 2⁶⁴ fit.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Totals {
    pub incr: u128,
    pub decr: u128,
}

impl Totals {
    /// Increments minus decrements.
    #[must_use]
    pub fn value(self) -> i128 {
        // Both are sums of fewer than 2⁶³ sub-counters of 64 bits, so both fit an i128.
        (self.incr as i128).wrapping_sub(self.decr as i128)
    }

    fn add(&mut self, other: Totals) {
        self.incr = self.incr.wrapping_add(other.incr);
        self.decr = self.decr.wrapping_add(other.decr);
    }
}

const NONE: u32 = u32::MAX;

struct PathNode {
    hash: u64,
    name_start: usize,
    name_len: u32,
    parent: u32,
    first_child: u32,
    next_sibling: u32,
    /// Sub-counters of exactly this key.
    exact: Totals,
    /// Sub-counters of this key and of all below it.
    subtree: Totals,
    /// Whether a sub-counter of exactly this key was ever seen.
    is_key: bool,
}

/// All paths that a sub-counter was ever seen at or below.
pub struct Paths {
    nodes: Vec<PathNode>,
    names: Vec<u8>,
    table: HashTable<u32>,
    keys: usize,
}

impl Default for Paths {
    fn default() -> Self {
        let root = PathNode {
            hash: hash_of(""),
            name_start: 0,
            name_len: 0,
            parent: NONE,
            first_child: NONE,
            next_sibling: NONE,
            exact: Totals::default(),
            subtree: Totals::default(),
            is_key: false,
        };
        Paths {
            nodes: vec![root],
            names: Vec::new(),
            table: HashTable::new(),
            keys: 0,
        }
    }
}

fn hash_of(path: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(path.as_bytes());
    hasher.finish()
}

impl Paths {
    /// Number of keys (not of path components) that were ever counted.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys
    }

    /// The place of a clean path without leading `/`; `""` is the root. Cost: one hash look-up.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<PathId> {
        if path.is_empty() {
            return Some(PathId::ROOT);
        }
        self.table
            .find(hash_of(path), |&id| self.is(id, path))
            .map(|&id| PathId(id))
    }

    /// The place of a clean path, made with all its ancestors where it is new.
    ///
    /// `None` where 2³² − 1 paths exist already.
    pub fn intern(&mut self, path: &str) -> Option<PathId> {
        if let Some(id) = self.find(path) {
            return Some(id);
        }
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.intern(above)?; // depth is bounded by KEY_DEPTH_MAX or the block's size
        let id = u32::try_from(self.nodes.len())
            .ok()
            .filter(|&id| id != NONE)?;
        let hash = hash_of(path);
        let name_start = self.names.len();
        self.names.extend_from_slice(name.as_bytes());
        let next_sibling = match self.nodes.get_mut(parent.0 as usize) {
            Some(node) => std::mem::replace(&mut node.first_child, id),
            None => NONE,
        };
        self.nodes.push(PathNode {
            hash,
            name_start,
            name_len: u32::try_from(name.len()).ok()?,
            parent: parent.0,
            first_child: NONE,
            next_sibling,
            exact: Totals::default(),
            subtree: Totals::default(),
            is_key: false,
        });
        let nodes = &self.nodes;
        self.table.insert_unique(hash, id, |&other| {
            nodes.get(other as usize).map_or(0, |n| n.hash)
        });
        Some(PathId(id))
    }

    /// Move the totals of a key and of everything above it.
    pub fn add_exact(&mut self, id: PathId, by: Totals) {
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.exact.add(by);
            if !node.is_key {
                node.is_key = true;
                self.keys += 1;
            }
        }
        self.add_subtree(id, by);
    }

    /// Move the totals of a path and of everything above it, as something below `id` that is no key of its own.
    pub fn add_subtree(&mut self, id: PathId, by: Totals) {
        let mut at = id.0;
        while let Some(node) = self.nodes.get_mut(at as usize) {
            node.subtree.add(by);
            at = node.parent;
        }
    }

    #[must_use]
    pub fn exact(&self, id: PathId) -> Totals {
        self.nodes
            .get(id.0 as usize)
            .map(|n| n.exact)
            .unwrap_or_default()
    }

    #[must_use]
    pub fn subtree(&self, id: PathId) -> Totals {
        self.nodes
            .get(id.0 as usize)
            .map(|n| n.subtree)
            .unwrap_or_default()
    }

    #[must_use]
    pub fn is_key(&self, id: PathId) -> bool {
        self.nodes.get(id.0 as usize).is_some_and(|n| n.is_key)
    }

    /// The last component of a path; `""` for the root.
    #[must_use]
    pub fn name(&self, id: PathId) -> &str {
        self.nodes
            .get(id.0 as usize)
            .and_then(|n| {
                self.names
                    .get(n.name_start..n.name_start + n.name_len as usize)
            })
            .and_then(|b| std::str::from_utf8(b).ok())
            .unwrap_or("")
    }

    /// The whole path, without leading `/`.
    #[must_use]
    pub fn text(&self, id: PathId) -> String {
        let mut parts = Vec::new();
        let mut at = id;
        while at != PathId::ROOT {
            parts.push(self.name(at));
            match self.nodes.get(at.0 as usize) {
                Some(node) => at = PathId(node.parent),
                None => break,
            }
        }
        parts.reverse();
        parts.join("/")
    }

    /// The paths one component below, in no promised order.
    pub fn children(&self, id: PathId) -> impl Iterator<Item = PathId> + '_ {
        let first = self
            .nodes
            .get(id.0 as usize)
            .map_or(NONE, |n| n.first_child);
        std::iter::successors((first != NONE).then_some(PathId(first)), |at| {
            let next = self
                .nodes
                .get(at.0 as usize)
                .map_or(NONE, |n| n.next_sibling);
            (next != NONE).then_some(PathId(next))
        })
    }

    /// Every counted key at or below `id`, in no promised order.
    pub fn keys_below(&self, id: PathId) -> impl Iterator<Item = PathId> + '_ {
        let mut stack = vec![id];
        std::iter::from_fn(move || {
            while let Some(at) = stack.pop() {
                stack.extend(self.children(at));
                if self.is_key(at) {
                    return Some(at);
                }
            }
            None
        })
    }

    fn is(&self, id: u32, path: &str) -> bool {
        let (mut rest, mut at) = (path, id);
        loop {
            let Some(node) = self.nodes.get(at as usize) else {
                return false;
            };
            let name = self
                .names
                .get(node.name_start..node.name_start + node.name_len as usize);
            let Some(above) = name.and_then(|name| rest.as_bytes().strip_suffix(name)) else {
                return false;
            };
            if node.parent == 0 {
                return above.is_empty();
            }
            let Some(above) = above.strip_suffix(b"/") else {
                return false;
            };
            let Some(text) = rest.get(..above.len()) else {
                return false;
            };
            (rest, at) = (text, node.parent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_by_whole_components() {
        let mut paths = Paths::default();
        let abc = paths.intern("a/b/c").unwrap();
        let ab = paths.find("a/b").unwrap();
        assert_eq!(paths.text(abc), "a/b/c");
        assert_eq!(paths.name(ab), "b");
        assert_eq!(paths.find("a/b/c"), Some(abc));
        for absent in ["b", "c", "b/c", "a/bb/c", "aa/b/c", "a/b/c/", "/a"] {
            assert_eq!(paths.find(absent), None, "{absent}");
        }
        assert_eq!(paths.find(""), Some(PathId::ROOT));
    }

    #[test]
    fn totals_reach_every_ancestor_and_no_sibling() {
        let mut paths = Paths::default();
        let one = Totals { incr: 3, decr: 1 };
        let abc = paths.intern("a/b/c").unwrap();
        let abd = paths.intern("a/b/d").unwrap();
        paths.add_exact(abc, one);
        for (path, value) in [("", 2), ("a", 2), ("a/b", 2), ("a/b/c", 2), ("a/b/d", 0)] {
            assert_eq!(
                paths.subtree(paths.find(path).unwrap()).value(),
                value,
                "{path}"
            );
        }
        assert_eq!(paths.exact(paths.find("a/b").unwrap()).value(), 0);
        assert!(!paths.is_key(abd));
        assert_eq!(paths.keys_below(PathId::ROOT).collect::<Vec<_>>(), [abc]);
        assert_eq!(paths.key_count(), 1);
    }
}
