"""Columns that are long beside the number of keys: these are summed up by key first, then each key is counted once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import crdtstats
from crdtstats.errors import CounterOverflowError, UsageError
from crdtstats.store import CRDTStatsStore

KEYS = [f"{'k' * (n % 50)}/{n}" for n in range(100)]
EDGE = 2**63 - 1
MOST = 2**64 - 1
LENGTHS = [1023, 1024, 1025, 1279, 1280, 1281, 20_000]
"""Around the length from which rows are summed up, and that of blocks."""


@pytest.fixture(params=["flushed now and then", "never flushed"])
def stats(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CRDTStatsStore]:
    interval_s = 86_400.0 if request.param == "never flushed" else 0.05
    with crdtstats.open(tmp_path / "stats.d", flush_interval_s=interval_s) as store:
        yield store


def _amounts(kind: str, rows: int, random: np.random.Generator) -> np.ndarray[Any, Any]:
    small = random.integers(0, 100, rows)
    return {
        "small": small,
        "both signs": random.integers(-100, 100, rows),
        "past 32 bits": small << 33,
        "past 32 bits in all": small + 2**21,
        "both signs, past 32 bits": random.integers(-100, 100, rows) << 33,
    }[kind]


@pytest.mark.parametrize("rows", LENGTHS)
@pytest.mark.parametrize(
    "kind", ["small", "both signs", "past 32 bits", "past 32 bits in all", "both signs, past 32 bits"]
)
def test_rows_of_every_length_and_size(stats: CRDTStatsStore, rows: int, kind: str) -> None:
    random = np.random.default_rng(rows)
    expected = np.zeros(len(KEYS), dtype=np.int64)
    own = np.asarray(stats.ids(KEYS))
    for turn in range(4):
        picked = random.integers(0, len(KEYS), rows)
        amounts = _amounts(kind, rows, random)
        keys = [KEYS[n] for n in picked]
        batch = [own[picked], stats.ids(keys), pa.array(keys), pa.array(own[picked])][turn]
        stats.update(batch, amounts)
        stats.update(batch)
        np.add.at(expected, picked, amounts + 1)
        assert [stats.get(key) for key in KEYS] == expected.tolist()
    assert stats.total() == expected.sum()


@pytest.mark.parametrize("row", [0, 255, 256, 1023, 1024, 4999])
def test_one_wrong_row_counts_nothing(stats: CRDTStatsStore, row: int) -> None:
    ids = np.resize(np.asarray(stats.ids(KEYS)), 5000)
    wrong_ids, wrong_amounts = ids.copy(), np.ones(5000, dtype=np.int64)
    wrong_amounts[row] = -(2**63)
    too_large = np.ones(5000, dtype=np.uint64)
    too_large[row] = 2**63
    for amounts in (wrong_amounts, too_large):
        for batch in (ids, stats.ids(KEYS * 50), pa.array(KEYS * 50)):
            with pytest.raises(UsageError, match=f"position {row}"):
                stats.update(batch, amounts)
    for bit in range(32):
        wrong_ids[row] = ids[row] ^ (1 << bit)
        if wrong_ids[row] in ids:
            continue
        for amounts in (None, np.ones(5000, dtype=np.int64), np.full(5000, -1)):
            with pytest.raises(UsageError, match=f"id {wrong_ids[row]} at position {row}"):
                stats.update(wrong_ids, amounts)
    assert stats.total() == 0
    assert {n for _, n in stats.items()} <= {0}


def test_long_columns_of_ids_of_another_store_are_noticed(stats: CRDTStatsStore, tmp_path: Path) -> None:
    ids = np.resize(np.asarray(stats.ids(KEYS)), 5000)
    with crdtstats.open(tmp_path / "other.d") as other:
        other.ids(KEYS)
        with pytest.raises(UsageError, match=f"id {ids[0]} at position 0"):
            other.update(ids)
        assert other.total() == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_an_overflow_counts_nothing(stats: CRDTStatsStore, sign: int) -> None:
    ids = np.resize(np.asarray(stats.ids(KEYS)), 5000)
    rows = np.ones(5000, dtype=np.int64)
    # Sums that fit no number of 64 bits, all together: each key of its own does.
    stats.update(ids[:100], np.full(100, sign * EDGE))
    stats.update(ids, sign * rows)
    assert {n for _, n in stats.items()} == {sign * (EDGE + 50)}
    # Now a key comes to its end: by sums, and where all rows together are past 64 bits.
    left = MOST - EDGE - 50
    rows[:] = 0
    rows[77] = sign * left
    full = KEYS[77]
    stats.update(ids, rows)
    before = dict(stats.items())
    assert before[full] == sign * MOST
    for amounts in (sign * np.ones(5000, dtype=np.int64), np.full(5000, sign * EDGE)):
        with pytest.raises(CounterOverflowError):
            stats.update(ids, amounts)
        assert dict(stats.items()) == before
    one = np.zeros(5000, dtype=np.int64)
    one[4977] = sign
    with pytest.raises(CounterOverflowError, match=full):
        stats.update(ids, one)
    assert dict(stats.items()) == before
    # The other side of it, and all other keys, have room.
    stats.update(ids[:1077], np.where(np.arange(1077) % 100 == 77, 0, sign))
    stats.update(ids, np.full(5000, -sign))
    assert stats.get(full) == sign * (MOST - 50)
    assert stats.get(KEYS[0]) == sign * (EDGE + 50 + 11 - 50)


def test_ups_and_downs_of_one_key_are_counted_each(stats: CRDTStatsStore) -> None:
    ids = np.resize(np.asarray(stats.ids(["a"])), 4000)
    up_and_down = np.resize(np.array([5, -5]), 4000)
    for _ in range(3):
        stats.update(ids, up_and_down)
    assert stats.get("a") == 0
    # 30,000 of each: one more than what is left of either is too much.
    for sign in (1, -1):
        stats.update(["a"] * 2, [sign * EDGE, sign * (EDGE - 30_000 + 1)])
        with pytest.raises(CounterOverflowError):
            stats.update(["a"], [sign])
    assert stats.get("a") == 0


def test_a_cursor_moves_with_many_rows(tmp_path: Path) -> None:
    rows = 5000
    for turn in range(2):
        with crdtstats.open(tmp_path / "stats.d") as stats:
            ids = np.resize(np.asarray(stats.ids(KEYS)), rows)
            amounts = np.resize(np.array([3, -1]), rows)
            stats.update(ids, amounts, cursor=("log", 2 * turn + 7))
            stats.update(pa.array(KEYS * 50), cursor=("log", 2 * turn + 8))
            for batch in (ids, pa.array(KEYS * 50)):
                with pytest.raises(UsageError, match="log"):
                    stats.update(batch, cursor=("log", 2 * turn + 8))
            assert stats.cursor("log") == 2 * turn + 8
            assert stats.total() == (turn + 1) * (rows + rows)


def test_keys_that_come_meanwhile_and_threads_lose_nothing(stats: CRDTStatsStore) -> None:
    rows, rounds = 30_000, 40
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            mine = [f"{number}/{n}" for n in range(50)]
            for turn in range(rounds):
                mine.append(f"{number}/new/{turn}")
                batch = np.resize(np.asarray(stats.ids([*KEYS, *mine])), rows)
                amounts = np.resize(np.array([2, -1, 1 << 34][: 2 + turn % 2]), rows)
                stats.update(batch, amounts if number % 2 else None)
                for key in KEYS:
                    stats.increment(key)
                expected[number] += rows if not number % 2 else int(amounts.sum())
                expected[number] += len(KEYS)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    expected = [0] * 4
    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        stats.flush()
        stats.total()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    assert stats.total() == sum(expected)
    assert sum(n for _, n in stats.items()) == sum(expected)
