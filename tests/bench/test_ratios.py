"""Half of what is promised, for every row that takes some seconds: a shared machine is noisy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from crdtstats.bench.command import measure
from crdtstats.bench.lab import Lab
from crdtstats.bench.report import Measured, line
from crdtstats.bench.row import Row
from crdtstats.bench.rows import chosen

Record = Callable[[str, object], None]

PROMISED = [row for row in chosen([], "quick") if row.promise]
NOT_MET = {"ids-hot": 0.2}
"""Rows that do not reach half of their promise (benches/NOTES.md says why), and what they must not fall below."""
PAIRS = 7
SPIN_S = 0.2


def checked(row: Row, lab: Lab) -> Measured:
    """The row, once more where the first time was bad: a neighbour may have had the core."""
    measured = measure(row, lab)
    return measured if half_met(measured) else measure(row, lab)


def half_met(measured: Measured) -> bool:
    """Of a ratio the median counts, of an absolute figure the best: neighbours can only make it worse."""
    promise, outcome = measured.row.promise, measured.outcome
    if promise is None or outcome is None:
        return False
    found = outcome.median if promise.unit == "×" else outcome.best(promise.at_least)
    if measured.row.name in NOT_MET:
        return found >= NOT_MET[measured.row.name]
    return promise.half().kept(found)


@pytest.fixture(scope="module")
def all_measured() -> Iterator[dict[str, Measured]]:
    # In the order of the table, whatever the order of the tests: rows that follow each other share what was built.
    with Lab(pairs=PAIRS, spin_s=SPIN_S) as lab:
        yield {row.name: checked(row, lab) for row in PROMISED}


@pytest.mark.parametrize("name", [row.name for row in PROMISED])
def test_half_of_what_is_promised(
    name: str, all_measured: dict[str, Measured], record_testsuite_property: Record
) -> None:
    measured = all_measured[name]
    said = line(measured)
    sys.stderr.write(f"{said}\n")
    record_testsuite_property(name, said)
    if measured.skipped:
        pytest.skip(measured.skipped)
    assert half_met(measured), f"half of the promise (or NOT_MET) was asked for, twice\n{said}"
