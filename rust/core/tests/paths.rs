//! The tree of keys and rooms.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use crdtstats_core::paths::{OutsideTexts, Paths, RoomId};

fn total(paths: &Paths, path: &str) -> Option<i128> {
    paths.find_room(path).map(|room| paths.total(room))
}

#[test]
fn a_path_is_found_by_whole_components() {
    let mut paths = Paths::new(1);
    let abc = paths.intern("a/b/c").unwrap();
    assert_eq!(paths.text(abc), "a/b/c");
    assert_eq!(paths.find("a/b/c"), Some(abc));
    for absent in ["a", "b", "c", "b/c", "a/bb/c", "aa/b/c", "a/b/c/", "/a", ""] {
        assert_eq!(paths.find(absent), None, "{absent}");
    }
    for room in ["", "a", "a/b"] {
        assert!(paths.find_room(room).is_some(), "{room}");
    }
    for absent in ["b", "a/b/c", "a/bb", "/a", "a/"] {
        assert_eq!(paths.find_room(absent), None, "{absent}");
    }
}

#[test]
fn totals_reach_every_room_above_and_no_other() {
    let mut paths = Paths::new(1);
    let abc = paths.intern("a/b/c").unwrap();
    paths.intern("a/b/d").unwrap();
    paths.intern("b/c").unwrap();
    paths.add(abc, 2);
    let totals = ["", "a", "a/b", "b"].map(|path| total(&paths, path));
    assert_eq!(totals, [Some(2), Some(2), Some(2), Some(0)]);
    assert_eq!(paths.keys_in(RoomId::ROOT), 3);
}

#[test]
fn a_key_with_keys_below_it_is_counted_once_whichever_came_first() {
    for order in [
        ["a", "a/b", "a/b/c"],
        ["a/b/c", "a/b", "a"],
        ["a/b", "a/b/c", "a"],
    ] {
        let mut paths = Paths::new(1);
        for path in order {
            let key = paths.intern(path).unwrap();
            paths.add(key, 1);
        }
        for path in order {
            let key = paths.intern(path).unwrap();
            paths.add(key, 9);
        }
        let totals = ["", "a", "a/b"].map(|path| total(&paths, path));
        assert_eq!(totals, [Some(30), Some(30), Some(20)], "{order:?}");
        for (room, keys) in [("", 3), ("a", 3), ("a/b", 2)] {
            let room = paths.find_room(room).unwrap();
            let mut texts: Vec<_> = paths.keys_below(room).map(|k| paths.text(k)).collect();
            texts.sort();
            assert_eq!(
                (texts.len(), paths.keys_in(room)),
                (keys, keys),
                "{order:?}"
            );
        }
    }
}

#[test]
fn values_pass_64_bits_and_come_back() {
    let mut paths = Paths::new(1);
    let key = paths.intern("a/b").unwrap();
    let big = i128::from(u64::MAX) * 3;
    for (by, value) in [(big, big), (-big, 0), (-big, -big), (big - 5, -5)] {
        paths.add(key, by);
        assert_eq!((paths.value(key), total(&paths, "a")), (value, Some(value)));
    }
}

struct Outside(Vec<&'static str>);

impl OutsideTexts for Outside {
    fn copy(&self, place: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0[place as usize].as_bytes());
    }
}

#[test]
fn texts_outside_are_met_by_texts_inside() {
    let mut paths = Paths::new(1);
    let inside = paths.intern("a/inside").unwrap();
    paths.set_outside(Box::new(Outside(vec!["a/b", "a/b/c", "a/inside"])));
    let ab = paths.intern_outside("a/b", 0, &|_| None).unwrap();
    let find = |path: &str| (path == "a/b").then_some(ab);
    let abc = paths.intern_outside("a/b/c", 1, &find).unwrap();
    assert_eq!(paths.intern_outside("a/inside", 2, &find), Some(inside));
    assert_eq!(paths.find("a/b/c"), None, "not in the index yet");
    paths.add(ab, 1);
    paths.add(abc, 2);
    assert_eq!(total(&paths, "a/b"), Some(3));
    assert_eq!(
        (paths.intern("a/b"), paths.intern("a/b/c")),
        (Some(ab), Some(abc))
    );
    assert_eq!(paths.text(abc), "a/b/c");
    assert_eq!(paths.key_count(), 3);
}
