//! The golden vectors of our own part of the wire: signed nodes, forgeries, and what a reader says of each.
//!
//! The verdicts below are written by hand and must be the codec's; `tests/vectors/native.json` must be what this makes.
//! Only `CRDTSTATS_WRITE_VECTORS=1 cargo test -p crdtstats-core --test native` changes that file: it is frozen.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod forged;
mod honest;
mod reframed;

use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::{Delta, Element, Native};
use crdtstats_core::hashed::Hashed;
use crdtstats_core::identity::Identity;
use crdtstats_core::judge::{Rules, judge_element};
use crdtstats_core::node;
use crdtstats_core::peer_id::PeerId;
use crdtstats_core::proto::push_bytes;
use crdtstats_core::signature::{Signature, verify};
use crdtstats_core::{element_key, varint};
use curve25519_dalek::Scalar;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

const NATIVE: &str = "/crdtstats/1/default";
const WARPNET: &str = "/warpnet/stats/1.0.0";
const GENERATION: &str = "73696731000102030405060708090a0b";
const SECTION: [u8; 16] = [0xa5; 16];
/// The order of the curve's base point, little-endian.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn alice() -> Identity {
    Identity::from_seed([1; 32])
}

fn bob() -> Identity {
    Identity::from_seed([2; 32])
}

fn links(count: u8) -> Vec<Cid> {
    let mut links: Vec<Cid> = (0..count)
        .map(|n| Cid::of(HashKind::Blake3, &[n]))
        .collect();
    links.sort();
    links
}

fn counter_key(path: &str, owner: &Identity) -> String {
    element_key::encode(
        element_key::Side::Incr,
        path,
        &owner.peer_id().to_string(),
        GENERATION,
    )
}

/// A delta of alice's with one element.
fn delta<'a>(author: &'a PeerId, dag_name: &'a str, key: &'a str) -> Delta<'a> {
    let native = Native::delta(author.as_bytes(), SECTION, 1);
    let elements = vec![Element {
        key,
        id: "",
        value: &[0, 0, 0, 0, 0, 0, 0, 5],
    }];
    Delta {
        elements,
        tombstones: vec![],
        priority: 1,
        dag_name,
        native: Some(native),
    }
}

/// The bytes of a Delta, out of the node that the codec makes of it.
fn delta_bytes(delta: &Delta<'_>) -> Vec<u8> {
    let block = node::encode(&[], delta);
    varint::split(&block[1..]).unwrap().1.to_vec()
}

fn link_bytes(count: u8) -> Vec<u8> {
    let block = node::encode(&links(count), &Delta::default());
    block[..block.len() - 2].to_vec()
}

/// The node of raw parts, up to where `after` more bytes of its Delta belong.
fn frame(links: &[u8], delta: &[u8], after: usize) -> Vec<u8> {
    let mut out = [links, &[0x0a]].concat();
    varint::push(&mut out, (delta.len() + after) as u64);
    out.extend_from_slice(delta);
    out
}

fn message(topic: &str, unsigned: &[u8]) -> Vec<u8> {
    [
        b"crdtstats/node/2",
        &(topic.len() as u16).to_be_bytes()[..],
        topic.as_bytes(),
        blake3::hash(unsigned).as_bytes(),
    ]
    .concat()
}

/// The node of raw parts, signed as it lies.
fn signed(by: &Identity, topic: &str, links: &[u8], delta: &[u8]) -> Vec<u8> {
    let unsigned = frame(links, delta, 67);
    let signature = by.sign(&message(topic, &unsigned));
    [&unsigned[..], &[0xaa, 0x06, 0x40], &signature].concat()
}

#[derive(Clone, Copy, PartialEq)]
enum Says {
    /// Signature holds, byte for byte our form.
    Exact,
    /// Signature holds, but it is not our form.
    Valid,
    /// Signature holds, but a newer version wrote it.
    Newer,
    Unsigned,
    Invalid,
    Undecodable,
}

struct Cases(Vec<Value>);

impl Cases {
    fn add(&mut self, name: &str, topic: &str, block: &[u8], says: Says) {
        let hash = if topic == WARPNET {
            HashKind::Sha2_256
        } else {
            HashKind::Blake3
        };
        let mut case = json!({
            "name": name, "topic": topic, "node": hex::encode(block), "cid": Cid::of(hash, block).to_string(),
            "decodes": says != Says::Undecodable,
        });
        let decoded = node::decode(block);
        assert_eq!(
            decoded.is_ok(),
            says != Says::Undecodable,
            "{name}: {decoded:?}"
        );
        if let Ok(node) = decoded {
            let signature = verify(&Hashed::new(block), &node, topic);
            let (word, author) = match &signature {
                Signature::Valid(author) => ("valid", Some(author.to_string())),
                Signature::Unsigned => ("unsigned", None),
                Signature::Invalid => ("invalid", None),
            };
            let exact = node::is_exact_form(block, &node);
            let native = node.delta.native.as_ref();
            let newer = native.is_some_and(Native::is_from_newer_version);
            let want = match says {
                Says::Exact | Says::Valid | Says::Newer => "valid",
                Says::Unsigned => "unsigned",
                _ => "invalid",
            };
            assert_eq!(word, want, "{name}");
            if want == "valid" {
                assert_eq!(
                    (exact, newer),
                    (says == Says::Exact, says == Says::Newer),
                    "{name}"
                );
            }
            let rules = Rules {
                topic: topic.to_owned(),
                native: topic != WARPNET,
            };
            let counts = |e: &&Element<'_>| {
                !newer && judge_element(&rules, author.as_deref(), e.key).is_ok()
            };
            let counted: Vec<&str> = node
                .delta
                .elements
                .iter()
                .filter(counts)
                .map(|e| e.key)
                .collect();
            let entries = |elements: &[Element<'_>]| -> Vec<Value> {
                elements
                    .iter()
                    .map(|e| json!({"key": e.key, "id": e.id, "value": hex::encode(e.value)}))
                    .collect()
            };
            let more = json!({
                "signature": word, "author": author, "exact_form": exact, "from_newer_version": newer,
                "links": node.links.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "elements": entries(&node.delta.elements), "tombstones": entries(&node.delta.tombstones),
                "priority": node.delta.priority, "dag": node.delta.dag_name, "counted": counted,
                "native": native.map(|n| json!({
                    "author": hex::encode(n.author), "section": hex::encode(n.section), "sequence": n.sequence,
                    "kind": n.kind, "covers": hex::encode(n.covers), "chunk_count": n.chunk_count,
                })),
            });
            case.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
        }
        self.0.push(case);
    }
}

#[test]
fn the_frozen_vectors_are_what_the_codec_makes_and_says() {
    let mut cases = Cases(Vec::new());
    honest::honest(&mut cases);
    forged::forged(&mut cases);
    reframed::reframed(&mut cases);
    reframed::newer(&mut cases);
    let identities: Vec<Value> = [alice(), bob()]
        .iter()
        .map(|i| json!({"private_key": hex::encode(i.to_libp2p()), "peer_id": i.peer_id().to_string()}))
        .collect();
    let made = json!({"identities": identities, "cases": cases.0});
    let path = format!(
        "{}/../../tests/vectors/native.json",
        env!("CARGO_MANIFEST_DIR")
    );
    if std::env::var_os("CRDTSTATS_WRITE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
    }
    let frozen: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (made, frozen) in cases.0.iter().zip(frozen["cases"].as_array().unwrap()) {
        assert_eq!(made, frozen);
    }
    assert_eq!(made, frozen);
}
