"""One key with many sub-counters."""

from __future__ import annotations

import functools

from crdtstats.bench import foreign
from crdtstats.bench.lab import Lab
from crdtstats.bench.outcome import THIN_SPACE, Outcome, at_most
from crdtstats.bench.race import Race, Side, quiet, spin
from crdtstats.bench.row import gauge
from crdtstats.store import CRDTStatsStore

KEY = "site/home/views"
SUB_COUNTERS = (1, 10, 100, 1_000, 10_000, 100_000)
GENERATIONS = 100
"""Of each replica, at most: 100,000 sub-counters are a thousand replicas with a hundred starts each."""
READS, BEST_OF = 2_000, 15
READ_NS_MAX = 1_000.0
SAME_MAX = 1.5


def _store(k: int) -> foreign.Opened:
    generations = min(k, GENERATIONS)
    return foreign.store_of([KEY], k // generations, generations)


def _read(stats: CRDTStatsStore) -> None:
    for _ in range(READS):
        stats.get_aggregated_stat(KEY)


def _slowest(lab: Lab) -> Outcome:
    """Nanoseconds of a read, of the k that is slowest in each round."""
    slowest = [0.0] * lab.pairs
    said: list[str] = []
    for k in SUB_COUNTERS:
        with _store(k) as stats, quiet():
            side = Side(_read, functools.partial(_given, stats))
            spin(lab.spin_s)
            times = [min(map(side.time, range(BEST_OF))) / READS * 1e9 for _ in range(lab.pairs)]
        slowest = [max(pair) for pair in zip(slowest, times, strict=True)]
        said.append(f"{k:_}: {min(times):.0f}".replace("_", THIN_SPACE))
    return Outcome(tuple(slowest), f"ns by k: {', '.join(said)}")


def _growth(lab: Lab) -> Outcome:
    with _store(1) as one, _store(SUB_COUNTERS[-1]) as many:
        pair = Race(
            Side(_read, functools.partial(_given, one)),
            Side(_read, functools.partial(_given, many)),
            READS,
            BEST_OF,
        )
        outcome = pair.run(lab.pairs, lab.spin_s)
    return Outcome(outcome.samples, f"{outcome.aside}, the smaller one first")


def _given(stats: CRDTStatsStore, turn: int) -> CRDTStatsStore:
    return stats


GO = "Go, measured apart: 19 µs … 294 ms"
ROWS = (
    gauge(
        "aggregate",
        "get_aggregated_stat of a key with k = 1 … 100k sub-counters, the slowest k",
        at_most(READ_NS_MAX, "ns"),
        _slowest,
        "normal",
        beside=GO,
    ),
    gauge(
        "aggregate-flat",
        "get_aggregated_stat: time at 100k sub-counters over 1",
        at_most(SAME_MAX),
        _growth,
        beside="itself",
    ),
)
