//! In native networks a DAG bears the name of its author. Names that somebody invents, for heads that nobody has, take
//! no room of those.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{ME, TOPIC, key_of, replica};
use crdtstats_core::broadcast::{self, Head};
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::{Delta, Element, Native};
use crdtstats_core::identity::Identity;
use crdtstats_core::limits::{DAG_NAMES_MAX, HEADS_PER_BROADCAST_MAX};
use crdtstats_core::node;
use crdtstats_core::replica::Replica;
use crdtstats_core::wants::WANTS_PER_PEER_MAX;

/// One more than there is room for.
const NAMES: usize = DAG_NAMES_MAX + 1;

/// Its counts are taken from nodes that its owner has signed, and from no others.
const GENERATION: &str = "73696731000102030405060708090a0b";

/// The first node of an author's own DAG, which counts 7 on `k`.
fn first_node(author: &Identity) -> (Cid, Vec<u8>) {
    let name = author.peer_id().to_string();
    let value = 7_u64.to_be_bytes();
    let key = key_of("k", author, GENERATION);
    let delta = Delta {
        elements: vec![Element {
            key: &key,
            id: "",
            value: &value,
        }],
        tombstones: Vec::new(),
        priority: 1,
        dag_name: &name,
        native: Some(Native::delta(author.peer_id().as_bytes(), [3; 16], 0)),
    };
    node::encode_signed(&[], &delta, author, TOPIC, HashKind::Blake3).unwrap()
}

/// Have a peer announce heads that nobody has, each with a name of its own.
fn invent(replica: &mut Replica, count: usize) {
    let invented: Vec<(Cid, String)> = (0..count)
        .map(|n| {
            (
                Cid::of(HashKind::Blake3, &n.to_be_bytes()),
                format!("invented {n}"),
            )
        })
        .collect();
    for some in invented.chunks(HEADS_PER_BROADCAST_MAX) {
        let heads: Vec<Head<'_>> = some
            .iter()
            .map(|(cid, dag_name)| Head {
                cid: cid.clone(),
                dag_name,
                block: None,
            })
            .collect();
        replica
            .handle_payload(&broadcast::encode(&heads), Some("liar"))
            .unwrap();
    }
}

/// Have another peer announce a node, and give it where it is asked for.
fn announce(replica: &mut Replica, (cid, block): &(Cid, Vec<u8>), dag_name: &str) {
    let head = Head {
        cid: cid.clone(),
        dag_name,
        block: None,
    };
    replica
        .handle_payload(&broadcast::encode(&[head]), Some("honest"))
        .unwrap();
    let asked = replica.poll(0).want;
    assert!(asked.iter().any(|want| want.cid == *cid), "never asked for");
    replica.handle_block(cid, block).unwrap();
}

#[test]
fn a_new_author_has_room_after_more_invented_names_than_there_are() {
    let mut replica = replica(true, ME);
    invent(&mut replica, NAMES);
    let asked = replica.poll(0).want;
    assert_eq!(
        asked.len(),
        WANTS_PER_PEER_MAX,
        "one peer's share of what is asked for"
    );
    assert!(
        replica.dag().takes_name("one more"),
        "no name is kept for a mere claim"
    );
    let author = Identity::from_seed([42; 32]);
    let name = author.peer_id().to_string();
    let node = first_node(&author);
    announce(&mut replica, &node, &name);
    assert_eq!(replica.state().get("k"), 7);
    // It is a head, so that others hear of it from us.
    let heads = replica.dag().all_heads();
    let of_author = heads
        .iter()
        .find(|(of, _)| *of == name)
        .expect("no DAG of the author");
    assert_eq!(
        of_author.1.iter().map(|head| &head.cid).collect::<Vec<_>>(),
        [&node.0]
    );
    assert_eq!(replica.dag().dag_name_of(&node.0), Some(name.as_str()));
    // Nobody has come to have a DAG by being named.
    assert_eq!(heads.len(), 1);
    assert_eq!(replica.dropped().get("head-dag-name"), None);
}

#[test]
fn what_a_lie_has_named_belongs_to_its_author_once_it_is_here() {
    let mut replica = replica(true, ME);
    invent(&mut replica, NAMES);
    let author = Identity::from_seed([43; 32]);
    let node = first_node(&author);
    announce(&mut replica, &node, "a lie");
    let name = author.peer_id().to_string();
    assert_eq!(replica.dag().dag_name_of(&node.0), Some(name.as_str()));
    assert_eq!(replica.state().get("k"), 7);
}
