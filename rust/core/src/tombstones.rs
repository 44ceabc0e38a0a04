//! Tombstones: (key, block) pairs that name an element. What is named is gone, whatever comes first; it is never named
//! back, so neither order nor repetition can matter.

use crate::base;
use crate::cid::Cid;
use crate::key;
use crate::limits::TOMBSTONE_BYTES_MAX;
use rustc_hash::{FxHashMap, FxHashSet};

/// What a named pair takes beside its texts: places in two hash tables and their allocations.
const PAIR_OVERHEAD_BYTES: usize = 64;

/// The clean keys whose elements in one block are gone.
pub(crate) type Keys = FxHashSet<Box<str>>;

/// What came of naming a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Named {
    Now,
    Before,
    NoRoom,
}

/// All pairs that were named. Nothing else of a tombstone is kept.
#[derive(Default)]
pub(crate) struct Tombstones {
    by_block: FxHashMap<Cid, Keys>,
    count: usize,
    bytes: usize,
    overflowed: bool,
}

/// The block and the clean key that a tombstone names. Go joins key and id to one path and cleans it, so a part of the
/// key may stand in the id. `None` where the last component is the id of no block: no element has it.
pub(crate) fn pair(key: &str, id: &str) -> Option<(Cid, String)> {
    let joined = [key, "/", id].concat();
    let clean = key::clean(&joined);
    let (key, id) = clean.rsplit_once('/')?;
    // Ids are compared as text: another spelling of the same digest is no element's.
    if id.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    let multihash = base::from_base32(&id.to_ascii_lowercase())?;
    let cid = Cid::of_multihash(&multihash).ok()?;
    let key = if key.is_empty() { "/" } else { key };
    Some((cid, key.to_owned()))
}

impl Tombstones {
    /// Name a pair; see [`pair`].
    pub fn name(&mut self, cid: Cid, key: String) -> Named {
        let block_bytes = match self.by_block.get(&cid) {
            Some(keys) if keys.contains(key.as_str()) => return Named::Before,
            Some(_) => 0,
            None => cid.as_bytes().len() + PAIR_OVERHEAD_BYTES,
        };
        let bytes = self.bytes + block_bytes + key.len() + PAIR_OVERHEAD_BYTES;
        if bytes > TOMBSTONE_BYTES_MAX {
            self.overflowed = true;
            return Named::NoRoom;
        }
        self.bytes = bytes;
        self.count += 1;
        self.by_block.entry(cid).or_default().insert(key.into());
        Named::Now
    }

    /// The keys whose elements in this block are gone; `None` for nearly every block.
    pub fn of(&self, cid: &Cid) -> Option<&Keys> {
        self.by_block.get(cid)
    }

    /// Whether a pair was not remembered: what it names may still be shown, here and not elsewhere.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Number of pairs.
    pub fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::HashKind;

    #[test]
    fn a_pair_is_read_as_go_joins_it() {
        let cid = Cid::of(HashKind::Sha2_256, b"x");
        let id = cid.element_id();
        let bare = id.trim_start_matches('/');
        let is = |key: &str, id: &str| pair(key, id).map(|(cid, key)| (cid.element_id(), key));
        let want = Some((id.clone(), "/a/b".to_owned()));
        assert_eq!(is("/a/b", &id), want);
        assert_eq!(is("a//c/../b/", bare), want);
        assert_eq!(is("/a", &format!("b/{bare}")), want);
        assert_eq!(is("", &id), Some((id.clone(), "/".to_owned())));
        assert_eq!(is("/a/b", &id.to_ascii_lowercase()), None);
        assert_eq!(is("/a/b", "/NOID"), None);
        assert_eq!(is("/a/b", ""), None);
    }

    #[test]
    fn room_for_pairs_has_an_end_and_what_is_named_stays_named() {
        let mut tombstones = Tombstones::default();
        let cid = |n: usize| Cid::of(HashKind::Sha2_256, &n.to_be_bytes());
        let key = "k".repeat(1 << 20);
        let taken = (0..100).take_while(|&n| tombstones.name(cid(n), key.clone()) == Named::Now);
        let taken = taken.count();
        assert!((50..64).contains(&taken));
        assert_eq!(tombstones.count(), taken);
        assert_eq!(tombstones.name(cid(0), key.clone()), Named::Before);
        assert_eq!(tombstones.name(cid(99), "k".to_owned()), Named::Now);
    }
}
