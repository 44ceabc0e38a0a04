"""Odd values, foreign keys, great heights, thousands of heads, and what hostile peers write."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crdtstats import CRDTStatsStore, Identity, wire
from crdtstats.datastores import MemoryDatastore
from crdtstats.host import LocalHost
from crdtstats.storage import Storage
from tests.interop.driver import GoPeer, put, until
from tests.interop.heads import bytes_of, heads

OpenStore = Callable[..., CRDTStatsStore]
StartGo = Callable[..., GoPeer]


def synced(go: GoPeer, store: CRDTStatsStore) -> None:
    """Wait until what each has written so far has reached the other."""
    go.call("incr", key="mark")
    until(lambda: store.get("mark") == go.call("aggregated", key="mark"), what=store.status)
    store.increment("mark")
    store.flush()
    until(lambda: store.get("mark") == go.call("aggregated", key="mark"), what=store.status)


def test_odd_values_count_as_go_counts_them(pair: tuple[GoPeer, CRDTStatsStore]) -> None:
    go, store = pair
    values = {
        "none": "",
        "short": "0102",
        "seven": "01" * 7,
        "eight": "0000000000000007",
        "long": "0000000000000009ff00",
        "great": "7fffffffffffffff",
    }
    put(go, **{f"/STATS/incr/odd/{name}/writer/generation": value for name, value in values.items()})
    put(go, **{"/STATS/decr/odd/eight/writer/generation": "0000000000000010"})  # below 0: shown as 0
    synced(go, store)
    for key in ("odd", *(f"odd/{name}" for name in values)):
        assert store.get_aggregated_stat(key) == go.call("aggregated", key=key), key
    assert store.get("odd/eight") == -9


def test_keys_outside_the_counters_are_kept_and_served_and_not_counted(
    pair: tuple[GoPeer, CRDTStatsStore], start_go: StartGo
) -> None:
    go, store = pair
    foreign = {
        "/other/incr/k/writer/generation": "0000000000000001",
        "/STATS/else/k/writer/generation": "0000000000000002",
        "/STATS/incr": "0000000000000003",
        "/STATS/incr/short": "0000000000000004",
        "/users/alice": b"name".hex(),
    }
    put(go, **foreign)
    synced(go, store)
    assert store.total("k") == 0
    assert store.get_aggregated_stat("") >= 2
    go.kill()
    late = start_go()  # what it shows of them it can only have from us
    late.call("connect", addr=store.addrs[0])
    until(lambda: late.call("query", key="/users") == {"/users/alice": foreign["/users/alice"]})
    assert late.call("query", key="/other") != {}
    assert late.call("query", key="/STATS/else") != {}
    late.assert_healthy()


def test_keys_of_more_than_a_kilobyte_are_read(pair: tuple[GoPeer, CRDTStatsStore]) -> None:
    go, store = pair
    key = "/".join(["x" * 200] * 8)
    go.call("count", counts={key: [3, 1]})
    until(lambda: store.get_aggregated_stat("x" * 200) == 2, what=store.status)
    store.increment("after")
    until(lambda: go.call("aggregated", key="after") == 1)
    go.assert_healthy()


def announce(go: GoPeer, *blocks: bytes) -> None:
    for block in blocks:
        go.call("put_block", hex=block.hex())
    for start in range(0, len(blocks), 5000):
        part = [wire.Head(wire.cid(block)) for block in blocks[start : start + 5000]]
        go.call("publish", hex=wire.encode_broadcast(part).hex())


def element(key: str, value: int) -> wire.Element:
    return wire.Element(f"/STATS/incr/{key}", "", value.to_bytes(8, "big"))


@pytest.mark.parametrize("priority", [2**62, 2**62 + 1, 2**64 - 1])
def test_a_node_at_a_great_height_is_read_and_stops_nobody(
    priority: int, pair: tuple[GoPeer, CRDTStatsStore]
) -> None:
    go, store = pair
    node = store_only = wire.encode_node([element("k/writer/generation", 5)], priority=priority)
    if priority == 2**62:
        announce(go, node)
    else:  # a Go peer could not write above the greatest height: only we are shown it
        store._running.replicator._deliver(bytes(wire.cid(store_only)), store_only, None)
        store._running.replicator.receive(wire.encode_broadcast([wire.Head(wire.cid(store_only))]))
        store._running.engine.ring()
        go.call("put_block", hex=node.hex())
    until(lambda: store.get("k") == 5, what=store.status)
    store.increment("k", 2)
    store.flush()
    until(lambda: go.call("aggregated", key="k") == store.get("k") == 7)


def five_thousand_heads(go: GoPeer, store: CRDTStatsStore) -> None:
    """Announced by Go, and read by us."""
    blocks = [wire.encode_node([element(f"many/{n}/writer/g", 1)], priority=1) for n in range(5000)]
    announce(go, *blocks)
    until(lambda: store.total("many") == 5000, 40, what=store.status)
    assert store.status()["heads"] == 5000


def test_five_thousand_heads_are_read_and_one_node_links_to_them_all(
    pair: tuple[GoPeer, CRDTStatsStore],
) -> None:
    go, store = pair
    five_thousand_heads(go, store)
    go.call("incr", key="own", timeout_s=30)  # its node links to them all
    until(lambda: store.get("own") == 1, 30, what=store.status)
    assert len(heads(store)) == 1
    go.assert_healthy()


def test_five_thousand_heads_become_one_by_what_we_write(pair: tuple[GoPeer, CRDTStatsStore]) -> None:
    go, store = pair
    five_thousand_heads(go, store)
    for _ in range(2):  # none of our nodes has more than 4096 links
        store.increment("own")
        store.flush()
    assert len(heads(store)) == 1
    until(lambda: go.call("aggregated", key="own") == 2, 30, what=lambda: go.call("status")["queued"])
    go.assert_healthy()
    assert store.status()["network"]["child"]["blamed"] == {}


def counted_by_us(go: GoPeer, store: CRDTStatsStore) -> str:
    """3 under ``k``, which Go has read; gives its full key there."""
    store.increment("k", 3)
    store.flush()
    until(lambda: go.call("aggregated", key="k") == 3)
    (key,) = go.call("query", key="/STATS/incr/k")
    return str(key)


def test_what_is_forged_in_the_name_of_ours_is_refused(
    pair: tuple[GoPeer, CRDTStatsStore],
) -> None:
    go, store = pair
    key = counted_by_us(go, store)
    forged = wire.encode_node([wire.Element(key, "", (1000).to_bytes(8, "big"))], priority=9)
    victim = LocalHost(Identity.generate()).peer_id
    signed_generation = f"/STATS/incr/k/{victim}/73696731{'0' * 24}"
    other = wire.encode_node([wire.Element(signed_generation, "", (1000).to_bytes(8, "big"))], priority=9)
    honest = wire.encode_node([element("k/go/generation", 4)], priority=10)
    announce(go, forged, other, honest)
    until(lambda: store.get("k") == 7, what=store.status)
    time.sleep(0.3)
    assert store.get("k") == 7
    assert store.status()["dropped"] == {"element-not-the-owner": 2}
    assert store.status()["peers"] == [go.peer_id]  # the peer only carried it


def test_each_hostile_node_is_refused_under_its_own_reason(
    pair: tuple[GoPeer, CRDTStatsStore],
) -> None:
    go, store = pair
    key = counted_by_us(go, store)
    (head,) = heads(store)
    ours = store._running._storage.block(bytes_of(head))
    assert ours is not None
    # Signed for another topic: by a peer of another network, whose node somebody carries over.
    mallory, victim = LocalHost(Identity.generate()), LocalHost(Identity.generate())
    datastore = MemoryDatastore()
    with CRDTStatsStore(None, datastore, victim, topic="/other", native=False, threads=False) as elsewhere:
        elsewhere.increment("k", 1000)
        elsewhere.flush()
        ((_, foreign),) = Storage(datastore).blocks()
    links = wire.decode_node(ours).links
    plain = [wire.Element(key, "", (1).to_bytes(8, "big"))]
    removing = [wire.Element(key, element_id(ours), b"")]
    announce(
        go,
        foreign,
        ours[:-1] + bytes([ours[-1] ^ 1]),  # a forged signature
        ours + LINK,  # ours, put into another form
        wire.encode_node(plain, links, priority=9),  # what is ours in a node of somebody else
        wire.encode_node([], links, tombstones=removing, priority=10),
        wire.encode_node([element(f"k/{mallory.peer_id}/generation", 4)], links, priority=11),
    )
    until(lambda: store.get("k") == 7, what=store.status)
    until(lambda: store.status()["blocks"] == 7, what=store.status)
    assert store.status()["dropped"] == {
        "node-bad-signature": 2,
        "node-signature-out-of-place": 1,
        "element-not-the-owner": 4,
        "tombstone-of-signed": 1,
    }
    assert store.get("k") == 7
    assert store.status()["network"]["child"]["blamed"] == {}  # the peer only carried it
    # What Go takes of it, it shows for a moment only.
    until(
        lambda: go.call("query", key="/STATS/incr/k")[key] == (3).to_bytes(8, "big").hex(), what=store.status
    )


def element_id(block: bytes) -> str:
    multihash = bytes(wire.cid(block))[2:]  # version 1, dag-pb
    return "/" + base64.b32encode(multihash).decode().rstrip("=")


LINK = bytes.fromhex("1228" + "0a22" + "1220" + "07" * 32 + "1200" + "1800")
"""A link to a block that nobody has."""


def test_a_removed_key_of_another_kind_stops_nothing(pair: tuple[GoPeer, CRDTStatsStore]) -> None:
    go, store = pair
    put(go, **{"/users/alice": "01"})
    until(lambda: store.entry("/users/alice") == b"\x01", what=store.status)
    go.call("batch", ops=[{"op": "delete", "key": "/users/alice", "value": ""}])
    synced(go, store)
    assert go.call("query", key="/users") == {}
    until(lambda: store.entry("/users/alice") is None, what=store.status)
    go.assert_healthy()


def test_every_prefix_of_the_vectors_reads_as_in_the_live_engine(pair: tuple[GoPeer, CRDTStatsStore]) -> None:
    go, store = pair
    file = json.loads((Path(__file__).parents[1] / "vectors" / "prefixes.json").read_text("utf-8"))
    put(go, **file["counters"])
    synced(go, store)
    for prefix, total in file["aggregated"].items():
        assert store.get_aggregated_stat(prefix) == go.call("aggregated", key=prefix), prefix
        assert not prefix or store.get_aggregated_stat(prefix) == total, prefix  # all: our marks too
