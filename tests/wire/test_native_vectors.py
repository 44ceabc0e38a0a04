"""Our own part of the wire: the frozen vectors, read by the package and by an independent decoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crdtstats import wire
from crdtstats.errors import RemoteError
from tests.wire import native_decoder

pytest.importorskip("multiformats")
from multiformats import CID

FILE = json.loads((Path(__file__).parents[1] / "vectors" / "native.json").read_text())
CASES = FILE["cases"]
each_case = pytest.mark.parametrize("case", CASES, ids=[case["name"].replace(" ", "-") for case in CASES])


def entries(elements: list[dict[str, str]]) -> list[tuple[str, str, bytes]]:
    return [(e["key"], e["id"], bytes.fromhex(e["value"])) for e in elements]


@each_case
def test_the_independent_decoder_says_what_the_vector_says(case: dict[str, Any]) -> None:
    block = bytes.fromhex(case["node"])
    if not case["decodes"]:
        with pytest.raises(native_decoder.Undecodable):
            native_decoder.decode(block)
        return
    node = native_decoder.decode(block)
    word, author = native_decoder.signature(block, node, case["topic"])
    assert (word, author) == (case["signature"], case["author"])
    assert native_decoder.is_exact_form(block, node) == case["exact_form"]
    assert (node.native is not None and node.native["newer"]) == case["from_newer_version"]
    assert [str(CID.decode(link).set(base="base32")) for link in node.links] == case["links"]
    assert node.elements == entries(case["elements"])
    assert node.tombstones == entries(case["tombstones"])
    assert (node.priority, node.dag) == (case["priority"], case["dag"])
    assert native_decoder.counted(node, author, case["topic"]) == case["counted"]
    if case["native"] is None:
        assert node.native is None
        return
    assert node.native is not None
    assert node.native["author"].hex() == case["native"]["author"]
    for name in ("sequence", "kind", "chunk_count"):
        assert node.native[name] == case["native"][name]
    if len(node.native["section"]) == 16:
        assert node.native["section"].hex() == case["native"]["section"]


@each_case
def test_the_package_says_what_the_vector_says(case: dict[str, Any]) -> None:
    block = bytes.fromhex(case["node"])
    hash = "sha2-256" if case["topic"] == "/warpnet/stats/1.0.0" else "blake3"
    assert str(wire.cid(block, hash=hash)) == case["cid"]
    if not case["decodes"]:
        with pytest.raises(RemoteError):
            wire.decode_node(block, topic=case["topic"])
        return
    node = wire.decode_node(block, topic=case["topic"])
    assert (node.signature, node.signed_by) == (case["signature"], case["author"])
    assert node.exact_form == case["exact_form"]
    assert (node.native is not None and node.native.from_newer_version) == case["from_newer_version"]
    assert [str(link) for link in node.links] == case["links"]
    assert [(e.key, e.id, e.value) for e in node.elements] == entries(case["elements"])
    assert (node.priority, node.dag_name) == (case["priority"], case["dag"])
    if case["native"] is not None:
        assert node.native is not None
        assert node.native.author.hex() == case["native"]["author"]
        assert node.native.sequence == case["native"]["sequence"]


def test_the_vectors_hold_each_verdict_many_times() -> None:
    verdicts = [case.get("signature") for case in CASES]
    assert all(verdicts.count(word) >= 5 for word in ("valid", "unsigned", "invalid", None))
    assert sum(case.get("from_newer_version", False) for case in CASES) >= 5


def test_without_a_topic_nothing_is_said_about_the_signature() -> None:
    node = wire.decode_node(bytes.fromhex(CASES[0]["node"]))
    assert (node.signature, node.signed_by) == (None, None)
