"""Arguments of a wrong type or range are a ``UsageError`` like any other wrong call, and nothing is counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import crdtstats
from crdtstats.errors import UsageError
from crdtstats.store import CRDTStatsStore


@pytest.fixture
def stats(tmp_path: Path) -> Iterator[CRDTStatsStore]:
    with crdtstats.open(tmp_path / "stats.d") as store:
        yield store


@pytest.mark.parametrize(
    "cursor",
    [
        "c",
        5,
        ("c",),
        ("c", 1, 2),
        ["c", 1],
        ("c", -1),
        ("c", 2**64),
        ("c", True),
        ("c", 1.0),
        ("c", "1"),
        ("c", None),
        (b"c", 1),
        ("", 1),
        ("x" * 256, 1),
        ("\ud800", 1),
    ],
)
def test_a_bad_cursor_counts_nothing_and_moves_none(stats: CRDTStatsStore, cursor: Any) -> None:
    with pytest.raises(UsageError):
        stats.update(["a"], cursor=cursor)
    assert (dict(stats.items()), stats.cursor("c")) == ({}, None)


@pytest.mark.parametrize("name", ["\ud800", b"c", 5, None])
def test_a_bad_name_of_a_cursor_is_refused(stats: CRDTStatsStore, name: Any) -> None:
    with pytest.raises(UsageError):
        stats.cursor(name)


def test_the_last_position_of_all_is_legal_and_an_empty_batch_moves_its_cursor(stats: CRDTStatsStore) -> None:
    stats.update({}, cursor=("c", 0))
    assert stats.cursor("c") == 0
    stats.update([], cursor=("c", 2**64 - 1))
    assert (stats.cursor("c"), dict(stats.items())) == (2**64 - 1, {})


@pytest.mark.parametrize(
    "batch", [(5,), (None,), (["a"], 5), ({"a": 1}, [1]), ({"good": 1, "a": None},), (["a"], [None])]
)
def test_what_is_no_batch_counts_nothing(stats: CRDTStatsStore, batch: tuple[Any, ...]) -> None:
    with pytest.raises(UsageError):
        stats.update(*batch)
    assert dict(stats.items()) == {}


def test_an_iterable_that_fails_keeps_its_error_and_counts_nothing(stats: CRDTStatsStore) -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise LookupError("its own")

    with pytest.raises(LookupError, match="its own"):
        stats.update(broken())
    with pytest.raises(LookupError, match="its own"):
        stats.update(["a", "b"], (len(key) for key in broken()))
    assert dict(stats.items()) == {}


@pytest.mark.parametrize("n", [-1, -(2**70), True, 1.0, "1"])
def test_top_refuses_what_is_no_number_of_keys(stats: CRDTStatsStore, n: Any) -> None:
    with pytest.raises(UsageError):
        stats.top("", n)


def test_top_gives_ten_or_as_many_as_there_are(stats: CRDTStatsStore) -> None:
    stats.update({f"k{n:02}": 1 for n in range(12)})
    assert [len(stats.top("", n)) for n in (None, 0, 3, 12, 2**70)] == [10, 0, 3, 12, 12]
    assert len(stats.top()) == 10


@pytest.mark.parametrize("prefix", ["\ud800", 5, b"a", "k" * 897, "/".join("k" * 65)])
def test_a_bad_prefix_is_refused_by_every_read(stats: CRDTStatsStore, prefix: Any) -> None:
    for read in (
        stats.get,
        stats.total,
        stats.get_aggregated_stat,
        stats.children,
        stats.top,
        stats.items,
    ):
        with pytest.raises(UsageError):
            read(prefix)
