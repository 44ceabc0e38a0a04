//! The golden vectors of our own part of the wire: signed nodes, forgeries, and what a reader says of each.
//!
//! The verdicts below are written by hand and must be the codec's; `tests/vectors/native.json` must be what this makes.
//! Only `CRDTSTATS_WRITE_VECTORS=1 cargo test -p crdtstats-core --test native` changes that file: it is frozen.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::{Delta, Element, Native};
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
        b"crdtstats/node/1",
        &(topic.len() as u16).to_be_bytes()[..],
        topic.as_bytes(),
        unsigned,
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
            let signature = verify(block, &node, topic);
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

fn honest(cases: &mut Cases) {
    let (alice, name) = (alice(), alice().peer_id().to_string());
    let key = counter_key("likes/post1", &alice);
    let base = delta(alice.peer_id(), &name, &key);
    let sign = |links: &[Cid], delta: &Delta<'_>, topic| {
        node::encode_signed(links, delta, &alice, topic).unwrap()
    };
    cases.add(
        "native, first node",
        NATIVE,
        &sign(&[], &base, NATIVE),
        Says::Exact,
    );
    let shared = Delta {
        dag_name: "",
        ..base.clone()
    };
    cases.add(
        "warpnet, first node",
        WARPNET,
        &sign(&[], &shared, WARPNET),
        Says::Exact,
    );
    for count in [1, 2, 5] {
        let delta = Delta {
            priority: 2,
            ..shared.clone()
        };
        cases.add(
            &format!("{count} links"),
            WARPNET,
            &sign(&links(count), &delta, WARPNET),
            Says::Exact,
        );
    }
    let keys: Vec<String> = ["a", "naïve key", "日本/語", "😀"]
        .iter()
        .map(|path| counter_key(path, &alice))
        .collect();
    let values = [[0_u8; 8], [0xff; 8], [1; 8], [0x80, 0, 0, 0, 0, 0, 0, 0]];
    let elements = keys
        .iter()
        .zip(&values)
        .map(|(key, value)| Element { key, id: "", value })
        .collect();
    cases.add(
        "several elements, multi-byte keys",
        NATIVE,
        &sign(
            &links(1),
            &Delta {
                elements,
                ..base.clone()
            },
            NATIVE,
        ),
        Says::Exact,
    );
    for sequence in [0, 127, 128, u64::MAX] {
        let native = Some(Native::delta(alice.peer_id().as_bytes(), SECTION, sequence));
        let delta = Delta {
            native,
            priority: sequence,
            ..base.clone()
        };
        cases.add(
            &format!("sequence and priority {sequence}"),
            NATIVE,
            &sign(&[], &delta, NATIVE),
            Says::Exact,
        );
    }
    for kind in [1, 2] {
        let native = Native {
            kind,
            covers: &[0x0a, 0x01],
            chunk_count: 300,
            ..base.native.unwrap()
        };
        let delta = Delta {
            native: Some(native),
            ..base.clone()
        };
        cases.add(
            &format!("kind {kind} with what it covers"),
            NATIVE,
            &sign(&[], &delta, NATIVE),
            Says::Exact,
        );
    }
    let empty = Delta {
        elements: vec![],
        ..base.clone()
    };
    cases.add(
        "no elements",
        NATIVE,
        &sign(&links(1), &empty, NATIVE),
        Says::Exact,
    );
    let unowned = "/STATS/incr/a/r/00112233445566778899aabbccddeeff";
    let foreign = counter_key("a", &bob());
    let delta = Delta {
        elements: vec![
            base.elements[0],
            Element {
                key: &foreign,
                ..base.elements[0]
            },
            Element {
                key: unowned,
                ..base.elements[0]
            },
        ],
        ..shared.clone()
    };
    cases.add(
        "signed generation of another replica, and an unsigned one",
        WARPNET,
        &sign(&[], &delta, WARPNET),
        Says::Exact,
    );
    cases.add(
        "unsigned generation in a native network",
        NATIVE,
        &sign(
            &[],
            &Delta {
                dag_name: &name,
                ..delta
            },
            NATIVE,
        ),
        Says::Exact,
    );
    cases.add(
        "unclean key",
        NATIVE,
        &sign(
            &[],
            &delta_with_key(&base, "/STATS/incr/a/../b/r/g"),
            NATIVE,
        ),
        Says::Valid,
    );
    let unsorted: Vec<Cid> = links(2).into_iter().rev().collect();
    cases.add(
        "links not sorted",
        WARPNET,
        &sign(&unsorted, &shared, WARPNET),
        Says::Valid,
    );
    let twice = [links(1), links(1)].concat();
    cases.add(
        "a link twice",
        WARPNET,
        &sign(&twice, &shared, WARPNET),
        Says::Valid,
    );
    let with_id = Delta {
        elements: vec![Element {
            id: "/X",
            ..base.elements[0]
        }],
        ..base.clone()
    };
    cases.add(
        "element with an id",
        NATIVE,
        &sign(&[], &with_id, NATIVE),
        Says::Valid,
    );
}

