"""Columns from several threads: long calls let others run, and what others write meanwhile does no harm."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from crdtstats.errors import UsageError
from crdtstats.store import CRDTStatsStore

KEYS = [f"k/{n}" for n in range(1000)]


def _together(*calls: Callable[[], None]) -> None:
    failed: list[BaseException] = []

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def test_threads_lose_nothing(stats: CRDTStatsStore) -> None:
    ids = stats.ids(KEYS)
    array, text = np.asarray(ids), pa.array(KEYS)
    ones = np.ones(len(KEYS), dtype=np.int64)

    def count(batch: object) -> Callable[[], None]:
        return lambda: [stats.update(batch, ones) for _ in range(200)] and None  # pyright: ignore

    def read() -> None:
        for _ in range(50):
            assert sum(pa.table(stats.to_arrow(int64=True))["total"].to_pylist()) <= 800 * len(KEYS)

    def once() -> None:
        for key in KEYS * 20:
            stats.increment(key)

    _together(count(ids), count(array), count(text), once, read, stats.flush)
    assert stats.total() == (3 * 200 + 20) * len(KEYS)
    assert {n for _, n in stats.items()} == {3 * 200 + 20}


def test_threads_on_many_ids_lose_nothing(stats: CRDTStatsStore) -> None:
    """Rows in lanes, beside counts on the same keys by themselves, reads and flushes."""
    keys = [f"k/{n}" for n in range(20_000)]
    own = stats.ids(keys)
    column = np.asarray(own)
    ups = np.full(len(keys), 3)
    both = np.where(np.arange(len(keys)) % 2, 5, -2)
    rounds = 60

    def count(batch: object, amounts: object) -> Callable[[], None]:
        return lambda: [stats.update(batch, amounts) for _ in range(rounds)] and None  # pyright: ignore

    def once() -> None:
        for key in keys[:100] * rounds:
            stats.increment(key)
            stats.decrement(key, 2)

    def read() -> None:
        last = 0
        for n in range(rounds):
            assert stats.get("k/20") <= 7 * rounds  # what counts it down may come last
            odd = stats.get("k/19999")  # which only goes up
            assert odd >= last
            last = odd
            assert stats.total("k/19999") >= odd
            assert n or stats.total() <= (8 * rounds) * len(keys)

    def flush() -> None:
        for _ in range(20):
            stats.flush()

    wrong = np.append(column, column[0] ^ np.uint32(1 << 31))

    def refused() -> None:
        for _ in range(rounds):
            with pytest.raises(UsageError, match=f"position {len(keys)}"):
                stats.update(wrong)

    _together(
        count(own, ups), count(column, both), count(column[::-1].copy(), ups), once, read, flush, refused
    )
    expected = [rounds * (6 + int(by) - (n < 100)) for n, by in enumerate(both)]
    assert [stats.get(key) for key in keys] == expected
    assert stats.total() == sum(expected)
    assert dict(stats.items()) == {key: n for key, n in zip(keys, expected, strict=True) if n}
    stats.flush()
    assert stats.status()["dirty"] == 0


def test_a_long_call_lets_others_run(stats: CRDTStatsStore) -> None:
    ids = np.tile(np.asarray(stats.ids(KEYS)), 12_000)
    interval = sys.getswitchinterval()
    done = threading.Event()
    seen = 0

    def count() -> None:
        stats.update(ids)
        done.set()

    # Nobody is made to let go of the GIL: what runs beside the call runs because the call let go of it.
    sys.setswitchinterval(60)
    try:
        thread = threading.Thread(target=count)
        thread.start()
        while not done.is_set():
            seen += 1
            done.wait(0.000_1)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert seen > 3
    assert stats.total() == len(ids)


def test_a_buffer_that_changes_meanwhile_counts_what_was_read(stats: CRDTStatsStore) -> None:
    good = np.asarray(stats.ids(KEYS))
    ids = np.tile(good, 100)
    amounts = np.ones(len(ids), dtype=np.int64)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            amounts[:] = 2
            ids[::7] = 5  # no id
            amounts[::3] = -(2**63)  # no amount
            ids[:] = np.tile(good, 100)
            amounts[:] = 1

    counted = refused = 0
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            before = stats.total()
            try:
                stats.update(ids, amounts)
            except UsageError:
                refused += 1
                assert stats.total() == before
            else:
                counted += 1
                assert len(ids) <= stats.total() - before <= 2 * len(ids)
    finally:
        stop.set()
        thread.join()
    assert counted + refused == 200


@pytest.mark.parametrize("rows", [0, 1, 169, 170, 171, 5000])
def test_around_the_length_from_which_others_run(stats: CRDTStatsStore, rows: int) -> None:
    keys = [f"k/{n}" for n in range(rows)]
    ids = stats.ids(keys)
    stats.update(ids)
    stats.update(np.asarray(ids), np.full(rows, 2))
    stats.update(pa.array(keys, pa.string()), [3] * rows)
    with pytest.raises(UsageError, match=f"position {rows}"):
        stats.update(np.append(np.asarray(ids), np.uint32(1)))
    assert [n for _, n in stats.items()] == [6] * rows
