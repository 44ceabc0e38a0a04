//! Values as Go decides them: the engine's own vectors, and random histories against the rules spelled out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{ME, TOPIC, again, announce, give, key_of, replica, signed, unsigned};
use crdtstats_core::cid::Cid;
use crdtstats_core::delta::Element;
use crdtstats_core::entries::Shown;
use crdtstats_core::identity::Identity;
use crdtstats_core::key;
use crdtstats_core::replica::Replica;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn shown(replica: &Replica, key: &str) -> Option<Vec<u8>> {
    match replica.entry(key).expect("it is kept") {
        Shown::Value(value) => Some(value),
        Shown::Nothing => None,
        Shown::Unknown => panic!("there is room"),
    }
}

fn block_of(step: &Value) -> (Cid, Vec<u8>) {
    let block = hex::decode(text(&step["node"])).unwrap();
    (Cid::parse(text(&step["cid"])).unwrap(), block)
}

#[test]
fn conflicts_are_decided_as_the_engine_decides_them() {
    let cases = vectors("conflicts.json");
    for (name, steps) in cases.as_object().unwrap() {
        let key = format!("/{name}/k");
        let mut replica = replica(false, ME);
        let (mut named, mut kept) = (BTreeMap::new(), Vec::new());
        for (n, step) in list(steps).iter().enumerate() {
            let block = block_of(step);
            named.insert(text(&step["name"]), block.clone());
            let mut given = vec![block];
            if step["hold"].as_bool() == Some(true) {
                given.clear();
            }
            given.extend(list(&step["then"]).iter().map(|of| named[text(of)].clone()));
            for block in given {
                give(&mut replica, &block, text(&step["dag"])).unwrap();
                kept.push(block);
            }
            again(&mut replica, &kept, 1_000_000 * (n as u64 + 1));
            let want = step["value"].as_str().map(|hex| hex::decode(hex).unwrap());
            assert_eq!(shown(&replica, &key), want, "{name}, step {n}");
            assert_eq!(replica.state().total(""), 0);
        }
        // After a restart, in any order.
        kept.reverse();
        let mut loaded = common::replica(false, ME);
        kept.iter()
            .for_each(|(cid, block)| loaded.load(cid, block).unwrap());
        again(&mut loaded, &kept, 0);
        assert_eq!(shown(&loaded, &key), shown(&replica, &key), "{name}");
    }
    assert!(cases.as_object().unwrap().len() >= 17);
}

#[test]
fn heads_are_kept_in_the_dags_of_the_verdicts() {
    for case in list(&vectors("verdicts.json")) {
        let name = text(&case["name"]);
        let (cid, block) = block_of(case);
        let mut replica = replica(false, ME);
        let payload = hex::decode(text(&case["payload"])).unwrap();
        let _ = replica.handle_payload(&payload, None);
        replica.handle_block(&cid, &block).unwrap();
        let heads = replica.dag().all_heads();
        let dags: Vec<_> = heads.iter().map(|(dag, _)| dag.as_str()).collect();
        let want: Vec<_> = case["head_in_dag"].as_str().into_iter().collect();
        assert_eq!(dags, want, "{name}");
        let value = shown(&replica, text(&case["key"]));
        assert_eq!(
            value.is_some(),
            case["applied"].as_bool().unwrap(),
            "{name}"
        );
    }
}

// ---- random histories

/// Some counters of Go peers, a short one, foreign keys, ours (live in no test), a signed one of another replica.
fn keys() -> Vec<String> {
    let (me, other) = (Identity::from_seed([ME; 32]), Identity::from_seed([1; 32]));
    let generation = "73696731000000000000000000000001";
    let mut keys = vec![
        "/STATS/incr/a/x/go/g1".to_owned(),
        "/STATS/decr/a/x/go/g1".to_owned(),
        "/STATS/incr/a/y/go/g2".to_owned(),
        "/STATS/incr/short/z".to_owned(),
        "/users/alice".to_owned(),
        "/users/bob".to_owned(),
    ];
    keys.extend([&me, &other].map(|identity| key_of("a/x", identity, generation)));
    keys
}

