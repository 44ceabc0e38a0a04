"""``update`` of columns: ids or keys, and amounts, from whoever has them; all rows or none."""

from __future__ import annotations

import array
import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import crdtstats
from crdtstats.errors import CounterOverflowError, UsageError
from crdtstats.store import CRDTStatsStore

KEYS = ["a", "b", "c of more than twelve bytes", "b"]
AMOUNTS = [5, -2, 0, 2**63 - 1]
EXPECTED = {"a": 5, "b": 2**63 - 3}
EDGE = 2**63 - 1

COLUMNS_OF_INT64 = [
    lambda n: np.array(n, dtype=np.int64),
    lambda n: np.array(n, dtype="<i8"),
    lambda n: np.array(n, dtype=np.longlong),
    lambda n: array.array("q", n),
    lambda n: array.array("l", n),
    lambda n: memoryview(array.array("q", n)),
    lambda n: (ctypes.c_int64 * len(n))(*n),
    lambda n: np.array([7, *n, 7], dtype=np.int64)[1:-1],
    lambda n: np.frombuffer(b"?" + np.array(n).tobytes(), dtype=np.int64, offset=1),  # not aligned
    lambda n: pa.array(n, pa.int64()),
    lambda n: pa.array([None, *n, None], pa.int64())[1:-1],
    lambda n: pa.chunked_array([n[:1], [], n[1:]], pa.int64()),
    lambda n: pl.Series(n, dtype=pl.Int64),
    lambda n: pd.Series(n, dtype=np.int64),
    lambda n: pd.Series(n, dtype="int64[pyarrow]"),
    list,
    tuple,
    iter,
]
COLUMNS_OF_TEXT = [
    pa.array,
    lambda keys: pa.array(keys, pa.large_string()),
    lambda keys: pa.array(keys, pa.string_view()),
    lambda keys: pa.array([None, "€", *keys, None])[2:-1],
    lambda keys: pa.array([None, "€", *keys, None], pa.large_string())[2:-1],
    lambda keys: pa.array([None, "a text that is somewhere else", *keys, None], pa.string_view())[2:-1],
    lambda keys: pa.chunked_array([keys[:1], [], keys[1:]]),
    pl.Series,
    lambda keys: pl.Series(["x", *keys]).slice(1),
    lambda keys: pl.concat([pl.Series(keys[:2]), pl.Series(keys[2:])], rechunk=False),
    pd.Series,
    lambda keys: pd.Series(keys, dtype="string[pyarrow]"),
    list,
    np.array,
]


@pytest.mark.parametrize("column", COLUMNS_OF_INT64)
def test_amounts_of_every_kind(stats: CRDTStatsStore, column: Any) -> None:
    stats.update(stats.ids(KEYS), column(AMOUNTS))
    assert {key: n for key, n in stats.items() if n} == EXPECTED
    stats.update(KEYS, column([-n for n in AMOUNTS]))
    assert stats.total() == 0


@pytest.mark.parametrize("column", COLUMNS_OF_TEXT)
def test_keys_of_every_kind(stats: CRDTStatsStore, column: Any) -> None:
    stats.update(column(KEYS), np.array(AMOUNTS))
    assert dict(stats.items()) == EXPECTED, "an amount of 0 makes no key"
    stats.update(column(KEYS), [*AMOUNTS[:3], 1])
    stats.update(column(KEYS))
    assert dict(stats.items()) == {"a": 11, "b": 2**63 - 2, "c of more than twelve bytes": 1}


@pytest.mark.parametrize(
    "column",
    [
        lambda ids: ids,
        np.asarray,
        memoryview,
        lambda ids: array.array("I", memoryview(ids)),
        lambda ids: (ctypes.c_uint32 * len(ids))(*memoryview(ids)),
        lambda ids: np.asarray(ids).astype("<u4"),
        pa.array,
        lambda ids: pa.chunked_array([pa.array(ids).slice(0, 1), pa.array(ids).slice(1)]),
        lambda ids: pl.Series(np.asarray(ids)),
        lambda ids: pd.Series(np.asarray(ids)),
    ],
)
def test_ids_of_every_kind(stats: CRDTStatsStore, column: Any) -> None:
    ids = stats.ids(KEYS)
    stats.update(column(ids), AMOUNTS)
    assert {key: n for key, n in stats.items() if n} == EXPECTED
    stats.update(column(ids))
    assert stats.total() == sum(AMOUNTS) + 4


