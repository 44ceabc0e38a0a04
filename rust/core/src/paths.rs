//! The tree of keys: every counted key, and every path component above one, with running totals.
//!
//! Two kinds of nodes. A *key* takes 20 bytes (and its text, and its place in an index), as there are millions: 8 of them
//! are its value, in an array of values alone, through which `top` walks (see `bounds`). A *room* is a path with
//! something below it: fewer as a rule, and larger. What counts on a key moves that key and the rooms above it, so a read
//! is one look-up, however many keys, replicas and restarts there are.
//!
//! The texts of keys that the journal holds stay there ([`OutsideTexts`]): nothing is kept twice.

use crate::ahead::prefetch;
use crate::bounds::Bounds;
use crate::index::Index;
use crate::texts::Texts;
use foldhash::fast::FixedState;
use rustc_hash::FxHashMap;
use std::hash::BuildHasher;

/// A counted key's place; valid for the life of its [`Paths`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct KeyId(pub(crate) u32);

impl KeyId {
    /// A number that is never 0.
    #[must_use]
    pub fn note(self) -> u32 {
        self.0.wrapping_add(1)
    }

    /// What [`KeyId::note`] gave; `None` for 0.
    #[must_use]
    pub fn of_note(note: u32) -> Option<Self> {
        note.checked_sub(1).map(KeyId)
    }
}

/// A path with something below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomId(pub(crate) u32);

impl RoomId {
    /// The path above all keys.
    pub const ROOT: RoomId = RoomId(0);
}

/// Texts of keys that live elsewhere, named by a number.
pub trait OutsideTexts: Send {
    /// Appends the text to `out`.
    fn copy(&self, place: u32, out: &mut Vec<u8>);
}

pub(crate) const NONE: u32 = u32::MAX;
/// In [`Key::up`]: the text is outside.
pub(crate) const OUTSIDE: u32 = 1 << 31;
/// Rooms, and keys, are fewer than this.
pub(crate) const IDS_MAX: usize = (1 << 30) - 1;
/// In [`Key::up`]: of a key with a text outside, others have counted on it too.
const SHARED: u32 = 1 << 30;
/// In [`Key::up`]: what is no number of a room.
pub(crate) const FLAGS: u32 = OUTSIDE | SHARED;
/// For a value: it does not fit, and is in `large`.
pub(crate) const LARGE: i64 = i64::MIN;

/// All of a key but its value.
pub(crate) struct Key {
    /// The innermost room that it counts in, and [`FLAGS`].
    pub up: u32,
    /// The next key of the room that it was first put into.
    pub next: u32,
    /// The place of its text.
    text: u32,
}

pub(crate) struct Room {
    /// Sum of all keys in and below it.
    pub total: i128,
    pub text: u32,
    pub up: u32,
    pub next: u32,
    pub first_room: u32,
    pub first_key: u32,
    /// The key that has just this path.
    pub key: u32,
    /// Number of keys in and below it.
    pub keys: u32,
}

/// All keys that were ever counted, and what is above them.
pub struct Paths {
    pub(crate) values: Vec<i64>,
    pub(crate) bounds: Bounds,
    pub(crate) keys: Vec<Key>,
    key_index: Index,
    /// Keys with a text outside that are not in the index: all from here on that have one.
    indexed: usize,
    pub(crate) large: FxHashMap<u32, i128>,
    pub(crate) rooms: Vec<Room>,
    pub(crate) room_index: Index,
    pub(crate) texts: Texts,
    outside: Option<Box<dyn OutsideTexts>>,
    hasher: FixedState,
    /// The room that was asked for last: keys come in runs.
    pub(crate) last_room: u32,
}