#[derive(Clone, Debug)]
struct Written {
    cid: Cid,
    block: Vec<u8>,
    author: Option<u8>,
    priority: u64,
    /// (key, value), in order.
    elements: Vec<(String, Vec<u8>)>,
    /// (key, written node).
    tombstones: Vec<(String, usize)>,
}

/// A history of puts and deletes by several writers who do not see all of each other's nodes.
fn history(
    u: &mut arbtest::arbitrary::Unstructured<'_>,
) -> arbtest::arbitrary::Result<Vec<Written>> {
    let keys = keys();
    let mut out: Vec<Written> = Vec::new();
    for n in 0..u.int_in_range(1..=14)? {
        let author = match u.int_in_range(0..=5)? {
            0 => Some(ME),
            1 => Some(1),
            _ => None,
        };
        let mut elements = Vec::new();
        for _ in 0..u.int_in_range(0..=3)? {
            let key = u.choose(&keys)?.clone();
            let value = match u.int_in_range(0..=9)? {
                0 => Vec::new(),
                1 => vec![u.arbitrary()?],
                2 => vec![1; 9],
                _ => u.int_in_range(0..=4u64)?.to_be_bytes().to_vec(),
            };
            elements.push((key, value));
        }
        let mut tombstones = Vec::new();
        if n > 0 {
            for _ in 0..u.int_in_range(0..=3)? {
                let of = u.choose_index(out.len())?;
                let key = match u.int_in_range(0..=4)? {
                    0 => u.choose(&keys)?.clone(), // which may not be in that node
                    _ if out[of].elements.is_empty() => continue,
                    _ => u.choose(&out[of].elements)?.0.clone(),
                };
                tombstones.push((key, of));
            }
        }
        let mut links = BTreeSet::new();
        for _ in 0..u.int_in_range(0..=2)? {
            if n > 0 {
                links.insert(out[u.choose_index(out.len())?].cid.clone());
            }
        }
        let links: Vec<Cid> = links.into_iter().collect();
        let priority = u.int_in_range(0..=4)?;
        let ids: Vec<String> = out.iter().map(|node| node.cid.element_id()).collect();
        let put: Vec<_> = elements
            .iter()
            .map(|(key, value): &(String, Vec<u8>)| Element { key, id: "", value })
            .collect();
        let removed: Vec<_> = tombstones
            .iter()
            .map(|(key, of): &(String, usize)| Element {
                key,
                id: &ids[*of],
                value: &[],
            })
            .collect();
        let (cid, block) = match author {
            Some(seed) => {
                let identity = Identity::from_seed([seed; 32]);
                signed(
                    &identity,
                    TOPIC,
                    n as u64 + 1,
                    &links,
                    put,
                    removed,
                    priority,
                )
            }
            None => unsigned(&links, put, removed, priority, ""),
        };
        if out.iter().all(|node| node.cid != cid) {
            out.push(Written {
                cid,
                block,
                author,
                priority,
                elements,
                tombstones,
            });
        }
    }
    Ok(out)
}

/// The rules, spelled out over a set of nodes.
struct Model<'a> {
    all: &'a [Written],
    held: &'a [usize],
}

