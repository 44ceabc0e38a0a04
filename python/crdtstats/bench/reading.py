"""``get`` and ``top`` beside a dict."""

from __future__ import annotations

import contextlib
import functools
import heapq
import operator

from crdtstats.bench import keys
from crdtstats.bench.lab import Lab
from crdtstats.bench.outcome import at_least
from crdtstats.bench.race import Race, Side
from crdtstats.bench.row import Sides, race
from crdtstats.bench.stages import COLD_BEST_OF, counted
from crdtstats.store import CRDTStatsStore

HOT_BEST_OF = 15
TOP = 10
TOUCHED_BEFORE_TOP = 1_000


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


DICT = "`d[k]`"
ROWS_HOT = (race("get-hot", "get(key), 10k keys", DICT, at_least(0.7), _get_hot),)
ROWS_MILLION = (race("get-cold", "get(key), 1M keys in random order", DICT, at_least(0.7), _get_cold),)
ROWS_MILLION_TOP = (
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
