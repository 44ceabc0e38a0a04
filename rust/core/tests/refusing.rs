//! What is known of refused blocks after the next open: no more than held nodes link to, and no less.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{ME, TOPIC, announce, announce_only, give, replica, unsigned};
use crdtstats_core::broadcast::{self, Head};
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::{Delta, Native};
use crdtstats_core::identity::Identity;
use crdtstats_core::limits::REFUSED_MAX;
use crdtstats_core::node;
use crdtstats_core::replica::{Effects, Replica};

type Block = (Cid, Vec<u8>);

/// A block that is no node.
fn junk(n: usize) -> Block {
    let block = [b"no node ", &n.to_be_bytes()[..]].concat();
    (Cid::of(HashKind::Sha2_256, &block), block)
}

fn above(links: &[&Block], priority: u64) -> Block {
    let links: Vec<_> = links.iter().map(|(cid, _)| cid.clone()).collect();
    unsigned(&links, vec![], vec![], priority, "")
}

fn heads(replica: &Replica) -> Vec<Cid> {
    let heads = replica.dag().heads("").into_iter();
    heads.map(|head| head.cid).collect()
}

/// What the datastore gives the next open: rows before blocks, or after them.
fn open_again(blocks: &[Block], refused: &[Cid], rows_first: bool) -> Replica {
    let mut replica = replica(false, ME);
    if rows_first {
        replica.load_refused(refused.iter().cloned());
    }
    for (cid, block) in blocks {
        replica.load(cid, block).unwrap();
    }
    if !rows_first {
        replica.load_refused(refused.iter().cloned());
    }
    replica
}

fn asked(effects: &Effects) -> Vec<&Cid> {
    effects.want.iter().map(|want| &want.cid).collect()
}

#[test]
fn what_stands_on_a_refused_block_is_a_head_after_the_next_open_too() {
    let (bad, low) = (junk(0), above(&[], 1));
    let top = above(&[&bad, &low], 2);
    for junk_first in [false, true] {
        let mut before = replica(false, ME);
        announce(&mut before, &low, "").unwrap();
        if junk_first {
            announce(&mut before, &bad, "").unwrap_err();
            assert!(before.poll(0).refused.is_empty(), "nothing links to it");
            announce(&mut before, &top, "").unwrap();
        } else {
            announce(&mut before, &top, "").unwrap();
            assert_eq!(asked(&before.poll(0)), [&bad.0]);
            before.handle_block(&bad.0, &bad.1).unwrap_err();
        }
        assert_eq!(heads(&before), std::slice::from_ref(&top.0));
        let effects = before.poll(0);
        assert_eq!(effects.refused, std::slice::from_ref(&bad.0));
        for rows_first in [false, true] {
            let mut after = open_again(&[top.clone(), low.clone()], &effects.refused, rows_first);
            assert_eq!(heads(&after), std::slice::from_ref(&top.0));
            assert_eq!((after.dag().missing_count(), after.wanted_count()), (0, 0));
            announce_only(&mut after, &bad.0, "");
            let effects = after.poll(0);
            assert!(effects.want.is_empty());
            assert!(effects.refused.is_empty(), "it is kept already");
        }
    }
}

#[test]
fn each_is_named_once_however_many_link_to_it() {
    let (one, two) = (junk(1), junk(2));
    let mut replica = replica(false, ME);
    let mut named = Vec::new();
    announce(&mut replica, &one, "").unwrap_err();
    for priority in 1..9 {
        announce(&mut replica, &above(&[&one, &two], priority), "").unwrap();
        announce(&mut replica, &one, "").unwrap();
        let _ = give(&mut replica, &two, "");
        named.extend(replica.poll(0).refused);
    }
    assert_eq!(named, [one.0, two.0]);
}

#[test]
fn a_row_is_written_once_over_all_opens() {
    let bad = junk(0);
    let blocks: Vec<_> = (1..4).map(|n| above(&[&bad], n)).collect();
    for rows_first in [false, true] {
        // As after the loss of the first blocks that linked to it, too.
        for kept in 0..3 {
            let rows = std::slice::from_ref(&bad.0);
            let mut replica = open_again(&blocks[..kept], rows, rows_first);
            for block in &blocks {
                announce(&mut replica, block, "").unwrap();
            }
            let effects = replica.poll(0);
            assert!(effects.refused.is_empty() && effects.want.is_empty());
            assert_eq!(heads(&replica).len(), 3);
        }
    }
}

#[test]
fn what_is_held_after_all_wins() {
    // Such a row is damage, or of a version that read less.
    let low = above(&[], 1);
    let top = above(&[&low], 2);
    let rows = [low.0.clone(), top.0.clone()];
    for rows_first in [false, true] {
        let after = open_again(&[top.clone(), low.clone()], &rows, rows_first);
        assert_eq!(heads(&after), std::slice::from_ref(&top.0));
        assert!(after.dag().is_complete(&low.0) && !after.dag().is_refused(&low.0));
        assert_eq!(after.dag().held_count(), 2);
    }
}

#[test]
fn no_number_of_others_makes_it_forgotten() {
    let bad = junk(0);
    let top = above(&[&bad], 1);
    let others: Vec<_> = (1..=REFUSED_MAX + 1).map(junk).collect();
    let mut replica = replica(false, ME);
    announce(&mut replica, &top, "").unwrap();
    give(&mut replica, &bad, "").unwrap_err();
    for some in others.chunks(1024) {
        let heads: Vec<_> = some
            .iter()
            .map(|(cid, block)| Head {
                cid: cid.clone(),
                dag_name: "",
                block: Some(block),
            })
            .collect();
        let payload = broadcast::encode(&heads);
        replica.handle_payload(&payload, Some("peer")).unwrap_err();
    }
    assert!(replica.dag().is_refused(&bad.0));
    assert_eq!(replica.poll(0).refused, std::slice::from_ref(&bad.0));
    // Rows are as many as links, and all of them count.
    let rows: Vec<_> = std::iter::once(&bad)
        .chain(&others)
        .map(|bad| bad.0.clone())
        .collect();
    for rows_first in [false, true] {
        let after = open_again(std::slice::from_ref(&top), &rows, rows_first);
        assert_eq!(heads(&after), std::slice::from_ref(&top.0));
        assert!(rows.iter().all(|cid| after.dag().is_refused(cid)));
    }
}

#[test]
fn what_the_rules_of_a_network_refuse_is_named_nowhere() {
    let alice = Identity::from_seed([1; 32]);
    let name = alice.peer_id().to_string();
    let write = |links: &[&Block], sequence: u64| {
        let delta = Delta {
            elements: vec![],
            tombstones: vec![],
            priority: sequence,
            dag_name: &name,
            native: Some(Native::delta(alice.peer_id().as_bytes(), [3; 16], sequence)),
        };
        let links: Vec<_> = links.iter().map(|(cid, _)| cid.clone()).collect();
        node::encode_signed(&links, &delta, &alice, TOPIC, HashKind::Sha2_256).unwrap()
    };
    let (stranger, bad) = (unsigned(&[], vec![], vec![], 1, ""), junk(0));
    let mut replica = replica(true, ME);
    let (low, top) = (write(&[&stranger], 1), write(&[&bad], 2));
    announce(&mut replica, &low, &name).unwrap();
    announce(&mut replica, &top, &name).unwrap();
    announce(&mut replica, &stranger, &name).unwrap();
    announce(&mut replica, &bad, &name).unwrap_err();
    assert_eq!(replica.dag().heads(&name).len(), 2);
    assert_eq!(
        replica.poll(0).refused,
        [bad.0],
        "its bytes are no node in any network"
    );
}
