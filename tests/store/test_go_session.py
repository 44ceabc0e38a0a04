"""What the Go engine wrote, read through the public API."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from crdtstats import Identity, wire
from crdtstats.datastores import MemoryDatastore
from crdtstats.host import LocalHost
from crdtstats.settings import WARPNET_TOPIC
from crdtstats.storage import Storage
from crdtstats.store import CRDTStatsStore

VECTORS = Path(__file__).parents[1] / "vectors"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text("utf-8"))


def open_with(blocks: list[tuple[bytes, bytes]]) -> CRDTStatsStore:
    datastore = MemoryDatastore()
    Storage(datastore).put_blocks(blocks)
    host = LocalHost(Identity.generate())
    return CRDTStatsStore(None, datastore, host, topic=WARPNET_TOPIC, native=False, threads=False)


@pytest.mark.parametrize("seed", range(20))
def test_the_blocks_of_a_session_give_its_heads_and_aggregates(seed: int) -> None:
    session = vectors("session.json")
    blocks = [(bytes.fromhex(b["cid_hex"]), bytes.fromhex(b["node"])) for b in session["blocks"]]
    random.Random(seed).shuffle(blocks)
    with open_with(blocks) as stats:
        for prefix, total in session["aggregated"].items():
            assert stats.get_aggregated_stat(prefix) == total
        heads = stats._running.engine.heads()
        found = {(dag, cid, height) for dag, of_dag in heads.items() for cid, height in of_dag}
        cids = {b["cid"]: bytes.fromhex(b["cid_hex"]) for b in session["blocks"]}
        assert found == {(h["dag"], cids[h["cid"]], h["height"]) for h in session["heads"]}
        counters = sum(1 for e in session["entries"] if e["key"].startswith("/STATS/"))
        assert counters == 4
        assert stats.status()["sub_counters"] == 3  # one of them has both sides


def test_prefixes_aggregate_as_in_go() -> None:
    file = vectors("prefixes.json")
    blocks = []
    for key, value in file["counters"].items():
        element = wire.Element(key, "", bytes.fromhex(value))
        block = wire.encode_node([element], priority=1)
        blocks.append((bytes(wire.cid(block)), block))
    with open_with(blocks) as stats:
        for prefix, total in file["aggregated"].items():
            assert stats.get_aggregated_stat(prefix) == total
