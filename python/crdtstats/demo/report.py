"""Shows a run: bars while it goes on, a table and one last line in the end, or one JSON object."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from crdtstats.cli.shown import shown
from crdtstats.demo.driver import AUTHORS_SHOWN, Outcome, Progress
from crdtstats.demo.plan import Plan

DIRECTORIES_SHOWN = 8


def facts(outcome: Outcome) -> dict[str, Any]:
    """The outcome as one JSON object; both sides of ``/s`` are summed over the replicas."""
    plan = outcome.plan
    return {
        "replicas": len(plan.shares),
        "converged": True,
        "matches_git": outcome.difference is None,
        "first_difference": outcome.difference,
        "commit": plan.commit,
        "commits": plan.commits,
        "keys": len(plan.truth.values),
        "increments": plan.increments,
        "kill9_survived": len(outcome.kills),
        "kills": outcome.kills,
        "ingest_per_s": round(plan.increments / max(outcome.ingest_s, 1e-9)),
        "converge_s": round(outcome.converge_s, 3),
        "disk_bytes": outcome.disk_bytes,
        "binary_paths": plan.binary_paths,
        "refused_keys": plan.refused_keys,
        "top_directories": [list(row) for row in outcome.directories[:DIRECTORIES_SHOWN]],
        "top_authors": [list(row) for row in outcome.authors],
        "per_replica": outcome.per_replica,
    }


def write_json(out: TextIO, outcome: Outcome) -> None:
    """One object on one line."""
    out.write(json.dumps(facts(outcome), ensure_ascii=False) + "\n")


def write_table(out: TextIO, outcome: Outcome) -> None:
    """Tables, and a last line that says it all."""
    plan, summary = outcome.plan, facts(outcome)
    directories = [(shown(name) + "/", f"{value:,}") for name, value in outcome.directories]
    authors = [(shown(name), f"{value:,}") for name, value in outcome.authors]
    replicas = [
        tuple(
            "-" if row[name] is None else f"{row[name]:,}"
            for name in ("replica", "commits", "increments", "ingest_per_s", "blocks", "disk_bytes")
        )
        for row in outcome.per_replica
    ]
    columns = ("replica", "commits", "increments", "increments/s", "blocks", "bytes on disk")
    write = _rich_table(out) or _plain_table(out)
    write(("top directories", "lines"), directories[:DIRECTORIES_SHOWN] or [("(none)", "")])
    write(("top authors", "commits"), authors[:AUTHORS_SHOWN])
    write(columns, replicas)
    # First the half, then as many flushes as it took to hit one.
    out.write(
        f"kill -9: {len(outcome.kills)} times, "
        + ", ".join(f"{kill['when']} -> went on at {kill['position']:,}" for kill in outcome.kills)
        + "\n"
    )
    if plan.binary_paths:
        out.write(f"binary: {plan.binary_paths} paths, counted in commits/ only\n")
    if plan.refused_keys:
        out.write(f"left out: {plan.refused_keys} keys that are too long or too deep\n")
    out.write(f"time to converge: {summary['converge_s']:.2f} s after the last increment\n")
    counts = "{replicas} replicas, {keys} keys, {increments} increments".format_map(summary)
    out.write(f"converged: {counts}, totals equal git\n")


class Lines:
    """Progress without a terminal: one line a phase, or nothing at all."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out

    def phase(self, text: str) -> None:
        if self._out is not None:
            self._out.write(f"demo: {text}\n")
            self._out.flush()

    def counted(self, positions: Sequence[int]) -> None:
        pass


@contextmanager
def progress(plan: Plan, *, quiet: bool) -> Generator[Progress]:
    """Bars on stderr where that is a terminal and rich is there; else lines, none with ``quiet``."""
    if not _decorated(sys.stderr):
        yield Lines(None if quiet else sys.stderr)
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars
    except ImportError:
        yield Lines(None if quiet else sys.stderr)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        whole = bars.add_task("", total=None)
        tasks = [
            bars.add_task(f"replica {number}", total=share.elements)
            for number, share in enumerate(plan.shares, 1)
        ]

        class Drawn:
            def phase(self, text: str) -> None:
                bars.update(whole, description=text)

            def counted(self, positions: Sequence[int]) -> None:
                for task, position in zip(tasks, positions, strict=True):
                    bars.update(task, completed=position)

        yield Drawn()


def _decorated(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _rich_table(out: TextIO) -> Any:
    if not _decorated(out):
        return None
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return None
    console = Console(file=out)  # it heeds NO_COLOR

    def write(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table()
        for at, column in enumerate(columns):
            table.add_column(column, justify="right" if at else "left")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)

    return write


def _plain_table(out: TextIO) -> Any:
    def write(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for row in (columns, *rows):
            first, *rest = row
            cells = [first.ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
            out.write("  ".join(cells).rstrip() + "\n")
        out.write("\n")

    return write
