//! What Go peers show too little of is written again: once in an interval, and above all that they have taken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{ME, TOPIC, again, announce, key_of, replica, signed, unsigned};
use crdtstats_core::cid::Cid;
use crdtstats_core::delta::Element;
use crdtstats_core::element_key::Side;
use crdtstats_core::entries::Shown;
use crdtstats_core::healing::{HEAL_DELAY_MS, HEAL_INTERVAL_MS};
use crdtstats_core::identity::Identity;
use crdtstats_core::replica::{Changes, Replica};

const OLD: &str = "73696731000000000000000000000001";

fn me() -> Identity {
    Identity::from_seed([ME; 32])
}

fn value_of(replica: &Replica, key: &str) -> Option<u64> {
    match replica.entry(key).unwrap() {
        Shown::Value(value) => value.first_chunk().map(|eight| u64::from_be_bytes(*eight)),
        Shown::Nothing | Shown::Unknown => None,
    }
}

/// A node of ours that says `value` of a key.
fn said(
    by: &Identity,
    key: &str,
    value: u64,
    sequence: u64,
    links: &[Cid],
    priority: u64,
) -> (Cid, Vec<u8>) {
    let value = value.to_be_bytes();
    let element = Element {
        key,
        id: "",
        value: &value,
    };
    signed(by, TOPIC, sequence, links, vec![element], vec![], priority)
}

fn forged(key: &str, value: &[u8], priority: u64) -> (Cid, Vec<u8>) {
    unsigned(
        &[],
        vec![Element { key, id: "", value }],
        vec![],
        priority,
        "",
    )
}

/// Write what is due for an identity; gives the nodes.
fn heal(replica: &mut Replica, signer: &Identity, now_ms: u64) -> Vec<(Cid, Vec<u8>)> {
    let found = replica
        .prepare_heal(signer.peer_id(), [8; 16], now_ms)
        .unwrap();
    let Some(again) = found else {
        return Vec::new();
    };
    let values = again.values.iter();
    let written: Vec<_> = values
        .map(|(key, value)| crdtstats_core::chain::Written { key, value: *value })
        .collect();
    let flush = again.draft.build_written(signer, &written).unwrap();
    replica.note_built(&flush);
    replica.flush_stored(&flush).unwrap();
    flush
        .blocks
        .into_iter()
        .map(|built| (built.cid, built.block))
        .collect()
}

#[test]
fn an_old_value_at_a_greater_height_is_overruled_once_in_an_interval() {
    let key = key_of("k", &me(), OLD);
    let mut replica = replica(false, ME);
    let new = said(&me(), &key, 41, 1, &[], 2);
    let old = said(&me(), &key, 11, 2, &[], 4);
    announce(&mut replica, &old, "").unwrap();
    assert_eq!(replica.heal_due_ms(0), None);
    announce(&mut replica, &new, "").unwrap();
    assert_eq!(
        (value_of(&replica, &key), replica.state().get("k")),
        (Some(11), 41)
    );
    assert_eq!(replica.heal_due_ms(0), Some(HEAL_DELAY_MS));
    assert_eq!(heal(&mut replica, &me(), HEAL_DELAY_MS - 1), []);
    let nodes = heal(&mut replica, &me(), HEAL_DELAY_MS);
    assert_eq!(nodes.len(), 1);
    assert_eq!(value_of(&replica, &key), Some(41));
    assert_eq!(
        (replica.heal_due_ms(HEAL_DELAY_MS), replica.healed()),
        (None, 1)
    );
    assert_eq!(
        (replica.state().get("k"), replica.dag().heads("").len()),
        (41, 1)
    );
    // Somebody lowers it again and again: not before a minute is over.
    announce(&mut replica, &forged(&key, &[0; 8], 99), "").unwrap();
    assert_eq!(value_of(&replica, &key), Some(0));
    let next = HEAL_DELAY_MS + HEAL_INTERVAL_MS;
    assert_eq!(replica.heal_due_ms(HEAL_DELAY_MS), Some(next));
    assert_eq!(heal(&mut replica, &me(), next - 1), []);
    assert_eq!(heal(&mut replica, &me(), next).len(), 1);
    assert_eq!((value_of(&replica, &key), replica.healed()), (Some(41), 2));
    // Another replica of ours sees the same; nothing is written that is right.
    assert_eq!(heal(&mut replica, &me(), next + 10 * HEAL_INTERVAL_MS), []);
}

#[test]
fn an_old_identity_whose_key_is_here_is_healed_too_and_no_other() {
    let (old, other) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let mut replica = replica(false, ME);
    replica.hold(old.peer_id());
    for identity in [&old, &other] {
        let key = key_of("k", identity, OLD);
        announce(&mut replica, &said(identity, &key, 7, 1, &[], 1), "").unwrap();
        announce(&mut replica, &forged(&key, &[0; 8], 5), "").unwrap();
    }
    assert_eq!(replica.heal_due_ms(0), Some(HEAL_DELAY_MS));
    assert_eq!(heal(&mut replica, &me(), HEAL_DELAY_MS), []);
    assert_eq!(heal(&mut replica, &other, HEAL_DELAY_MS), []);
    let nodes = heal(&mut replica, &old, HEAL_DELAY_MS);
    assert_eq!(nodes.len(), 1);
    assert_eq!(value_of(&replica, &key_of("k", &old, OLD)), Some(7));
    assert_eq!(replica.entry(&key_of("k", &other, OLD)), None);
    // It counts for whoever hears of it, and is signed by its owner.
    let mut peer = common::replica(false, 3);
    announce(&mut peer, &nodes[0], "").unwrap();
    assert_eq!((peer.state().get("k"), peer.dropped().len()), (7, 0));
}

