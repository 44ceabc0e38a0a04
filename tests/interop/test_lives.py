"""Peers that come late, miss messages, restart or are killed, on both sides: nobody's counts are lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from crdtstats import CRDTStatsStore
from tests.interop.driver import GoPeer, PythonPeer, until
from tests.interop.heads import heads

OpenStore = Callable[..., CRDTStatsStore]
StartGo = Callable[..., GoPeer]


OURS = 4 * sum(n + 1 - n % 3 for n in range(20))
"""What the store itself counts in the test of all lives."""


def until_equal(store: CRDTStatsStore, go: GoPeer, key: str, value: int) -> None:
    until(
        lambda: store.total(key) == go.call("aggregated", key=key) == value,
        what=lambda: (store.total(key), go.call("aggregated", key=key), store.status(), go.call("status")),
    )


def test_a_go_peer_that_joins_late_shows_it_all(start_go: StartGo, open_store: OpenStore) -> None:
    store = open_store("ours")
    for n in range(100):
        store.increment(f"k/{n % 10}", n)
        store.flush()
    go = start_go()
    go.call("connect", addr=store.addrs[0])
    until_equal(store, go, "k", 4950)
    assert len(go.call("query", key="/STATS/incr/k")) == 10
    go.assert_healthy()


def test_a_go_peer_that_missed_messages_catches_up(start_go: StartGo, open_store: OpenStore) -> None:
    go = start_go(rebroadcast="1s")
    store = open_store("ours", go.addr, announce_interval_s=1.0)
    until(lambda: go.call("peers")["topic"])
    store.increment("k", 1)
    until_equal(store, go, "k", 1)
    for n in range(3):
        go.call("disconnect", peer=store.status()["peer_id"])
        store.increment("k", 10)
        store.flush()
        go.call("count", counts={"k": [100, 0]})
        until_equal(store, go, "k", 1 + 110 * (n + 1))  # it was dialled again
    go.assert_healthy()


def test_a_go_peer_restarts_in_a_new_generation(
    start_go: StartGo, open_store: OpenStore, tmp_path: Path
) -> None:
    generations = set()
    store = open_store("ours")
    address = store.addrs[0]
    for n in range(1, 4):
        go = start_go(seed="alice", dir=tmp_path / "go", rebroadcast="500ms")
        generations.add(go.generation)
        go.call("connect", addr=address)
        go.call("incr", key="k", n=10)
        store.increment("k", 100)
        until_equal(store, go, "k", 110 * n)
        go.assert_healthy()
        if n == 2:
            go.kill()
        else:
            go.close()
        store.increment("k", 0)
    assert len(generations) == 3
    assert store.status()["sub_counters"] == 4


def test_a_store_that_is_killed_beside_go_peers_loses_nothing(
    start_go: StartGo, start_python: Callable[..., PythonPeer]
) -> None:
    go = start_go()
    counted = 0
    for _ in range(3):
        ours = start_python("ours", go.addr, flush_interval_s=60.0)
        ours.call("count", counts={"k": [5, 0]})
        ours.call("flush")
        ours.call("count", counts={"k": [6, 0]})  # only in the journal
        counted += 11
        ours.kill()
    last = start_python("ours", go.addr)
    assert last.call("aggregated", key="k") == counted
    until(lambda: go.call("aggregated", key="k") == counted, what=lambda: go.call("status"))
    assert len(go.call("query", key="/STATS/incr/k")) == 3
    go.assert_healthy()


def test_go_peers_of_all_kinds_of_lives_show_the_same(
    start_go: StartGo, open_store: OpenStore, tmp_path: Path
) -> None:
    """One from the start, one that is cut off, one that misses payloads, one that restarts, one that joins late."""
    peers = {
        name: start_go(seed=name, rebroadcast="1s", dir=tmp_path / f"go-{name}")
        for name in ("first", "cut", "deaf", "again")
    }
    store = open_store("ours", *(peer.addr for peer in peers.values()), announce_interval_s=1.0)
    until(lambda: len(store.status()["peers"]) == len(peers), what=store.status)
    our_id = store.status()["peer_id"]
    peers["deaf"].call("loss", seed=1, **{"in": 1.0})

    def count(step: int) -> None:
        for n in range(20):
            store.increment(f"k/{n % 7}", n + 1)
            store.decrement(f"k/{n % 5}", n % 3)
            store.flush()
        for name, peer in peers.items():
            peer.call("count", counts={f"k/{name}": [step + 1, 1], "k/all": [2, 0]})

    def equal() -> bool:
        shown = [peer.call("query", key="/STATS") for peer in peers.values()]
        totals = {peer.call("aggregated", key="k") for peer in peers.values()}
        return all(of == shown[0] for of in shown) and totals == {store.get_aggregated_stat("k")}

    def differences() -> object:
        return store.status(), {name: peer.call("status") for name, peer in peers.items()}

    count(1)
    peers["cut"].call("block", peer=our_id)
    count(2)
    peers.pop("again").kill()
    count(3)
    peers["cut"].call("unblock", peer=our_id)
    peers["deaf"].call("loss", seed=1)
    peers["again"] = start_go(seed="again", rebroadcast="1s", dir=tmp_path / "go-again")
    peers["late"] = start_go(rebroadcast="1s")
    for name in ("cut", "again", "late"):
        peers[name].call("connect", addr=store.addrs[0])
    count(4)
    until(equal, 30.0, what=differences)
    assert len(heads(store)) <= len(peers) + 1
    for peer in peers.values():
        query = peer.call("query", key="/STATS")
        # Each sub-counter of ours, with the value that it has here.
        mine = {key: int(value, 16) for key, value in query.items() if key.split("/")[-2] == our_id}
        assert len(mine) == 7 + 5
        sign = {"incr": 1, "decr": -1}
        assert sum(sign[key.split("/")[2]] * value for key, value in mine.items()) == OURS
        peer.assert_healthy()


def test_a_restored_backup_takes_nothing_back(
    start_go: StartGo, start_python: Callable[..., PythonPeer], tmp_path: Path
) -> None:
    """What the backup publishes again is older than what the Go peer shows, and must not win there."""
    go = start_go()
    first = start_python("ours", go.addr, flush_interval_s=60.0)
    first.call("count", counts={"k": [5, 0]})
    first.call("flush")
    first.call("count", counts={"k": [6, 0]})  # only in the journal
    first.kill()
    shutil.copytree(tmp_path / "ours", tmp_path / "backup")
    second = start_python("ours", go.addr, flush_interval_s=60.0)
    for _ in range(5):
        second.call("count", counts={"k": [7, 1]})
        second.call("flush")
    until(lambda: go.call("aggregated", key="k") == 41, what=lambda: go.call("status"))
    second.kill()
    shutil.rmtree(tmp_path / "ours")
    shutil.copytree(tmp_path / "backup", tmp_path / "ours")
    restored = start_python("ours", go.addr)
    restored.call("count", counts={"k": [100, 0]})
    until(
        lambda: restored.call("aggregated", key="k") == go.call("aggregated", key="k") == 141,
        what=lambda: (restored.call("status"), go.call("query", key="/STATS")),
    )
    go.assert_healthy()


def test_what_a_go_peer_left_behind_is_had_from_us(start_go: StartGo, open_store: OpenStore) -> None:
    store = open_store("ours")
    gone = start_go()
    gone.call("connect", addr=store.addrs[0])
    gone.call("incr", key="k", n=50)
    until_equal(store, gone, "k", 50)
    until(lambda: store.status()["blocks"] == 50)
    gone.kill()
    late = start_go()
    late.call("connect", addr=store.addrs[0])
    until_equal(store, late, "k", 50)
    late.assert_healthy()


def test_a_quiet_network_stays_quiet(start_go: StartGo, open_store: OpenStore) -> None:
    """Heads are announced again once in an interval, not each time that somebody else announces them."""
    go = start_go(rebroadcast="1s")
    stores = [open_store(name, go.addr, announce_interval_s=1.0) for name in ("a", "b")]
    until(lambda: len(go.call("peers")["topic"] or []) == 2)
    stores[0].increment("k")
    for store in stores:
        until_equal(store, go, "k", 1)
    time.sleep(0.5)
    before, began = len(go.events), time.monotonic()
    time.sleep(4.0)
    events = len(go.events) - before
    # Three announcers, an interval each (ours ± 30 %), and a Go peer hears itself as well.
    assert events <= 2 * 3 * (time.monotonic() - began + 1) / 0.7
    assert store.status()["blocks"] == 1
