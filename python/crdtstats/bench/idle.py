"""What a store does while nobody counts: nothing."""

from __future__ import annotations

import functools
import os
import re
import time
from pathlib import Path

from crdtstats import _core
from crdtstats.bench.lab import Lab
from crdtstats.bench.outcome import Outcome, SkippedError, at_most
from crdtstats.bench.row import gauge
from crdtstats.datastores import MemoryDatastore
from crdtstats.memory_network import MemoryNetwork
from crdtstats.store import CRDTStatsStore

WAKE_UPS_PER_S_MAX = 1.0
SETTLE_S = 1.5
"""The flush of the last count, and what follows from it, is over by then."""
WINDOW_S = 4.0
TASKS = Path("/proc/self/task")


def _idle(lab: Lab, *, wake_ups: bool) -> Outcome:
    """A store in a network with a peer that listens: its threads' wake-ups, and its blocks and messages."""
    if not TASKS.exists():
        raise SkippedError("there is no /proc/self/task here that counts wake-ups")
    others = set(os.listdir(TASKS))
    network = MemoryNetwork(1, check=_core.check_block)
    host, peer = (network.join(_core.Identity.generate()) for _ in range(2))
    broadcaster = network.broadcaster(host)
    network.broadcaster(peer)
    network.connect_all()
    with CRDTStatsStore(
        broadcaster,
        MemoryDatastore(),
        host,
        exchange=network.exchange(host),
        # Heads are told again for those who missed them, which is no part of a flush cycle.
        announce_interval_s=3600.0,
        flush_interval_s=1.0,
        close_timeout_s=0.0,
    ) as stats:
        stats.increment("site/home/views")
        time.sleep(SETTLE_S)
        threads = set(os.listdir(TASKS)) - others
        samples: list[float] = []
        for _ in range(2 if wake_ups else 1):
            before = _wake_ups(threads), stats.status()["blocks"], broadcaster.stats["sent"]
            time.sleep(WINDOW_S)
            after = _wake_ups(threads), stats.status()["blocks"], broadcaster.stats["sent"]
            woken, blocks, messages = (new - old for old, new in zip(before, after, strict=True))
            samples.append(woken / WINDOW_S if wake_ups else blocks + messages)
    return Outcome(tuple(samples), f"{len(threads)} threads, {len(samples) * WINDOW_S:g} s")


def _wake_ups(threads: set[str]) -> int:
    total = 0
    for thread in threads:
        status = (TASKS / thread / "status").read_text("ascii")
        found = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.M)
        total += int(found[1]) if found else 0
    return total


ROWS = (
    gauge(
        "idle-wake-ups",
        "wake-ups per second of all threads of an idle store that has counted, and has a peer",
        at_most(WAKE_UPS_PER_S_MAX, "/s"),
        functools.partial(_idle, wake_ups=True),
    ),
    gauge(
        "idle-writes",
        "blocks and messages of an idle store in four flush intervals",
        at_most(0.0, ""),
        functools.partial(_idle, wake_ups=False),
    ),
)