def test_views_into_several_buffers(stats: CRDTStatsStore) -> None:
    one, two = "one" * 5, "two" * 5
    views = [_view(one, (0, 0)), _view(two, (1, 2)), _view("short"), _view(two, (1, 2))]
    buffers = [None, b"".join(views), one.encode(), b"??" + two.encode()]
    column = pa.Array.from_buffers(
        pa.string_view(), len(views), [buffer and pa.py_buffer(buffer) for buffer in buffers]
    )
    column.validate(full=True)
    stats.update(column)
    assert dict(stats.items()) == {one: 1, "short": 1, two: 2}
    # 8 MB of text: polars begins a new buffer now and then.
    keys = [f"{'long' * 5}/{n:07}" for n in range(300_000)]
    stats.update(pl.Series(keys))
    assert stats.total("long" * 5) == len(keys)
    assert stats.get(keys[-1]) == stats.get(keys[0]) == 1


def _view(text: str, at: tuple[int, int] | None = None) -> bytes:
    """A view: of a text that is in it, or at (buffer, offset)."""
    data = text.encode()
    length = len(data).to_bytes(4, "little")
    if at is None:
        return length + data.ljust(12, b"\0")
    return length + data[:4] + b"".join(n.to_bytes(4, "little") for n in at)


def test_uint64_amounts_below_the_edge(stats: CRDTStatsStore) -> None:
    ids = stats.ids(["a", "b"])
    for column in (np.array([1, EDGE], dtype=np.uint64), pa.array([1, EDGE], pa.uint64())):
        stats.update(ids, column)
    assert dict(stats.items()) == {"a": 2, "b": 2 * EDGE}


@pytest.mark.parametrize("wrong", [-(2**63), 2**63, 2**64 - 1])
def test_amounts_beyond_the_edge_count_nothing(stats: CRDTStatsStore, wrong: int) -> None:
    ids = stats.ids(["a", "b"])
    kind = ("int64", pa.int64()) if wrong < 0 else ("uint64", pa.uint64())
    for column in (np.array([1, wrong], dtype=kind[0]), pa.array([1, wrong], kind[1])):
        for batch in (ids, np.asarray(ids), ["a", "b"], pa.array(["a", "b"])):
            with pytest.raises(UsageError, match="position 1"):
                stats.update(batch, column)
    assert stats.total() == 0