fn delta_with_key<'a>(delta: &Delta<'a>, key: &'a str) -> Delta<'a> {
    Delta {
        elements: vec![Element {
            key,
            ..delta.elements[0]
        }],
        ..delta.clone()
    }
}

fn forged(cases: &mut Cases) {
    let (alice, name) = (alice(), alice().peer_id().to_string());
    let key = counter_key("likes/post1", &alice);
    let base = delta(alice.peer_id(), &name, &key);
    let good = node::encode_signed(&links(1), &base, &alice, NATIVE).unwrap();
    let (body, end) = good.split_at(good.len() - 67);
    let raw = delta_bytes(&base);
    cases.add(
        "signed by another key",
        NATIVE,
        &signed(&bob(), NATIVE, &link_bytes(1), &raw),
        Says::Invalid,
    );
    cases.add(
        "signed for another topic",
        "/crdtstats/1/other",
        &good,
        Says::Invalid,
    );
    cases.add("native node in warpnet", WARPNET, &good, Says::Invalid);
    let mut carry = 0_u16;
    let over: Vec<u8> = end[35..]
        .iter()
        .zip(L)
        .map(|(s, l)| {
            carry = u16::from(*s) + u16::from(l) + (carry >> 8);
            carry as u8
        })
        .collect();
    cases.add(
        "S not below L",
        NATIVE,
        &[body, &end[..35], &over].concat(),
        Says::Invalid,
    );
    // The point of order 1 as key and as R: 0 = 0 + h·0 holds for every message.
    let neutral = [&[1_u8][..], &[0; 31]].concat();
    let weak = PeerId::from_bytes(&[&[0, 0x24, 8, 1, 0x12, 0x20], &neutral[..]].concat()).unwrap();
    let weak_delta = Delta {
        native: Some(Native::delta(weak.as_bytes(), SECTION, 1)),
        ..base.clone()
    };
    let weak_body = frame(&[], &delta_bytes(&weak_delta), 67);
    cases.add(
        "small-order public key",
        NATIVE,
        &[&weak_body[..], &[0xaa, 6, 0x40], &neutral, &[0; 32]].concat(),
        Says::Invalid,
    );
    // With R of order 1, S = h·a satisfies the equation for the true key.
    let public = &alice.peer_id().as_bytes()[6..];
    let hash = Sha512::new()
        .chain_update(&neutral)
        .chain_update(public)
        .chain_update(message(NATIVE, body))
        .finalize();
    let s = Scalar::from_bytes_mod_order_wide(&hash.into())
        * ed25519_dalek::SigningKey::from_bytes(&[1; 32]).to_scalar();
    cases.add(
        "small-order R",
        NATIVE,
        &[body, &[0xaa, 6, 0x40], &neutral, s.as_bytes()].concat(),
        Says::Invalid,
    );
    let flip = |at: usize| -> Vec<u8> {
        let mut block = good.clone();
        block[at] ^= 1;
        block
    };
    let link_len = link_bytes(1).len();
    cases.add(
        "flipped bit in Tsize",
        NATIVE,
        &flip(link_len - 1),
        Says::Invalid,
    );
    cases.add(
        "flipped bit in a link's digest",
        NATIVE,
        &flip(link_len - 5),
        Says::Invalid,
    );
    cases.add(
        "flipped bit in the priority",
        NATIVE,
        &flip(link_len + 3 + raw.len() - delta_tail(&base) + 1),
        Says::Invalid,
    );
    cases.add(
        "flipped bit in R",
        NATIVE,
        &flip(good.len() - 64),
        Says::Invalid,
    );
    cases.add(
        "flipped bit in S",
        NATIVE,
        &flip(good.len() - 32),
        Says::Invalid,
    );
    let rsa = PeerId::from_bytes(&[&[0x12, 0x20][..], &[7; 32]].concat()).unwrap();
    let hashed = Delta {
        native: Some(Native::delta(rsa.as_bytes(), SECTION, 1)),
        ..base.clone()
    };
    cases.add(
        "author's key is not in its peer id",
        NATIVE,
        &signed(&alice, NATIVE, &[], &delta_bytes(&hashed)),
        Says::Invalid,
    );
    cases.add(
        "no author",
        NATIVE,
        &signed(
            &alice,
            NATIVE,
            &[],
            &delta_bytes(&Delta {
                native: None,
                ..base.clone()
            }),
        ),
        Says::Invalid,
    );
    cases.add(
        "no signature",
        NATIVE,
        &node::encode(&[], &base),
        Says::Unsigned,
    );
    let short = frame(
        &link_bytes(1),
        &[&raw[..], &[0xaa, 6, 0x3f], &end[3..66]].concat(),
        0,
    );
    cases.add("signature of 63 bytes", NATIVE, &short, Says::Unsigned);
    cases.add(
        "cut by one byte",
        NATIVE,
        &good[..good.len() - 1],
        Says::Undecodable,
    );
    cases.add(
        "cut by its signature, lengths left",
        NATIVE,
        body,
        Says::Undecodable,
    );
}

