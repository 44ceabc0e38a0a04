"""What a flush costs, and what an increment notices of it."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

from crdtstats import _core
from crdtstats.bench import keys
from crdtstats.bench.lab import NEVER_S, Lab
from crdtstats.bench.outcome import Outcome, at_most, duration
from crdtstats.bench.race import quiet, spin
from crdtstats.bench.row import Row, Size, gauge
from crdtstats.bench.stages import CHUNK
from crdtstats.datastores.sqlite import SQLiteDatastore
from crdtstats.store import CRDTStatsStore

DIRTY = 100_000
OVER_WRITE_MAX = 2.0
INCREMENTS = 1_000_000
STALL_MS_MAX = 1.0


class RecordingDatastore(SQLiteDatastore):
    """The datastore of every store, which also remembers the values of its last batch."""

    TAKES_BLOCKS = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.last_values: list[bytes] = []

    def batch(self, puts: Iterable[tuple[str, bytes]], deletes: Iterable[str] = ()) -> None:
        listed = list(puts)
        self.last_values = [value for _, value in listed]
        super().batch(listed, deletes)


@contextlib.contextmanager
def _filled(lab: Lab, count: int) -> Generator[tuple[CRDTStatsStore, RecordingDatastore]]:
    import crdtstats

    path = lab.path("flushed.d")
    datastore = RecordingDatastore(lab.path("blocks.sqlite"))
    with (
        contextlib.closing(datastore),
        crdtstats.open(path, datastore=datastore, flush_interval_s=NEVER_S) as stats,
    ):
        for first in range(0, count, CHUNK):
            stats.update(keys.keys(min(CHUNK, count - first), first))
        stats.flush()
        yield stats, datastore


def _store(lab: Lab, count: int) -> tuple[CRDTStatsStore, RecordingDatastore]:
    return lab.stage(("flushed", count), functools.partial(_filled, lab, count))


def _flush(lab: Lab, count: int) -> Outcome:
    """How many times longer a flush takes than to hash and durably write its bytes."""
    stats, datastore = _store(lab, count)
    draw = random.Random(keys.SEED)
    flushes: list[float] = []
    writes: list[float] = []
    with quiet():
        spin(lab.spin_s)
        for _ in range(lab.pairs):
            picked = [keys.key(n) for n in draw.sample(range(count), min(DIRTY, count))]
            stats.update(picked)
            began = time.perf_counter()
            stats.flush()
            flushes.append(time.perf_counter() - began)
            values = [bytes(value) for value in datastore.last_values]  # blocks of the engine's
            writes.append(_hash_and_write(lab.path("written"), values))
    size = sum(map(len, datastore.last_values))
    return Outcome(
        tuple(ours / theirs for ours, theirs in zip(flushes, writes, strict=True)),
        f"{duration(min(flushes))} beside {duration(min(writes))} for {size / 1e6:.1f} MB",
    )


def _hash_and_write(path: Path, values: list[bytes]) -> float:
    began = time.perf_counter()
    for value in values:
        _core.cid(value, "blake3")
    with path.open("wb", buffering=0) as file:
        for value in values:
            file.write(value)
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    path.unlink()
    return took


def _stall(lab: Lab, count: int) -> Outcome:
    """The worst of 10⁶ increments, in milliseconds, while another thread flushes without a pause."""
    stats, _ = _store(lab, count)
    many = keys.keys(DIRTY)
    work = many * (INCREMENTS // DIRTY)
    counts = dict.fromkeys(many, 0)
    flushed = 0

    def flush() -> None:
        nonlocal flushed
        stats.flush()
        flushed += 1

    worst: list[float] = []
    alone: list[float] = []
    with quiet():
        spin(lab.spin_s)
        for _ in range(lab.pairs):
            alone.append(_worst_ms(work, _add_one(counts)))
            stats.update(many)
            with _over_and_over(flush):
                worst.append(_worst_ms(work, stats.increment))
    assert flushed >= lab.pairs, "the other thread did not flush"
    typical = statistics.median(alone)
    return Outcome(
        tuple(worst),
        f"{flushed} flushes meanwhile; the worst of 10⁶ `d[k] += 1` with nothing beside: {typical:.2g} ms",
    )


def _add_one(counts: dict[str, int]) -> Callable[[str], None]:
    def add(key: str) -> None:
        counts[key] += 1

    return add


def _worst_ms(work: list[str], call: Callable[[str], Any]) -> float:
    worst = 0
    clock = time.perf_counter_ns
    before = clock()
    for key in work:
        call(key)
        now = clock()
        if now - before > worst:
            worst = now - before
        before = now
    return worst / 1e6


@contextlib.contextmanager
def _over_and_over(call: Callable[[], None]) -> Generator[None]:
    """Another thread calls ``call`` without a pause; once at least."""
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            call()

    thread = threading.Thread(target=run, name="flush")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def rows(name: str, count: int, size: Size) -> tuple[Row, ...]:
    """The rows of a store with ``count`` keys."""
    of = f"{count / keys.MILLION:g}M keys"
    return (
        gauge(
            f"flush-{name}",
            f"flush of 100k dirty of {of}",
            at_most(OVER_WRITE_MAX),
            functools.partial(_flush, count=count),
            size,
            beside="to hash (blake3) the same bytes and write them to one file, with fsync",
        ),
        gauge(
            f"stall-{name}",
            f"the worst of 10⁶ increments while 100k dirty of {of} are flushed",
            at_most(STALL_MS_MAX, "ms"),
            functools.partial(_stall, count=count),
            size,
        ),
    )


ROWS_MILLION = rows("1m", keys.MILLION, "normal")
ROWS_TEN_MILLION = rows("10m", keys.TEN_MILLION, "full")