impl Model<'_> {
    fn gone(&self, key: &str, node: usize) -> bool {
        let tombstones = self.held.iter().flat_map(|&at| &self.all[at].tombstones);
        tombstones
            .into_iter()
            .any(|(of, at)| of == key && *at == node)
    }

    fn shown(&self, key: &str) -> Option<Vec<u8>> {
        let mut best: Option<(u64, &[u8])> = None;
        for &at in self.held {
            let node = &self.all[at];
            let mut stored = node
                .elements
                .iter()
                .filter(|(of, value)| of == key && (node.priority > 0 || !value.is_empty()));
            if let Some((_, value)) = stored.next_back().filter(|_| !self.gone(key, at)) {
                best = best.max(Some((node.priority, value)));
            }
        }
        best.map(|(_, value)| value.to_vec())
    }

    fn counted(&self, key: &str) -> u64 {
        let generation = key.rsplit('/').next().unwrap();
        let is_signed = generation.starts_with("73696731");
        let replica = key.rsplit('/').nth(1).unwrap();
        let mut best = 0;
        for &at in self.held {
            let node = &self.all[at];
            let author = node
                .author
                .map(|seed| Identity::from_seed([seed; 32]).peer_id().to_string());
            let counts = if is_signed {
                author.as_deref() == Some(replica)
            } else {
                !self.gone(key, at)
            };
            for (_, value) in node.elements.iter().filter(|(of, _)| counts && of == key) {
                best = best.max(
                    value
                        .first_chunk()
                        .map_or(0, |eight| u64::from_be_bytes(*eight)),
                );
            }
        }
        best
    }

    fn check(&self, replica: &Replica) {
        for key in keys() {
            if let Some(kept) = replica.entry(&key) {
                let want = self.shown(&key).map_or(Shown::Nothing, Shown::Value);
                assert_eq!(kept, want, "{key}");
            }
        }
        let net = |keys: &[&str]| -> i128 {
            let all = keys
                .iter()
                .map(|key| match key.strip_prefix("/STATS/decr") {
                    Some(_) => -i128::from(self.counted(key)),
                    None => i128::from(self.counted(key)),
                });
            all.sum()
        };
        let keys = keys();
        let at_x: Vec<&str> = keys
            .iter()
            .filter(|k| k.contains("/a/x/"))
            .map(AsRef::as_ref)
            .collect();
        let state = replica.state();
        assert_eq!(state.get("a/x"), net(&at_x));
        assert_eq!(state.get("a/y"), net(&["/STATS/incr/a/y/go/g2"]));
        assert_eq!(state.total("short"), net(&["/STATS/incr/short/z"]));
        assert_eq!(state.total(""), state.total("a") + state.total("short"));
    }
}

#[test]
fn any_order_duplicates_and_restarts_give_what_the_rules_say() {
    arbtest::arbtest(|u| {
        let all = history(u)?;
        let blocks: Vec<_> = all
            .iter()
            .map(|node| (node.cid.clone(), node.block.clone()))
            .collect();
        let mut replica = replica(false, ME);
        let (mut held, mut now_ms): (Vec<usize>, u64) = (Vec::new(), 0);
        let mut left: Vec<usize> = (0..all.len()).collect();
        while !left.is_empty() {
            let at = left.swap_remove(u.choose_index(left.len())?);
            give(&mut replica, &blocks[at], "").unwrap();
            held.push(at);
            if u.ratio(1, 3)? {
                give(&mut replica, &blocks[*u.choose(&held)?], "").unwrap();
            }
            let kept: Vec<_> = held.iter().map(|&at| blocks[at].clone()).collect();
            if u.ratio(1, 4)? {
                replica = common::replica(false, ME);
                for (cid, block) in &kept {
                    replica.load(cid, block).unwrap();
                }
            }
            if u.ratio(1, 4)? && replica.take_again(now_ms).len() > 1 {
                // A pass that more blocks come in the middle of.
                continue_pass(&mut replica, &blocks, &mut left, &mut held, u)?;
            }
            if u.ratio(1, 2)? {
                let kept: Vec<_> = held.iter().map(|&at| blocks[at].clone()).collect();
                now_ms += 1_000_000;
                again(&mut replica, &kept, now_ms);
                Model {
                    all: &all,
                    held: &held,
                }
                .check(&replica);
            }
        }
        again(&mut replica, &blocks, now_ms + 1_000_000);
        Model {
            all: &all,
            held: &held,
        }
        .check(&replica);
        assert_eq!(replica.recounting(), 0);
        Ok(())
    })
    .budget_ms(6_000);
}

/// Some of the blocks that a pass asks for are given, then others come in, then the rest is given.
fn continue_pass(
    replica: &mut Replica,
    blocks: &[(Cid, Vec<u8>)],
    left: &mut Vec<usize>,
    held: &mut Vec<usize>,
    u: &mut arbtest::arbitrary::Unstructured<'_>,
) -> arbtest::arbitrary::Result<()> {
    let mut asked: Vec<usize> = held.clone();
    for _ in 0..u.choose_index(asked.len())? {
        let (cid, block) = &blocks[asked.pop().unwrap()];
        replica.look_again(cid, Some(block));
    }
    if !left.is_empty() {
        let at = left.swap_remove(u.choose_index(left.len())?);
        give(replica, &blocks[at], "").unwrap();
        held.push(at);
    }
    for at in asked {
        replica.look_again(&blocks[at].0, Some(&blocks[at].1));
    }
    Ok(())
}

