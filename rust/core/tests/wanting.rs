//! What is asked for when peers announce more than there is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{ME, announce, replica, unsigned};
use crdtstats_core::broadcast::{self, Head};
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::replica::Replica;
use crdtstats_core::wants::{WANT_YIELDS_MS, WANTS_MAX, WANTS_PER_PEER_MAX};

const PEERS: usize = WANTS_MAX / WANTS_PER_PEER_MAX;

/// Blocks that do not exist.
fn made_up(from: usize) -> Vec<Cid> {
    let numbers = from..from + WANTS_PER_PEER_MAX;
    let cids = numbers.map(|n| Cid::of(HashKind::Sha2_256, &n.to_be_bytes()));
    cids.collect()
}

fn say(replica: &mut Replica, peer: &str, cids: &[Cid]) {
    let heads: Vec<_> = cids
        .iter()
        .map(|cid| Head {
            cid: cid.clone(),
            dag_name: "",
            block: None,
        })
        .collect();
    let payload = broadcast::encode(&heads);
    replica.handle_payload(&payload, Some(peer)).unwrap();
}

/// Wave after wave of throwaway peers.
fn flood(replica: &mut Replica, waves: std::ops::Range<usize>) {
    for n in waves.start * PEERS..waves.end * PEERS {
        let cids = made_up(n * WANTS_PER_PEER_MAX);
        say(replica, &format!("throwaway {n}"), &cids);
    }
}

#[test]
fn blocks_that_do_not_exist_take_no_room_for_ever() {
    for native in [false, true] {
        let mut replica = replica(native, ME);
        flood(&mut replica, 0..1);
        assert_eq!(replica.poll(0).want.len(), WANTS_MAX);
        let below = unsigned(&[], vec![], vec![], 1, "");
        let above = unsigned(std::slice::from_ref(&below.0), vec![], vec![], 2, "");
        say(&mut replica, "honest", std::slice::from_ref(&above.0));
        let effects = replica.poll(0);
        let asked: Vec<_> = effects.want.into_iter().map(|want| want.cid).collect();
        assert_eq!(asked, std::slice::from_ref(&above.0));
        assert_eq!(effects.cancel, made_up(0)[..1]);
        // What was given up is asked for again when it is announced again.
        say(&mut replica, "another", &made_up(0)[..1]);
        let effects = replica.poll(0);
        assert_eq!(effects.want.len(), 1);
        assert_eq!(effects.cancel, made_up(0)[1..2]);
        if !native {
            replica.handle_block(&above.0, &above.1).unwrap();
            // What a held node links to stays wanted through any flood.
            flood(&mut replica, 1..2);
            replica.handle_block(&below.0, &below.1).unwrap();
            assert!(replica.dag().is_complete(&above.0));
        }
    }
}

#[test]
fn what_was_given_up_is_not_remembered() {
    let mut replica = replica(false, ME);
    let honest = unsigned(&[], vec![], vec![], 1, "");
    flood(&mut replica, 0..1);
    replica.poll(0);
    flood(&mut replica, 1..3);
    let effects = replica.poll(0);
    assert_eq!(
        (effects.want.len(), effects.cancel.len()),
        (WANTS_MAX, WANTS_MAX)
    );
    assert_eq!(replica.dropped()["want-evicted"], 2 * WANTS_MAX as u64);
    assert_eq!(replica.dag().missing_count(), WANTS_MAX);
    assert!(replica.dag().places() <= WANTS_MAX + 1);
    announce(&mut replica, &honest, "").unwrap();
    assert_eq!(replica.dag().heads("").len(), 1);
}

#[test]
fn what_is_given_up_and_announced_again_at_once_is_not_cancelled() {
    let mut replica = replica(false, ME);
    flood(&mut replica, 0..1);
    replica.poll(0);
    say(&mut replica, "one", &made_up(1 << 30)[..1]);
    say(&mut replica, "two", &made_up(0)[..1]);
    let effects = replica.poll(0);
    assert_eq!(effects.cancel, made_up(0)[1..2]);
    assert_eq!(effects.want.len(), 2);
}

/// A chain of nodes, the head last.
fn chain(length: u64) -> Vec<(Cid, Vec<u8>)> {
    let mut nodes: Vec<(Cid, Vec<u8>)> = Vec::new();
    for height in 1..=length {
        let links: Vec<_> = nodes
            .last()
            .map(|node| node.0.clone())
            .into_iter()
            .collect();
        nodes.push(unsigned(&links, vec![], vec![], height, ""));
    }
    nodes
}

/// How long it takes, in ms, until a chain is held of which every block comes as soon as it is asked for.
fn ms_to_hold(replica: &mut Replica, from_ms: u64, nodes: &[(Cid, Vec<u8>)]) -> u64 {
    let head = &nodes.last().unwrap().0;
    say(replica, "honest", std::slice::from_ref(head));
    let mut asked = Vec::new();
    let mut now_ms = from_ms;
    loop {
        loop {
            asked.extend(replica.poll(now_ms).want.into_iter().map(|want| want.cid));
            let come = nodes.iter().find(|node| asked.contains(&node.0));
            let Some((cid, block)) = come.filter(|node| !replica.dag().holds(&node.0)) else {
                break;
            };
            replica.handle_block(cid, block).unwrap();
            asked.retain(|asked| asked != cid);
        }
        if replica.dag().is_complete(head) {
            return now_ms - from_ms;
        }
        // Nothing comes in: it looks again when it says that it will.
        assert!(replica.due_ms() > now_ms);
        now_ms = replica.due_ms();
        assert!(now_ms < from_ms + 3_600_000);
    }
}

#[test]
fn a_node_with_links_to_blocks_that_do_not_exist_holds_nobody_up() {
    for dead in [1_000usize, 1_100, 3_000, 20_000] {
        let mut replica = replica(false, ME);
        let links: Vec<_> = (0..dead.div_ceil(WANTS_PER_PEER_MAX))
            .flat_map(|n| made_up(n * WANTS_PER_PEER_MAX))
            .take(dead)
            .collect();
        let hostile = unsigned(&links, vec![], vec![], 1, "");
        announce(&mut replica, &hostile, "").unwrap();
        assert_eq!(replica.poll(0).want.len(), dead.min(WANTS_PER_PEER_MAX));
        // Where all of its links have just come to stand, the first step waits for one of them to yield. No other does.
        for minute in 0..5 {
            let nodes = chain(10 * (minute + 1));
            let ms = ms_to_hold(&mut replica, minute * 60_000, &nodes);
            assert!(ms <= WANT_YIELDS_MS + 1_000, "{dead}: {ms} ms");
        }
        assert_eq!(replica.wanted_count(), dead.min(WANTS_PER_PEER_MAX));
    }
}

#[test]
fn links_to_blocks_that_do_not_exist_are_all_asked_for_in_turn() {
    let mut replica = replica(false, ME);
    let links: Vec<_> = (0..4).flat_map(|n| made_up(n << 10)).collect();
    let hostile = unsigned(&links, vec![], vec![], 1, "");
    announce(&mut replica, &hostile, "").unwrap();
    let mut asked: Vec<Cid> = Vec::new();
    for minute in 0..9 {
        let effects = replica.poll(minute * 61_000);
        assert!(effects.cancel.len() <= WANTS_PER_PEER_MAX);
        asked.extend(effects.want.into_iter().map(|want| want.cid));
    }
    for link in &links {
        assert!(asked.iter().filter(|asked| *asked == link).count() >= 2);
    }
}
