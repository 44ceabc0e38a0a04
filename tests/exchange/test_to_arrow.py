"""``to_arrow``: every library reads the totals as they are, sorted by key."""

from __future__ import annotations

import gc
import resource
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from crdtstats.errors import CounterOverflowError, UsageError
from crdtstats.store import CRDTStatsStore

COUNTS = {"a": 5, "a/b": -3, "a/ö": 2**63 - 1, "a b": 1, "z/key of more than twelve bytes": 7}
EDGE = 2**63 - 1


@pytest.fixture
def counted(stats: CRDTStatsStore) -> CRDTStatsStore:
    stats.update(COUNTS)
    return stats


def test_a_table_is_what_items_gives(counted: CRDTStatsStore) -> None:
    table = counted.to_arrow()
    batch = pa.record_batch(table)
    batch.validate(full=True)
    assert batch.schema == pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("total", pa.decimal128(38, 0), nullable=False),
        ]
    )
    assert dict(zip(batch["key"].to_pylist(), batch["total"].to_pylist(), strict=True)) == COUNTS
    assert batch["key"].to_pylist() == [key for key, _ in counted.items()]
    assert (len(table), repr(table)) == (5, "<Table of 5 keys>")
    counted.increment("later")
    assert pa.table(table).num_rows == 5, "as it was at the call"


@pytest.mark.parametrize("prefix", ["a", "/a/", "a/b", "z", "none", "", None])
def test_a_prefix_picks_as_items_does(counted: CRDTStatsStore, prefix: str | None) -> None:
    for int64 in (True, False):
        table = pa.table(counted.to_arrow(prefix, int64=int64))
        table.validate(full=True)
        rows = zip(table["key"].to_pylist(), table["total"].to_pylist(), strict=True)
        assert list(rows) == list(counted.items(prefix))


def test_every_library_reads_it(counted: CRDTStatsStore) -> None:
    decimals, ints = counted.to_arrow(), counted.to_arrow(int64=True)
    rows = list(counted.items())
    keys, totals = [key for key, _ in rows], [n for _, n in rows]
    frame = pl.DataFrame(ints)
    assert frame.schema == pl.Schema({"key": pl.String(), "total": pl.Int64()})
    assert frame.rows() == rows
    assert pl.DataFrame(decimals)["total"].to_list() == [Decimal(n) for n in totals]
    pandas = pd.DataFrame.from_arrow(ints)
    assert (list(pandas["key"]), list(pandas["total"])) == (keys, totals)
    # DuckDB finds tables among the variables of its caller.
    assert duckdb.sql("select key, total from ints").fetchall() == rows
    assert duckdb.sql("select sum(total) from decimals").fetchall() == [(sum(totals),)]
    reader = pa.RecordBatchReader.from_stream(ints)
    assert [batch.num_rows for batch in reader] == [5]
    assert np.asarray(pa.table(ints)["total"]).tolist() == totals


def test_a_table_comes_back_as_a_batch(counted: CRDTStatsStore) -> None:
    table = pa.table(counted.to_arrow(int64=True))
    counted.update(table["key"], table["total"])
    assert dict(counted.items()) == {key: 2 * n for key, n in COUNTS.items()}
    frame = pl.DataFrame(table)
    counted.update(frame["key"], -frame["total"])
    assert dict(counted.items()) == COUNTS


def test_what_does_not_fit_into_int64_is_refused(stats: CRDTStatsStore) -> None:
    stats.update(["most", "least", "least"], [EDGE, -EDGE, -1])
    assert pa.table(stats.to_arrow(int64=True))["total"].to_pylist() == [-EDGE - 1, EDGE]
    for key, n in (("most", 1), ("least", -1)):
        stats.increment(key, n)
        with pytest.raises(CounterOverflowError, match=key):
            stats.to_arrow(int64=True)
        assert pa.table(stats.to_arrow(key))["total"].to_pylist() == [Decimal(stats.get(key))]
        stats.decrement(key, n)


@pytest.mark.parametrize("int64", [0, 1, "True", 1.0, None])
def test_a_switch_is_a_bool(stats: CRDTStatsStore, int64: Any) -> None:
    with pytest.raises(UsageError, match="True or False"):
        stats.to_arrow(int64=int64)
    with pytest.raises(UsageError):
        stats.to_arrow("k" * 897)


def test_columns_live_as_long_as_who_reads_them(stats: CRDTStatsStore) -> None:
    keys = [f"key/{n:05}" for n in range(10_000)]
    stats.update(keys)
    whole = pa.table(stats.to_arrow(int64=True))
    # A child that was moved out of its struct, the struct released.
    key = pa.table(stats.to_arrow(int64=True))["key"]
    frame = pl.DataFrame(stats.to_arrow())["total"]
    stats.close()
    gc.collect()
    assert key.to_pylist() == keys == whole["key"].to_pylist()
    assert int(frame.sum()) == 10_000


def test_nothing_leaks(stats: CRDTStatsStore) -> None:
    keys = [f"key/{n:06}" for n in range(20_000)]
    ids, column = stats.ids(keys), pa.array(keys)
    stats.update(ids)

    def once() -> None:
        table, some = stats.to_arrow(), stats.ids(column)  # 800 kB together
        for capsules in (table.__arrow_c_schema__(), table.__arrow_c_array__(), table.__arrow_c_stream__()):
            del capsules  # never used: the capsule releases
        for capsules in (some.__arrow_c_schema__(), some.__arrow_c_array__(), memoryview(some)):
            del capsules
        stream = pa.RecordBatchReader.from_stream(table)  # a stream of which nothing is read
        assert len(pa.table(table)) == len(pa.array(some)) == pa.record_batch(table).num_rows
        del stream
        stats.update(column, np.ones(len(keys), dtype=np.int64))

    for _ in range(20):
        once()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(200):
        once()
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 40_000, "200 tables would be 160 MB"