/// Bytes of the Delta from its priority on.
fn delta_tail(delta: &Delta<'_>) -> usize {
    delta_bytes(&Delta {
        elements: vec![],
        ..delta.clone()
    })
    .len()
}

fn reframed(cases: &mut Cases) {
    let (alice, name) = (alice(), alice().peer_id().to_string());
    let key = counter_key("likes/post1", &alice);
    let base = delta(alice.peer_id(), &name, &key);
    let raw = delta_bytes(&base);
    let good = signed(&alice, NATIVE, &link_bytes(1), &raw);
    let sign = |links: &[u8], delta: &[u8]| signed(&alice, NATIVE, links, delta);
    let link = link_bytes(1);
    let data_first = [&good[link.len()..], &link[..]].concat();
    cases.add("Data before links", NATIVE, &data_first, Says::Unsigned);
    let named = |name: &[u8]| -> Vec<u8> {
        let mut inner = link[2..link.len() - 4].to_vec();
        push_bytes(&mut inner, 2, name);
        inner.extend_from_slice(&[0x18, 0]);
        let mut out = Vec::new();
        push_bytes(&mut out, 2, &inner);
        out
    };
    cases.add(
        "link name changed after signing",
        NATIVE,
        &[&named(b"x"), &good[link.len()..]].concat(),
        Says::Invalid,
    );
    cases.add(
        "link name, signed so",
        NATIVE,
        &sign(&named(b"x"), &raw),
        Says::Valid,
    );
    let bare: Vec<u8> = [&[0x12, link.len() as u8 - 6], &link[2..link.len() - 4]].concat();
    cases.add(
        "link without Name and Tsize, signed so",
        NATIVE,
        &sign(&bare, &raw),
        Says::Valid,
    );
    let long_tag = [&[0x92, 0x00], &link[1..]].concat();
    cases.add(
        "non-minimal tag after signing",
        NATIVE,
        &[&long_tag, &good[link.len()..]].concat(),
        Says::Invalid,
    );
    cases.add(
        "non-minimal tag, signed so",
        NATIVE,
        &sign(&long_tag, &raw),
        Says::Valid,
    );
    let unknown = |number: u64| {
        let mut out = Vec::new();
        push_bytes(&mut out, number, b"later");
        out
    };
    cases.add(
        "unknown field of Delta, signed so",
        NATIVE,
        &sign(&link, &[&raw[..], &unknown(99)].concat()),
        Says::Valid,
    );
    cases.add(
        "unknown group of Delta, signed so",
        NATIVE,
        &sign(&link, &[&raw[..], &[0x2b, 0x08, 1, 0x2c]].concat()),
        Says::Valid,
    );
    cases.add(
        "group without an end",
        NATIVE,
        &sign(&link, &[&raw[..], &[0x2b, 0x08, 1]].concat()),
        Says::Undecodable,
    );
    cases.add(
        "priority as text, signed so",
        NATIVE,
        &sign(&link, &[&raw[..], &[0x1a, 1, b'7']].concat()),
        Says::Valid,
    );
    cases.add(
        "priority twice, signed so",
        NATIVE,
        &sign(&link, &[&raw[..], &[0x18, 9]].concat()),
        Says::Valid,
    );
    let end = &good[good.len() - 67..];
    cases.add(
        "field 101 twice",
        NATIVE,
        &sign(&link, &[&raw[..], end].concat()),
        Says::Unsigned,
    );
    cases.add(
        "field 101 as a number, then the signature",
        NATIVE,
        &sign(&link, &[&raw[..], &[0xa8, 6, 1]].concat()),
        Says::Unsigned,
    );
    cases.add(
        "field 101 first",
        NATIVE,
        &frame(&link, &[end, &raw[..]].concat(), 0),
        Says::Unsigned,
    );
    cases.add(
        "something after field 101",
        NATIVE,
        &frame(&link, &[&raw[..], end, &unknown(102)].concat(), 0),
        Says::Unsigned,
    );
    cases.add(
        "Data twice",
        NATIVE,
        &[&good[..], &[0x0a, 0]].concat(),
        Says::Undecodable,
    );
    cases.add(
        "links on both sides of Data",
        NATIVE,
        &[&good[..], &link].concat(),
        Says::Undecodable,
    );
    cases.add(
        "unknown field of the node",
        NATIVE,
        &[&good[..], &[0x1a, 0]].concat(),
        Says::Undecodable,
    );
    cases.add(
        "key that is not UTF-8",
        NATIVE,
        &sign(&[], &[0x0a, 3, 0x0a, 1, 0xff]),
        Says::Undecodable,
    );
}

