"""A writer of ours that is killed in the middle of flushes, beside a Go peer that fetches all that was announced."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

from crdtstats import wire
from tests.interop.driver import GoPeer, PythonPeer, until
from tests.interop.heads import text

KILLS = int(os.environ.get("CRDTSTATS_KILLS", "6"))
KEYS = 400
FLUSHES_BEFORE_KILL_S = 0.25
"""A flush of that many keys takes some ten milliseconds, one after the other: the kill falls into any part of one."""


def announced(go: GoPeer, peer_id: str) -> set[str]:
    payloads = go.received(peer_id)
    return {text(bytes(head.cid)) for payload in payloads for head in wire.decode_broadcast(payload)}


def test_kills_in_flushes_leave_nothing_announced_that_is_not_served(
    start_go: Callable[..., GoPeer], start_python: Callable[..., PythonPeer]
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    go = start_go(rebroadcast="1s")
    asked = dict.fromkeys(range(KEYS), 0)
    sure = dict.fromkeys(range(KEYS), 0)

    def count(ours: PythonPeer) -> Any:
        for key in asked:
            asked[key] += 1
        return ours.begin("count", counts={f"k/{key}": [1, 0] for key in range(KEYS)})

    seen: set[str] = set()
    for _ in range(KILLS):
        # It flushes whenever it can, so that one is always on its way.
        ours = start_python("ours", go.addr, flush_interval_s=0.01, announce_interval_s=0.5)
        before = len(go.received(ours.peer_id))
        ours.call("count", counts={"start": [1, 0]})  # something to announce, the first time too
        until(lambda ours=ours, before=before: len(go.received(ours.peer_id)) > before, what=lambda: seed)
        # What it announces after its restart, and all that it announced before the kill, is there.
        fresh = announced(go, ours.peer_id) - seen
        if fresh:
            done = go.call("fetch", cids=sorted(fresh), parallel=8, timeout=10.0)
            assert done["failed"] == 0, (seed, done)
        seen |= fresh
        end = time.monotonic() + chance.uniform(0.05, FLUSHES_BEFORE_KILL_S)
        answers = []
        while time.monotonic() < end:
            answers.append(count(ours))
            time.sleep(0.005)
        ours.kill()
        for answer in answers:
            if answer.exception(5) is None:
                for key in sure:
                    sure[key] += 1
    last = start_python("ours", go.addr, announce_interval_s=0.5)
    shown = last.call("items")
    assert shown.pop("start") == KILLS
    items = {int(key.removeprefix("k/")): value for key, value in shown.items()}
    assert all(sure[key] <= items.get(key, 0) <= asked[key] for key in sure), seed
    until(
        lambda: go.call("aggregated", key="k") == sum(items.values()), what=lambda: (seed, go.call("status"))
    )
    go.assert_healthy()
    go.kill()
    # Whoever knows nothing, and has only us, gets every block that was ever announced.
    blank = start_go(topic="/elsewhere")
    blank.call("connect", addr=last.addr)
    everything = sorted(seen | announced(go, last.peer_id))
    done = blank.call("fetch", 60.0, cids=everything, parallel=16, timeout=55.0)
    assert (done["failed"], len(everything) > KILLS) == (0, True), (seed, done, len(everything))
