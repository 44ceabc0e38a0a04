"""One line of the table."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from crdtstats.bench.lab import Lab
from crdtstats.bench.outcome import Outcome, Promise
from crdtstats.bench.race import Race

Size = Literal["quick", "normal", "full"]
"""The smallest run that a row is part of: some seconds, some ten seconds, minutes or gigabytes."""


@dataclass(frozen=True, slots=True)
class Row:
    """Something measured.

    Attributes:
        name: by which it is asked for.
        what: what is timed, or weighed.
        beside: what with; ``""`` where the figure stands alone.
        promise: None where the figure is for information.
        measure: does it.
        size: the smallest run that it is part of.
        unit: of its samples.
        race: where it is a race, the two sides, for other harnesses.
    """

    name: str
    what: str
    beside: str
    promise: Promise | None
    measure: Callable[[Lab], Outcome]
    size: Size = "quick"
    unit: str = "×"
    race: Callable[[Lab], AbstractContextManager[Race]] | None = None

    @property
    def more_is_better(self) -> bool:
        """Which way is the right one; without a promise a ratio is a speed."""
        return self.promise.at_least if self.promise else self.unit == "×"


def race(
    name: str,
    what: str,
    beside: str,
    promise: Promise | None,
    sides: Callable[[Lab], AbstractContextManager[Race]],
    size: Size = "quick",
) -> Row:
    """The row of a race."""

    def measure(lab: Lab) -> Outcome:
        with sides(lab) as started:
            return started.run(lab.pairs, lab.spin_s)

    return Row(name, what, beside, promise, measure, size, race=sides)


def gauge(
    name: str,
    what: str,
    promise: Promise,
    measure: Callable[[Lab], Outcome],
    size: Size = "quick",
    beside: str = "",
) -> Row:
    """The row of a figure that is held against a limit."""
    return Row(name, what, beside, promise, measure, size, promise.unit)


Sides = Generator[Race]
"""What the body of a race's context manager gives."""
