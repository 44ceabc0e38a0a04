//! Nodes with the same content in another form, and those of a newer version.

use crate::*;

pub fn reframed(cases: &mut Cases) {
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

pub fn newer(cases: &mut Cases) {
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
