"""The Go engine's vectors through ``crdtstats.wire``, with ``multiformats`` as second reader of CIDs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crdtstats import wire
from crdtstats._core import Identity, check_block, cid_of, encode_key_component
from crdtstats.errors import RemoteError, UnavailableError, UsageError

pytest.importorskip("multiformats")
from multiformats import CID

VECTORS = Path(__file__).parents[1] / "vectors"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def elements(listed: list[dict[str, str]]) -> tuple[wire.Element, ...]:
    return tuple(wire.Element(e["key"], e.get("id", ""), bytes.fromhex(e["value"])) for e in listed)


NODES = vectors("nodes.json")
BLOCKS = (
    NODES["leaves"]
    + [case["output"] for case in NODES["cases"]]
    + vectors("session.json")["blocks"]
    + vectors("datastore.json")["blocks"]
)


@pytest.mark.parametrize("described", BLOCKS, ids=range(len(BLOCKS)))
def test_a_node_decodes_and_encodes_byte_for_byte(described: dict[str, Any]) -> None:
    block = bytes.fromhex(described["node"])
    node = wire.decode_node(block, topic="/warpnet/stats/1.0.0")
    assert node.elements == elements(described["elements"])
    assert node.tombstones == elements(described["tombstones"])
    assert node.links == tuple(CID.decode(link["cid"]) for link in described["links"])
    assert (node.priority, node.dag_name) == (described["priority"], described["dag"])
    assert (node.native, node.signature, node.signed_by) == (None, "unsigned", None)
    assert wire.cid(block) == CID.decode(described["cid"])
    assert bytes(wire.cid(block)).hex() == described["cid_hex"]
    for links in (node.links, [bytes(link) for link in node.links]):
        again = wire.encode_node(
            node.elements, links, tombstones=node.tombstones, priority=node.priority, dag_name=node.dag_name
        )
        assert again == block


@pytest.mark.parametrize("case", vectors("broadcasts.json"), ids=lambda case: case["name"])
def test_a_broadcast_encodes_and_decodes_byte_for_byte(case: dict[str, Any]) -> None:
    heads = [wire.Head(CID.decode(head["cid"]), head.get("dag", "")) for head in case["heads"]]
    assert wire.encode_broadcast(heads).hex() == case["payload"]
    assert wire.decode_broadcast(bytes.fromhex(case["payload"])) == heads


def test_the_payloads_of_a_session_decode_and_encode() -> None:
    for payload in map(bytes.fromhex, vectors("session.json")["broadcasts"]):
        assert wire.encode_broadcast(wire.decode_broadcast(payload)) == payload


def test_keys_are_cleaned_as_go_cleans_them() -> None:
    for given, clean in vectors("keys.json").items():
        assert wire.clean_key(given) == clean


@pytest.mark.parametrize("case", vectors("verdicts.json"), ids=lambda case: case["name"])
def test_verdicts_are_gos(case: dict[str, Any]) -> None:
    block, payload, cid = bytes.fromhex(case["node"]), bytes.fromhex(case["payload"]), CID.decode(case["cid"])
    check_block(bytes(cid), block)
    with pytest.raises(RemoteError):
        check_block(bytes(cid), block + b"x")
    prefix = bytes(cid)[: -len(cid.raw_digest)]
    assert cid_of(prefix, block) == bytes(cid)
    if case["applied"]:
        (head,) = wire.decode_broadcast(payload)
        assert isinstance(head.cid, CID)
        assert head.cid.digest == cid.digest
        assert head.dag_name == case["head_in_dag"]
        assert wire.decode_node(block).elements[0].key == case["key"]
    elif case["name"] != "raw codec":
        with pytest.raises(RemoteError):
            wire.decode_broadcast(payload)


def test_conflict_blocks_are_their_operations() -> None:
    for steps in vectors("conflicts.json").values():
        for step in steps:
            block = bytes.fromhex(step["node"])
            check_block(bytes(CID.decode(step["cid"])), block)
            node = wire.decode_node(block)
            puts = [op for op in step["ops"] if op["op"] == "put"]
            deletes = [op for op in step["ops"] if op["op"] == "delete"]
            assert [(e.key, e.value.hex()) for e in node.elements] == [
                (op["key"], op["value"]) for op in puts
            ]
            assert [(e.key, e.id) for e in node.tombstones] == [(op["key"], op["id"]) for op in deletes]


def test_a_block_rides_along_with_its_head() -> None:
    block = wire.encode_node([wire.Element("/k", value=b"\1")], priority=1)
    head = wire.Head(wire.cid(block, hash="blake3"), "dag", block)
    assert wire.decode_broadcast(wire.encode_broadcast([head])) == [head]


@pytest.mark.parametrize(
    "call",
    [
        lambda: wire.encode_node(priority=2**64),
        lambda: wire.encode_node(priority=-1),
        lambda: wire.encode_node([wire.Element("\ud800")]),
        lambda: wire.encode_node(links=[b"no cid"]),
        lambda: wire.encode_node([wire.Element("/k", value=bytes(4 << 20))]),
        lambda: wire.encode_broadcast([wire.Head(wire.cid(b""), block=bytes(1 << 20))]),
        lambda: wire.encode_broadcast([wire.Head(3)]),  # type: ignore[arg-type]
        lambda: wire.cid(b"", hash="sha1"),
        lambda: wire.clean_key("\udfff"),
        lambda: Identity(b"no key"),
    ],
)
def test_a_wrong_argument_is_a_usage_error(call: Any) -> None:
    with pytest.raises(UsageError):
        call()


@pytest.mark.parametrize("data", [b"\x0a", b"\x08\x01", b"\xff" * 20, bytes((4 << 20) + 1)], ids=len)
def test_bad_bytes_are_a_remote_error(data: bytes) -> None:
    for decode in (wire.decode_node, wire.decode_broadcast):
        with pytest.raises(RemoteError):
            decode(data)


def test_a_link_that_multiformats_cannot_name_is_a_remote_error() -> None:
    odd = bytes.fromhex("01ffffff7f0000")
    with pytest.raises(RemoteError, match="multiformats"):
        wire.decode_node(wire.encode_node(links=[odd]))


def test_without_multiformats_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "multiformats", None)
    with pytest.raises(UnavailableError, match=r"crdtstats\[p2p\]"):
        wire.cid(b"")
    assert wire.decode_node(wire.encode_node(priority=3)).priority == 3


def test_an_identity_survives_its_bytes_and_signs_the_same() -> None:
    identity = Identity.generate()
    again = Identity(identity.to_bytes())
    assert again.peer_id == identity.peer_id
    assert again.sign(b"x") == identity.sign(b"x")
    assert Identity.generate().peer_id != identity.peer_id


def test_key_components_hold_no_slash_and_differ() -> None:
    parts = [b"a", b"a/b", b"a%2Fb", b"", b".", b"..", b"%", b"%25", b"\xff", b"%FF", "é".encode()]
    components = [encode_key_component(part) for part in parts]
    assert len(set(components)) == len(parts)
    assert all("/" not in c and wire.clean_key(c) == "/" + c for c in components)
