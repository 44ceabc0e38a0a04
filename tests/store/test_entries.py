"""What Go shows under raw keys, through the public API: the engine's own conflicts, restarts, and what is not kept."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from crdtstats import Identity, wire
from crdtstats.datastores import MemoryDatastore
from crdtstats.errors import ClosedError, DataError, UnavailableError, UsageError
from crdtstats.host import LocalHost
from crdtstats.settings import WARPNET_TOPIC
from crdtstats.store import CRDTStatsStore

VECTORS = Path(__file__).parents[1] / "vectors"
CONFLICTS: dict[str, list[dict[str, Any]]] = json.loads((VECTORS / "conflicts.json").read_text("utf-8"))


class Peer:
    """A store without a network, to which blocks are handed as if they came from one."""

    def __init__(self, datastore: MemoryDatastore, *, native: bool = False) -> None:
        self.now_s = 0.0
        self.store = CRDTStatsStore(
            None,
            datastore,
            LocalHost(Identity.generate()),
            topic=WARPNET_TOPIC,
            native=native,
            threads=False,
            clock=lambda: self.now_s,
        )

    def give(self, block: bytes, dag_name: str = "") -> None:
        cid = wire.cid(block)
        replicator = self.store._running.replicator
        replicator.receive(wire.encode_broadcast([wire.Head(cid, dag_name)]))
        replicator._deliver(bytes(cid), block, None)
        self.settle()

    def settle(self) -> None:
        for _ in range(4):  # merged, asked for again, given, counted
            self.now_s += 100.0
            self.store.step(self.now_s)


def put(key: str, value: bytes, priority: int = 1) -> bytes:
    return wire.encode_node([wire.Element(key, "", value)], priority=priority)


def element_id(block: bytes) -> str:
    multihash = bytes(wire.cid(block))[2:]  # version 1, dag-pb
    return "/" + base64.b32encode(multihash).decode().rstrip("=")


def delete(*of: tuple[str, bytes]) -> bytes:
    tombstones = [wire.Element(key, element_id(block), b"") for key, block in of]
    return wire.encode_node([], tombstones=tombstones, priority=9)


@pytest.mark.parametrize("name", CONFLICTS)
def test_conflicts_are_decided_as_the_engine_decides_them(name: str) -> None:
    datastore = MemoryDatastore()
    peer = Peer(datastore)
    held: dict[str, bytes] = {}
    for step in CONFLICTS[name]:
        block = bytes.fromhex(step["node"])
        held[step.get("name", "")] = block
        for given in [block][step.get("hold", False) :] + [held[of] for of in step.get("then", [])]:
            peer.give(given, step.get("dag", ""))
        shown = peer.store.entry(f"/{name}/k")
        assert (None if shown is None else shown.hex()) == step["value"]
        assert peer.store.total() == 0
    peer.store.close()
    again = Peer(datastore)
    assert again.store.entry(f"{name}/./k") == shown
    again.store.close()


def test_a_removed_counter_is_right_before_anybody_reads() -> None:
    datastore = MemoryDatastore()
    key = "/STATS/incr/k/w/g"
    nodes = [put(key, (value).to_bytes(8, "big")) for value in (5, 3)]
    peer = Peer(datastore)
    for node in nodes:
        peer.give(node)
    assert peer.store.get("k") == 5
    peer.give(delete((key, nodes[0])))
    assert peer.store.get("k") == 3
    peer.store.close()
    for value in (3, 0):
        peer = Peer(datastore)
        assert (peer.store.get("k"), peer.store.status()["recounting"]) == (value, 0)
        peer.give(delete((key, nodes[1])))
        assert peer.store.get("k") == 0
        peer.store.close()


def test_a_datastore_that_refuses_holds_the_old_value_until_it_answers() -> None:
    datastore = MemoryDatastore()
    peer = Peer(datastore)
    node = put("/STATS/incr/k/w/g", (5).to_bytes(8, "big"))
    peer.give(node)
    get, datastore.get = datastore.get, _refuse  # type: ignore[method-assign]
    peer.give(delete(("/STATS/incr/k/w/g", node)))
    assert (peer.store.get("k"), peer.store.status()["recounting"]) == (5, 1)
    datastore.get = get  # type: ignore[method-assign]
    peer.settle()
    assert (peer.store.get("k"), peer.store.status()["recounting"]) == (0, 0)
    peer.store.close()


def test_a_damaged_block_holds_the_old_value_and_no_flush() -> None:
    datastore = MemoryDatastore()
    peer = Peer(datastore)
    key = "/STATS/incr/k/w/g"
    five, three = (put(key, value.to_bytes(8, "big")) for value in (5, 3))
    for node in (five, three):
        peer.give(node)
    get = datastore.get

    def damaged(key: str) -> bytes:
        value = get(key)
        if value == three:
            raise DataError("injected: it is cut", key=key)
        return value

    datastore.get = damaged  # type: ignore[method-assign]
    peer.give(delete((key, five)))
    peer.store.increment("mine", 2)
    peer.settle()
    status = peer.store.status()
    assert (peer.store.get("k"), status["recounting"], status["dirty"]) == (5, 1, 0)
    datastore.get = get  # type: ignore[method-assign]
    peer.settle()
    assert (peer.store.get("k"), peer.store.status()["recounting"]) == (3, 0)
    peer.store.close()


def _refuse(_key: str) -> bytes:
    raise UnavailableError("the disk is busy")


def test_what_is_not_kept_is_refused_by_name() -> None:
    peer = Peer(MemoryDatastore())
    peer.store.increment("k", 3)
    peer.store.flush()
    replica = peer.store.status()["peer_id"]
    assert peer.store.entry(f"/STATS/incr/k/{replica}/{'7369673100' * 3}00") is None
    for key in ("/STATS/incr/k/w/g", "/STATS/incr/k", "/STATS/decr/x/y"):
        with pytest.raises(UsageError, match="another replica"):
            peer.store.entry(key)
    peer.store.close()
    with pytest.raises(ClosedError):
        peer.store.entry("/x")
    native = Peer(MemoryDatastore(), native=True)
    with pytest.raises(UsageError, match="native"):
        native.store.entry("/x")
    native.store.close()
