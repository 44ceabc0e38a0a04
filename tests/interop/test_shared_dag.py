"""The one DAG that all write: many heads, writers at once, links to each other, blocks that nobody has."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crdtstats import CRDTStatsStore, wire
from tests.interop.driver import GoPeer, meet, until
from tests.interop.heads import heads, text

OpenStore = Callable[..., CRDTStatsStore]
StartGo = Callable[..., GoPeer]

FLUSHES = 1000


def connect_all(peers: list[GoPeer]) -> None:
    for n, peer in enumerate(peers):
        for other in peers[:n]:
            peer.call("connect", addr=other.addr)
    until(lambda: all(len(peer.call("peers")["topic"] or []) >= len(peers) - 1 for peer in peers))


def same_heads(store: CRDTStatsStore, *peers: GoPeer) -> None:
    """Wait until our heads are heads everywhere. A Go peer that received a fork keeps replaced ones as well."""
    until(
        lambda: all(set(heads(store)) <= set(peer.call("status")["heads"]) for peer in peers),
        what=lambda: (heads(store), store.status(), [len(peer.call("status")["heads"]) for peer in peers]),
    )


def test_several_go_peers_write_at_once_and_we_keep_their_heads(
    start_go: StartGo, open_store: OpenStore
) -> None:
    peers = [start_go(rebroadcast="1s") for _ in range(3)]
    connect_all(peers)
    early = open_store("early", peers[0].addr)
    until(lambda: peers[0].call("peers")["topic"] and early.status()["peers"])
    answers = [peer.begin("incr", key=f"k/{n}", n=100) for n, peer in enumerate(peers)]
    for answer in answers:
        answer.result(20)
    late = open_store("late", peers[1].addr)
    for store in (early, late):
        until(lambda store=store: store.total("k") == 300, what=store.status)
        assert store.children("k") == {"0": 100, "1": 100, "2": 100}
        until(lambda store=store: store.status()["blocks"] == 300, what=store.status)  # all below the heads
    same_heads(early, *peers)
    same_heads(late, *peers)
    # What we write links to all heads, so it is the only one afterwards; what Go writes then links to ours.
    late.increment("k/3", 5)
    late.flush()
    same_heads(late, *peers)
    assert len(heads(late)) == 1
    peers[2].call("incr", key="k/2")
    until(lambda: early.total("k") == late.total("k") == 306, what=early.status)
    same_heads(early, *peers)
    assert len(heads(early)) == 1
    for peer in peers:
        peer.assert_healthy()


def test_one_writer_at_full_rate_leaves_one_head(start_go: StartGo, open_store: OpenStore) -> None:
    """At the writer, at a reader that hears each flush, and at one that joins late and walks back. A Go peer that
    receives the same keeps replaced heads as well."""
    go = start_go()
    writer = open_store("writer", go.addr, flush_interval_s=60.0)
    reader = open_store("reader", go.addr, *writer.addrs)
    until(lambda: len(go.call("peers")["topic"] or []) == 2)
    stores, most = [writer, reader], {writer: 0, reader: 0}
    began = time.monotonic()
    for flush in range(FLUSHES):
        writer.increment("k")
        writer.flush()
        if flush == FLUSHES // 2:
            late = open_store("late", go.addr, *writer.addrs)
            stores.append(late)
            most[late] = 0
        for store in stores:
            most[store] = max(most[store], len(heads(store)))
    took_s = time.monotonic() - began
    for store in stores:
        until(lambda store=store: store.get("k") == FLUSHES, what=store.status)
        until(lambda store=store: store.status()["blocks"] == FLUSHES, 30, what=store.status)
        most[store] = max(most[store], len(heads(store)))
        assert len(heads(store)) == 1
    until(lambda: go.call("aggregated", key="k") == FLUSHES, 60, what=lambda: go.call("status"))
    same_heads(stores[-1], go)
    print(
        f"{FLUSHES} flushes in {took_s:.1f} s; heads at most: writer {most[writer]}, reader {most[reader]}, "
        f"late {most[stores[-1]]}; Go has {len(go.call('status')['heads'])}"
    )
    assert set(most.values()) == {1}
    go.assert_healthy()


def test_all_our_sub_counters_show_in_a_query(start_go: StartGo, open_store: OpenStore) -> None:
    go = start_go()
    store = open_store("ours", go.addr)
    meet(go, store)
    store.update({f"many/{n}": n - 500 for n in range(1000)})
    store.flush()
    until(lambda: len(go.call("query", key="/STATS/incr/many")) == 499)
    until(lambda: len(go.call("query", key="/STATS/decr/many")) == 500)
    (key,) = go.call("query", key="/STATS/incr/many/999")
    _, _, _, _, _, replica, generation = key.split("/")
    assert replica == store.status()["peer_id"]
    assert generation.startswith("73696731")
    assert go.call("query", key="/STATS/incr/many/999")[key] == (499).to_bytes(8, "big").hex()
    for key in ("many", "many/1", "many/501", "none"):
        assert go.call("aggregated", key=key) == store.get_aggregated_stat(key)
    go.assert_healthy()


def node(key: str, value: int, *links: bytes, priority: int = 1) -> bytes:
    element = wire.Element(f"/STATS/incr/{key}/writer/generation", "", value.to_bytes(8, "big"))
    return wire.encode_node([element], links, priority=priority)


def test_a_block_that_nobody_has_holds_up_nothing_and_is_fetched_once_there_is_one(
    start_go: StartGo, open_store: OpenStore
) -> None:
    go = start_go()
    store = open_store("ours", go.addr)
    meet(go, store)
    lowest = node("lowest", 1)
    upper = node("upper", 2, bytes(wire.cid(lowest)), priority=2)
    go.call("put_block", hex=upper.hex())
    go.call("publish", hex=wire.encode_broadcast([wire.Head(wire.cid(upper))]).hex())
    until(lambda: store.get("upper") == 2, what=store.status)
    store.increment("other", 3)
    go.call("incr", key="other")
    until(lambda: store.get("other") == go.call("aggregated", key="other") == 4)
    # Nothing is announced that a Go peer could not walk: not this head, and no node of ours above it.
    assert text(bytes(wire.cid(upper))) not in heads(store)
    assert store.status()["missing"] == 1
    time.sleep(1.0)
    announced = [
        bytes(head.cid)
        for payload in go.received(store.status()["peer_id"])
        for head in wire.decode_broadcast(payload)
    ]
    assert bytes(wire.cid(upper)) not in announced
    go.call("put_block", hex=lowest.hex())
    until(lambda: store.get("lowest") == 1, what=store.status)
    until(lambda: store.status()["missing"] == 0)
    # Go's own node already links to the upper one; ours, written meanwhile, does not.
    until(lambda: len(heads(store)) == 2, what=store.status)
    same_heads(store, go)
    go.assert_healthy()


def test_what_stands_on_a_block_that_is_no_node_is_a_head_after_a_restart_too(
    start_go: StartGo, open_store: OpenStore
) -> None:
    """Go takes the node above such a block and builds on it, so what it writes has to be announced by us as well."""
    first = start_go()
    first.troubled = True
    store = open_store("ours", first.addr)
    meet(first, store)
    junk = b"no node, whoever reads it"
    upper = node("upper", 2, bytes(wire.cid(junk)), priority=2)
    for block in (junk, upper):
        first.call("put_block", hex=block.hex())
    first.call("publish", hex=wire.encode_broadcast([wire.Head(wire.cid(upper))]).hex())
    until(lambda: text(bytes(wire.cid(upper))) in first.call("status")["heads"])
    first.call("incr", key="go", n=3)
    until(lambda: (store.get("upper"), store.get("go")) == (2, 3), what=store.status)
    until(lambda: store.status()["missing"] == 0, what=store.status)
    assert heads(store) == first.call("status")["heads"]
    known = heads(store)
    store.close()
    first.kill()
    again = open_store("ours")  # alone: nobody gives the junk once more
    status = again.status()
    assert (heads(again), status["missing"], status["wanted"]) == (known, 0, 0)
    again.close()
    second = start_go()  # knows nothing, and only we are left to tell it
    second.troubled = True
    last = open_store("ours", second.addr)
    until(lambda: (second.call("aggregated", key="upper"), second.call("aggregated", key="go")) == (2, 3))
    last.increment("ours")
    last.flush()
    assert len(heads(last)) == 1
    same_heads(last, second)


def test_a_walk_goes_on_after_a_restart(start_go: StartGo, open_store: OpenStore) -> None:
    go = start_go()
    go.call("incr", key="k", n=1000, timeout_s=30)
    store = open_store("ours", go.addr)
    until(lambda: store.status()["blocks"] > 0, what=store.status)
    store.close()
    again = open_store("ours")  # alone: what it has is kept, and it knows what it lacks
    kept = again.status()
    assert kept["blocks"] > 0
    assert again.total("k") == 1000  # the newest block says it all
    again.close()
    last = open_store("ours", go.addr)
    until(lambda: last.status()["blocks"] == 1000, 30, what=last.status)
    assert last.status()["missing"] == 0
    same_heads(last, go)
    go.assert_healthy()


def test_identity_cids_are_read_in_line(start_go: StartGo, open_store: OpenStore) -> None:
    """A link to an identity CID holds its node itself; boxo takes up to 128 bytes, and asks nobody."""
    go = start_go()
    store = open_store("ours", go.addr)
    meet(go, store)
    inner = node("in", 3)
    identity = b"\x01\x70\x00" + bytes([len(inner)]) + inner
    outer = node("out", 4, identity, priority=2)
    go.call("put_block", hex=outer.hex())
    payload = wire.encode_broadcast([wire.Head(wire.cid(outer))])
    go.call("publish", hex=payload.hex())
    until(lambda: (store.get("out"), store.get("in")) == (4, 3), what=store.status)


def test_after_a_restart_we_announce_only_what_we_serve(
    start_go: StartGo, open_store: OpenStore, tmp_path: Path
) -> None:
    first = start_go()
    store = open_store("ours", first.addr)
    until(lambda: first.call("peers")["topic"])
    for n in range(20):
        first.call("incr", key=f"go/{n}")
        store.increment(f"ours/{n}")
        store.flush()
    until(lambda: store.total("go") == 20)
    store.close()
    first.kill()
    second = start_go()  # knows nothing, and only we are left to tell it
    again: Any = open_store("ours", second.addr)
    until(lambda: second.call("aggregated", key="go") == second.call("aggregated", key="ours") == 20)
    same_heads(again, second)
    second.assert_healthy()
