"""Memory for each key, and how long a directory takes to open."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Generator
from pathlib import Path

from crdtstats.bench import child, keys
from crdtstats.bench.lab import Lab
from crdtstats.bench.outcome import Outcome, SkippedError, at_most
from crdtstats.bench.row import Row, Size, gauge
from crdtstats.bench.servers import redis_bytes_per_key

COUNTED_BYTES_MAX = 100.0
OPENED_BYTES_MAX = 120.0
GENERATION_BYTES_MAX = 40.0
FURTHER = 4
"""Further generations that are weighed together."""
WEIGHINGS = 3
"""A weight hardly changes from one process to the next."""


@contextlib.contextmanager
def _directory(lab: Lab, count: int, lives: int) -> Generator[Path]:
    """A directory in which each of ``lives`` processes counted all the keys."""
    path = lab.path("weighed.d")
    try:
        for _ in range(lives):
            child.ask("fill", path, count)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _written(lab: Lab, count: int) -> Path:
    return lab.stage(("written", count), functools.partial(_directory, lab, count, 1))


def _counted(lab: Lab, count: int) -> Outcome:
    samples: list[float] = []
    for _ in range(WEIGHINGS if count == keys.MILLION else 1):
        path = lab.path("counted.d")
        samples.append(child.ask("count", path, count)["bytes"] / count)
        shutil.rmtree(path, ignore_errors=True)
    in_dict = child.ask("dict", count)["bytes"] / count
    try:
        in_redis = f"Redis: {redis_bytes_per_key(lab, min(count, keys.MILLION)):.0f} B"
    except SkippedError as missing:
        in_redis = f"no Redis: {missing}"
    return Outcome(tuple(samples), f"dict: {in_dict:.0f} B; {in_redis}")


def _opened(lab: Lab, count: int) -> Outcome:
    path = _written(lab, count)
    weighings = WEIGHINGS if count == keys.MILLION else 1
    return Outcome(tuple(child.ask("open", path, count)["bytes"] / count for _ in range(weighings)))


def _generation(lab: Lab, count: int) -> Outcome:
    one = child.ask("open", _written(lab, count), count)["bytes"]
    with _directory(lab, count, 1 + FURTHER) as path:
        many = [child.ask("open", path, count)["bytes"] for _ in range(WEIGHINGS)]
    each = tuple((weight - one) / FURTHER / count for weight in many)
    return Outcome(each, f"{1 + FURTHER} generations less 1")


def _open_s(lab: Lab, count: int) -> Outcome:
    path = _written(lab, count)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    samples = tuple(child.ask("open", path, count)["seconds"] for _ in range(lab.pairs))
    return Outcome(samples, f"files in the page cache, {size / count:.0f} B each")


def rows(name: str, count: int, size: Size, open_s_max: float) -> tuple[Row, ...]:
    """The rows of a store with ``count`` keys."""
    millions = f"{count / keys.MILLION:g}M"
    of = f"{millions} keys of 25 bytes"
    return (
        gauge(
            f"memory-{name}",
            f"memory for each of {of}: counted in this run, after a flush and a read",
            at_most(COUNTED_BYTES_MAX, "B"),
            functools.partial(_counted, count=count),
            size,
            beside="Redis, dict",
        ),
        gauge(
            f"memory-opened-{name}",
            f"memory for each of {of}: after close and open",
            at_most(OPENED_BYTES_MAX, "B"),
            functools.partial(_opened, count=count),
            size,
        ),
        gauge(
            f"open-{name}",
            f"open of a directory with {millions} sub-counters, written by one load",
            at_most(open_s_max, "s"),
            functools.partial(_open_s, count=count),
            size,
        ),
    )


ROWS_MILLION = (
    *rows("1m", keys.MILLION, "normal", 0.5),
    gauge(
        "memory-generation",
        "memory for each further (replica, generation) of each of 1M keys",
        at_most(GENERATION_BYTES_MAX, "B"),
        functools.partial(_generation, count=keys.MILLION),
        "normal",
    ),
)
ROWS_TEN_MILLION = rows("10m", keys.TEN_MILLION, "full", 5.0)
