//! Properties of the codec: what is written is read back, and no bytes at all make a decoder panic.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails
#![allow(clippy::disallowed_methods)] // one test takes the time

use arbtest::arbitrary::{Result, Unstructured};
use arbtest::arbtest;
use crdtstats_core::broadcast::{self, Head};
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::{Delta, Element, Native};
use crdtstats_core::element_key::{self, ElementKey, Side};
use crdtstats_core::hashed::Hashed;
use crdtstats_core::identity::Identity;
use crdtstats_core::peer_id::PeerId;
use crdtstats_core::signature::{Signature, verify};
use crdtstats_core::{key, node};
use std::sync::LazyLock;
use std::time::Instant;

const HASHES: [HashKind; 6] = [
    HashKind::Sha2_256,
    HashKind::Blake3,
    HashKind::Sha2_512,
    HashKind::Blake2b256,
    HashKind::Sha3_256,
    HashKind::Identity,
];
static AUTHOR: LazyLock<Identity> = LazyLock::new(|| Identity::from_seed([3; 32]));
const TOPIC: &str = "/crdtstats/1/default";

fn some_cid(u: &mut Unstructured<'_>) -> Result<Cid> {
    let block: [u8; 4] = u.arbitrary()?;
    let cid = Cid::of(*u.choose(&HASHES)?, &block);
    // The same node under a CIDv0, now and then.
    let multihash = cid.multihash();
    Ok(if multihash.starts_with(&[0x12, 0x20]) && u.arbitrary()? {
        Cid::from_bytes(multihash).unwrap()
    } else {
        cid
    })
}

fn some_cids(u: &mut Unstructured<'_>) -> Result<Vec<Cid>> {
    (0..u.int_in_range(0..=4)?).map(|_| some_cid(u)).collect()
}

fn some_elements<'a>(u: &mut Unstructured<'a>) -> Result<Vec<Element<'a>>> {
    let element = |u: &mut Unstructured<'a>| {
        Ok(Element {
            key: u.arbitrary()?,
            id: u.arbitrary()?,
            value: u.arbitrary()?,
        })
    };
    (0..u.int_in_range(0..=4)?).map(|_| element(u)).collect()
}

fn some_delta<'a>(u: &mut Unstructured<'a>) -> Result<Delta<'a>> {
    let author = AUTHOR.peer_id().as_bytes();
    let native = Native {
        kind: u.int_in_range(0..=2)?,
        covers: u.arbitrary()?,
        chunk_count: u.arbitrary()?,
        ..Native::delta(author, u.arbitrary()?, u.arbitrary()?)
    };
    Ok(Delta {
        elements: some_elements(u)?,
        tombstones: some_elements(u)?,
        priority: u.arbitrary()?,
        dag_name: u.arbitrary()?,
        native: u.arbitrary::<bool>()?.then_some(native),
    })
}

fn mutate(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    for _ in 0..u.int_in_range(1..=3)? {
        let at = u.choose_index(bytes.len().max(1))?;
        match u.int_in_range(0..=3)? {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), u.arbitrary()?),
            _ if at < bytes.len() => bytes[at] = u.arbitrary()?,
            _ => {}
        }
    }
    Ok(())
}

fn known<'a>(delta: &Delta<'a>) -> Delta<'a> {
    Delta {
        native: delta.native.map(|native| Native {
            unknown: false,
            ..native
        }),
        ..delta.clone()
    }
}

