"""Batches: lists of keys, columns of ids, and keys that nobody has counted yet."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from typing import Any

from crdtstats.bench import keys
from crdtstats.bench.lab import Lab, peer_module
from crdtstats.bench.outcome import SkippedError, at_least
from crdtstats.bench.race import Race, Side
from crdtstats.bench.row import Sides, race
from crdtstats.bench.stages import COLD_BEST_OF, counted
from crdtstats.store import CRDTStatsStore

HOT_BEST_OF = 15
COLUMNS, COLUMN = 16, 500_000
"""Turns have different columns, for the same reason as slices (see ``stages``)."""
COLUMN_BEST_OF = 3


@contextlib.contextmanager
def _update_hot(lab: Lab) -> Sides:
    work = keys.in_random_order(keys.keys(keys.HOT))
    counter = Counter(work)
    with lab.store(flush_interval_s=None) as stats:
        yield Race(
            Side(stats.update, lambda turn: work),
            Side(counter.update, lambda turn: work),
            len(work),
            HOT_BEST_OF,
        )


@contextlib.contextmanager
def _update_cold(lab: Lab) -> Sides:
    at = counted(lab, keys.MILLION)
    yield Race(
        Side(at.stats.update, at.ours), Side(Counter(at.counts).update, at.peer), at.slice_size, COLD_BEST_OF
    )


@contextlib.contextmanager
def _new_keys(lab: Lab) -> Sides:
    made = keys.keys(keys.MILLION)
    with contextlib.ExitStack() as stores:

        def ours(stats: CRDTStatsStore) -> None:
            for key in made:
                stats.increment(key)

        def peer(counts: dict[str, int]) -> None:
            for key in made:
                counts[key] = 1

        def empty(turn: int) -> CRDTStatsStore:
            stores.close()
            return stores.enter_context(lab.store())

        yield Race(Side(ours, empty), Side(peer, lambda turn: {}), len(made))


@contextlib.contextmanager
def _columns(lab: Lab, count: int) -> Sides:
    numpy = peer_module("numpy")
    if not hasattr(CRDTStatsStore, "ids"):
        raise SkippedError("this store has no ids() yet")
    stats: Any
    with contextlib.ExitStack() as stack:
        if count > keys.HOT:
            at = counted(lab, count)
            stats, made = at.stats, at.made
        else:
            stats, made = stack.enter_context(lab.store()), keys.keys(count)
        ids = numpy.asarray(stats.ids(made))
        random = numpy.random.default_rng(keys.SEED)
        picked = [random.integers(0, count, COLUMN) for _ in range(COLUMNS)]
        picked_ids = [ids[column] for column in picked]
        amounts = random.integers(1, 100, COLUMN)
        unsigned = amounts.astype(numpy.uint64)
        slots = numpy.zeros(count, numpy.uint64)
        yield Race(
            Side(lambda column: stats.update(column, amounts), lambda turn: picked_ids[turn % COLUMNS]),
            Side(
                lambda column: numpy.add.at(slots, column, unsigned),
                lambda turn: picked[(turn + COLUMNS // 2) % COLUMNS],
            ),
            COLUMN,
            COLUMN_BEST_OF,
        )


COUNTER, ADD_AT = "Counter.update(list)", "np.add.at into u64"
ROWS_HOT = (
    race("update-hot", "update(list of str), 10k keys", COUNTER, at_least(4.0), _update_hot),
    race(
        "ids-hot",
        "update(ids, amounts), 10k keys",
        ADD_AT,
        at_least(1.5),
        functools.partial(_columns, count=keys.HOT),
    ),
)
ROWS_MILLION = (
    race(
        "update-cold",
        "update(list of str), 1M keys in random order",
        COUNTER,
        at_least(3.0),
        _update_cold,
    ),
)
ROWS_NEW = (
    race("new-keys", "first increment of 1M new keys", "`d[k] = 1`", at_least(1.0), _new_keys, "normal"),
)
ROWS_TEN_MILLION = (
    race(
        "ids-10m",
        "update(ids, amounts), 10M keys in random order",
        ADD_AT,
        at_least(1.0),
        functools.partial(_columns, count=keys.TEN_MILLION),
        "full",
    ),
)