@pytest.mark.parametrize(
    ("amounts", "says"),
    [
        (np.array([1, 2, 3, 4])[::2], "not contiguous"),
        (np.array([[1, 2]]), "2 dimensions"),
        (np.array([1, 2], dtype=">i8"), "int"),
        (np.array([1, 2], dtype=np.int32), "int32"),
        (np.array([1.0, 2.0]), "float64"),
        (np.array([True, False]), "bool"),
        (pa.array([1, 2], pa.int32()), "int32"),
        (pa.array([1.0, 2.0]), "float64"),
        (pa.array([1, None]), "null at row 1"),
        (pa.array([None, None], pa.int64()), "null at row 0"),
        (pa.array([None, None]), "null"),
        (pa.array([1, 2]).dictionary_encode(), "dictionary"),
        (pa.array(["1", "2"]), "text"),
        (pl.Series([1, None]), "null at row 1"),
        (pa.table({"n": [1, 2]}), "one of its columns"),
        (np.array([1]), "2 rows, but 1 amounts"),
        (pa.array([1, 2, 3]), "2 rows, but 3 amounts"),
        ([1], "2 rows, but 1 amounts"),
        ([1, 2.0], "float"),
        ([1, None], "None"),
        ([1, -(2**63)], "2\\*\\*63"),
        (5, "iterable"),
    ],
)
def test_what_are_no_amounts_counts_nothing(stats: CRDTStatsStore, amounts: Any, says: str) -> None:
    ids = stats.ids(["a", "b"])
    for batch in (ids, np.asarray(ids), pa.array(["a", "b"])):
        with pytest.raises(UsageError, match=says):
            stats.update(batch, amounts)
    assert stats.total() == 0


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (np.array([1, 2]), "uint32"),
        (np.array([1, 2], dtype=np.int32), "uint32"),
        (np.array([1, 2], dtype=">u4"), "uint32"),
        (np.array([1, 2, 3], dtype=np.uint32)[::2], "not contiguous"),
        (np.array([[1]], dtype=np.uint32), "2 dimensions"),
        (bytearray(b"a"), "uint32"),
        (pa.array([1, 2]), "int64"),
        (pa.array([b"a"]), "binary"),
        (pa.array(["a", None, "b"]), "null at row 1"),
        (pa.array([None, "a", None], pa.string_view())[1:], "null at row 1"),
        (pa.array([*["a"] * 20, None]), "null at row 20"),
        (pa.array([1, None], pa.uint32()), "null at row 1"),
        (pa.array(["a", "b"]).dictionary_encode(), "dictionary"),
        (pl.Series(["a", "b"], dtype=pl.Categorical), "dictionary"),
        (pa.table({"key": ["a"]}), "one of its columns"),
        (pl.DataFrame({"key": ["a"]}), "one of its columns"),
        (pa.array(["a", ""]), "key"),
        (pa.array(["a", "x" * 897]), "896"),
    ],
)
def test_what_is_no_batch_counts_nothing(stats: CRDTStatsStore, batch: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        stats.update(batch)
    assert stats.total() == 0


def test_a_mapping_has_its_own_amounts(stats: CRDTStatsStore) -> None:
    with pytest.raises(UsageError, match="itself"):
        stats.update({"a": 1}, np.array([1]))


def test_an_overflow_in_the_middle_counts_nothing(stats: CRDTStatsStore) -> None:
    keys = ["a", "full", "b"]
    ids = stats.ids(keys)
    for _ in range(2):
        stats.update(["full"] * 2, [EDGE, -EDGE])
    before = dict(stats.items())
    for batch in (ids, np.asarray(ids), pa.array(keys), keys):
        for amounts in ([1, 2, 1], [1, -2, 1]):
            with pytest.raises(CounterOverflowError, match="full"):
                stats.update(batch, np.array(amounts))
        stats.update(batch, np.array([0, 0, 0]))
    assert dict(stats.items()) == before
    stats.update(ids, np.array([1, 1, 1]))
    stats.update(ids, np.array([0, -1, 0]))
    with pytest.raises(CounterOverflowError):
        stats.update(ids)
    assert [stats.get(key) for key in keys] == [1, 0, 1]


def test_an_overflow_of_repeated_ids_counts_nothing(stats: CRDTStatsStore) -> None:
    ids = np.asarray(stats.ids(["b", "a"]))[[1, 0, 1, 1]]
    for sign in (1, -1):
        before = dict(stats.items())
        with pytest.raises(CounterOverflowError, match='"a"'):
            stats.update(ids, sign * np.array([EDGE, 1, EDGE, 2]))
        assert dict(stats.items()) == before
        stats.update(ids, sign * np.array([EDGE, 1, EDGE, 1]))
        # The other side of the sub-counter is not full.
        assert stats.total() == (2**64 if sign == 1 else 0)


def test_a_cursor_moves_with_columns(tmp_path: Path) -> None:
    with crdtstats.open(tmp_path / "stats.d") as stats:
        ids = stats.ids(["a", "b"])
        stats.update(ids, np.array([1, 2]), cursor=("log", 7))
        stats.update(pa.array(["a"]), cursor=("log", 8))
        for batch in (ids, pa.array(["a"])):
            with pytest.raises(UsageError, match="log"):
                stats.update(batch, cursor=("log", 8))
        with pytest.raises(UsageError, match="position 1"):
            stats.update(np.array([np.asarray(ids)[0], 1], dtype=np.uint32), cursor=("log", 9))
        assert (stats.cursor("log"), dict(stats.items())) == (8, {"a": 2, "b": 2})
    with crdtstats.open(tmp_path / "stats.d") as stats:
        with pytest.raises(UsageError):
            stats.update(stats.ids(["a"]), cursor=("log", 8))
        stats.update(stats.ids(["a"]), cursor=("log", 9))
        assert (stats.cursor("log"), stats.get("a")) == (9, 3)


def test_iterables_keep_their_own_errors(stats: CRDTStatsStore) -> None:
    def broken() -> Any:
        yield 1
        raise LookupError("its own")

    class Broken:
        def __arrow_c_array__(self, requested_schema: object = None) -> Any:
            raise LookupError("its own")

    ids = stats.ids(["a", "b"])
    for batch, amounts in ((ids, broken()), (ids, Broken()), (Broken(), None), (["a"], Broken())):
        with pytest.raises(LookupError, match="its own"):
            stats.update(batch, amounts)  # pyright: ignore
    assert stats.total() == 0


def test_columns_that_need_a_library_that_is_missing_are_iterables(stats: CRDTStatsStore) -> None:
    # pandas without pyarrow.
    class Keys(list[str]):
        def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
            raise ImportError("no pyarrow")

    stats.update(Keys(["a", "b"]), [1, 2])
    stats.update(stats.ids(Keys(["a", "b"])))
    assert dict(stats.items()) == {"a": 2, "b": 3}
