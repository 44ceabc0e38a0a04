"""What may happen to a message on its way."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from crdtstats.errors import UsageError

REORDER_S_MAX = 0.05
"""A reordered message is late by up to this beyond its delay, so that later ones overtake it."""
DUPLICATE_S_MAX = 0.05
"""The second copy of a duplicated message comes up to this after the first."""


@dataclass(frozen=True)
class Faults:
    """Rates between 0 and 1, each drawn for each message alone, and the range of its delay in seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_s: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is a rate between 0 and 1, not {getattr(self, name)}")
        low, high = self.delay_s
        if not 0 <= low <= high:
            raise UsageError(f"delay_s is (least, greatest) in seconds, not {self.delay_s}")

    @property
    def any(self) -> bool:
        """Whether anything at all is done to messages."""
        return bool(self.loss or self.duplicate or self.reorder or self.delay_s[1])

    def fate(self, random: Random) -> Fate:
        """What happens to the next message; draws the same count of numbers whatever the rates are.

        So two runs of one seed that differ in one rate stay comparable.
        """
        lost, doubled, overtaken, along, behind, apart = (random.random() for _ in range(6))
        low, high = self.delay_s
        reordered = overtaken < self.reorder
        return Fate(
            lost=lost < self.loss,
            delay_s=low + (high - low) * along + (REORDER_S_MAX * behind if reordered else 0.0),
            reordered=reordered,
            copy_after_s=DUPLICATE_S_MAX * apart if doubled < self.duplicate else None,
        )


@dataclass(frozen=True)
class Fate:
    """What happens to one message."""

    lost: bool
    delay_s: float
    reordered: bool
    copy_after_s: float | None
