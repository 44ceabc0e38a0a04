"""Both sides of every race, each by itself, with the statistics of pytest-benchmark.

``make bench`` runs it; alone: ``pytest -p no:randomly benches/bench_races.py``. The ratios, of turns in which the sides
alternate, are those of ``crdtstats bench``: these here are the absolute figures of this machine.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from crdtstats.bench.lab import Lab
from crdtstats.bench.outcome import SkippedError
from crdtstats.bench.race import spin
from crdtstats.bench.row import Row
from crdtstats.bench.rows import ROWS

ROUNDS, ROUNDS_LONG = 30, 7
WARM_UP_ROUNDS = 2
RACES = [row for row in ROWS if row.race is not None]


@pytest.mark.parametrize("side", ["ours", "peer"])
@pytest.mark.parametrize("row", RACES, ids=lambda row: row.name)
def bench_race(row: Row, side: str, lab: Lab, benchmark: BenchmarkFixture) -> None:
    if row.size == "full" and not lab.full:
        pytest.skip("10 million keys: --full")
    assert row.race is not None
    benchmark.group = row.name
    try:
        with row.race(lab) as race:
            chosen = race.ours if side == "ours" else race.peer
            turns = itertools.count()

            def prepare() -> tuple[tuple[Any, ...], dict[str, Any]]:
                return (chosen.prepare(next(turns)),), {}

            benchmark.extra_info.update(
                what=row.what if side == "ours" else row.beside, operations=race.operations
            )
            spin()
            benchmark.pedantic(
                chosen.run,
                setup=prepare,
                rounds=ROUNDS if row.size == "quick" else ROUNDS_LONG,
                warmup_rounds=WARM_UP_ROUNDS,
            )
    except SkippedError as missing:
        pytest.skip(str(missing))
