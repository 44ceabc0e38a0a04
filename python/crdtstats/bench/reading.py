"""``get``, ``total`` and ``top``: beside a dict, and after keys were touched."""

from __future__ import annotations

import contextlib
import functools
import heapq
import operator
import time
from collections.abc import Callable
from typing import Literal

from crdtstats.bench import keys
from crdtstats.bench.lab import Lab
from crdtstats.bench.outcome import Outcome, at_least, at_most
from crdtstats.bench.race import Race, Side, quiet, spin
from crdtstats.bench.row import Sides, gauge, race
from crdtstats.bench.stages import COLD_BEST_OF, counted
from crdtstats.store import CRDTStatsStore

HOT_BEST_OF = 15
TOP = 10
TOUCHED_BEFORE_TOP = 1_000
READS = 2_000
READ_NS_MAX = 1_000.0
TOUCHED_NS_MAX = 60.0
PREFIX = "site/0007"


def _get(stats: CRDTStatsStore, work: list[str]) -> None:
    for key in work:
        stats.get(key)


def _look_up(counts: dict[str, int], work: list[str]) -> None:
    for key in work:
        counts[key]


@contextlib.contextmanager
def _get_hot(lab: Lab) -> Sides:
    work = keys.keys(keys.HOT)
    counts = dict.fromkeys(work, 1)
    with lab.store() as stats:
        stats.update(work)
        stats.flush()
        stats.total()
        yield Race(
            Side(functools.partial(_get, stats), lambda turn: work),
            Side(functools.partial(_look_up, counts), lambda turn: work),
            len(work),
            HOT_BEST_OF,
        )


@contextlib.contextmanager
def _get_cold(lab: Lab) -> Sides:
    at = counted(lab, keys.MILLION)
    at.stats.total()
    yield Race(
        Side(functools.partial(_get, at.stats), at.ours),
        Side(functools.partial(_look_up, at.counts), at.peer),
        at.slice_size,
        COLD_BEST_OF,
    )


@contextlib.contextmanager
def _top(lab: Lab, count: int) -> Sides:
    at = counted(lab, count)

    def touch(turn: int) -> int:
        # An answer that was kept from the last time would be no measure.
        first = turn * TOUCHED_BEFORE_TOP % count
        for key in at.order[first : first + TOUCHED_BEFORE_TOP]:
            at.stats.increment(key)
            at.counts[key] += 1
        at.stats.total()
        return turn

    def ours(turn: int) -> list[tuple[str, int]]:
        return at.stats.top("site", TOP)

    def peer(turn: int) -> list[tuple[str, int]]:
        return heapq.nlargest(TOP, at.counts.items(), key=operator.itemgetter(1))

    yield Race(Side(ours, touch), Side(peer), 1)


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


def _best_ns(work: Callable[[], object], best_of: int = 5) -> float:
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


def _after_many(lab: Lab, touched: int) -> Outcome:
    """Nanoseconds for each key touched between two reads."""
    at = counted(lab, keys.MILLION)
    samples: list[float] = []
    with quiet():
        spin(lab.spin_s)
        for turn in range(lab.pairs):
            if touched < keys.MILLION:
                first = turn * touched % (keys.MILLION - touched)
                work = at.order[first : first + touched]
            else:
                work = at.order
            at.stats.total()
            at.stats.update(work)
            began = time.perf_counter_ns()
            at.stats.total(PREFIX)
            samples.append((time.perf_counter_ns() - began) / touched)
    return Outcome(tuple(samples), "keys anywhere among 1M")


DICT = "`d[k]`"
ROWS_HOT = (race("get-hot", "get(key), 10k keys", DICT, at_least(0.7), _get_hot),)
ROWS_MILLION = (
    race("get-cold", "get(key), 1M keys in random order", DICT, at_least(0.7), _get_cold),
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
        functools.partial(_after_many, touched=1_000),
    ),
    gauge(
        "read-after-1m",
        "total(prefix) with 1M keys touched since, each",
        at_most(TOUCHED_NS_MAX, "ns"),
        functools.partial(_after_many, touched=keys.MILLION),
    ),
    race(
        "top-1m",
        "top(prefix, 10), 1M keys, 1,000 of them counted since",
        "heapq.nlargest over the dict",
        None,
        functools.partial(_top, count=keys.MILLION),
        "normal",
    ),
)
ROWS_TEN_MILLION = (
    race(
        "top-10m",
        "top(prefix, 10), 10M keys, 1,000 of them counted since",
        "heapq.nlargest over the dict",
        at_least(50.0),
        functools.partial(_top, count=keys.TEN_MILLION),
        "full",
    ),
)
