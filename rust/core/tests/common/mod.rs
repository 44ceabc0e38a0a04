//! Replicas and nodes for tests of the shared DAG.

#![allow(clippy::unwrap_used, dead_code)] // each test file takes what it needs

use crdtstats_core::broadcast::{self, Head};
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::{Delta, Element, Native};
use crdtstats_core::element_key::{self, Side};
use crdtstats_core::error::WireError;
use crdtstats_core::identity::Identity;
use crdtstats_core::judge::Rules;
use crdtstats_core::node;
use crdtstats_core::replica::{Config, Replica};

pub const TOPIC: &str = "/warpnet/stats/1.0.0";
/// Seed of our own identity.
pub const ME: u8 = 9;

pub fn replica(native: bool, seed: u8) -> Replica {
    let rules = Rules {
        topic: TOPIC.into(),
        native,
    };
    let config = Config {
        rules,
        hash: HashKind::Sha2_256,
        announce_interval_ms: 10_000,
    };
    let me = Identity::from_seed([seed; 32]).peer_id().clone();
    Replica::new(config, me, 0, 1)
}

pub fn key_of(path: &str, owner: &Identity, generation: &str) -> String {
    element_key::encode(Side::Incr, path, &owner.peer_id().to_string(), generation)
}

/// A node as a Go peer writes it.
pub fn unsigned(
    links: &[Cid],
    elements: Vec<Element<'_>>,
    tombstones: Vec<Element<'_>>,
    priority: u64,
    dag_name: &str,
) -> (Cid, Vec<u8>) {
    let delta = Delta {
        elements,
        tombstones,
        priority,
        dag_name,
        native: None,
    };
    let block = node::encode(links, &delta);
    (Cid::of(HashKind::Sha2_256, &block), block)
}

/// A node in our form, of the default DAG.
pub fn signed(
    author: &Identity,
    topic: &str,
    sequence: u64,
    links: &[Cid],
    elements: Vec<Element<'_>>,
    tombstones: Vec<Element<'_>>,
    priority: u64,
) -> (Cid, Vec<u8>) {
    let delta = Delta {
        elements,
        tombstones,
        priority,
        dag_name: "",
        native: Some(Native::delta(
            author.peer_id().as_bytes(),
            [3; 16],
            sequence,
        )),
    };
    node::encode_signed(links, &delta, author, topic, HashKind::Sha2_256).unwrap()
}

/// Announce a head without its block.
pub fn announce_only(replica: &mut Replica, cid: &Cid, dag_name: &str) {
    let head = Head {
        cid: cid.clone(),
        dag_name,
        block: None,
    };
    let payload = broadcast::encode(&[head]);
    replica.handle_payload(&payload, Some("peer")).unwrap();
}

/// Announce a head with its block.
pub fn announce(
    replica: &mut Replica,
    (cid, block): &(Cid, Vec<u8>),
    dag_name: &str,
) -> Result<(), WireError> {
    let head = Head {
        cid: cid.clone(),
        dag_name,
        block: Some(block),
    };
    replica.handle_payload(&broadcast::encode(&[head]), Some("peer"))
}

/// Announce a head, and give its block when it is asked for.
pub fn give(
    replica: &mut Replica,
    (cid, block): &(Cid, Vec<u8>),
    dag_name: &str,
) -> Result<(), WireError> {
    announce_only(replica, cid, dag_name);
    replica.handle_block(cid, block)
}

/// Give what the replica asks for again until it asks for nothing more; `kept` is all it can have.
pub fn again(replica: &mut Replica, kept: &[(Cid, Vec<u8>)], now_ms: u64) {
    let mut now_ms = now_ms;
    // What an unfinished pass still waits for.
    for (cid, block) in kept {
        replica.look_again(cid, Some(block));
    }
    while replica.recounting() > 0 {
        for asked in replica.take_again(now_ms) {
            let (_, block) = kept.iter().find(|(cid, _)| *cid == asked).unwrap();
            replica.look_again(&asked, Some(block));
        }
        now_ms += 10_000;
    }
}
