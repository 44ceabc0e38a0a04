"""Behind a private network's key, as the Go peers' own network is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import crdtstats
from tests.interop.driver import GoPeer, PeerError, until

KEY, OTHER = bytes(range(32)), bytes(32)


@pytest.fixture
def swarm_key(tmp_path: Path) -> Callable[[bytes], Path]:
    """The file with this key, as the Go peer reads it."""

    def write(key: bytes) -> Path:
        file = tmp_path / f"{key[-1]}.swarm.key"
        file.write_text(f"/key/swarm/psk/1.0.0/\n/base16/\n{key.hex()}\n")
        return file

    return write


@pytest.mark.parametrize("dials", ["go", "ours"])
def test_both_languages_share_a_private_network(
    dials: str,
    start_go: Callable[..., GoPeer],
    open_store: Callable[..., Any],
    swarm_key: Callable[..., Path],
) -> None:
    key = swarm_key(KEY)
    go = start_go(swarm_key=key)
    store = open_store("ours", *([go.addr] if dials == "ours" else []), psk=key)
    if dials == "go":
        go.call("connect", addr=store.addrs[0])
    until(lambda: go.call("peers")["topic"])
    for n in range(5):
        go.call("count", counts={"k": [10 + n, 0]})
        store.increment("k", 100)
        store.flush()
    until(lambda: store.get("k") == go.call("aggregated", key="k") == 560)
    go.assert_healthy()


@pytest.mark.parametrize("theirs", [OTHER, None], ids=["another key", "no key"])
@pytest.mark.parametrize("dials", ["go", "ours"])
def test_a_go_peer_without_our_key_is_refused(
    dials: str,
    theirs: bytes | None,
    start_go: Callable[..., GoPeer],
    open_store: Callable[..., Any],
    swarm_key: Callable[..., Path],
) -> None:
    go = start_go(**({} if theirs is None else {"swarm_key": swarm_key(theirs)}))
    store: crdtstats.CRDTStatsStore = open_store(
        "ours", *([go.addr] if dials == "ours" else []), psk=swarm_key(KEY)
    )
    address = store.addrs[0]
    if dials == "go":
        with pytest.raises(PeerError):
            go.call("connect", addr=address, timeout=5)

    def refused() -> int:
        return sum(store.status()["network"]["child"].get("refused", {}).values())

    until(lambda: refused() >= 1, what=store.status)
    time.sleep(0.2)
    assert store.status()["peers"] == []
    assert go.call("peers")["host"] in (None, [])