/// Every decoder on the same bytes; what decodes must survive every question that one can ask.
fn decode_all(bytes: &[u8]) {
    if let Ok(node) = node::decode(bytes) {
        let _ = verify(&Hashed::new(bytes), &node, TOPIC);
        let _ = node::is_exact_form(bytes, &node);
        for element in node.delta.elements.iter().chain(&node.delta.tombstones) {
            let clean = key::clean(element.key);
            assert_eq!(key::clean(&clean), clean);
            let _ = element_key::parse(&clean);
            let _ = element.value_u64();
        }
        for link in &node.links {
            let _ = (
                link.check_node(),
                link.check(b"x"),
                link.element_id(),
                link.to_string(),
            );
        }
        // What was read is read again from what is written of it.
        let again = node::encode(&node.links, &node.delta);
        let read = node::decode(&again).unwrap();
        assert_eq!(read.links, node.links);
        assert_eq!(known(&read.delta), known(&node.delta));
    }
    if let Ok(heads) = broadcast::decode(bytes) {
        assert_eq!(
            broadcast::decode(&broadcast::encode(&heads)).unwrap().len(),
            heads.len()
        );
    }
    if let Ok(cid) = Cid::from_bytes(bytes) {
        assert_eq!(Cid::parse(&cid.to_string()).unwrap(), cid);
    }
    if let Ok(peer) = PeerId::from_bytes(bytes) {
        assert_eq!(PeerId::parse(&peer.to_string()).unwrap(), peer);
        let _ = peer.verifying_key();
    }
    let _ = Cid::from_prefix(bytes, b"block").map(|cid| cid.check(b"block").unwrap());
    let _ = Identity::from_libp2p(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (Cid::parse(text), PeerId::parse(text), key::data_key(text));
        let _ = element_key::parse(text);
    }
    assert!(!key::component(bytes).contains('/'));
}

#[test]
fn nodes_come_back_as_they_were() {
    arbtest(|u| {
        let links = some_cids(u)?;
        let delta = some_delta(u)?;
        let block = node::encode(&links, &delta);
        let read = node::decode(&block).unwrap();
        assert_eq!((&read.links, &read.delta), (&links, &delta));
        if delta.native.is_some() {
            let hash = *u.choose(&HASHES)?;
            let signed = node::encode_signed(&links, &delta, &*AUTHOR, TOPIC, hash);
            let (cid, block) = signed.unwrap();
            assert_eq!(cid, Cid::of(hash, &block));
            let read = node::decode(&block).unwrap();
            assert_eq!((&read.links, &read.delta), (&links, &delta));
            assert_eq!(
                verify(&Hashed::new(&block), &read, TOPIC),
                Signature::Valid(AUTHOR.peer_id().clone())
            );
        }
        Ok(())
    })
    .budget_ms(2_000);
}

#[test]
fn a_changed_signed_block_is_never_valid() {
    arbtest(|u| {
        let delta = some_delta(u)?;
        let delta = Delta {
            native: Some(Native::delta(
                AUTHOR.peer_id().as_bytes(),
                u.arbitrary()?,
                1,
            )),
            ..delta
        };
        let hash = *u.choose(&HASHES)?;
        let signed = node::encode_signed(&some_cids(u)?, &delta, &*AUTHOR, TOPIC, hash);
        let (_, block) = signed.unwrap();
        let mut changed = block.clone();
        mutate(u, &mut changed)?;
        decode_all(&changed);
        if changed != block
            && let Ok(node) = node::decode(&changed)
        {
            assert!(!matches!(
                verify(&Hashed::new(&changed), &node, TOPIC),
                Signature::Valid(_)
            ));
        }
        Ok(())
    })
    .budget_ms(3_000);
}

#[test]
fn broadcasts_come_back_and_changed_ones_do_no_harm() {
    arbtest(|u| {
        let heads: Vec<(Cid, &str, Option<&[u8]>)> = (0..u.int_in_range(0..=4)?)
            .map(|_| Ok((some_cid(u)?, u.arbitrary()?, u.arbitrary()?)))
            .collect::<Result<_>>()?;
        let heads: Vec<Head<'_>> = heads
            .into_iter()
            .map(|(cid, dag_name, block)| Head {
                cid,
                dag_name,
                block: block.filter(|block| !block.is_empty()),
            })
            .collect();
        let mut payload = broadcast::encode(&heads);
        assert_eq!(broadcast::decode(&payload).unwrap(), heads);
        mutate(u, &mut payload)?;
        decode_all(&payload);
        Ok(())
    })
    .budget_ms(2_000);
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    arbtest(|u| {
        decode_all(u.arbitrary()?);
        Ok(())
    })
    .budget_ms(2_000);
}

