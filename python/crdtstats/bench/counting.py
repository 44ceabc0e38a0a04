"""``increment`` and ``inc``, one call at a time, beside ``d[k] += 1``."""

from __future__ import annotations

import contextlib
import functools

from crdtstats.bench import keys
from crdtstats.bench.lab import Lab, peer_module
from crdtstats.bench.outcome import at_least
from crdtstats.bench.race import Race, Side
from crdtstats.bench.row import Sides, race
from crdtstats.bench.stages import COLD_BEST_OF, SLICES, counted
from crdtstats.store import CRDTStatsStore

INCREMENTS = 5_000
HOT_BEST_OF = 100
"""A millisecond each: all pairs together outlast some flushes."""


def _increment(stats: CRDTStatsStore, work: list[str]) -> None:
    for key in work:
        stats.increment(key)


def _add_one(counts: dict[str, int], work: list[str]) -> None:
    for key in work:
        counts[key] += 1


@contextlib.contextmanager
def _literals(lab: Lab) -> Sides:
    work = keys.keys(keys.HOT)
    counts = dict.fromkeys(work, 0)
    # The flusher of a user's store runs beside it, once a second.
    with lab.store(flush_interval_s=None) as stats:
        yield Race(
            Side(functools.partial(_increment, stats), lambda turn: work),
            Side(functools.partial(_add_one, counts), lambda turn: work),
            len(work),
            HOT_BEST_OF,
        )


@contextlib.contextmanager
def _cold(lab: Lab) -> Sides:
    at = counted(lab, keys.MILLION)
    yield Race(
        Side(functools.partial(_increment, at.stats), at.ours),
        Side(functools.partial(_add_one, at.counts), at.peer),
        at.slice_size,
        COLD_BEST_OF,
    )


@contextlib.contextmanager
def _cold_clean(lab: Lab) -> Sides:
    at = counted(lab, keys.MILLION)

    def after_flush(turn: int) -> list[str]:
        if turn % SLICES == 0:
            at.stats.flush()
            at.stats.total()
        return at.ours(turn)

    yield Race(
        Side(functools.partial(_increment, at.stats), after_flush),
        Side(functools.partial(_add_one, at.counts), at.peer),
        at.slice_size,
        COLD_BEST_OF,
    )


@contextlib.contextmanager
def _cold_fresh(lab: Lab) -> Sides:
    at = counted(lab, keys.MILLION)
    yield Race(
        Side(functools.partial(_increment, at.stats), lambda turn: keys.fresh(at.ours(turn))),
        Side(functools.partial(_add_one, at.counts), lambda turn: keys.fresh(at.peer(turn))),
        at.slice_size,
        COLD_BEST_OF,
    )


@contextlib.contextmanager
def _counter(lab: Lab) -> Sides:
    prometheus = peer_module("prometheus_client")
    family = prometheus.Counter("views", "Views.", ["page"], registry=prometheus.CollectorRegistry())
    child = family.labels("home")
    work = range(INCREMENTS)
    with lab.store(flush_interval_s=None) as stats:
        views = stats.counter("site/home/views")

        def ours(work: range) -> None:
            for _ in work:
                views.inc()

        def peer(work: range) -> None:
            for _ in work:
                child.inc()

        yield Race(Side(ours, lambda turn: work), Side(peer, lambda turn: work), len(work), HOT_BEST_OF)


DICT = "`d[k] += 1`"
ROWS_HOT = (
    race(
        "increment-hot",
        'increment("literal"), 10k keys, the flusher running',
        DICT,
        at_least(1.8),
        _literals,
    ),
    race(
        "inc",
        "counter.inc(), the flusher running",
        "prometheus_client child.inc()",
        at_least(9.0),
        _counter,
    ),
)
ROWS_MILLION = (
    race(
        "increment-cold",
        "increment(str), 1M keys in random order, the same str objects",
        DICT,
        at_least(1.5),
        _cold,
    ),
    race(
        "increment-cold-fresh",
        "increment(str), 1M keys in random order, fresh strings (made before the timing, on both sides)",
        DICT,
        at_least(1.9),
        _cold_fresh,
    ),
    race(
        "increment-cold-clean",
        "increment(str), 1M keys in random order, each for the first time since a flush and a read",
        DICT,
        None,
        _cold_clean,
        "normal",
    ),
)
