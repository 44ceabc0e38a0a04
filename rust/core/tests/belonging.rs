//! To which DAG a node belongs, whoever announces it first; and what is never had.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{ME, TOPIC, announce, announce_only, give, key_of, replica, signed, unsigned};
use crdtstats_core::broadcast;
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::Element;
use crdtstats_core::element_key::Side;
use crdtstats_core::identity::Identity;
use crdtstats_core::replica::{Changes, Flush, Replica};

fn named(links: &[Cid], value: u8, priority: u64, dag_name: &str) -> (Cid, Vec<u8>) {
    let value = u64::from(value).to_be_bytes();
    let element = Element {
        key: "/STATS/incr/k/go/g",
        id: "",
        value: &value,
    };
    unsigned(links, vec![element], vec![], priority, dag_name)
}

/// (dagName, CIDs) of every DAG.
fn heads(replica: &Replica) -> Vec<(String, Vec<Cid>)> {
    let all = replica.dag().all_heads().into_iter();
    all.map(|(name, heads)| (name, heads.into_iter().map(|head| head.cid).collect()))
        .collect()
}

/// What is announced when it is time, as (dagName, CID).
fn announced(replica: &mut Replica) -> Vec<(String, Cid)> {
    let due = replica.due_ms();
    let payloads = replica.poll(due).announce;
    let heads = payloads.iter().flat_map(|payload| {
        let heads = broadcast::decode(payload).unwrap();
        heads
            .into_iter()
            .map(|head| (head.dag_name.to_owned(), head.cid))
            .collect::<Vec<_>>()
    });
    heads.collect()
}

/// A flush of ours that counts 1, built and not stored.
fn flush_of(replica: &mut Replica, me: &Identity) -> Flush {
    let mut changes = Changes::default();
    changes.push("k", Side::Incr, 1);
    let draft = replica
        .prepare_flush(me.peer_id(), "73696731000000000000000000000001")
        .unwrap();
    draft.build(me, &changes).unwrap()
}

#[test]
fn dags_of_other_writers_are_read_like_any_other() {
    let mut replica = replica(false, ME);
    let first = named(&[], 1, 1, "x");
    let second = named(std::slice::from_ref(&first.0), 2, 2, "x");
    let third = named(std::slice::from_ref(&second.0), 3, 3, "x");
    let other = named(&[], 4, 1, "");
    announce_only(&mut replica, &third.0, "x");
    for node in [&third, &second, &first] {
        replica.handle_block(&node.0, &node.1).unwrap();
    }
    announce(&mut replica, &other, "").unwrap();
    let want = [
        ("".into(), vec![other.0.clone()]),
        ("x".into(), vec![third.0.clone()]),
    ];
    assert_eq!(heads(&replica), want);
    assert_eq!(replica.state().get("k"), 4);
    let all = [("".to_owned(), other.0), ("x".to_owned(), third.0)];
    assert_eq!(announced(&mut replica), all);
}

#[test]
fn who_lies_first_does_not_decide() {
    // Before and after the block is here.
    for is_early in [true, false] {
        let mut replica = replica(false, ME);
        let node = named(&[], 1, 1, "");
        if is_early {
            announce_only(&mut replica, &node.0, "lie");
        } else {
            announce(&mut replica, &node, "lie").unwrap();
            // As in Go the head decides; but nobody else is told so.
            assert_eq!(heads(&replica), [("lie".into(), vec![node.0.clone()])]);
            assert_eq!(announced(&mut replica), []);
        }
        give(&mut replica, &node, "").unwrap();
        replica.handle_block(&node.0, &node.1).unwrap();
        let want = [("".into(), vec![node.0.clone()])];
        assert_eq!(heads(&replica), want);
        announce_only(&mut replica, &node.0, "another lie");
        assert_eq!(heads(&replica), want);
        assert_eq!(
            replica.dropped()["head-other-dag"],
            if is_early { 2 } else { 1 }
        );
        // The lie does not silence us either.
        let mut replica_again = common::replica(false, ME);
        announce(&mut replica_again, &node, "").unwrap();
        announce_only(&mut replica_again, &node.0, "lie");
        assert_eq!(announced(&mut replica_again), [("".to_owned(), node.0)]);
    }
}

#[test]
fn a_head_that_an_honest_peer_announced_keeps_us_silent() {
    let mut replica = replica(false, ME);
    let node = named(&[], 1, 1, "");
    announce(&mut replica, &node, "").unwrap();
    announce_only(&mut replica, &node.0, "");
    assert_eq!(announced(&mut replica), []);
    assert_eq!(announced(&mut replica), [("".to_owned(), node.0)]);
}

#[test]
fn a_link_from_a_lying_node_does_not_decide_either() {
    let mut replica = replica(false, ME);
    let node = named(&[], 1, 1, "");
    let never = named(&[], 9, 9, "").0;
    let liar = named(&[node.0.clone(), never], 2, 1, "lie");
    announce(&mut replica, &liar, "lie").unwrap();
    replica.handle_block(&node.0, &node.1).unwrap();
    assert_eq!(announced(&mut replica), []);
    give(&mut replica, &node, "").unwrap();
    assert_eq!(announced(&mut replica), []); // just heard
    assert_eq!(announced(&mut replica), [("".to_owned(), node.0)]);
}

