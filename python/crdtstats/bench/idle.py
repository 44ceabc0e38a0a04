"""What a store does while nobody counts: nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Generator
from dataclasses import dataclass
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
WINDOWS, WINDOW_S = 2, 3.0
TASKS = Path("/proc/self/task")


@dataclass(frozen=True, slots=True)
class Watched:
    """What an idle store did in each window.

    Attributes:
        wake_ups: per second, of all its threads together.
        writes: blocks and messages.
        threads: how many it has.
    """

    wake_ups: tuple[float, ...]
    writes: tuple[float, ...]
    threads: int


@contextlib.contextmanager
def _watched() -> Generator[Watched]:
    """A store in a network with a peer that listens, watched once for both rows."""
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
        seen = [(_wake_ups(threads), stats.status()["blocks"] + broadcaster.stats["sent"])]
        assert seen[0][1] >= 2, "the count before was neither stored nor announced: nothing is watched"
        for _ in range(WINDOWS):
            time.sleep(WINDOW_S)
            seen.append((_wake_ups(threads), stats.status()["blocks"] + broadcaster.stats["sent"]))
    windows = list(itertools.pairwise(seen))
    yield Watched(
        tuple((after[0] - before[0]) / WINDOW_S for before, after in windows),
        tuple(float(after[1] - before[1]) for before, after in windows),
        len(threads),
    )


def _of_wake_ups(lab: Lab) -> Outcome:
    watched = lab.stage("idle", _watched)
    return Outcome(watched.wake_ups, f"{watched.threads} threads, {WINDOWS} windows of {WINDOW_S:g} s")


def _of_writes(lab: Lab) -> Outcome:
    return Outcome(lab.stage("idle", _watched).writes, f"{WINDOWS} windows of {WINDOW_S:g} s")


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
        _of_wake_ups,
    ),
    gauge(
        "idle-writes",
        "blocks and messages of that store in three flush intervals",
        at_most(0.0, ""),
        _of_writes,
    ),
)
