"""What a read costs by itself, and what keys that were touched since the last one add to it."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from typing import Literal

from crdtstats.bench import keys
from crdtstats.bench.lab import Lab
from crdtstats.bench.outcome import Outcome, at_most
from crdtstats.bench.race import quiet, spin
from crdtstats.bench.row import gauge
from crdtstats.bench.stages import counted

READS = 2_000
READ_NS_MAX = 1_000.0
TOUCHED_NS_MAX = 60.0
PREFIX = "site/0007"


def _in_cache(name: Literal["get", "total"], key: str) -> Callable[[Lab], Outcome]:
    def measure(lab: Lab) -> Outcome:
        at = counted(lab, keys.MILLION)
        at.stats.total()
        read = at.stats.get if name == "get" else at.stats.total
        turns = range(READS)
        with quiet():
            spin(lab.spin_s)
            samples = tuple(_best_ns(lambda: [read(key) for _ in turns]) for _ in range(lab.pairs))
        return Outcome(samples, "one path, 1M keys; the loop around the call counts too")

    return measure


def _best_ns(work: Callable[[], object], best_of: int = 25) -> float:
    """Nanoseconds of one of ``READS`` calls in the fastest of some loops."""
    best = float("inf")
    for _ in range(best_of):
        began = time.perf_counter_ns()
        work()
        best = min(best, time.perf_counter_ns() - began)
    return best / READS


def _after_one(lab: Lab) -> Outcome:
    """What a touched key adds to a read: both calls in turns, less the same calls each by itself."""
    at = counted(lab, keys.MILLION)
    stats, work = at.stats, at.made[:READS]

    def touch_and_read() -> None:
        for key in work:
            stats.increment(key)
            stats.total(PREFIX)

    def touch() -> None:
        for key in work:
            stats.increment(key)

    def read() -> None:
        for _ in work:
            stats.total(PREFIX)

    samples: list[float] = []
    with quiet():
        spin(lab.spin_s)
        for _ in range(lab.pairs):
            both = _best_ns(touch_and_read)
            apart = _best_ns(touch)
            stats.total()
            samples.append(both - apart - _best_ns(read))
    return Outcome(tuple(samples), "increment and total in turns, less each by itself")


def _after_many(lab: Lab, touched: int, best_of: int) -> Outcome:
    """Nanoseconds for each key touched between two reads; the fastest of some reads, each after other keys."""
    at = counted(lab, keys.MILLION)
    turns = itertools.count()

    def read_ns() -> float:
        first = next(turns) * touched % max(1, keys.MILLION - touched)
        at.stats.total()
        at.stats.update(at.order[first : first + touched])
        began = time.perf_counter_ns()
        at.stats.total(PREFIX)
        return (time.perf_counter_ns() - began) / touched

    with quiet():
        spin(lab.spin_s)
        samples = tuple(min(read_ns() for _ in range(best_of)) for _ in range(lab.pairs))
    return Outcome(samples, "keys anywhere among 1M")


ROWS_MILLION = (
    gauge(
        "get-in-cache",
        "get(key), nothing counted since the last read",
        at_most(READ_NS_MAX, "ns"),
        _in_cache("get", keys.key(7)),
    ),
    gauge(
        "total-in-cache",
        "total(prefix), nothing counted since the last read",
        at_most(READ_NS_MAX, "ns"),
        _in_cache("total", PREFIX),
    ),
    gauge(
        "read-after-1",
        "what 1 key touched since adds to total(prefix)",
        at_most(TOUCHED_NS_MAX, "ns"),
        _after_one,
    ),
    gauge(
        "read-after-1k",
        "total(prefix) with 1,000 keys touched since, each",
        at_most(TOUCHED_NS_MAX, "ns"),
        functools.partial(_after_many, touched=1_000, best_of=10),
    ),
    gauge(
        "read-after-1m",
        "total(prefix) with 1M keys touched since, each",
        at_most(TOUCHED_NS_MAX, "ns"),
        functools.partial(_after_many, touched=keys.MILLION, best_of=1),
    ),
)
