//! What hostile peers put into a shared DAG: kept, as Go keeps it, and each refused under its own reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{ME, TOPIC, announce, key_of, replica, signed, unsigned};
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::Element;
use crdtstats_core::identity::Identity;
use crdtstats_core::replica::Replica;

const GENERATION: &str = "73696731000000000000000000000001";

fn hear(block: Vec<u8>) -> Replica {
    let mut replica = replica(false, ME);
    let cid = Cid::of(HashKind::Sha2_256, &block);
    announce(&mut replica, &(cid.clone(), block), "").unwrap();
    assert!(replica.dag().holds(&cid), "it is kept, served and walked");
    assert_eq!(replica.state().total(""), 0);
    replica
}

fn reasons(replica: &Replica) -> Vec<&'static str> {
    replica.dropped().keys().copied().collect()
}

/// A node of Alice's that says 7, signed for a topic.
fn honest(topic: &str) -> Vec<u8> {
    let alice = Identity::from_seed([1; 32]);
    let key = key_of("k", &alice, GENERATION);
    let value = 7u64.to_be_bytes();
    let element = Element {
        key: &key,
        id: "",
        value: &value,
    };
    signed(&alice, topic, 1, &[], vec![element], vec![], 1).1
}

#[test]
fn a_forged_signature() {
    let block = honest(TOPIC);
    let section = block.windows(16).position(|bytes| bytes == [3; 16]);
    for at in [block.len() - 1, section.unwrap()] {
        let mut forged = block.clone();
        forged[at] ^= 1;
        let replica = hear(forged);
        assert!(reasons(&replica).contains(&"node-bad-signature"));
        assert!(reasons(&replica).contains(&"element-not-the-owner"));
    }
}

#[test]
fn a_node_signed_for_another_topic() {
    let replica = hear(honest("/warpnet/stats/2.0.0"));
    let want = ["element-not-the-owner", "node-bad-signature"];
    assert_eq!(reasons(&replica), want);
}

#[test]
fn a_node_put_into_another_form() {
    let block = honest(TOPIC);
    // A link after the data: the same delta, but the signature is not at the block's end any more.
    let link = [
        &[0x12, 0x28, 0x0a, 0x22, 0x12, 0x20][..],
        &[7; 32],
        &[0x12, 0, 0x18, 0],
    ]
    .concat();
    let replica = hear([block, link].concat());
    let want = ["element-not-the-owner", "node-signature-out-of-place"];
    assert_eq!(reasons(&replica), want);
}

#[test]
fn an_element_of_a_signed_generation_in_a_node_of_another() {
    let (alice, mallory) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let key = key_of("k", &alice, GENERATION);
    let value = 7u64.to_be_bytes();
    let element = || {
        vec![Element {
            key: &key,
            id: "",
            value: &value,
        }]
    };
    for block in [
        signed(&mallory, TOPIC, 1, &[], element(), vec![], 1).1,
        unsigned(&[], element(), vec![], 1, "").1,
    ] {
        assert_eq!(reasons(&hear(block)), ["element-not-the-owner"]);
    }
}

#[test]
fn a_tombstone_of_a_signed_sub_counter() {
    let alice = Identity::from_seed([1; 32]);
    let key = key_of("k", &alice, GENERATION);
    let block = honest(TOPIC);
    let cid = Cid::of(HashKind::Sha2_256, &block);
    let id = cid.element_id();
    let tombstone = Element {
        key: &key,
        id: &id,
        value: &[],
    };
    let forged = unsigned(&[], vec![], vec![tombstone], 9, "");
    for is_first in [true, false] {
        let mut replica = replica(false, ME);
        if is_first {
            announce(&mut replica, &forged, "").unwrap();
        }
        announce(&mut replica, &(cid.clone(), block.clone()), "").unwrap();
        announce(&mut replica, &forged, "").unwrap();
        assert_eq!((replica.state().get("k"), replica.named()), (7, 0));
        assert_eq!(reasons(&replica), ["tombstone-of-signed"]);
    }
    let nothing = Element {
        key: "/x",
        id: "no id",
        value: &[],
    };
    let replica = hear(unsigned(&[], vec![], vec![nothing], 9, "").1);
    assert_eq!(reasons(&replica), ["tombstone-names-nothing"]);
}