fn newer(cases: &mut Cases) {
    let (alice, name) = (alice(), alice().peer_id().to_string());
    let key = counter_key("likes/post1", &alice);
    let base = Delta {
        native: None,
        ..delta(alice.peer_id(), &name, &key)
    };
    let native = |section: &[u8], more: &[u8]| -> Vec<u8> {
        let mut native = Vec::new();
        push_bytes(&mut native, 1, alice.peer_id().as_bytes());
        push_bytes(&mut native, 2, section);
        native.extend_from_slice(&[0x18, 1]);
        native.extend_from_slice(more);
        let mut out = Vec::new();
        push_bytes(&mut out, 100, &native);
        out
    };
    let mut add = |name: &str, native: &[u8], says| {
        let block = signed(
            &alice,
            NATIVE,
            &[],
            &[&delta_bytes(&base)[..], native].concat(),
        );
        cases.add(name, NATIVE, &block, says);
    };
    add(
        "unknown field of Native",
        &native(&SECTION, &[0x38, 1]),
        Says::Newer,
    );
    add(
        "known field of Native with another type",
        &native(&SECTION, &[0x1a, 0]),
        Says::Newer,
    );
    add("unknown kind", &native(&SECTION, &[0x20, 3]), Says::Newer);
    add(
        "section of 15 bytes",
        &native(&SECTION[1..], &[]),
        Says::Newer,
    );
    add(
        "section of 17 bytes",
        &native(&[SECTION.as_slice(), &[1]].concat(), &[]),
        Says::Newer,
    );
    add(
        "Native twice, the last counts",
        &[native(&SECTION, &[0x20, 3]), native(&SECTION, &[])].concat(),
        Says::Valid,
    );
    add(
        "kind 0 written out",
        &native(&SECTION, &[0x20, 0]),
        Says::Valid,
    );
    add(
        "field 100 that does not decode",
        &[0xa2, 6, 2, 0x5a, 0x5a],
        Says::Invalid,
    );
}

#[test]
fn the_frozen_vectors_are_what_the_codec_makes_and_says() {
    let mut cases = Cases(Vec::new());
    honest(&mut cases);
    forged(&mut cases);
    reframed(&mut cases);
    newer(&mut cases);
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
