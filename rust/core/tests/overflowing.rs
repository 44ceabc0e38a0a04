//! Where others take all the room that there is for their values, what may be wrong is said to be unknown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{ME, announce, give, replica, unsigned};
use crdtstats_core::delta::Element;
use crdtstats_core::entries::Shown;
use crdtstats_core::limits::TOMBSTONE_BYTES_MAX;

#[test]
fn a_flood_of_tombstones_is_counted_and_makes_what_is_shown_unknown() {
    let mut replica = replica(false, ME);
    let element = Element {
        key: "/x",
        id: "",
        value: b"shown",
    };
    let node = unsigned(&[], vec![element], vec![], 1, "");
    announce(&mut replica, &node, "").unwrap();
    assert_eq!(replica.entry("/x"), Some(Shown::Value(b"shown".to_vec())));
    let id = node.0.element_id();
    for n in 0..=TOMBSTONE_BYTES_MAX >> 20 {
        let key = ["/", &n.to_string(), &"k".repeat(1 << 20)].concat();
        let tombstone = Element {
            key: &key,
            id: &id,
            value: b"",
        };
        let named = unsigned(&[], vec![], vec![tombstone], 2, "");
        give(&mut replica, &named, "").unwrap();
    }
    assert!(replica.dropped()["tombstone-no-room"] >= 1);
    assert_eq!(replica.entry("/x"), Some(Shown::Unknown));
    assert_eq!(replica.entry("/y"), Some(Shown::Nothing));
}
