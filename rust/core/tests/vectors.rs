//! Every golden vector of the Go engine, read and written by this codec.

use crdtstats_core::broadcast::{self, Head};
use crdtstats_core::cid::Cid;
use crdtstats_core::delta::{Delta, Element};
use crdtstats_core::node;
use crdtstats_core::{key, varint};
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

fn bytes(value: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(value, name)).unwrap()
}

/// Checks one block against its description, both ways.
fn check_block(described: &Value) {
    let block = bytes(described, "node");
    let cid = Cid::parse(text(described, "cid")).unwrap();
    assert_eq!(cid.to_string(), text(described, "cid"));
    assert_eq!(hex::encode(cid.as_bytes()), text(described, "cid_hex"));
    let decoded = node::decode_checked(&cid, &block).unwrap();
    let entries = |name: &str| -> Vec<(String, String, Vec<u8>)> {
        let entry = |e: &Value| {
            (
                text(e, "key").to_owned(),
                text(e, "id").to_owned(),
                bytes(e, "value"),
            )
        };
        list(&described[name]).iter().map(entry).collect()
    };
    let found = |elements: &[Element]| -> Vec<(String, String, Vec<u8>)> {
        elements
            .iter()
            .map(|e| (e.key.to_owned(), e.id.to_owned(), e.value.to_vec()))
            .collect()
    };
    assert_eq!(found(&decoded.delta.elements), entries("elements"));
    assert_eq!(found(&decoded.delta.tombstones), entries("tombstones"));
    assert_eq!(
        decoded.delta.priority,
        described["priority"].as_u64().unwrap()
    );
    assert_eq!(decoded.delta.dag_name, text(described, "dag"));
    let links: Vec<Cid> = list(&described["links"])
        .iter()
        .map(|link| Cid::parse(text(link, "cid")).unwrap())
        .collect();
    assert_eq!(decoded.links, links);
    assert_eq!(
        hex::encode(node::encode(&links, &decoded.delta)),
        text(described, "node")
    );
}

#[test]
fn keys_are_cleaned_as_go_cleans_them() {
    for (given, clean) in vectors("keys.json").as_object().unwrap() {
        assert_eq!(key::clean(given), clean.as_str().unwrap(), "{given:?}");
        assert_eq!(key::is_clean(given), given == clean, "{given:?}");
        assert_eq!(
            key::prefix(given).unwrap(),
            clean.as_str().unwrap()[1..],
            "{given:?}"
        );
    }
}

#[test]
fn nodes_decode_and_encode_byte_for_byte() {
    let nodes = vectors("nodes.json");
    for leaf in list(&nodes["leaves"]) {
        check_block(leaf);
    }
    for case in list(&nodes["cases"]) {
        check_block(&case["output"]);
        let block = bytes(&case["output"], "node");
        let delta = bytes(&case["output"], "delta");
        assert_eq!(crdtstats_core::dag_pb::decode(&block).unwrap().data, delta);
    }
}

#[test]
fn broadcasts_encode_and_decode_byte_for_byte() {
    for case in list(&vectors("broadcasts.json")) {
        let heads: Vec<Head> = list(&case["heads"])
            .iter()
            .map(|head| Head {
                cid: Cid::parse(text(head, "cid")).unwrap(),
                dag_name: text(head, "dag"),
                block: None,
            })
            .collect();
        assert_eq!(
            hex::encode(broadcast::encode(&heads)),
            text(case, "payload")
        );
        assert_eq!(broadcast::decode(&bytes(case, "payload")).unwrap(), heads);
    }
}

#[test]
fn session_blocks_and_payloads_decode_and_encode() {
    let session = vectors("session.json");
    assert!(!list(&session["blocks"]).is_empty());
    for block in list(&session["blocks"]) {
        check_block(block);
    }
    for payload in list(&session["broadcasts"]) {
        let payload = hex::decode(payload.as_str().unwrap()).unwrap();
        let heads = broadcast::decode(&payload).unwrap();
        assert_eq!(broadcast::encode(&heads), payload);
    }
    for block in list(&vectors("datastore.json")["blocks"]) {
        check_block(block);
    }
}

