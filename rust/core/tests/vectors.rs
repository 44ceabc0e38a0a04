//! The golden vectors of the Go engine: what it writes, reads and decides.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use crdtstats_core::broadcast::{self, Head};
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::{Delta, Element};
use crdtstats_core::judge::Rules;
use crdtstats_core::peer_id::PeerId;
use crdtstats_core::replica::{Config, Replica};
use crdtstats_core::{key, node};
use serde_json::Value;
use std::path::Path;

fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap_or("")).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A node as a vector file describes it must be what the codec reads and writes.
fn check_node(want: &Value) {
    let block = bytes(&want["node"]);
    let read = node::decode(&block).unwrap();
    assert_eq!(read.delta.priority, want["priority"].as_u64().unwrap());
    assert_eq!(read.delta.dag_name, text(&want["dag"]));
    for (name, read) in [
        ("elements", &read.delta.elements),
        ("tombstones", &read.delta.tombstones),
    ] {
        let want = list(&want[name]);
        assert_eq!(read.len(), want.len());
        for (read, want) in read.iter().zip(want) {
            assert_eq!((read.key, read.id), (text(&want["key"]), text(&want["id"])));
            assert_eq!(read.value, bytes(&want["value"]));
        }
    }
    let links: Vec<_> = list(&want["links"])
        .iter()
        .map(|l| Cid::parse(text(&l["cid"])).unwrap())
        .collect();
    assert_eq!(read.links, links);
    assert_eq!(node::encode(&read.links, &read.delta), block);
    let cid = Cid::of(HashKind::Sha2_256, &block);
    assert_eq!(cid.to_string(), text(&want["cid"]));
    assert_eq!(cid.as_bytes(), bytes(&want["cid_hex"]));
    cid.check(&block).unwrap();
}

#[test]
fn keys_are_cleaned_as_go_cleans_them() {
    let cases = vectors("keys.json");
    for (given, clean) in cases.as_object().unwrap() {
        assert_eq!(key::clean(given), text(clean), "{given:?}");
    }
}

#[test]
fn nodes_are_read_and_written_byte_for_byte() {
    let file = vectors("nodes.json");
    for leaf in list(&file["leaves"]) {
        check_node(leaf);
    }
    for case in list(&file["cases"]) {
        check_node(&case["output"]);
        let (input, values): (_, Vec<_>) = (
            &case["input"],
            list(&case["input"]["ops"])
                .iter()
                .map(|op| bytes(&op["value"]))
                .collect(),
        );
        let elements = |kind: &str| -> Vec<Element<'_>> {
            list(&input["ops"])
                .iter()
                .zip(&values)
                .filter(|(op, _)| text(&op["op"]) == kind)
                .map(|(op, value)| Element {
                    key: text(&op["key"]),
                    id: text(&op["id"]),
                    value,
                })
                .collect()
        };
        let delta = Delta {
            elements: elements("put"),
            tombstones: elements("delete"),
            priority: input["priority"].as_u64().unwrap(),
            dag_name: text(&input["dag"]),
            native: None,
        };
        let heads: Vec<_> = list(&input["heads"])
            .iter()
            .map(|h| Cid::parse(text(&h["cid"])).unwrap())
            .collect();
        assert_eq!(
            hex::encode(node::encode(&heads, &delta)),
            text(&case["output"]["node"]),
            "{}",
            case["name"]
        );
    }
    assert!(list(&file["cases"]).len() >= 20);
}

#[test]
fn broadcasts_are_read_and_written_byte_for_byte() {
    for case in list(&vectors("broadcasts.json")) {
        let heads: Vec<_> = list(&case["heads"])
            .iter()
            .map(|h| Head {
                cid: Cid::parse(text(&h["cid"])).unwrap(),
                dag_name: text(&h["dag"]),
                block: None,
            })
            .collect();
        let payload = bytes(&case["payload"]);
        assert_eq!(
            hex::encode(broadcast::encode(&heads)),
            hex::encode(&payload),
            "{}",
            case["name"]
        );
        assert_eq!(
            broadcast::decode(&payload).unwrap(),
            heads,
            "{}",
            case["name"]
        );
    }
}

