"""The topic, both ways: what a node of ours says arrives at the Go engine as it is, and the other way round."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import crdtstats
from crdtstats import wire
from crdtstats.network.client import PAYLOAD_BYTES_MAX
from crdtstats.settings import WARPNET_TOPIC
from tests.interop.driver import GoPeer, meet, until
from tests.network.conftest import Peer, new_identity


@pytest.fixture
def pair(start_go: Callable[..., GoPeer], closing: Any) -> tuple[GoPeer, Peer]:
    """A Go peer, and a node of ours without a store that is connected to it and subscribed."""
    go = start_go(rebroadcast="1s")
    node = Peer(identity=new_identity(), topic=WARPNET_TOPIC, peers=[go.addr])
    closing.callback(node.node.close)
    node.start()
    until(lambda: go.call("publish", hex="") or node.messages)  # from here on they hear each other
    time.sleep(0.1)
    node.messages.clear()
    return go, node


def one_element(key: str, value: int, **more: Any) -> bytes:
    return wire.encode_node([wire.Element(key, "", value.to_bytes(8, "big"))], priority=1, **more)


def shows(go: GoPeer, prefix: str, count: int) -> None:
    until(lambda: len(go.call("query", key=prefix)) == count, what=lambda: go.call("query", key=prefix))


def test_a_hundred_payloads_of_all_sizes_arrive_both_ways(pair: tuple[GoPeer, Peer]) -> None:
    go, node = pair
    go.troubled = True  # most of these are no broadcasts
    sizes = [1 + 97 * n for n in range(98)] + [300_000, PAYLOAD_BYTES_MAX]
    payloads = [bytes([255, n]) + b"\7" * (size - 2) if size > 1 else b"\1" for n, size in enumerate(sizes)]
    for payload in payloads:
        node.node.publish_raw(WARPNET_TOPIC, payload)
    until(lambda: len(go.received(node.node.peer_id)) == 100, 20)
    assert sorted(go.received(node.node.peer_id)) == sorted(payloads)
    for payload in payloads:
        go.call("publish", hex=payload.hex())
        time.sleep(0.01)  # a Go peer's queues are 32 deep: a burst loses messages there
    until(lambda: len(theirs(go, node)) >= 100, 20)
    assert sorted(theirs(go, node)) == sorted(payloads)


def theirs(go: GoPeer, node: Peer) -> list[bytes]:
    return [data for data, peer in node.messages if peer == go.peer_id]


def test_the_engine_announces_its_heads_and_we_fetch_them(pair: tuple[GoPeer, Peer]) -> None:
    go, node = pair
    go.call("incr", key="k")
    until(lambda: any(wire.decode_broadcast(data) for data in theirs(go, node)))
    (head,) = wire.decode_broadcast(theirs(go, node)[0])
    assert head.dag_name == ""
    node.node.exchange.want([bytes(head.cid)], [go.peer_id])
    node.wait_blocks([bytes(head.cid)])
    (element,) = wire.decode_node(node.got[bytes(head.cid)][0]).elements
    assert element.key == f"/STATS/incr/k/{go.peer_id}/{go.generation}"
    assert element.value == (1).to_bytes(8, "big")


def test_the_engine_takes_several_heads_named_ones_and_a_legacy_one(pair: tuple[GoPeer, Peer]) -> None:
    go, node = pair
    blocks = [one_element(f"/STATS/incr/k/{n}/g", n) for n in range(1, 6)]
    cids = node.put(*blocks)
    heads = [wire.Head(cids[0]), wire.Head(cids[1]), wire.Head(cids[2], "named")]
    node.node.publish_raw(WARPNET_TOPIC, wire.encode_broadcast(heads))
    shows(go, "/STATS/incr/k", 3)
    # A block may ride along with its head: the engine passes over it, and fetches.
    node.node.publish_raw(WARPNET_TOPIC, wire.encode_broadcast([wire.Head(cids[3], "", blocks[3])]))
    shows(go, "/STATS/incr/k", 4)
    legacy = cids[4][2:]
    node.blocks[legacy] = blocks[4]
    node.node.publish_raw(WARPNET_TOPIC, legacy)
    shows(go, "/STATS/incr/k", 5)
    assert go.call("aggregated", key="k") == 15
    go.assert_healthy()


def test_a_store_takes_several_heads_named_ones_and_a_legacy_one(
    start_go: Callable[..., GoPeer], open_store: Callable[..., crdtstats.CRDTStatsStore]
) -> None:
    go = start_go()
    store = open_store("ours", go.addr)
    meet(go, store)
    blocks = [one_element(f"/STATS/incr/k/{n}/g", n, dag_name="" if n != 3 else "named") for n in range(1, 6)]
    texts = [go.call("put_block", hex=block.hex()) for block in blocks]
    cids = [bytes(wire.cid(block)) for block in blocks]
    assert texts == [str(wire.cid(block)) for block in blocks]
    heads = [wire.Head(cids[0]), wire.Head(cids[1]), wire.Head(cids[2], "named"), wire.Head(cids[3])]
    go.call("publish", hex=wire.encode_broadcast(heads).hex())
    until(lambda: store.get("k") == 10, what=store.status)
    go.call("publish", hex=cids[4][2:].hex())
    until(lambda: store.get("k") == 15, what=store.status)
    assert {name: len(of) for name, of in store._running.engine.heads().items()} == {"": 4, "named": 1}
    assert store.status()["dropped"] == {}


def test_meshsub_is_spoken_in_all_versions_and_nothing_in_the_clear(pair: tuple[GoPeer, Peer]) -> None:
    go, node = pair
    protocols = go.call("protocols", peer=node.node.peer_id)
    assert {"/meshsub/1.0.0", "/meshsub/1.1.0", "/meshsub/1.2.0", "/ipfs/bitswap/1.2.0"} <= set(protocols)
