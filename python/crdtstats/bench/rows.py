"""All rows, in the order of the table; those that share a stage stand together."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from crdtstats.bench import (
    aggregate,
    batches,
    counting,
    flatness,
    flushing,
    idle,
    merging,
    reading,
    servers,
    touched,
    weighing,
)
from crdtstats.bench.row import Row, Size
from crdtstats.errors import UsageError

ROWS: tuple[Row, ...] = (
    *counting.ROWS_HOT,
    *batches.ROWS_HOT,
    *reading.ROWS_HOT,
    *counting.ROWS_MILLION,
    *batches.ROWS_MILLION,
    *reading.ROWS_MILLION,
    *touched.ROWS_MILLION,
    *reading.ROWS_MILLION_TOP,
    *batches.ROWS_NEW,
    *flatness.ROWS,
    *aggregate.ROWS,
    *merging.ROWS,
    *flushing.ROWS_MILLION,
    *weighing.ROWS_MILLION,
    *idle.ROWS,
    *servers.ROWS,
    *reading.ROWS_TEN_MILLION,
    *batches.ROWS_TEN_MILLION,
    *flatness.ROWS_FULL,
    *flushing.ROWS_TEN_MILLION,
    *weighing.ROWS_TEN_MILLION,
)

SIZES: tuple[Size, ...] = ("quick", "normal", "full")


def chosen(names: Sequence[str], size: Size) -> list[Row]:
    """The rows with these names, in which ``*`` stands for anything; without names those of a run of ``size``.

    Raises:
        UsageError: there is no such row.
    """
    if not names:
        return [row for row in ROWS if SIZES.index(row.size) <= SIZES.index(size)]
    for name in names:
        if not any(_named(row, name) for row in ROWS):
            known = ", ".join(row.name for row in ROWS)
            raise UsageError(f"there is no row {name!r}; there are {known}", name=name)
    return [row for row in ROWS if any(_named(row, name) for name in names)]


def _named(row: Row, name: str) -> bool:
    return fnmatch.fnmatchcase(row.name, name)
