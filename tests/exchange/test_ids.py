"""``ids(keys)``: a column that others read, good for the store that gave it and for no other."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import crdtstats
from crdtstats import columns
from crdtstats.errors import ClosedError, UsageError
from crdtstats.store import CRDTStatsStore

KEYS = ["a/b", "a/c", "a//b/", "ä/ö", "a key of more than twelve bytes"]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[CRDTStatsStore]:
    with crdtstats.open(tmp_path / "other.d") as store:
        yield store


@pytest.mark.parametrize(
    "keys",
    [
        KEYS,
        tuple(KEYS),
        iter(KEYS),
        dict.fromkeys(KEYS),
        np.array(KEYS),
        np.array(KEYS, dtype=object),
        np.array(KEYS, dtype=np.dtypes.StringDType()),
        pa.array(KEYS),
        pa.array(KEYS, pa.large_string()),
        pa.array(KEYS, pa.string_view()),
        pa.chunked_array([KEYS[:2], [], KEYS[2:]]),
        pl.Series(KEYS),
        pd.Series(KEYS),
        pd.Index(KEYS),
    ],
    ids=lambda keys: type(keys).__name__,
)
def test_keys_of_every_kind_have_the_same_ids(stats: CRDTStatsStore, keys: Any) -> None:
    expected = [int(np.asarray(stats.ids([key]))[0]) for key in KEYS]
    assert np.asarray(stats.ids(keys)).tolist() == expected
    assert len(set(expected)) == 4, "a//b/ is a/b"


def test_others_read_ids_without_a_copy(stats: CRDTStatsStore) -> None:
    ids = stats.ids(KEYS)
    view = memoryview(ids)
    assert (view.format, view.itemsize, view.shape, view.strides) == ("I", 4, (5,), (4,))
    assert (view.readonly, view.contiguous, len(ids)) == (True, True, 5)
    array, column, schema = np.asarray(ids), pa.array(ids), pa.field(ids)
    assert array.dtype == np.uint32
    assert (column.type, schema.type, schema.nullable) == (pa.uint32(), pa.uint32(), False)
    assert array.ctypes.data == column.buffers()[1].address
    assert array.tolist() == column.to_pylist() == view.tolist() == list(view)
    assert bytes(ids) == array.tobytes()
    with pytest.raises(TypeError):
        view[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_what_reads_ids_keeps_their_memory(stats: CRDTStatsStore) -> None:
    keys = [f"k/{n}" for n in range(1000)]
    expected = np.asarray(stats.ids(keys)).tolist()
    views = [memoryview(stats.ids(keys)), np.asarray(stats.ids(keys)), pa.array(stats.ids(keys))]
    gc.collect()
    assert [list(view.tolist()) for view in views] == [expected] * 3


def test_no_ids_at_all(stats: CRDTStatsStore) -> None:
    for keys in (
        [],
        pa.array([], pa.string()),
        pl.Series([], dtype=pl.String),
        pa.chunked_array([], pa.string()),
    ):
        ids = stats.ids(keys)
        assert len(ids) == len(np.asarray(ids)) == len(pa.array(ids)) == 0
        stats.update(ids)
        stats.update(ids, [])
    assert dict(stats.items()) == {}


@pytest.mark.parametrize(
    "keys",
    [
        "a",
        b"a",
        5,
        None,
        ["a", 5],
        ["a", "\ud800"],
        ["a", ""],
        [b"a"],
        np.array([1]),
        pa.array([1]),
        pa.array([b"a"]),
    ],
)
def test_what_is_no_column_of_keys_is_refused(stats: CRDTStatsStore, keys: Any) -> None:
    with pytest.raises(UsageError):
        stats.ids(keys)


def test_ids_count_in_their_store_alone(stats: CRDTStatsStore, other: CRDTStatsStore) -> None:
    ids = stats.ids(KEYS)
    stats.update(ids)
    other.ids(KEYS)
    with pytest.raises(UsageError, match="another open store"):
        other.update(ids)
    assert dict(stats.items()) == {KEYS[4]: 1, "a/b": 2, "a/c": 1, "ä/ö": 1}
    assert set(dict(other.items()).values()) <= {0}


def test_bare_ids_of_another_store_are_noticed(stats: CRDTStatsStore, other: CRDTStatsStore) -> None:
    keys = [f"k/{n}" for n in range(100)]
    for store in (stats, other):
        store.update(store.ids(keys))
    ids = np.asarray(stats.ids(keys))
    # Masked, or both stores would have the same ids.
    with pytest.raises(UsageError, match=f"id {ids[0]} at position 0"):
        other.update(ids)
    assert other.total() == 100


def test_ids_end_with_their_store(tmp_path: Path) -> None:
    with crdtstats.open(tmp_path / "stats.d") as stats:
        ids = stats.ids(KEYS)
    with pytest.raises(ClosedError):
        stats.update(ids)
    with pytest.raises(ClosedError):
        stats.ids(KEYS)
    del stats
    gc.collect()
    for _ in range(20):  # the memory of the closed store may come again, the ids not
        with crdtstats.open(tmp_path / "stats.d") as again:
            with pytest.raises(UsageError, match="another open store"):
                again.update(ids)
            assert again.total() == 0


def test_only_ids_that_were_given_count(stats: CRDTStatsStore) -> None:
    good = np.asarray(stats.ids([f"k/{n}" for n in range(50)]))
    drawn = random.Random(5)
    near = {int(one) ^ (1 << bit) for one in good for bit in range(32)}
    bad = sorted((near | {0, 2**32 - 1} | {drawn.getrandbits(32) for _ in range(1000)}) - set(good.tolist()))
    for wrong in bad:
        batch = np.array([good[0], good[1], wrong, good[2]], dtype=np.uint32)
        with pytest.raises(UsageError, match=f"id {wrong} at position 2"):
            stats.update(batch)
    assert stats.total() == 0


def test_ids_are_made_by_stores_alone() -> None:
    for kind in (columns.Ids, columns.Table):
        with pytest.raises(TypeError):
            kind()  # pyright: ignore
