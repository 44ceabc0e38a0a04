//! The rooms of the tree of keys: paths with something below them, and the ways through them.

use crate::paths::{FLAGS, IDS_MAX, KeyId, LARGE, NONE, Paths, Room, RoomId, above, list};

impl Paths {
    /// The room of a clean path; `""` is the root. `None` where nothing is below it.
    #[must_use]
    pub fn find_room(&self, path: &str) -> Option<RoomId> {
        if path.is_empty() {
            return Some(RoomId::ROOT);
        }
        self.find_room_tagged(self.tag(path.as_bytes()), path)
    }

    /// As [`Paths::find_room`], but for the root.
    pub(crate) fn find_room_tagged(&self, tag: u32, path: &str) -> Option<RoomId> {
        let found = self.room_index.find(tag, |room| self.is_room(room, path));
        found.map(RoomId)
    }

    fn is_room(&self, room: u32, path: &str) -> bool {
        self.rooms
            .get(room as usize)
            .is_some_and(|room| self.texts.bytes(room.text) == path.as_bytes())
    }

    /// The room of a clean path, made with all above it where it is new; `find` as in [`Paths::intern_outside`].
    pub fn intern_room(
        &mut self,
        path: &str,
        find: &dyn Fn(&str) -> Option<KeyId>,
    ) -> Option<RoomId> {
        if self.is_room(self.last_room, path) {
            return Some(RoomId(self.last_room));
        }
        // From the innermost room that is there, down.
        let mut known = path;
        let mut up = loop {
            match self.find_room(known) {
                Some(room) => break room.0,
                None => known = above(known),
            }
        };
        let mut made = known.len();
        while made < path.len() {
            let from = made + usize::from(made > 0);
            let rest = path.get(from..)?;
            made = from + rest.find('/').unwrap_or(rest.len());
            up = self.push_room(path.get(..made)?, up, find)?;
        }
        self.last_room = up;
        Some(RoomId(up))
    }

    fn push_room(
        &mut self,
        path: &str,
        up: u32,
        find: &dyn Fn(&str) -> Option<KeyId>,
    ) -> Option<u32> {
        let id = u32::try_from(self.rooms.len())
            .ok()
            .filter(|&id| (id as usize) < IDS_MAX)?;
        let key = self.find(path).or_else(|| find(path));
        let text = self.texts.push(path)?;
        let (total, keys) = match key.and_then(|key| self.keys.get_mut(key.0 as usize)) {
            Some(node) => {
                node.up = id | (node.up & FLAGS);
                (key.map_or(0, |key| self.value(key)), 1)
            }
            None => (0, 0),
        };
        let above = self.rooms.get_mut(up as usize)?;
        let next = std::mem::replace(&mut above.first_room, id);
        self.rooms.push(Room {
            total,
            text,
            up,
            next,
            first_room: NONE,
            first_key: NONE,
            key: key.map_or(NONE, |key| key.0),
            keys,
        });
        let tag = self.tag(path.as_bytes());
        self.room_index.insert(tag, id);
        Some(id)
    }

    /// The sum of a room.
    #[must_use]
    pub fn total(&self, room: RoomId) -> i128 {
        self.rooms.get(room.0 as usize).map_or(0, |room| room.total)
    }

    /// Move the totals of a room and of those above it, as something in it that is no key of its own.
    pub fn add_in_room(&mut self, room: RoomId, by: i128) {
        self.climb(room.0, |room| room.total = room.total.wrapping_add(by));
    }

    /// Number of keys in and below a room.
    #[must_use]
    pub fn keys_in(&self, room: RoomId) -> usize {
        self.rooms
            .get(room.0 as usize)
            .map_or(0, |room| room.keys as usize)
    }

    /// The key that has just this room's path.
    #[must_use]
    pub fn key_of(&self, room: RoomId) -> Option<KeyId> {
        let key = self.rooms.get(room.0 as usize)?.key;
        (key != NONE).then_some(KeyId(key))
    }

    /// The last component of a room's path.
    #[must_use]
    pub fn room_name(&self, room: RoomId) -> &str {
        let text = self.rooms.get(room.0 as usize).map(|room| room.text);
        let path = text.map_or("", |text| {
            std::str::from_utf8(self.texts.bytes(text)).unwrap_or("")
        });
        path.rsplit_once('/').map_or(path, |(_, name)| name)
    }

    /// The rooms just below, in no promised order.
    pub fn rooms_in(&self, room: RoomId) -> impl Iterator<Item = RoomId> + '_ {
        let first = self
            .rooms
            .get(room.0 as usize)
            .map_or(NONE, |room| room.first_room);
        list(first, |at| {
            self.rooms.get(at as usize).map_or(NONE, |room| room.next)
        })
        .map(RoomId)
    }

    /// The keys just below that have nothing below them, in no promised order.
    pub fn leaves_in(&self, room: RoomId) -> impl Iterator<Item = KeyId> + '_ {
        let first = self
            .rooms
            .get(room.0 as usize)
            .map_or(NONE, |room| room.first_key);
        let all = list(first, |at| {
            self.keys.get(at as usize).map_or(NONE, |key| key.next)
        });
        // A key that has got a room of its own stays in the list.
        all.filter(move |&at| {
            self.keys
                .get(at as usize)
                .is_some_and(|key| key.up & !FLAGS == room.0)
        })
        .map(KeyId)
    }

    /// Every key in and below a room, in no promised order.
    pub fn keys_below(&self, room: RoomId) -> impl Iterator<Item = KeyId> + '_ {
        let mut stack = vec![room];
        std::iter::from_fn(move || {
            let at = stack.pop()?;
            stack.extend(self.rooms_in(at));
            Some(self.key_of(at).into_iter().chain(self.leaves_in(at)))
        })
        .flatten()
    }

    /// Offers every key whose value is not below the floor, which is what the last offer gave. Cost: a look at a bound for
    /// each thousand keys, and at the keys of those that may hold one.
    pub fn offer_all(&self, mut offer: impl FnMut(KeyId, i128) -> i128) {
        let mut floor = i128::MIN;
        for (&key, &value) in &self.large {
            floor = offer(KeyId(key), value);
        }
        let small = |floor: i128| i64::try_from(floor.max(i128::from(i64::MIN))).ok();
        self.bounds.offer(&self.values, small(floor), |at, value| {
            if let Ok(key) = u32::try_from(at)
                && value != LARGE
            {
                floor = offer(KeyId(key), i128::from(value));
            }
            small(floor)
        });
    }

    /// Whether a key is in or below a room.
    #[must_use]
    pub fn is_below(&self, key: KeyId, room: RoomId) -> bool {
        let mut at = self
            .keys
            .get(key.0 as usize)
            .map_or(NONE, |key| key.up & !FLAGS);
        while at != room.0 {
            match self.rooms.get(at as usize) {
                Some(room) => at = room.up,
                None => return false,
            }
        }
        true
    }
}
