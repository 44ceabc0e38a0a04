"""Runs rows and shows them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence

from crdtstats.bench import report
from crdtstats.bench.lab import Lab
from crdtstats.bench.machine import machine
from crdtstats.bench.outcome import SkippedError
from crdtstats.bench.report import Measured
from crdtstats.bench.row import Row, Size
from crdtstats.bench.rows import chosen
from crdtstats.errors import CrdtStatsError

PAIRS_QUICK, PAIRS = 7, 9


def run(names: Sequence[str], *, size: Size, as_json: bool, directory: str | None) -> int:
    """Measure and show; gives the exit code.

    Args:
        names: of rows, with ``*`` for anything; none: those of a run of ``size``.
        size: ``quick``, ``normal`` or ``full``.
        as_json: one JSON object at the end; else a table, each row as soon as it is measured.
        directory: where files are made; None: the system's place for temporary files.

    Raises:
        UsageError: there is no such row.
    """
    rows = chosen(names, size)
    all_measured: list[Measured] = []
    pairs = PAIRS_QUICK if size == "quick" else PAIRS
    with Lab(directory, pairs=pairs, full=size == "full") as lab:
        where = machine(lab.directory)
        if not as_json:
            _say("\n".join(f"{name}: {value}" for name, value in where.items()))
            _say(f"\n{report.header()}")
        for row in rows:
            measured = measure(row, lab)
            all_measured.append(measured)
            if not as_json:
                _say(report.line(measured))
    if as_json:
        _say(json.dumps(report.as_json(where, all_measured), ensure_ascii=False))
    return 1 if any(measured.failed for measured in all_measured) else 0


def measure(row: Row, lab: Lab) -> Measured:
    """One row; a peer that is missing or a failure ends this row only."""
    began = time.perf_counter()
    try:
        outcome = row.measure(lab)
    except SkippedError as error:
        return Measured(row, None, time.perf_counter() - began, skipped=str(error))
    except (CrdtStatsError, OSError, AssertionError, subprocess.SubprocessError) as error:
        return Measured(row, None, time.perf_counter() - began, failed=f"{type(error).__name__}: {error}")
    return Measured(row, outcome, time.perf_counter() - began)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
