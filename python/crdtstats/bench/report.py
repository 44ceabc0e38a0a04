"""What came out, for eyes and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crdtstats.bench.outcome import Outcome, figure
from crdtstats.bench.row import Row

NAME_WIDTH, FIGURE_WIDTH = 22, 12


@dataclass(frozen=True, slots=True)
class Measured:
    """A row after its run.

    Attributes:
        outcome: None where there is none.
        skipped: the peer or the fact that is missing.
        failed: what went wrong; that is no result, and no skip either.
        seconds: how long it took, all in.
    """

    row: Row
    outcome: Outcome | None
    seconds: float
    skipped: str | None = None
    failed: str | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the promise; None where nothing is promised or nothing was measured."""
        if self.outcome is None or self.row.promise is None:
            return None
        return self.row.promise.kept(self.outcome.median)

    @property
    def verdict(self) -> str:
        """In two words at most."""
        if self.outcome is None:
            return "failed" if self.failed else "skipped"
        return {True: "met", False: "not met", None: "no promise"}[self.met]

    def figures(self) -> tuple[str, str, str]:
        """Median, worst and best, with their unit."""
        assert self.outcome is not None
        up = self.row.more_is_better
        found = (self.outcome.median, self.outcome.worst(up), self.outcome.best(up))
        return (
            figure(found[0], self.row.unit),
            figure(found[1], self.row.unit),
            figure(found[2], self.row.unit),
        )


def header() -> str:
    """The line above the table."""
    columns = "".join(f"{name:>{FIGURE_WIDTH}}" for name in ("median", "worst", "best", "promised"))
    return f"{'row':<{NAME_WIDTH}}{columns}"


def line(measured: Measured) -> str:
    """Two or three lines of text: figures, what was measured, and absolute figures."""
    row, name = measured.row, f"{measured.row.name:<{NAME_WIDTH}}"
    what = f"{row.what}, beside {row.beside}" if row.beside else row.what
    if measured.outcome is None:
        return f"{name}  {measured.verdict}: {measured.skipped or measured.failed}\n    {what}"
    promised = str(row.promise) if row.promise else "—"
    columns = "".join(f"{text:>{FIGURE_WIDTH}}" for text in (*measured.figures(), promised))
    aside = f"\n    {measured.outcome.aside}" if measured.outcome.aside else ""
    return f"{name}{columns}  {measured.verdict}\n    {what}{aside}"


def as_json(machine: dict[str, str], all_measured: Iterable[Measured]) -> dict[str, Any]:
    """Everything, samples included."""
    return {"machine": machine, "rows": [_row(measured) for measured in all_measured]}


def _row(measured: Measured) -> dict[str, Any]:
    row, outcome = measured.row, measured.outcome
    found: dict[str, Any] = {
        "name": row.name,
        "what": row.what,
        "beside": row.beside,
        "unit": row.unit,
        "promise": str(row.promise) if row.promise else None,
        "verdict": measured.verdict,
        "seconds": round(measured.seconds, 2),
    }
    if outcome is None:
        return {**found, "why": measured.skipped or measured.failed}
    up = row.more_is_better
    return {
        **found,
        "met": measured.met,
        "median": outcome.median,
        "worst": outcome.worst(up),
        "best": outcome.best(up),
        "samples": list(outcome.samples),
        "figures": list(measured.figures()),
        "aside": outcome.aside,
    }
