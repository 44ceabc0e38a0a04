"""How fast blocks of 256 KiB travel between the languages, 32 wanted at a time. The floor is that of a busy machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from tests.interop.driver import GoPeer, until
from tests.interop.heads import bytes_of, text
from tests.network.conftest import TOPIC, Peer

BLOCK_BYTES = 256 << 10
BLOCKS = 400
IN_FLIGHT = 32
MB_PER_S_MIN = 15.0


def test_both_ways(
    start_go: Callable[..., GoPeer],
    closing: Any,
    noise: Callable[[int], bytes],
    record_property: Callable[[str, object], None],
) -> None:
    go = start_go(topic=TOPIC)
    node = Peer(peers=[go.addr])
    closing.callback(node.node.close)
    node.start()
    until(lambda: node.node.connections())
    speeds = {"we fetch": ours(go, node), "go fetches": theirs(go, node, noise)}
    for name, speed in speeds.items():
        record_property(name, speed)
        sys.stderr.write(f"{name}: {speed:.0f} MB/s\n")
    assert min(speeds.values()) > MB_PER_S_MIN, speeds


def ours(go: GoPeer, node: Peer) -> float:
    cids = [bytes_of(c) for c in go.call("put_random", n=BLOCKS, size=BLOCK_BYTES, seed=1)]
    began = time.monotonic()
    waiting = cids[::-1]
    wanted = 0
    while len(node.got) < BLOCKS:
        more = min(IN_FLIGHT - (wanted - len(node.got)), len(waiting))
        if more > 0:
            node.node.exchange.want([waiting.pop() for _ in range(more)])
            wanted += more
        with node.arrived:
            assert node.arrived.wait(10.0)
    return BLOCKS * BLOCK_BYTES / 1e6 / (time.monotonic() - began)


def theirs(go: GoPeer, node: Peer, noise: Callable[[int], bytes]) -> float:
    cids = node.put(*(noise(BLOCK_BYTES) for _ in range(BLOCKS)))
    done = go.call("fetch", 60.0, cids=[text(c) for c in cids], parallel=IN_FLIGHT, timeout=50)
    return done["bytes"] / 1e6 / done["seconds"]
