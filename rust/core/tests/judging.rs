//! Who may say what: nodes and elements of others, honest and not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use crdtstats_core::broadcast::{self, Head};
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::{Delta, Element, Native};
use crdtstats_core::element_key::{self, Side};
use crdtstats_core::identity::Identity;
use crdtstats_core::judge::Rules;
use crdtstats_core::node;
use crdtstats_core::paths::OutsideTexts;
use crdtstats_core::replica::{Config, Replica};

const TOPIC: &str = "/crdtstats/1/test";
const SIGNED: &str = "73696731000000000000000000000001";
const UNSIGNED: &str = "00000000000000000000000000000001";

fn replica(native: bool) -> Replica {
    let rules = Rules {
        topic: TOPIC.into(),
        native,
    };
    let me = Identity::from_seed([9; 32]).peer_id().clone();
    Replica::new(
        Config {
            rules,
            hash: HashKind::Blake3,
            announce_interval_ms: 10_000,
        },
        me,
        0,
        1,
    )
}

/// One node of `author` that says `value` for `owner`'s sub-counter of `path`.
struct Said<'a> {
    author: &'a Identity,
    owner: &'a Identity,
    generation: &'a str,
    topic: &'a str,
    kind: u64,
    sequence: u64,
    sign: bool,
    value: u64,
}

impl<'a> Said<'a> {
    fn by(author: &'a Identity) -> Self {
        Said {
            author,
            owner: author,
            generation: SIGNED,
            topic: TOPIC,
            kind: 0,
            sequence: 1,
            sign: true,
            value: 7,
        }
    }

    fn block(&self) -> (Cid, Vec<u8>) {
        let key = element_key::encode(
            Side::Incr,
            "a/b",
            &self.owner.peer_id().to_string(),
            self.generation,
        );
        let dag_name = self.author.peer_id().to_string();
        let value = self.value.to_be_bytes();
        let native = Native {
            kind: self.kind,
            ..Native::delta(self.author.peer_id().as_bytes(), [3; 16], self.sequence)
        };
        let delta = Delta {
            elements: vec![Element {
                key: &key,
                id: "",
                value: &value,
            }],
            tombstones: Vec::new(),
            priority: 1,
            dag_name: &dag_name,
            native: self.sign.then_some(native),
        };
        let block = if self.sign {
            let hash = HashKind::Blake3;
            let signed = node::encode_signed(&[], &delta, self.author, self.topic, hash);
            signed.unwrap().1
        } else {
            node::encode(&[], &delta)
        };
        (Cid::of(HashKind::Blake3, &block), block)
    }

    /// The total of `a` after a replica heard of it, and what it counted as dropped.
    fn heard(&self, native: bool) -> (i128, Vec<&'static str>) {
        let mut replica = replica(native);
        hear(&mut replica, &self.block()).unwrap();
        (
            replica.state().total("a"),
            replica.dropped().keys().copied().collect(),
        )
    }
}

fn hear(
    replica: &mut Replica,
    (cid, block): &(Cid, Vec<u8>),
) -> Result<(), crdtstats_core::error::WireError> {
    let dag_name = node::decode(block).map_or(String::new(), |n| n.delta.dag_name.to_owned());
    let head = Head {
        cid: cid.clone(),
        dag_name: &dag_name,
        block: Some(block),
    };
    replica.handle_payload(&broadcast::encode(&[head]), Some("peer"))
}

#[test]
fn an_owner_speaks_for_itself() {
    let alice = Identity::from_seed([1; 32]);
    assert_eq!(Said::by(&alice).heard(true), (7, vec![]));
    assert_eq!(Said::by(&alice).heard(false), (7, vec![]));
}

#[test]
fn nobody_speaks_for_another() {
    let (alice, mallory) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let forged = Said {
        owner: &alice,
        ..Said::by(&mallory)
    };
    assert_eq!(forged.heard(true), (0, vec!["element-not-the-owner"]));
    assert_eq!(forged.heard(false), (0, vec!["element-not-the-owner"]));
    let unsigned = Said {
        sign: false,
        ..Said::by(&alice)
    };
    assert_eq!(unsigned.heard(true), (0, vec!["node-unsigned"]));
    assert_eq!(unsigned.heard(false), (0, vec!["element-not-the-owner"]));
}

#[test]
fn an_unsigned_generation_counts_in_an_open_network_only() {
    let alice = Identity::from_seed([1; 32]);
    let said = Said {
        generation: UNSIGNED,
        ..Said::by(&alice)
    };
    assert_eq!(said.heard(true), (0, vec!["element-unsigned-generation"]));
    assert_eq!(said.heard(false), (7, vec![]));
}

