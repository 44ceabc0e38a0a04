"""Reads that do not depend on how many keys, replicas and restarts there are."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Literal

from crdtstats.bench import foreign, keys
from crdtstats.bench.lab import Lab
from crdtstats.bench.outcome import Outcome, at_most
from crdtstats.bench.race import Race, Side
from crdtstats.bench.row import Row, Size, gauge
from crdtstats.bench.stages import CHUNK
from crdtstats.store import CRDTStatsStore

FLAT_MAX = 1.5
"""What caches may cost."""
KEYS = 1_000
"""Of the states with many replicas or restarts: 1,000 times 1,000 are a million sub-counters."""
READS, IN_CACHE = 2_000, 100
BEST_OF = 15

Opened = AbstractContextManager[CRDTStatsStore]
Small = Large = Callable[[Lab], Opened]


@contextlib.contextmanager
def with_keys(lab: Lab, count: int) -> Generator[CRDTStatsStore]:
    """A store in which ``count`` keys were counted."""
    with lab.store() as stats:
        for first in range(0, count, CHUNK):
            stats.update(keys.keys(min(CHUNK, count - first), first))
        stats.flush()
        yield stats


def with_replicas(lab: Lab, count: int) -> Opened:
    """A store to which ``count`` replicas came, each with the same keys."""
    return foreign.store_of(keys.keys(KEYS), count)


def with_restarts(lab: Lab, count: int) -> Opened:
    """A store that counted the same keys in each of ``count`` lives."""
    return foreign.restarted(keys.keys(KEYS), count)


@contextlib.contextmanager
def _both(lab: Lab, small: Small, large: Large) -> Generator[tuple[CRDTStatsStore, CRDTStatsStore]]:
    with small(lab) as few, large(lab) as many:
        few.total()
        many.total()
        yield few, many


def _growth(lab: Lab, axis: str, name: Literal["get", "total"], small: Small, large: Large) -> Outcome:
    few, many = lab.stage(("flat", axis), functools.partial(_both, lab, small, large))
    # The first keys are in both; a hundred of them stay in the cache.
    work = keys.keys(IN_CACHE) * (READS // IN_CACHE)
    if name == "total":
        work = [key.rsplit("/", 1)[0] for key in work]

    def run(stats: CRDTStatsStore) -> None:
        read = stats.get if name == "get" else stats.total
        for key in work:
            read(key)

    # How many times faster the smaller one is.
    pair = Race(Side(run, lambda turn: few), Side(run, lambda turn: many), len(work), BEST_OF)
    outcome = pair.run(lab.pairs, lab.spin_s)
    return Outcome(outcome.samples, f"{outcome.aside}, the smaller one first")


_READS: tuple[tuple[Literal["get", "total"], str], ...] = (("get", "get(key)"), ("total", "total(prefix)"))


def rows(axis: str, what: str, small: Small, large: Large, size: Size) -> tuple[Row, ...]:
    """The rows of reads from a small and a large store."""
    return tuple(
        gauge(
            f"{name}-flat-{axis}",
            f"{call}: time at {what}",
            at_most(FLAT_MAX),
            functools.partial(_growth, axis=axis, name=name, small=small, large=large),
            size,
            beside="itself",
        )
        for name, call in _READS
    )


ROWS = (
    *rows(
        "replicas",
        "1,000 replicas over 1, 1,000 keys each",
        functools.partial(with_replicas, count=1),
        functools.partial(with_replicas, count=1_000),
        "normal",
    ),
    *rows(
        "restarts",
        "100 restarts over 1, 1,000 keys each",
        functools.partial(with_restarts, count=1),
        functools.partial(with_restarts, count=100),
        "normal",
    ),
)
ROWS_FULL = rows(
    "keys",
    "10M keys over 1M",
    functools.partial(with_keys, count=keys.MILLION),
    functools.partial(with_keys, count=keys.TEN_MILLION),
    "full",
)
