"""What a row promises, and what came out."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

THIN_SPACE = "\u202f"
"""Between thousands."""


class SkippedError(Exception):
    """A row cannot run here; the message names what is missing."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A limit that the median has to reach.

    Attributes:
        limit: in ``unit``.
        at_least: True: the limit or more; False: the limit or less.
        unit: ``×`` for a ratio.
    """

    limit: float
    at_least: bool = True
    unit: str = "×"

    def kept(self, value: float) -> bool:
        """Whether ``value`` reaches the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def half(self) -> Promise:
        """Half as much: what a check on a noisy machine asks for."""
        return Promise(self.limit / 2 if self.at_least else self.limit * 2, self.at_least, self.unit)

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {figure(self.limit, self.unit)}"


def at_least(limit: float, unit: str = "×") -> Promise:
    """The promise of ``limit`` or more."""
    return Promise(limit, True, unit)


def at_most(limit: float, unit: str = "×") -> Promise:
    """The promise of ``limit`` or less."""
    return Promise(limit, False, unit)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one row measured.

    Attributes:
        samples: one for each pair or round, in the unit of the row.
        aside: absolute figures, as text: true of this machine and this hour only.
    """

    samples: tuple[float, ...]
    aside: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def worst(self, at_least: bool) -> float:
        """The sample farthest on the wrong side."""
        return min(self.samples) if at_least else max(self.samples)

    def best(self, at_least: bool) -> float:
        """The sample farthest on the right side."""
        return max(self.samples) if at_least else min(self.samples)


def figure(value: float, unit: str) -> str:
    """``value`` in three digits, with its unit."""
    digits = 0 if abs(value) >= 100 or not value else 1 if abs(value) >= 10 else 2
    text = f"{value:.1e}" if 0 < abs(value) < 0.01 else f"{value:_.{digits}f}".replace("_", THIN_SPACE)
    return f"{text} {unit}".rstrip()


def rate(operations: float, seconds: float) -> str:
    """Operations per second."""
    per_s = operations / seconds
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if per_s >= size:
            return f"{per_s / size:.3g} {name}/s"
    return f"{per_s:.3g} /s"


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for size, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds / 1e-9:.3g} ns"