impl Paths {
    /// An empty tree. `seed` seeds its hash tables: one that nobody outside knows keeps others from choosing keys that
    /// collide; it changes nothing else.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut texts = Texts::default();
        let root = Room {
            total: 0,
            text: texts.push("").unwrap_or(NONE),
            up: NONE,
            next: NONE,
            first_room: NONE,
            first_key: NONE,
            key: NONE,
            keys: 0,
        };
        Paths {
            values: Vec::new(),
            bounds: Bounds::default(),
            keys: Vec::new(),
            key_index: Index::default(),
            indexed: 0,
            large: FxHashMap::default(),
            rooms: vec![root],
            room_index: Index::default(),
            texts,
            outside: None,
            hasher: FixedState::with_seed(seed),
            last_room: 0,
        }
    }

    /// Where texts outside are, before the first [`Paths::intern_outside`].
    pub fn set_outside(&mut self, outside: Box<dyn OutsideTexts>) {
        self.outside = Some(outside);
    }

    /// Number of keys that were ever counted.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn tag(&self, text: &[u8]) -> u32 {
        (self.hasher.hash_one(text) >> 32) as u32
    }

    // ---- keys

    /// The key of a clean path without leading `/`. Keys with a text outside are found where [`Paths::index_outside`]
    /// was called after they came in. Cost: one hash look-up.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<KeyId> {
        self.find_tagged(self.tag(path.as_bytes()), path)
    }

    fn find_tagged(&self, tag: u32, path: &str) -> Option<KeyId> {
        let found = self
            .key_index
            .find(tag, |key| self.has_text(KeyId(key), path));
        found.map(KeyId)
    }

    fn has_text(&self, key: KeyId, path: &str) -> bool {
        let Some(node) = self.keys.get(key.0 as usize) else {
            return false;
        };
        if node.up & OUTSIDE == 0 {
            return self.texts.bytes(node.text) == path.as_bytes();
        }
        let mut copy = Vec::with_capacity(path.len());
        self.copy_outside(node.text, &mut copy);
        copy == path.as_bytes()
    }

    fn copy_outside(&self, text: u32, out: &mut Vec<u8>) {
        if let Some(outside) = &self.outside {
            outside.copy(text, out);
        }
    }

    /// The key of a clean path, made where it is new; `None` where there are too many.
    pub fn intern(&mut self, path: &str) -> Option<KeyId> {
        self.index_outside();
        self.intern_tagged(self.tag(path.as_bytes()), path)
    }

    /// As [`Paths::intern`], after [`Paths::index_outside`].
    pub(crate) fn intern_tagged(&mut self, tag: u32, path: &str) -> Option<KeyId> {
        if let Some(key) = self.find_tagged(tag, path) {
            return Some(key);
        }
        let text = self.texts.push(path)?;
        let key = self.push_key(path, tag, text, 0, &|_| None)?;
        self.key_index.insert(tag, key.0);
        self.indexed = self.keys.len();
        Some(key)
    }

    /// Ask the processor to fetch where the index has a tag.
    #[inline]
    pub(crate) fn prefetch_tag(&self, tag: u32) {
        self.key_index.prefetch(tag);
    }

    /// The key of a tag, whose text may be another: good enough to ask for what comes next.
    #[inline]
    pub(crate) fn guess(&self, tag: u32) -> Option<KeyId> {
        self.key_index.guess(tag).map(KeyId)
    }

    /// A guess that is right, after it was asked for by [`Paths::prefetch`].
    #[inline]
    pub(crate) fn confirm(&self, guess: KeyId, path: &str) -> Option<KeyId> {
        self.has_text(guess, path).then_some(guess)
    }

    /// Ask the processor to fetch a key's text, and the room that it counts in.
    #[inline]
    pub(crate) fn prefetch_text(&self, key: KeyId) {
        if let Some(node) = self.keys.get(key.0 as usize) {
            prefetch(self.rooms.get((node.up & !FLAGS) as usize));
            if node.up & OUTSIDE == 0 {
                self.texts.prefetch(node.text);
            }
        }
    }

    /// As [`Paths::intern`], of a key whose text is outside at `place` and comes here for the first time.
    /// `find` gives keys with texts outside that are here already. They are not put into the index before somebody asks
    /// for one by its text, so a store that nobody else writes to needs no index of its own keys.
    pub fn intern_outside(
        &mut self,
        path: &str,
        place: u32,
        find: &dyn Fn(&str) -> Option<KeyId>,
    ) -> Option<KeyId> {
        let tag = self.tag(path.as_bytes());
        if let Some(key) = self.find_tagged(tag, path) {
            return Some(key);
        }
        self.push_key(path, tag, place, OUTSIDE, find)
    }

    /// Puts the keys with texts outside into the index. Cost: a look at each that came in since the last call.
    #[inline]
    pub fn index_outside(&mut self) {
        if self.indexed < self.keys.len() {
            self.index_rest();
        }
    }

    #[cold]
    fn index_rest(&mut self) {
        self.key_index.reserve(self.keys.len() - self.indexed);
        let mut text = Vec::new();
        while let Some(node) = self.keys.get(self.indexed) {
            let key = self.indexed;
            self.indexed += 1;
            if node.up & OUTSIDE != 0
                && let Ok(key) = u32::try_from(key)
            {
                text.clear();
                self.copy_outside(node.text, &mut text);
                let tag = self.tag(&text);
                self.key_index.insert(tag, key);
            }
        }
    }

    fn push_key(
        &mut self,
        path: &str,
        tag: u32,
        text: u32,
        outside: u32,
        find: &dyn Fn(&str) -> Option<KeyId>,
    ) -> Option<KeyId> {
        let id = u32::try_from(self.keys.len())
            .ok()
            .filter(|&id| (id as usize) < IDS_MAX)?;
        let own_room = self.find_room_tagged(tag, path);
        let (up, next) = match own_room {
            Some(room) => (room, NONE),
            None => {
                let up = self.intern_room(above(path), find)?;
                let first = &mut self.rooms.get_mut(up.0 as usize)?.first_key;
                (up, std::mem::replace(first, id))
            }
        };
        if let Some(room) = own_room.and_then(|room| self.rooms.get_mut(room.0 as usize)) {
            room.key = id;
        }
        self.bounds.push(self.values.len(), 0);
        self.values.push(0);
        self.keys.push(Key {
            up: up.0 | outside,
            next,
            text,
        });
        self.climb(up.0, |room| room.keys = room.keys.saturating_add(1));
        Some(KeyId(id))
    }

    pub(crate) fn climb(&mut self, from: u32, mut each: impl FnMut(&mut Room)) {
        let mut at = from;
        while let Some(room) = self.rooms.get_mut(at as usize) {
            each(room);
            at = room.up;
        }
    }

    /// Move the value of a key, and the totals of the rooms above it.
    pub fn add(&mut self, key: KeyId, by: i128) {
        let at = key.0 as usize;
        let (Some(held), Some(node)) = (self.values.get_mut(at), self.keys.get(at)) else {
            return;
        };
        let value = match *held {
            LARGE => self.large.get(&key.0).copied().unwrap_or_default(),
            value => i128::from(value),
        };
        // Sums of fewer than 2³¹ sub-counters of 64 bits: far from the ends of an i128.
        let value = value.wrapping_add(by);
        match i64::try_from(value).ok().filter(|value| *value != LARGE) {
            Some(small) => {
                if *held == LARGE {
                    self.large.remove(&key.0);
                }
                *held = small;
                self.bounds.raise(at, small);
            }
            None => {
                *held = LARGE;
                self.large.insert(key.0, value);
            }
        }
        let up = node.up & !FLAGS;
        self.climb(up, |room| room.total = room.total.wrapping_add(by));
    }

    /// Others have counted on a key. The place of its text where that is outside and this is the first time.
    pub fn share(&mut self, key: KeyId) -> Option<u32> {
        let node = self.keys.get_mut(key.0 as usize)?;
        if node.up & FLAGS != OUTSIDE {
            return None;
        }
        node.up |= SHARED;
        Some(node.text)
    }

    /// The value of exactly this key.
    #[must_use]
    #[inline]
    pub fn value(&self, key: KeyId) -> i128 {
        match self.values.get(key.0 as usize) {
            Some(&value) if value != LARGE => i128::from(value),
            _ => self.large.get(&key.0).copied().unwrap_or_default(),
        }
    }

    /// Ask the processor to fetch what [`Paths::add`] needs of a key.
    #[inline]
    pub fn prefetch(&self, key: KeyId) {
        prefetch(self.values.get(key.0 as usize));
        prefetch(self.keys.get(key.0 as usize));
    }

    /// Appends the path of a key, without leading `/`.
    pub fn copy_text(&self, key: KeyId, out: &mut Vec<u8>) {
        let Some(node) = self.keys.get(key.0 as usize) else {
            return;
        };
        if node.up & OUTSIDE == 0 {
            out.extend_from_slice(self.texts.bytes(node.text));
        } else {
            self.copy_outside(node.text, out);
        }
    }

    /// The path of a key, without leading `/`.
    #[must_use]
    pub fn text(&self, key: KeyId) -> String {
        let mut out = Vec::new();
        self.copy_text(key, &mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

pub(crate) fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

pub(crate) fn list(first: u32, next: impl Fn(u32) -> u32) -> impl Iterator<Item = u32> {
    std::iter::successors((first != NONE).then_some(first), move |&at| {
        let next = next(at);
        (next != NONE).then_some(next)
    })
}