#[test]
fn conflict_blocks_are_their_operations() {
    for (name, steps) in vectors("conflicts.json").as_object().unwrap() {
        let mut named: Vec<(String, Cid)> = Vec::new();
        for step in list(steps) {
            let block = bytes(step, "node");
            let cid = Cid::parse(text(step, "cid")).unwrap();
            let decoded = node::decode_checked(&cid, &block).unwrap();
            named.push((text(step, "name").to_owned(), cid));
            let ops = list(&step["ops"]);
            let values: Vec<(String, Vec<u8>)> = ops
                .iter()
                .filter(|op| text(op, "op") == "put")
                .map(|op| (text(op, "key").to_owned(), bytes(op, "value")))
                .collect();
            let elements: Vec<(String, Vec<u8>)> = decoded
                .delta
                .elements
                .iter()
                .map(|e| (e.key.to_owned(), e.value.to_vec()))
                .collect();
            assert_eq!(elements, values, "{name}");
            let deletes: Vec<&Value> = ops.iter().filter(|op| text(op, "op") == "delete").collect();
            assert_eq!(decoded.delta.tombstones.len(), deletes.len(), "{name}");
            for (tombstone, op) in decoded.delta.tombstones.iter().zip(deletes) {
                assert_eq!(tombstone.key, text(op, "key"));
                assert_eq!(tombstone.id, text(op, "id"));
                if let Some((_, cid)) = named
                    .iter()
                    .find(|(name, _)| !name.is_empty() && name == text(op, "of"))
                {
                    assert_eq!(tombstone.id, cid.element_id(), "{name}");
                }
            }
            assert_eq!(decoded.delta.priority, step["priority"].as_u64().unwrap());
            assert_eq!(node::encode(&decoded.links, &decoded.delta), block);
        }
    }
}

#[test]
fn verdicts_on_payloads_blocks_and_hashes_are_gos() {
    for case in list(&vectors("verdicts.json")) {
        let (name, block, payload) = (
            text(case, "name"),
            bytes(case, "node"),
            bytes(case, "payload"),
        );
        let cid = Cid::parse(text(case, "cid")).unwrap();
        cid.check(&block).unwrap();
        assert!(cid.check(&[&block[..], b"x"].concat()).is_err(), "{name}");
        let heads = broadcast::decode(&payload);
        let node = node::decode_checked(&cid, &block);
        let taken = heads.is_ok() && node.is_ok();
        assert_eq!(taken, case["applied"].as_bool().unwrap(), "{name}");
        if let (Ok(heads), Ok(node)) = (heads, node) {
            let [head] = heads.as_slice() else {
                panic!("{name}: one head")
            };
            // CIDv0 and v1 of one block share the multihash only.
            assert_eq!(head.cid.multihash(), cid.multihash(), "{name}");
            assert_eq!(Some(head.dag_name), case["head_in_dag"].as_str(), "{name}");
            assert_eq!(
                node.delta.elements.first().map(|e| e.key),
                case["key"].as_str(),
                "{name}"
            );
        }
        let prefix = &cid.as_bytes()[..cid.as_bytes().len() - cid.digest().len()];
        assert_eq!(Cid::from_prefix(prefix, &block).unwrap(), cid, "{name}");
    }
}

#[test]
fn varints_at_their_borders_have_the_length_that_is_announced() {
    for shift in 0..64 {
        for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX] {
            let mut out = Vec::new();
            varint::put_varint(&mut out, value);
            assert_eq!(out.len(), varint::varint_len(value));
            assert_eq!(varint::Reader::new(&out, "test").varint().unwrap(), value);
        }
    }
}

#[test]
fn a_delta_without_anything_is_an_empty_data_section() {
    assert_eq!(node::encode(&[], &Delta::default()), [0x0a, 0x00]);
    assert_eq!(node::decode(&[]).unwrap().delta, Delta::default());
}
