//! Nodes that a replica writes, and some that it could have signed but would not write.

use crate::*;

pub fn honest(cases: &mut Cases) {
    let (alice, name) = (alice(), alice().peer_id().to_string());
    let key = counter_key("likes/post1", &alice);
    let base = delta(alice.peer_id(), &name, &key);
    let sign = |links: &[Cid], delta: &Delta<'_>, topic| {
        let signed = node::encode_signed(links, delta, &alice, topic, HashKind::Blake3);
        signed.unwrap().1
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