#[test]
fn a_node_in_our_form_belongs_to_the_dag_that_it_names() {
    let alice = Identity::from_seed([1; 32]);
    let key = key_of("k", &alice, "73696731000000000000000000000001");
    let value = 7u64.to_be_bytes();
    let element = Element {
        key: &key,
        id: "",
        value: &value,
    };
    let node = signed(&alice, TOPIC, 1, &[], vec![element], vec![], 1);
    for is_early in [true, false] {
        let mut replica = replica(false, ME);
        if is_early {
            announce_only(&mut replica, &node.0, "lie");
            replica.handle_block(&node.0, &node.1).unwrap();
        } else {
            announce(&mut replica, &node, "lie").unwrap();
        }
        assert_eq!(heads(&replica), [("".into(), vec![node.0.clone()])]);
        announce_only(&mut replica, &node.0, "lie");
        assert_eq!(replica.dropped()["head-other-dag"], 2);
        assert_eq!(announced(&mut replica), [("".to_owned(), node.0.clone())]);
        assert_eq!(replica.state().get("k"), 7);
    }
}

#[test]
fn our_nodes_link_to_no_node_that_names_another_dag() {
    let me = Identity::from_seed([ME; 32]);
    let mut replica = replica(false, ME);
    replica.open_section(me.peer_id().clone(), [5; 16]);
    let (honest, liar) = (named(&[], 1, 4, ""), named(&[], 2, 90, "x"));
    announce(&mut replica, &honest, "").unwrap();
    announce(&mut replica, &liar, "").unwrap();
    let flush = flush_of(&mut replica, &me);
    assert_eq!(
        (&flush.blocks[0].links, flush.blocks[0].height),
        (&vec![honest.0], 5)
    );
}

#[test]
fn a_link_that_cannot_be_checked_holds_nothing_up() {
    let mut replica = replica(false, ME);
    // murmur3: Go fetches no such block, and goes on without it.
    let unknown = Cid::from_bytes(&[1, 0x70, 0x22, 4, 1, 2, 3, 4]).unwrap();
    let raw = Cid::from_bytes(&[&[1, 0x55, 0x12, 32][..], &[7; 32]].concat()).unwrap();
    let below = named(&[unknown, raw], 1, 1, "");
    let above = named(std::slice::from_ref(&below.0), 2, 2, "");
    announce(&mut replica, &above, "").unwrap();
    replica.handle_block(&below.0, &below.1).unwrap();
    assert_eq!(heads(&replica), [("".into(), vec![above.0])]);
    assert_eq!(
        (replica.dag().missing_count(), replica.wanted_count()),
        (0, 0)
    );
    assert_eq!(replica.dropped()["link-unknown-hash"], 2);
}

#[test]
fn bytes_that_are_no_node_are_not_asked_for_again_and_take_no_place() {
    let mut replica = replica(false, ME);
    let junk = |n: u32| {
        let bytes = [&[0xff; 8][..], &n.to_be_bytes()].concat();
        (Cid::of(HashKind::Sha2_256, &bytes), bytes)
    };
    for n in 0..1000 {
        let (cid, bytes) = junk(n);
        announce_only(&mut replica, &cid, "");
        assert!(replica.handle_block(&cid, &bytes).is_err());
    }
    assert!(replica.dag().places() <= 1);
    replica.poll(0);
    announce_only(&mut replica, &junk(7).0, "");
    assert_eq!(replica.poll(0).want, []);
    // A node that links to one waits for nobody.
    let above = named(&[junk(7).0], 1, 1, "");
    announce(&mut replica, &above, "").unwrap();
    assert_eq!(replica.poll(0).want, []);
    assert_eq!(heads(&replica), [("".into(), vec![above.0])]);
    assert_eq!(replica.dag().missing_count(), 0);
}

#[test]
fn bytes_that_are_no_node_hold_nothing_up_whenever_they_come() {
    let me = Identity::from_seed([ME; 32]);
    let bytes = vec![0xff; 9];
    let junk = (Cid::of(HashKind::Sha2_256, &bytes), bytes);
    let below = named(&[], 1, 1, "");
    let above = named(&[below.0.clone(), junk.0.clone()], 2, 2, "");
    for (order, is_inline) in (0..3).flat_map(|order| [(order, false), (order, true)]) {
        let mut replica = replica(false, ME);
        replica.open_section(me.peer_id().clone(), [5; 16]);
        let bad = |replica: &mut Replica| {
            let come = if is_inline { announce } else { give };
            assert!(come(replica, &junk, "").is_err());
        };
        if order == 0 {
            bad(&mut replica);
        }
        announce(&mut replica, &above, "").unwrap();
        if order == 1 {
            bad(&mut replica);
        }
        replica.handle_block(&below.0, &below.1).unwrap();
        if order == 2 {
            bad(&mut replica);
        }
        assert_eq!(heads(&replica), [("".into(), vec![above.0.clone()])]);
        assert_eq!(
            (replica.wanted_count(), replica.dag().missing_count()),
            (0, 0)
        );
        // It is not asked for again, and the next node of ours stands on what is above it.
        announce_only(&mut replica, &junk.0, "");
        assert_eq!(
            (replica.wanted_count(), replica.dag().missing_count()),
            (0, 0)
        );
        assert_eq!(announced(&mut replica), [("".to_owned(), above.0.clone())]);
        let flush = flush_of(&mut replica, &me);
        assert_eq!(flush.blocks[0].links, std::slice::from_ref(&above.0));
    }
}