#[test]
fn a_node_signed_for_another_network_counts_nowhere_as_signed() {
    let alice = Identity::from_seed([1; 32]);
    let said = Said {
        topic: "/crdtstats/1/other",
        ..Said::by(&alice)
    };
    assert_eq!(said.heard(true), (0, vec!["node-bad-signature"]));
    assert_eq!(
        said.heard(false),
        (0, vec!["element-not-the-owner", "node-bad-signature"])
    );
}

#[test]
fn checkpoints_merge_alike_and_newer_kinds_are_kept_unmerged() {
    let alice = Identity::from_seed([1; 32]);
    for kind in [1, 2] {
        assert_eq!(
            Said {
                kind,
                ..Said::by(&alice)
            }
            .heard(true),
            (7, vec![])
        );
    }
    let newer = Said {
        kind: 3,
        ..Said::by(&alice)
    };
    let mut replica = replica(true);
    let (cid, block) = newer.block();
    hear(&mut replica, &(cid.clone(), block)).unwrap();
    assert_eq!((replica.state().total(""), replica.newer()), (0, 1));
    assert!(replica.dag().holds(&cid));
}

#[test]
fn a_second_node_with_the_same_number_is_kept_counted_and_reported() {
    let alice = Identity::from_seed([1; 32]);
    let mut replica = replica(true);
    hear(&mut replica, &Said::by(&alice).block()).unwrap();
    hear(
        &mut replica,
        &Said {
            value: 9,
            ..Said::by(&alice)
        }
        .block(),
    )
    .unwrap();
    assert_eq!(replica.state().total(""), 9);
    assert_eq!(
        replica.authors().forked().into_values().collect::<Vec<_>>(),
        [1]
    );
}

#[test]
fn a_node_of_ours_that_we_never_wrote_shows_a_clone() {
    let me = Identity::from_seed([9; 32]);
    let mut replica = replica(true);
    hear(&mut replica, &Said::by(&me).block()).unwrap();
    assert!(replica.clone_seen());
    assert_eq!(replica.poll(0).warnings.len(), 1);
    assert_eq!(replica.state().total(""), 7);
}

#[test]
fn a_node_of_ours_that_was_lost_shows_none() {
    let me = Identity::from_seed([9; 32]);
    let [lost, other] = [7, 8].map(|value| {
        Said {
            value,
            ..Said::by(&me)
        }
        .block()
    });
    for heard in [&lost, &other] {
        let mut replica = replica(true);
        replica.note_lost([lost.0.clone()]);
        hear(&mut replica, heard).unwrap();
        assert_eq!(replica.clone_seen(), heard == &other);
    }
}

struct NoTexts;

impl OutsideTexts for NoTexts {
    fn copy(&self, _place: u32, _out: &mut Vec<u8>) {}
}

#[test]
fn our_live_generation_in_foreign_hands_moves_nothing_and_is_reported() {
    let me = Identity::from_seed([9; 32]);
    let mut replica = replica(true);
    replica.set_live_generation(SIGNED, Box::new(NoTexts));
    hear(&mut replica, &Said::by(&me).block()).unwrap();
    assert_eq!(replica.state().total(""), 0);
    let seen = replica.take_own_seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].value > 0);
    assert!(!replica.doubled());
    replica.note_doubled();
    assert!(replica.doubled());
}

#[test]
fn bytes_that_are_not_their_cid_are_the_senders_fault() {
    let alice = Identity::from_seed([1; 32]);
    let (cid, mut block) = Said::by(&alice).block();
    block[20] ^= 1;
    let mut replica = replica(true);
    let head = Head {
        cid: cid.clone(),
        dag_name: "",
        block: Some(&block),
    };
    assert!(
        replica
            .handle_payload(&broadcast::encode(&[head]), None)
            .is_err()
    );
    assert!(!replica.dag().holds(&cid));
    // The head itself may be honest: its block is asked for.
    assert_eq!(replica.poll(0).want.len(), 1);
}

#[test]
fn what_nobody_asked_for_is_dropped() {
    let alice = Identity::from_seed([1; 32]);
    let (cid, block) = Said::by(&alice).block();
    let mut replica = replica(true);
    replica.handle_block(&cid, &block).unwrap();
    assert_eq!(replica.state().total(""), 0);
    assert_eq!(
        replica.dropped().keys().copied().collect::<Vec<_>>(),
        ["block-unasked"]
    );
}
