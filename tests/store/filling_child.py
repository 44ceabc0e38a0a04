"""Counts until the disk is full, and on when there is space again. Run by `test_full_disk` on a small tmpfs.

    filling_child.py DIRECTORY

Prints "ok" as its last line when everything held.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import crdtstats
from crdtstats.errors import UnavailableError

if TYPE_CHECKING:
    from crdtstats import CRDTStatsStore

FILLER_BYTES = 6 << 20
"""Kept back, and freed once the rest of the disk is full: a flush writes the keys again, SQLite twice."""
TEXT = "x" * 400
MORE_KEYS = 500
KEYS_MIN = 2000
"""So many keys have to fit: what is not kept back holds twice their text."""


def refused(call: Callable[..., object], *args: Any, **named: Any) -> None:
    """The call says clearly that there is no space."""
    with pytest.raises(UnavailableError, match=r"space|full"):
        call(*args, **named)


def fill(path: Path) -> None:
    """Take all that is left of the disk."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def count_until_full(stats: CRDTStatsStore, name: str, want: dict[str, int]) -> str:
    """Count new keys until one is refused; gives that one."""
    for n in range(1_000_000):
        key = f"{name}/{n}/{TEXT}"
        try:
            stats.increment(key, n + 1)
        except UnavailableError:
            refused(stats.increment, key)
            return key
        want[key] = n + 1
    raise AssertionError("the disk is too large")


def refuse_everything_new(stats: CRDTStatsStore, key: str, old: str) -> None:
    """Whatever needs room is refused whole, each time, and in every form."""
    new = {f"batch/{n}/{TEXT}": 1 for n in range(20_000)}
    for _ in range(2):
        refused(stats.increment, key)
        refused(stats.decrement, key)
        refused(stats.update, [old, key])
        refused(stats.update, {old: 1, **new})
        refused(stats.update, [old, *new], [5] * (1 + len(new)), cursor=("log", 1))
    assert stats.cursor("log") is None
    assert stats.get(key) == 0


def look(stats: CRDTStatsStore, want: dict[str, int]) -> None:
    assert dict(stats.items()) == want
    assert stats.total() == sum(want.values())
    assert stats.status()["keys"] == len(want)
    assert stats.top("", 3) == sorted(want.items(), key=lambda item: (-item[1], item[0]))[:3]


def main(disk: Path) -> None:
    filler, rest = disk / "filler", disk / "rest"
    filler.write_bytes(bytes(FILLER_BYTES))
    want: dict[str, int] = {}
    stats = crdtstats.open(disk / "stats.d", flush_interval_s=3600)
    stats.flush()  # from here on nothing is flushed unasked
    key = count_until_full(stats, "first", want)
    assert len(want) > KEYS_MIN, len(want)
    look(stats, want)
    fill(rest)
    old = next(iter(want))
    refuse_everything_new(stats, key, old)
    look(stats, want)
    # Keys that are there go on counting: their place was reserved before it was used, so no page of it is missing.
    counter = stats.counter(old)
    for existing in want:
        stats.increment(existing)
        want[existing] += 1
    counter.inc(2)
    stats.update({old: 3})
    want[old] += 5
    look(stats, want)
    refused(stats.flush)
    look(stats, want)

    # There is space again: nothing has to be opened anew.
    rest.unlink()
    filler.unlink()
    more = {f"more/{n}/{TEXT}": n + 1 for n in range(MORE_KEYS)}
    stats.increment(key)
    stats.update(more)
    stats.update({old: 7}, cursor=("log", 1))
    want |= {key: 1, old: want[old] + 7, **more}
    look(stats, want)
    stats.flush()

    # What cannot be flushed stays in the journal: closed on a full disk, found when there is space.
    stats.update(dict.fromkeys(more, 2), cursor=("log", 2))
    want |= {changed: want[changed] + 2 for changed in more}
    fill(rest)
    refused(stats.close)
    refused(crdtstats.open, disk / "stats.d")
    refused(crdtstats.open, disk / "new.d")
    rest.unlink()
    crdtstats.open(disk / "new.d").close()
    with crdtstats.open(disk / "stats.d") as stats:
        look(stats, want)
        assert stats.cursor("log") == 2
    print("ok")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