#[test]
fn conflicts_decode_and_their_ids_are_those_of_their_blocks() {
    for (name, steps) in vectors("conflicts.json").as_object().unwrap() {
        let mut ids = std::collections::BTreeMap::new();
        for step in list(steps) {
            let block = bytes(&step["node"]);
            let read = node::decode(&block).unwrap();
            let cid = Cid::parse(text(&step["cid"])).unwrap();
            cid.check(&block).unwrap();
            assert_eq!(node::encode(&read.links, &read.delta), block, "{name}");
            assert_eq!(read.delta.priority, step["priority"].as_u64().unwrap());
            assert_eq!(read.delta.dag_name, text(&step["dag"]));
            let (mut elements, mut tombstones) =
                (read.delta.elements.iter(), read.delta.tombstones.iter());
            for op in list(&step["ops"]) {
                if text(&op["op"]) == "put" {
                    let element = elements.next().unwrap();
                    assert_eq!(
                        (element.key, element.value),
                        (text(&op["key"]), bytes(&op["value"]).as_slice())
                    );
                } else {
                    let tombstone = tombstones.next().unwrap();
                    assert_eq!(
                        (tombstone.key, tombstone.id),
                        (text(&op["key"]), text(&op["id"]))
                    );
                    assert_eq!(
                        ids.get(text(&op["of"])),
                        Some(&tombstone.id.to_owned()),
                        "{name}"
                    );
                }
            }
            ids.insert(text(&step["name"]).to_owned(), cid.element_id());
        }
    }
}

#[test]
fn verdicts_on_payloads_and_blocks_are_those_of_the_engine() {
    for case in list(&vectors("verdicts.json")) {
        let (payload, block) = (bytes(&case["payload"]), bytes(&case["node"]));
        let name = text(&case["name"]);
        let cid = Cid::parse(text(&case["cid"])).unwrap();
        let heads = broadcast::decode(&payload);
        let heard = heads.as_ref().is_ok_and(|heads| {
            heads
                .iter()
                .any(|h| h.cid.clone().into_v1() == cid && h.cid.codec() == 0x70)
        });
        assert_eq!(
            heard,
            case["applied"].as_bool().unwrap(),
            "{name}: {heads:?}"
        );
        if heard {
            cid.check(&block).unwrap();
            let head = heads.unwrap();
            assert_eq!(
                Some(head[0].dag_name),
                case["head_in_dag"].as_str(),
                "{name}"
            );
            let read = node::decode(&block).unwrap();
            assert!(
                read.delta
                    .elements
                    .iter()
                    .any(|e| e.key == text(&case["key"])),
                "{name}"
            );
        }
    }
}

fn replica(native: bool) -> Replica {
    let rules = Rules {
        topic: "/warpnet/stats/1.0.0".into(),
        native,
    };
    let me = PeerId::from_bytes(&[&[0x12, 0x20][..], &[7; 32]].concat()).unwrap();
    Replica::new(
        Config {
            rules,
            hash: HashKind::Sha2_256,
            announce_interval_ms: 60_000,
        },
        me,
        0,
        1,
    )
}

#[test]
fn the_blocks_of_a_session_in_any_order_give_its_heads_and_aggregates() {
    let session = vectors("session.json");
    let blocks: Vec<_> = list(&session["blocks"])
        .iter()
        .map(|b| (Cid::parse(text(&b["cid"])).unwrap(), bytes(&b["node"])))
        .collect();
    for block in list(&session["blocks"]) {
        check_node(block);
    }
    let mut want: Vec<_> = list(&session["heads"])
        .iter()
        .map(|h| {
            (
                text(&h["dag"]).to_owned(),
                text(&h["cid"]).to_owned(),
                h["height"].as_u64().unwrap(),
            )
        })
        .collect();
    want.sort();
    arbtest::arbtest(|u| {
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, u.int_in_range(0..=i)?);
        }
        let mut replica = replica(false);
        for at in order {
            let (cid, block) = &blocks[at];
            replica.load(cid, block).unwrap();
        }
        let mut heads: Vec<_> = replica
            .dag()
            .all_heads()
            .into_iter()
            .flat_map(|(dag, heads)| {
                heads
                    .into_iter()
                    .map(move |h| (dag.clone(), h.cid.to_string(), h.height))
            })
            .collect();
        heads.sort();
        assert_eq!(heads, want);
        for (prefix, total) in session["aggregated"].as_object().unwrap() {
            assert_eq!(
                replica.state().total(prefix),
                i128::from(total.as_i64().unwrap()),
                "{prefix}"
            );
        }
        assert_eq!(replica.dag().missing_count(), 0);
        Ok(())
    })
    .budget_ms(2_000);
}

#[test]
fn prefixes_aggregate_whole_components() {
    let file = vectors("prefixes.json");
    let mut replica = replica(false);
    for (element_key, value) in file["counters"].as_object().unwrap() {
        let value = bytes(value);
        let element = Element {
            key: element_key,
            id: "",
            value: &value,
        };
        let block = node::encode(
            &[],
            &Delta {
                elements: vec![element],
                priority: 1,
                ..Delta::default()
            },
        );
        replica
            .load(&Cid::of(HashKind::Sha2_256, &block), &block)
            .unwrap();
    }
    for (prefix, total) in file["aggregated"].as_object().unwrap() {
        let clean = key::prefix(prefix).unwrap();
        assert_eq!(
            replica.state().total(&clean).max(0),
            i128::from(total.as_i64().unwrap()),
            "{prefix:?}"
        );
    }
}
