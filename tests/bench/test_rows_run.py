"""The rows that take minutes, on few keys: they measure something, and leave nothing behind."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import pytest

from crdtstats.bench import flatness, flushing, servers, weighing
from crdtstats.bench.command import measure
from crdtstats.bench.lab import Lab
from crdtstats.bench.row import Row

FEW = 10_000
AXES = {"keys": flatness.with_keys, "replicas": flatness.with_replicas, "restarts": flatness.with_restarts}
ROWS = [
    *flushing.rows("few", FEW, "quick"),
    *weighing.rows("few", FEW, "quick", 0.5),
    *servers.ROWS,
    *(
        row
        for axis, store in AXES.items()
        for row in flatness.rows(
            axis, "few", functools.partial(store, count=1), functools.partial(store, count=3), "quick"
        )
    ),
]


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    # A socket's path may not be long.
    parent = tmp_path_factory.mktemp("lab")
    with Lab(str(parent), pairs=1, spin_s=0.0) as lab:
        yield lab
    assert list(parent.iterdir()) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_measures(row: Row, lab: Lab) -> None:
    measured = measure(row, lab)
    assert not measured.failed
    if measured.skipped:
        # Only a peer may be missing: it is said by name.
        assert row.name.startswith("redis")
        assert "redis" in measured.skipped
        pytest.skip(measured.skipped)
    assert measured.outcome is not None
    assert measured.outcome.samples
    assert all(math.isfinite(sample) for sample in measured.outcome.samples)
