"""What several rows share: many keys, counted in a store and in a dict."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator
from dataclasses import dataclass

from crdtstats.bench.keys import in_random_order, keys
from crdtstats.bench.lab import Lab
from crdtstats.store import CRDTStatsStore

COLD_BEST_OF = 2
"""Turns of each side in a pair; each of them has other keys."""
SLICES = 8
"""A turn works on one slice of the keys; the two sides are never on the same one, nor soon after each other: what one
has just brought into the cache must not help the other."""
CHUNK = 100_000


@dataclass(frozen=True, slots=True)
class Counted:
    """Keys that are known to both sides.

    Attributes:
        stats: the store; everything is flushed and nothing is unread.
        counts: the dict, with the same keys and values.
        made: the keys as they were made and first counted.
        order: the same string objects in random order.
    """

    stats: CRDTStatsStore
    counts: dict[str, int]
    made: list[str]
    order: list[str]

    @property
    def slice_size(self) -> int:
        return len(self.order) // SLICES

    def ours(self, turn: int) -> list[str]:
        """The keys of a turn of the store."""
        return self._slice(turn)

    def peer(self, turn: int) -> list[str]:
        """The keys of a turn of the peer: half the way round."""
        return self._slice(turn + SLICES // 2)

    def _slice(self, turn: int) -> list[str]:
        number = turn % SLICES
        return self.order[number * self.slice_size : (number + 1) * self.slice_size]


def counted(lab: Lab, count: int) -> Counted:
    """``count`` keys in a store and in a dict, shared by the rows that follow each other."""
    return lab.stage(("counted", count), functools.partial(_counted, lab, count))


@contextlib.contextmanager
def _counted(lab: Lab, count: int) -> Generator[Counted]:
    made = keys(count)
    # No two of a thousand neighbours are equal, and the largest are anywhere.
    amounts = [n * 2_654_435_761 % 1_000_003 for n in range(count)]
    with lab.store() as stats:
        for first in range(0, count, CHUNK):
            stats.update(made[first : first + CHUNK], amounts[first : first + CHUNK])
        stats.flush()
        stats.total()
        yield Counted(stats, dict(zip(made, amounts, strict=True)), made, in_random_order(made))