#[test]
fn what_we_write_stands_above_what_is_held_and_not_complete() {
    let key = key_of("k", &me(), OLD);
    let mut replica = replica(false, ME);
    announce(&mut replica, &said(&me(), &key, 7, 1, &[], 1), "").unwrap();
    let never = forged("/x", b"x", 1).0;
    let element = Element {
        key: &key,
        id: "",
        value: &[],
    };
    let incomplete = unsigned(&[never], vec![element], vec![], 1000, "");
    announce(&mut replica, &incomplete, "").unwrap();
    assert_eq!(replica.heal_due_ms(0), Some(HEAL_DELAY_MS));
    assert_eq!(heal(&mut replica, &me(), HEAL_DELAY_MS).len(), 1);
    assert_eq!(value_of(&replica, &key), Some(7));
}

#[test]
fn what_cannot_be_overruled_is_left_alone() {
    let key = key_of("k", &me(), OLD);
    let mut replica = replica(false, ME);
    announce(&mut replica, &said(&me(), &key, 7, 1, &[], 1), "").unwrap();
    announce(&mut replica, &forged(&key, &[0; 8], u64::MAX), "").unwrap();
    let due = replica.heal_due_ms(0).unwrap();
    assert_eq!(heal(&mut replica, &me(), due), []);
    assert_eq!(replica.heal_due_ms(due), Some(due + HEAL_INTERVAL_MS));
    assert_eq!((replica.healed(), replica.state().get("k")), (0, 7));
}

#[test]
fn what_go_removes_of_ours_still_counts_and_is_written_again() {
    let key = key_of("k", &me(), OLD);
    let mut replica = replica(false, ME);
    let ours = said(&me(), &key, 7, 1, &[], 1);
    announce(&mut replica, &ours, "").unwrap();
    let id = ours.0.element_id();
    let tombstone = Element {
        key: &key,
        id: &id,
        value: &[],
    };
    let removing = unsigned(
        std::slice::from_ref(&ours.0),
        vec![],
        vec![tombstone],
        2,
        "",
    );
    announce(&mut replica, &removing, "").unwrap();
    again(&mut replica, &[ours, removing], 0);
    assert_eq!(
        (value_of(&replica, &key), replica.state().get("k")),
        (None, 7)
    );
    assert_eq!(replica.dropped()["tombstone-of-signed"], 1);
    let due = replica.heal_due_ms(0).unwrap();
    assert_eq!(heal(&mut replica, &me(), due).len(), 1);
    assert_eq!(
        (value_of(&replica, &key), replica.state().get("k")),
        (Some(7), 7)
    );
}

#[test]
fn a_live_generation_is_healed_with_what_its_blocks_say() {
    struct NoTexts;
    impl crdtstats_core::paths::OutsideTexts for NoTexts {
        fn copy(&self, _place: u32, _out: &mut Vec<u8>) {}
    }
    let mut replica = replica(false, ME);
    replica.open_section(me().peer_id().clone(), [4; 16]);
    replica.set_live_generation(OLD, Box::new(NoTexts));
    let mut changes = Changes::default();
    changes.push("k", Side::Incr, 7);
    let draft = replica.prepare_flush(me().peer_id(), OLD).unwrap();
    let flush = draft.build(&me(), &changes).unwrap();
    replica.note_built(&flush);
    replica.flush_stored(&flush).unwrap();
    let key = key_of("k", &me(), OLD);
    assert_eq!(value_of(&replica, &key), Some(7));
    announce(&mut replica, &forged(&key, &[1], 50), "").unwrap();
    let due = replica.heal_due_ms(0).unwrap();
    let nodes = heal(&mut replica, &me(), due);
    assert_eq!((nodes.len(), value_of(&replica, &key)), (1, Some(7)));
    // It is our own slots that move our totals.
    assert_eq!((replica.state().get("k"), replica.clone_seen()), (0, false));
}

#[test]
fn in_any_order_of_blocks_the_same_is_due() {
    let key = key_of("k", &me(), OLD);
    let nodes = [
        said(&me(), &key, 5, 1, &[], 1),
        said(&me(), &key, 41, 2, &[], 3),
        said(&me(), &key, 11, 3, &[], 7),
        forged(&key, &[9; 3], 7),
        forged(&key, &12u64.to_be_bytes(), 6),
    ];
    arbtest::arbtest(|u| {
        let mut left: Vec<_> = nodes.iter().collect();
        let mut replica = replica(false, ME);
        while !left.is_empty() {
            let node = left.swap_remove(u.choose_index(left.len())?);
            if u.arbitrary()? {
                announce(&mut replica, node, "").unwrap();
            } else {
                replica.load(&node.0, &node.1).unwrap();
            }
        }
        let shown = replica.entry(&key);
        assert_eq!(shown, Some(Shown::Value(vec![9; 3])));
        let due = replica.heal_due_ms(0).unwrap();
        assert_eq!(heal(&mut replica, &me(), due).len(), 1);
        assert_eq!(value_of(&replica, &key), Some(41));
        Ok(())
    });
}
