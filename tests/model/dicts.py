"""What a store should hold, as plain dicts: short and slow, so that one can see that it is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

FULL = 2**64 - 1
"""What one side of a sub-counter holds."""
AMOUNT_MAX = 2**63 - 1


def clean(key: str) -> str:
    """The key as the store gives it back."""
    parts: list[str] = []
    for part in key.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def is_below(key: str, prefix: str) -> bool:
    return not prefix or key.startswith(prefix + "/")


class Reads:
    """What every read of ``values`` (clean key → value, of all keys that were ever counted) should give."""

    def __init__(self, values: Mapping[str, int]) -> None:
        self._values = values

    def get(self, key: str) -> int:
        return self._values.get(clean(key), 0)

    def items(self, prefix: str) -> list[tuple[str, int]]:
        at = clean(prefix)
        return sorted((key, n) for key, n in self._values.items() if key == at or is_below(key, at))

    def total(self, prefix: str) -> int:
        return sum(n for _, n in self.items(prefix))

    def top(self, prefix: str, n: int) -> list[tuple[str, int]]:
        below = [item for item in self.items(prefix) if item[0] != clean(prefix)]
        return sorted(below, key=lambda item: (-item[1], item[0]))[:n]

    def children(self, prefix: str) -> list[tuple[str, int]]:
        at = clean(prefix)
        out: Counter[str] = Counter()
        for key, n in self.items(prefix):
            if key != at:
                out[key[len(at) + 1 if at else 0 :].split("/")[0]] += n
        return sorted(out.items())


class Dicts:
    """One store: its values, the room that its sub-counters have left, its cursors, and what a flush owes."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.cursors: dict[str, int] = {}
        self.flushed_cursors: dict[str, int] = {}
        self.refused_cursors: dict[str, int] | None = None
        self.dirty: set[str] = set()
        self._sides: Counter[tuple[str, bool]] = Counter()

    def room(self, key: str, *, up: bool) -> int:
        return FULL - self._sides[clean(key), up]

    def fits(self, batch: Iterable[tuple[str, int]]) -> bool:
        """Whether no sub-counter overflows, with all of ``batch`` counted."""
        more: Counter[tuple[str, bool]] = Counter()
        for key, n in batch:
            more[clean(key), n > 0] += abs(n)
        return all(self._sides[side] + by <= FULL for side, by in more.items())

    def count(self, batch: Iterable[tuple[str, int]], cursor: tuple[str, int] | None = None) -> None:
        for key, n in batch:
            if n:
                key = clean(key)
                self.values[key] = self.values.get(key, 0) + n
                self._sides[key, n > 0] += abs(n)
                self.dirty.add(key)
        if cursor is not None:
            self.cursors[cursor[0]] = cursor[1]

    def is_behind(self, cursor: tuple[str, int] | None) -> bool:
        return cursor is not None and cursor[1] <= self.cursors.get(cursor[0], -1)

    @property
    def owes_a_flush(self) -> bool:
        return bool(self.dirty or self.refused_cursors is not None or self.cursors != self.flushed_cursors)

    def flushed(self) -> None:
        self.dirty.clear()
        self.refused_cursors = None
        self.flushed_cursors = dict(self.cursors)

    def flush_refused(self, *, but_done: bool) -> None:
        """The datastore refused; ``but_done``: the answer alone was lost. A retry stores the same again."""
        if self.refused_cursors is None:
            self.refused_cursors = dict(self.cursors)
        if but_done:
            self.flushed_cursors = dict(self.refused_cursors)

    def reopened(self, *, as_a_copy: bool = False) -> None:
        """A new generation: every sub-counter has all its room, and recovery has published the journal.

        A copied journal's cursors may run ahead of its counts: those of the last durable flush are believed.
        """
        self._sides.clear()
        if as_a_copy:
            self.cursors = dict(self.flushed_cursors)
        self.flushed()