#[test]
fn keys_are_cleaned_as_the_plain_algorithm_does() {
    arbtest(|u| {
        let parts = ["", ".", "..", "...", "a", "é", "/", " "];
        let text: String = (0..u.int_in_range(0..=8)?)
            .map(|_| Ok([*u.choose(&parts)?, if u.arbitrary()? { "/" } else { "" }].concat()))
            .collect::<Result<Vec<_>>>()?
            .concat();
        let mut stack = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(stack.pop()),
                part => stack.push(part),
            }
        }
        assert_eq!(key::clean(&text), format!("/{}", stack.join("/")));
        Ok(())
    });
}

#[test]
fn element_keys_come_back() {
    arbtest(|u| {
        let parts = ["a", "b c", "é", "incr", "STATS"];
        let path = (0..u.int_in_range(1..=3)?)
            .map(|_| Ok(*u.choose(&parts)?))
            .collect::<Result<Vec<_>>>()?
            .join("/");
        let side = if u.arbitrary()? {
            Side::Incr
        } else {
            Side::Decr
        };
        let text = element_key::encode(side, &path, "r", "g");
        assert_eq!(
            element_key::parse(&text),
            ElementKey::Counter {
                side,
                path: &path,
                exact: true,
                replica: "r",
                generation: "g"
            }
        );
        Ok(())
    });
}

#[test]
fn every_hash_names_and_checks_its_blocks_and_others_are_refused_by_name() {
    for kind in HASHES {
        let cid = Cid::of(kind, b"block");
        cid.check(b"block").unwrap();
        cid.check_node().unwrap();
        assert!(cid.check(b"other").is_err());
        let prefix = &cid.as_bytes()[..cid.as_bytes().len() - cid.digest().len()];
        assert_eq!(Cid::from_prefix(prefix, b"block").unwrap(), cid);
    }
    let sha1 = Cid::from_bytes(&[&[1, 0x70, 0x11, 20][..], &[0; 20]].concat()).unwrap();
    assert!(sha1.check(b"").unwrap_err().to_string().contains("0x11"));
    let cut = Cid::from_bytes(&[&[1, 0x70, 0x12, 20][..], &[0; 20]].concat()).unwrap();
    assert!(cut.check_node().is_err());
    let raw = Cid::from_bytes(&[&[1, 0x55, 0x12, 32][..], &[0; 32]].concat()).unwrap();
    assert!(raw.check_node().is_err());
}

#[test]
fn too_large_blocks_and_payloads_are_refused_before_anything_is_read() {
    assert!(node::decode(&vec![0; 4 * 1024 * 1024 + 1]).is_err());
    assert!(broadcast::decode(&vec![0; 1_048_427]).is_err());
}

#[test]
fn a_block_full_of_small_elements_decodes_at_millions_a_second() {
    let value = [0_u8; 8];
    let keys: Vec<String> = (0..40_000).map(|n| format!("/k{n}")).collect();
    let elements: Vec<Element<'_>> = keys
        .iter()
        .map(|key| Element {
            key,
            id: "",
            value: &value,
        })
        .collect();
    let block = node::encode(
        &[],
        &Delta {
            elements,
            priority: 1,
            ..Delta::default()
        },
    );
    let fastest = (0..10).map(|_| {
        let start = Instant::now();
        assert_eq!(node::decode(&block).unwrap().delta.elements.len(), 40_000);
        start.elapsed()
    });
    let rate = 40_000.0 / fastest.min().unwrap().as_secs_f64();
    println!("{:.1} M elements/s", rate / 1e6);
    // Far below what is measured (tens of millions): only a change of the cost's order fails here.
    assert!(rate > 1e6, "{rate}");
}
