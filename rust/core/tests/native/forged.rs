//! Nodes whose signature does not hold.

use crate::*;

pub fn forged(cases: &mut Cases) {
    let (alice, name) = (alice(), alice().peer_id().to_string());
    let key = counter_key("likes/post1", &alice);
    let base = delta(alice.peer_id(), &name, &key);
    let good = signed(&alice, NATIVE, &link_bytes(1), &delta_bytes(&base));
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
    let raw_under = |domain: &[u8]| -> Vec<u8> {
        let topic_len = (NATIVE.len() as u16).to_be_bytes();
        let message = [domain, &topic_len, NATIVE.as_bytes(), body].concat();
        [body, &[0xaa, 6, 0x40], &alice.sign(&message)].concat()
    };
    cases.add(
        "signed over its bytes under the first domain",
        NATIVE,
        &raw_under(b"crdtstats/node/1"),
        Says::Invalid,
    );
    cases.add(
        "signed over its bytes, not their hash",
        NATIVE,
        &raw_under(b"crdtstats/node/2"),
        Says::Invalid,
    );
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
