"""What Go peers show: keys outside the counters, removed ones, and for a moment too little of ours."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crdtstats import CRDTStatsStore
from crdtstats.errors import UsageError
from tests.interop.driver import GoPeer, PythonPeer, meet, put, until

OpenStore = Callable[..., CRDTStatsStore]
StartGo = Callable[..., GoPeer]
StartPython = Callable[..., PythonPeer]

MANY = 6000
"""Keys with long names: a start that recovers them writes several nodes, each one higher than the one before."""
COPIED_LATER = ("identity", "place", "keys", "lock")


def delete(go: GoPeer, *keys: str) -> None:
    go.call("batch", ops=[{"op": "delete", "key": key, "value": ""} for key in keys])


def eight(value: int) -> str:
    return value.to_bytes(8, "big").hex()


# ---- removed, and outside the counters


def test_a_counter_that_is_removed_goes_down_and_stays_down(
    start_go: StartGo, start_python: StartPython
) -> None:
    go = start_go()
    ours = start_python("ours", go.addr)

    def until_both(value: int, peer: PythonPeer) -> None:
        until(
            lambda: go.call("aggregated", key="k") == peer.call("aggregated", key="k") == value,
            what=lambda: (go.call("query", key="/STATS"), peer.call("status")),
        )

    put(go, **{"/STATS/incr/k/w/g": eight(5), "/STATS/decr/k/w/g": eight(2), "/STATS/incr/k/w/h": eight(4)})
    until_both(7, ours)
    ours.call("count", counts={"k": [10, 0]})
    until_both(17, ours)
    delete(go, "/STATS/incr/k/w/g")
    until_both(12, ours)
    put(go, **{"/STATS/incr/k/w/g": eight(3)})  # add wins
    until_both(15, ours)
    delete(go, "/STATS/incr/k/w/g", "/STATS/decr/k/w/g", "/STATS/incr/k/w/h")
    until_both(10, ours)
    assert ours.call("status")["tombstones"] == 4
    ours.kill()
    again = start_python("ours", go.addr)
    assert again.call("aggregated", key="k") == 10
    put(go, **{"/STATS/incr/k/w/h": eight(1)})
    until_both(11, again)
    go.assert_healthy()


def test_random_entries_are_those_of_two_live_go_peers(
    start_go: StartGo, open_store: OpenStore, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(request.node.name)
    gos = [start_go(rebroadcast="500ms") for _ in range(2)]
    store = open_store("ours", *(go.addr for go in gos), announce_interval_s=0.5)
    gos[0].call("connect", addr=gos[1].addr)
    for go in gos:
        meet(go, store)
    keys = [f"/users/{name}" for name in "abcd"] + ["/STATS/incr", "/STATS/else/k/w/g", "/x"]

    def entries(go: GoPeer) -> dict[str, str]:
        shown = {
            **go.call("query", key="/users"),
            **go.call("query", key="/STATS"),
            **go.call("query", key="/"),
        }
        return {key: value for key, value in shown.items() if key in keys}

    def ours() -> dict[str, str]:
        found = {key: store.entry(key) for key in keys}
        return {key: value.hex() for key, value in found.items() if value is not None}

    for _ in range(10):
        for go in gos:  # at the same time: neither has seen what the other writes
            for key in chance.sample(keys, 3):
                if chance.random() < 0.4:
                    delete(go, key)
                else:
                    put(go, **{key: chance.randbytes(chance.choice((1, 1, 8, 9))).hex()})
        store.increment("k")
        store.flush()
        until(
            lambda: entries(gos[0]) == entries(gos[1]) == ours() and store.status()["missing"] == 0,
            what=lambda: (entries(gos[0]), entries(gos[1]), ours(), store.status()),
        )
    for go in gos:
        go.assert_healthy()


def test_what_is_shown_of_ours_and_what_is_not_kept(pair: tuple[GoPeer, CRDTStatsStore]) -> None:
    go, store = pair
    put(go, **{"/STATS/incr/k/w/g": eight(5)})
    store.increment("k", 3)
    store.flush()
    until(lambda: len(go.call("query", key="/STATS/incr/k")) == 2 and store.get("k") == 8)
    shown = go.call("query", key="/STATS/incr/k")
    del shown["/STATS/incr/k/w/g"]
    ((key, value),) = shown.items()
    assert store.entry(key) == bytes.fromhex(value) == (3).to_bytes(8, "big")
    assert store.entry("/no/such/key") is None
    with pytest.raises(UsageError, match="another replica"):
        store.entry("/STATS/incr/k/w/g")


# ---- healed


def test_what_others_write_or_remove_of_ours_is_soon_shown_again(
    pair: tuple[GoPeer, CRDTStatsStore],
) -> None:
    go, store = pair
    for key in ("lowered", "removed"):
        store.increment(key, 7)
    store.flush()
    until(lambda: go.call("aggregated", key="lowered") == go.call("aggregated", key="removed") == 7)
    (lowered,) = go.call("query", key="/STATS/incr/lowered")
    (removed,) = go.call("query", key="/STATS/incr/removed")
    put(go, **{lowered: eight(1)})
    delete(go, removed)
    assert (go.call("aggregated", key="lowered"), go.call("aggregated", key="removed")) == (1, 0)
    until(
        lambda: go.call("aggregated", key="lowered") == go.call("aggregated", key="removed") == 7,
        what=store.status,
    )
    assert (store.get("lowered"), store.get("removed")) == (7, 7)
    status = store.status()
    assert status["healed"] == 2
    assert status["dropped"] == {"element-not-the-owner": 1, "tombstone-of-signed": 1}
    # Once a minute: whoever goes on does not make us write without end.
    put(go, **{lowered: eight(1)})
    until(lambda: store.entry(lowered) == (1).to_bytes(8, "big"))
    time.sleep(2.5)
    assert store.status()["healed"] == 2
    go.assert_healthy()


def until_all_show(peers: list[Any], counts: dict[str, int]) -> None:
    def shown(peer: Any) -> dict[str, int]:
        return {key: peer.call("aggregated", key=key) for key in counts}

    until(
        lambda: all(shown(peer) == counts for peer in peers),
        30.0,
        what=lambda: [shown(peer) for peer in peers],
    )


def old_state(start_python: StartPython, go: GoPeer, directory: Path, backup: Path) -> PythonPeer:
    """A store that went on after a backup was made, whose journal holds what was not published then. Published out
    of the backup ``z`` comes in the last of several nodes, and so higher than the newer ``z`` that Go has by now."""
    first = start_python("ours", go.addr, flush_interval_s=60.0)
    first.call("count", counts={"a": [1, 0]})
    first.call("flush")
    many = {f"many/{'x' * 150}/{n}": [1, 0] for n in range(MANY)}
    first.call("count", counts={"z": [11, 0], **many})
    first.pause(True)
    shutil.copytree(directory, backup)
    first.pause(False)
    first.call("count", counts={"z": [30, 0]})
    first.call("flush")
    until_all_show([go], {"z": 41, "many": MANY})
    first.kill()
    return first


def test_a_restored_backup_lowers_nothing_for_long(
    start_go: StartGo, start_python: StartPython, tmp_path: Path
) -> None:
    """It is a copy in another place: it has a new identity, and the key of the old one."""
    gos = [start_go(rebroadcast="1s") for _ in range(3)]
    for go in gos[1:]:
        go.call("connect", addr=gos[0].addr)
    old_state(start_python, gos[0], tmp_path / "ours", tmp_path / "backup")
    shutil.rmtree(tmp_path / "ours")
    shutil.copytree(tmp_path / "backup", tmp_path / "ours")
    restored = start_python("ours", gos[0].addr)
    restored.call("count", counts={"z": [100, 0]})
    until(lambda: restored.call("status")["healed"] == 1, what=lambda: restored.call("status"))
    until_all_show([restored, *gos], {"a": 1, "z": 141, "many": MANY})
    late = start_go()
    late.call("connect", addr=restored.addr)
    until_all_show([late], {"a": 1, "z": 141, "many": MANY})
    assert restored.call("status")["healed"] == 1
    for go in [*gos, late]:
        go.assert_healthy()


def test_lost_power_lowers_nothing_for_long(
    start_go: StartGo, start_python: StartPython, tmp_path: Path
) -> None:
    """Datastore and journal are back where they were, in the same place: the identity is the same."""
    gos = [start_go(rebroadcast="1s") for _ in range(2)]
    gos[1].call("connect", addr=gos[0].addr)
    first = old_state(start_python, gos[0], tmp_path / "ours", tmp_path / "backup")
    for path in (tmp_path / "ours").iterdir():
        if path.name not in COPIED_LATER:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in (tmp_path / "backup").iterdir():
        if path.name not in COPIED_LATER:
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, tmp_path / "ours" / path.name)
    restored = start_python("ours", gos[1].addr)
    assert restored.peer_id == first.peer_id
    until(lambda: restored.call("status")["healed"] == 1, what=lambda: restored.call("status"))
    until_all_show([restored, *gos], {"a": 1, "z": 41, "many": MANY})
    restored.call("count", counts={"z": [100, 0]})
    until_all_show([restored, *gos], {"a": 1, "z": 141, "many": MANY})
    for go in gos:
        go.assert_healthy()
