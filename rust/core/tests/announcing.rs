//! The rhythm of announcements by a clock of their own: every interval ± 30 % the heads that nobody else announced.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use crdtstats_core::broadcast::{self, Head};
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::{Delta, Element};
use crdtstats_core::identity::Identity;
use crdtstats_core::judge::Rules;
use crdtstats_core::node;
use crdtstats_core::replica::{Config, Replica};

const INTERVAL_MS: u64 = 60_000;
const TICK_MS: u64 = 100;

fn replica(seed: u64) -> Replica {
    let config = Config {
        rules: Rules {
            topic: "/warpnet/stats/1.0.0".into(),
            native: false,
        },
        hash: HashKind::Sha2_256,
        announce_interval_ms: INTERVAL_MS,
    };
    let me = Identity::from_seed([9; 32]).peer_id().clone();
    Replica::new(config, me, 0, seed)
}

fn foreign(n: u64, links: &[Cid]) -> (Cid, Vec<u8>) {
    let value = n.to_be_bytes();
    let key = format!("/STATS/incr/k/{n}/writer/generation");
    let delta = Delta {
        elements: vec![Element {
            key: &key,
            id: "",
            value: &value,
        }],
        tombstones: Vec::new(),
        priority: 1,
        dag_name: "",
        native: None,
    };
    let block = node::encode(links, &delta);
    (Cid::of(HashKind::Sha2_256, &block), block)
}

fn said(cids: &[&Cid]) -> Vec<u8> {
    let heads: Vec<_> = cids
        .iter()
        .map(|&cid| Head {
            cid: cid.clone(),
            dag_name: "",
            block: None,
        })
        .collect();
    broadcast::encode(&heads)
}

/// A peer announces a node, and then has it.
fn take(replica: &mut Replica, cid: &Cid, block: &[u8]) {
    replica.handle_payload(&said(&[cid]), Some("go")).unwrap();
    replica.handle_block(cid, block).unwrap();
}

/// (when, what) of each announcement from `from` on, with `meanwhile` called at every tick before it.
fn listen(
    replica: &mut Replica,
    from: u64,
    until: u64,
    mut meanwhile: impl FnMut(&mut Replica, u64),
) -> Vec<(u64, Vec<Cid>)> {
    let mut out = Vec::new();
    for now in (from..until).step_by(usize::try_from(TICK_MS).unwrap()) {
        meanwhile(replica, now);
        for payload in replica.poll(now).announce {
            let heads = broadcast::decode(&payload).unwrap();
            out.push((now, heads.into_iter().map(|h| h.cid).collect()));
        }
    }
    out
}

#[test]
fn heads_that_nobody_announces_go_out_every_minute_less_or_more_a_third() {
    let mut firsts = Vec::new();
    for seed in 1..=20u64 {
        let mut replica = replica(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (cid, block) = foreign(1, &[]);
        take(&mut replica, &cid, &block);
        let heard = listen(&mut replica, 0, 50 * INTERVAL_MS, |_, _| ());
        assert!(
            heard
                .iter()
                .all(|(_, cids)| cids == std::slice::from_ref(&cid))
        );
        let times: Vec<u64> = heard.iter().map(|(at, _)| *at).collect();
        let gaps: Vec<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        let (least, most) = (*gaps.iter().min().unwrap(), *gaps.iter().max().unwrap());
        assert!(
            least >= INTERVAL_MS * 7 / 10 - TICK_MS && most <= INTERVAL_MS * 13 / 10 + TICK_MS,
            "seed {seed}: {least}..{most}"
        );
        assert!(most - least > INTERVAL_MS / 4, "seed {seed}: no jitter");
        firsts.push(times[0]);
    }
    firsts.sort_unstable();
    firsts.dedup();
    assert!(
        firsts.len() > 15,
        "replicas must not speak at the same moment"
    );
}

#[test]
fn what_another_announces_is_left_to_it_until_it_is_silent() {
    let mut replica = replica(1);
    let (kept, kept_block) = foreign(1, &[]);
    let (told, told_block) = foreign(2, &[]);
    take(&mut replica, &kept, &kept_block);
    take(&mut replica, &told, &told_block);
    let silent_from = 20 * INTERVAL_MS;
    let heard = listen(&mut replica, 0, 25 * INTERVAL_MS, |replica, now| {
        // A Go peer announces one of the two, as often as it does.
        if now < silent_from && now % (INTERVAL_MS / 2) == 0 {
            replica.handle_payload(&said(&[&told]), Some("go")).unwrap();
        }
    });
    let of = |cid: &Cid| -> Vec<u64> {
        let with = heard.iter().filter(|(_, cids)| cids.contains(cid));
        with.map(|(at, _)| *at).collect()
    };
    assert!(of(&kept).len() >= 18);
    let first = of(&told)[0];
    // The one before may have heard it just so; the next one has not.
    assert!(
        (silent_from..=silent_from + 2 * INTERVAL_MS * 13 / 10).contains(&first),
        "{first}"
    );
    assert!(of(&told).len() >= 3);
}

#[test]
fn what_lacks_something_below_is_not_announced_and_stands_in_nobodys_way() {
    let mut replica = replica(1);
    let (below, below_block) = foreign(1, &[]);
    let (above, above_block) = foreign(2, std::slice::from_ref(&below));
    let (other, other_block) = foreign(3, &[]);
    take(&mut replica, &above, &above_block);
    take(&mut replica, &other, &other_block);
    let heard = listen(&mut replica, 0, 5 * INTERVAL_MS, |_, _| ());
    assert!(heard.len() >= 3);
    assert!(
        heard
            .iter()
            .all(|(_, cids)| cids == std::slice::from_ref(&other))
    );
    replica.handle_block(&below, &below_block).unwrap();
    let heard = listen(&mut replica, 5 * INTERVAL_MS, 8 * INTERVAL_MS, |_, _| ());
    let mut both = vec![above, other];
    both.sort_unstable();
    for (_, mut cids) in heard {
        cids.sort_unstable();
        assert_eq!(cids, both);
    }
}