#[test]
fn an_unclean_tombstone_removes_what_go_removes() {
    let mut replica = replica(false, ME);
    let five = 5u64.to_be_bytes();
    let element = |key| Element {
        key,
        id: "",
        value: &five,
    };
    let put = unsigned(
        &[],
        vec![element("/STATS/incr/k/go/g"), element("/users/x")],
        vec![],
        1,
        "",
    );
    let id = put.0.element_id();
    let bare = format!("g{id}");
    let remove = |key, id| Element {
        key,
        id,
        value: &[],
    };
    let removed = vec![
        remove("//STATS/incr/k/./go", &bare),
        remove("/users/x/y/..", &id),
    ];
    let gone = unsigned(&[], vec![], removed, 2, "");
    give(&mut replica, &put, "").unwrap();
    assert_eq!(replica.state().get("k"), 5);
    give(&mut replica, &gone, "").unwrap();
    // Until all of it was counted again, readers see what was.
    assert_eq!((replica.state().get("k"), replica.recounting()), (5, 2));
    again(&mut replica, &[put, gone], 0);
    assert_eq!(
        (replica.state().get("k"), replica.state().total("")),
        (0, 0)
    );
    assert_eq!(shown(&replica, "/users/x"), None);
    assert_eq!((replica.named(), replica.recounting()), (2, 0));
    assert_eq!(key::clean("/users/x/y/.."), "/users/x");
}

#[test]
fn passes_pause_and_a_block_that_is_gone_stops_none() {
    let mut replica = replica(false, ME);
    let value = 5u64.to_be_bytes();
    let put = |key| {
        let element = Element {
            key,
            id: "",
            value: &value,
        };
        unsigned(&[], vec![element], vec![], 1, "")
    };
    let nodes: Vec<_> = ["/STATS/incr/k/go/a", "/STATS/incr/k/go/b"].map(put).into();
    nodes
        .iter()
        .for_each(|node| give(&mut replica, node, "").unwrap());
    let remove = |replica: &mut Replica, key, of: &(Cid, Vec<u8>)| {
        let id = of.0.element_id();
        let gone = unsigned(
            &[],
            vec![],
            vec![Element {
                key,
                id: &id,
                value: &[],
            }],
            2,
            "",
        );
        give(replica, &gone, "").unwrap();
        gone
    };
    assert_eq!(replica.due_ms(), replica.due_ms().min(14_000));
    remove(&mut replica, "/STATS/incr/k/go/a", &nodes[0]);
    assert_eq!(replica.due_ms(), 0);
    let asked = replica.take_again(0);
    assert_eq!(asked.len(), 3);
    assert_eq!(replica.take_again(0), []); // not all were given
    asked.iter().for_each(|cid| replica.look_again(cid, None));
    assert_eq!(replica.take_again(50), []);
    assert_eq!(replica.state().get("k"), 5);
    remove(&mut replica, "/STATS/incr/k/go/b", &nodes[1]);
    assert_eq!(replica.take_again(60), []); // a pass just was
    assert_eq!(replica.due_ms(), 1_050);
    assert_eq!(replica.take_again(1_050).len(), 4);
}

#[test]
fn a_native_network_keeps_no_entries_and_takes_no_tombstones() {
    let alice = Identity::from_seed([1; 32]);
    let mut replica = replica(true, ME);
    let tombstone = Element {
        key: "/x",
        id: "/CIQ",
        value: &[],
    };
    let node = signed(&alice, TOPIC, 1, &[], vec![], vec![tombstone], 1);
    announce(&mut replica, &node, "").unwrap();
    assert_eq!(
        replica.dropped().keys().collect::<Vec<_>>(),
        [&"node-tombstones"]
    );
    assert_eq!(
        (replica.entry("/x"), replica.named(), replica.entries()),
        (None, 0, 0)
    );
}
