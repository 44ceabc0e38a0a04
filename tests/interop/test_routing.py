"""Blocks that no connected peer has are found by the DHT, in both directions."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import trio

from crdtstats import CRDTStatsStore, wire
from crdtstats.network.routing import Routing
from crdtstats.protocols import CRDTRouter
from tests.interop.driver import GoPeer, meet, until
from tests.interop.heads import text
from tests.network.foreign import foreign_host

StartGo = Callable[..., GoPeer]
OTHER_TOPIC = "/elsewhere/1"
ELEMENT = wire.Element("/STATS/incr/k/writer/generation", "", (5).to_bytes(8, "big"))
BLOCK = wire.encode_node([ELEMENT], priority=1)


@pytest.fixture
def has_block(start_go: StartGo) -> tuple[GoPeer, GoPeer]:
    """A Go peer that has the block and told the DHT so, and another one that keeps the record."""
    has, between = start_go(dht=True, topic=OTHER_TOPIC), start_go(dht=True, topic=OTHER_TOPIC)
    has.call("connect", addr=between.addr)
    cid = has.call("put_block", hex=BLOCK.hex())
    until(lambda: has.call("dht_peers") == 1)
    has.call("provide", cids=[cid])
    until(lambda: between.call("providers", cids=[cid]))
    return has, between


def test_we_find_a_go_peer_that_has_the_block(
    has_block: tuple[GoPeer, GoPeer], start_go: StartGo, open_store: Callable[..., CRDTStatsStore]
) -> None:
    has, between = has_block
    tells = start_go()  # of the head; it has no block, and no DHT
    heads = wire.encode_broadcast([wire.Head(wire.cid(BLOCK))]).hex()
    without = open_store("without", between.addr, tells.addr)
    meet(tells, without)
    tells.call("publish", hex=heads)
    until(lambda: without.status()["wanted"] == 1, what=without.status)
    time.sleep(2.0)
    assert without.get("k") == 0
    store = open_store("ours", between.addr, tells.addr, dht=True)
    meet(tells, store)
    tells.call("publish", hex=heads)
    until(lambda: store.get("k") == 5, 30, what=store.status)
    assert has.peer_id in store.status()["peers"]


def test_the_router_names_those_that_have_it(has_block: tuple[GoPeer, GoPeer]) -> None:
    has, between = has_block
    found: list[str] = []

    async def main() -> None:
        async with (
            foreign_host(SimpleNamespace(node=SimpleNamespace(addrs=between.addrs))) as (host, _),
            trio.open_nursery() as nursery,
        ):
            router = Routing(host, nursery, list)
            assert isinstance(router, CRDTRouter)
            nursery.start_soon(router.run)
            async for peer in router.find_providers(bytes(wire.cid(BLOCK)), 5):
                found.append(peer)
            async for peer in router.find_providers(bytes(wire.cid(BLOCK)), 0):
                found.append(f"too many: {peer}")
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert found == [has.peer_id]


def test_a_go_peer_finds_ours(start_go: StartGo, open_store: Callable[..., CRDTStatsStore]) -> None:
    between = start_go(dht=True, topic=OTHER_TOPIC)
    store = open_store("ours", between.addr, dht=True)
    until(lambda: store.status()["peers"])
    store.increment("k", 7)
    store.flush()
    (head,) = (cid for cid, _ in store._running.engine.heads()[""])
    cid, ours = text(head), store.status()["peer_id"]
    seeks = start_go(dht=True)
    seeks.call("connect", addr=between.addr)
    until(
        lambda: any(p["ID"] == ours for p in seeks.call("providers", cids=[cid]) or []), 20, what=store.status
    )
    assert seeks.call("fetch", 25.0, cids=[cid], timeout=20, session=True)["failed"] == 0
    assert ours in seeks.call("peers")["host"]
