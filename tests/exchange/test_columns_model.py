"""``update`` of columns against a dict that counts without limits: whatever the column is, and all rows or none."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crdtstats
from crdtstats.errors import CounterOverflowError
from crdtstats.store import CRDTStatsStore

MOST = 2**64 - 1
EDGE = 2**63 - 1
NAMES = ["a", "b", "ä/ö", "a/b", "a name of more than twelve bytes", "a//b"]
AMOUNTS = st.one_of(st.integers(-3, 3), st.sampled_from([EDGE, -EDGE, EDGE - 1, 1 - EDGE, 2**32, -(2**32)]))
ROWS = st.lists(st.tuples(st.sampled_from(NAMES), AMOUNTS), max_size=12)

Batch = Callable[[CRDTStatsStore, list[str]], Any]

BATCHES: dict[str, Batch] = {
    "Ids": lambda stats, keys: stats.ids(keys),
    "ids in numpy": lambda stats, keys: np.asarray(stats.ids(keys)),
    "ids in Arrow, a slice": lambda stats, keys: pa.array(stats.ids(["x", *keys, "x"]))[1:-1],
    "utf8": lambda _, keys: pa.array(keys, pa.string()),
    "large_utf8, chunks": lambda _, keys: pa.chunked_array([keys[:3], keys[3:]], pa.large_string()),
    "utf8_view": lambda _, keys: pl.Series(keys, dtype=pl.String),
    "a list": lambda _, keys: keys,
}
COLUMNS: dict[str, Callable[[list[int]], Any]] = {
    "a list": list,
    "numpy": lambda amounts: np.array(amounts, dtype=np.int64),
    "Arrow": lambda amounts: pa.array(amounts, pa.int64()),
    "Arrow, chunks": lambda amounts: pa.chunked_array([amounts[:5], amounts[5:]], pa.int64()),
}


@pytest.fixture(scope="module")
def stats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CRDTStatsStore]:
    with crdtstats.open(tmp_path_factory.mktemp("model") / "stats.d") as store:
        yield store


class Model:
    """Increments and decrements by key."""

    def __init__(self) -> None:
        self.up: Counter[str] = Counter()
        self.down: Counter[str] = Counter()

    def after(self, rows: Sequence[tuple[str, int]]) -> Model | None:
        """The model after a batch; None where a sub-counter cannot hold it."""
        out = Model()
        out.up, out.down = self.up.copy(), self.down.copy()
        for name, n in rows:
            side = out.up if n > 0 else out.down
            side[name.replace("//", "/")] += abs(n)
        fits = all(n <= MOST for n in itertools.chain(out.up.values(), out.down.values()))
        return out if fits else None

    def total(self, name: str) -> int:
        return self.up[name] - self.down[name]


_examples = itertools.count()


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(ROWS, st.sampled_from(sorted(BATCHES)), st.sampled_from(sorted(COLUMNS)), st.booleans()),
        max_size=6,
    )
)
def test_columns_count_as_a_dict_does(
    stats: CRDTStatsStore, calls: list[tuple[list[tuple[str, int]], str, str, bool]]
) -> None:
    root = f"example {next(_examples)}"  # each has keys of its own
    model = Model()
    for rows, batch, column, has_amounts in calls:
        rows = rows if has_amounts else [(name, 1) for name, _ in rows]
        keys = BATCHES[batch](stats, [f"{root}/{name}" for name, _ in rows])
        amounts = COLUMNS[column]([n for _, n in rows]) if has_amounts else None
        after = model.after(rows)
        if after is None:
            with pytest.raises(CounterOverflowError):
                stats.update(keys, amounts)
        else:
            stats.update(keys, amounts)
            model = after
        for name in NAMES:
            name = name.replace("//", "/")
            assert stats.get(f"{root}/{name}") == model.total(name)
    table = pa.table(stats.to_arrow(root))
    found = {
        key.removeprefix(root + "/"): int(n) for key, n in zip(*(c.to_pylist() for c in table), strict=True)
    }
    assert {name: n for name, n in found.items() if n} == {
        name: model.total(name) for name in model.up | model.down if model.total(name)
    }
