"""Bad input, a closed store, a damaged directory: each its clear error, and nothing is counted."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import crdtstats
from crdtstats.datastores import MemoryDatastore
from crdtstats.errors import ClosedError, CounterOverflowError, DataError, UnavailableError, UsageError
from crdtstats.store import CRDTStatsStore
from tests.datastores.faulty import FaultyDatastore, NoBatch

U63 = 2**63


@pytest.fixture
def stats(tmp_path: Path) -> Iterator[CRDTStatsStore]:
    with crdtstats.open(tmp_path / "stats.d") as store:
        yield store


def assert_nothing_counted(stats: CRDTStatsStore) -> None:
    assert (stats.total(), dict(stats.items())) == (0, {})


@pytest.mark.parametrize(
    "key",
    ["", "/", "//", "a/..", ".", "\ud800", "a/\udcff", "k" * 897, "/".join("k" * 65), 1, None, b"a", ["a"]],
)
def test_a_bad_key_counts_nothing(stats: CRDTStatsStore, key: Any) -> None:
    for call in (stats.increment, stats.decrement, stats.counter):
        with pytest.raises(UsageError):
            call(key)
    for batch in ([["good", key]], [["good", key], [1, 1]]):
        with pytest.raises(UsageError):
            stats.update(*batch)
    if not isinstance(key, list):
        with pytest.raises(UsageError):
            stats.update({"good": 1, key: 1})
    assert_nothing_counted(stats)


@pytest.mark.parametrize("amount", [True, False, 1.0, "1", U63, -U63, 2**64, [1], b"1"])
def test_a_bad_amount_counts_nothing(stats: CRDTStatsStore, amount: Any) -> None:
    counter = stats.counter("c")
    for call in (
        lambda: stats.increment("a", amount),
        lambda: stats.decrement("a", amount),
        lambda: counter.inc(amount),
        lambda: counter.dec(amount),
        lambda: stats.update({"good": 1, "a": amount}),
        lambda: stats.update(["good", "a"], [1, amount]),
    ):
        with pytest.raises(UsageError):
            call()
    assert_nothing_counted(stats)


def test_zero_is_legal_and_a_negative_amount_counts_on_the_other_side(stats: CRDTStatsStore) -> None:
    stats.increment("a", 0)
    stats.update({"a": 0})
    assert_nothing_counted(stats)
    with pytest.raises(UsageError):
        stats.increment("", 0)
    stats.increment("a", -3)
    stats.decrement("b", -4)
    stats.update({"a": -1})
    assert dict(stats.items()) == {"a": -4, "b": 4}


def test_an_overflow_counts_nothing_on_every_path(stats: CRDTStatsStore) -> None:
    counter = stats.counter("a")
    for _ in range(2):
        stats.increment("a", U63 - 1)
        stats.decrement("a", U63 - 1)
    full = 2**64 - 2
    calls: list[Callable[[], object]] = [
        lambda: stats.increment("a", 2),
        lambda: stats.decrement("a", 2),
        lambda: counter.inc(2),
        lambda: counter.dec(2),
        lambda: stats.update({"b": 1, "a": 2}),
        lambda: stats.update(["b", "a", "a"]),
        lambda: stats.update(["b", "a"], [1, -2], cursor=("c", 1)),
    ]
    for call in calls:
        with pytest.raises(CounterOverflowError, match="nothing was counted"):
            call()
    assert dict(stats.items()) == {"a": 0}
    assert stats.cursor("c") is None
    stats.increment("a", 1)
    assert stats.get("a") == full + 1 - full


def test_columns_of_two_lengths_and_one_str_are_refused(stats: CRDTStatsStore) -> None:
    for batch in ((["a", "b"], [1]), (["a"], [1, 2]), ("ab",), (b"ab",)):
        with pytest.raises(UsageError):
            stats.update(*batch)
    assert_nothing_counted(stats)


def test_a_batch_at_or_before_the_cursor_is_refused(tmp_path: Path) -> None:
    with crdtstats.open(tmp_path / "stats.d") as stats:
        stats.update(["a"], cursor=("orders", 5))
        for position in (0, 4, 5):
            with pytest.raises(UsageError, match="nothing was counted"):
                stats.update(["a"], cursor=("orders", position))
        stats.update(["a"], cursor=("orders", 6))
        assert stats.get("a") == 2
    with crdtstats.open(tmp_path / "stats.d") as stats:
        assert (stats.cursor("orders"), stats.get("a")) == (6, 2)
        with pytest.raises(UsageError):
            stats.update(["a"], cursor=("orders", 6))


def test_key_joins_names_into_components(stats: CRDTStatsStore) -> None:
    key = CRDTStatsStore.key("lines", "a/b", "..", "", "50%", b"\xff")
    assert key.count("/") == 5
    stats.increment(key)
    assert dict(stats.items()) == {key: 1}
    assert CRDTStatsStore.key("a", "b c", "é") == "a/b c/é"
    for parts in ((), ("\ud800",), (1,)):
        with pytest.raises(UsageError):
            CRDTStatsStore.key(*parts)


def test_every_call_on_a_closed_store_says_so(tmp_path: Path) -> None:
    stats = crdtstats.open(tmp_path / "stats.d")
    counter = stats.counter("a")
    stats.close()
    stats.close()
    calls: list[Callable[[], object]] = [
        lambda: stats.increment("a"),
        lambda: stats.decrement("a"),
        lambda: stats.counter("a"),
        lambda: stats.update(["a"]),
        lambda: counter.inc(),
        lambda: counter.dec(),
        lambda: counter.value,
        lambda: stats.cursor("a"),
        lambda: stats.get("a"),
        lambda: stats.total("a"),
        lambda: stats.get_aggregated_stat("a"),
        lambda: stats.children("a"),
        lambda: stats.top("a"),
        lambda: stats.items("a"),
        stats.flush,
        stats.status,
        lambda: stats.addrs,
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()


def test_a_directory_in_use_names_its_holder(tmp_path: Path) -> None:
    script = (
        "import crdtstats, sys; s = crdtstats.open(sys.argv[1]); print('up', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "stats.d")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UnavailableError, match=str(holder.pid)):
            crdtstats.open(tmp_path / "stats.d")


def test_another_network_later_is_refused(tmp_path: Path) -> None:
    crdtstats.open(tmp_path / "stats.d").close()
    with pytest.raises(UsageError):
        crdtstats.open(tmp_path / "stats.d", network=crdtstats.Network(name="other"))


def test_a_datastore_that_is_none_is_damaged(tmp_path: Path) -> None:
    crdtstats.open(tmp_path / "stats.d").close()
    for file in (tmp_path / "stats.d").glob("blocks.sqlite*"):
        file.unlink()
    (tmp_path / "stats.d" / "blocks.sqlite").write_bytes(b"garbage" * 1000)
    with pytest.raises(DataError):
        crdtstats.open(tmp_path / "stats.d")


@pytest.mark.parametrize("found", [b"crdtstats 1", b"crdtstats 3", b""])
def test_a_datastore_of_another_format_is_refused_by_name_and_left_alone(
    tmp_path: Path, found: bytes
) -> None:
    datastore = MemoryDatastore()
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore) as stats:
        stats.increment("a", 3)
    kept = dict(datastore.query("/"))
    datastore.put("/format", found)
    with pytest.raises(
        DataError, match=r"format .* this version of crdtstats reads b'crdtstats 2'"
    ) as caught:
        crdtstats.open(tmp_path / "stats.d", datastore=datastore)
    assert caught.value.found == found
    assert dict(datastore.query("/")) == {**kept, "/format": found}
    datastore.put("/format", b"crdtstats 2")
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore) as stats:
        assert stats.get("a") == 3


def test_a_torn_block_is_named_and_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with crdtstats.open(tmp_path / "stats.d") as stats:
        stats.increment("a")
    database = sqlite3.connect(tmp_path / "stats.d" / "blocks.sqlite")
    with database:
        ((key, block),) = database.execute(
            "SELECT key, value FROM entry WHERE key LIKE '/blocks/%'"
        ).fetchall()
        torn = bytes([block[0] ^ 1]) + block[1:]
        database.execute("UPDATE entry SET value = ? WHERE key = ?", (torn, key))
    database.close()
    with caplog.at_level(logging.ERROR), crdtstats.open(tmp_path / "stats.d") as stats:
        assert stats.status()["blocks"] == 0
        stats.increment("b")
    assert "damaged block dropped" in caplog.text


def leave_journal(directory: Path) -> Path:
    script = "import crdtstats, os, sys; s = crdtstats.open(sys.argv[1]); s.increment('a', 7); os._exit(0)"
    subprocess.run([sys.executable, "-c", script, str(directory)], check=True, timeout=30)
    (journal,) = (directory / "journal").glob("*.journal")
    return journal


def test_a_damaged_journal_is_set_aside_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = leave_journal(tmp_path / "stats.d")
    data = bytearray(journal.read_bytes())
    data[40] ^= 1
    journal.write_bytes(data)
    with caplog.at_level(logging.ERROR), crdtstats.open(tmp_path / "stats.d") as stats:
        assert stats.total() == 0
    assert "damaged" in caplog.text
    assert list(journal.parent.glob("*damaged*"))


def test_a_journal_without_its_key_names_journal_and_remedy(tmp_path: Path) -> None:
    journal = leave_journal(tmp_path / "stats.d")
    other = crdtstats.Identity.generate().to_bytes()
    (tmp_path / "stats.d" / "identity").unlink()
    with pytest.raises(DataError) as caught:
        crdtstats.open(tmp_path / "stats.d", identity=other)
    assert journal.name in str(caught.value)
    assert journal.exists()


def test_a_datastore_that_refuses_leaves_everything_dirty(tmp_path: Path) -> None:
    datastore = FaultyDatastore()
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore, flush_interval_s=3600) as stats:
        datastore.fail("batch")
        stats.increment("a", 3)
        with pytest.raises(UnavailableError):
            stats.flush()
        stats.increment("a", 4)
        assert stats.get("a") == 7
        with pytest.raises(UnavailableError):
            stats.flush()
        datastore.heal()
        stats.flush()
        assert stats.status()["dirty"] == 0
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore) as stats:
        assert stats.get("a") == 7


def test_a_crash_between_blocks_and_head_loses_nothing(tmp_path: Path) -> None:
    datastore = NoBatch()
    directory = tmp_path / "stats.d"
    leave_journal(directory)
    with crdtstats.open(directory, datastore=datastore) as stats:
        assert stats.get("a") == 7
        stats.increment("a")
        stats.flush()
    datastore.crash()
    with crdtstats.open(directory, datastore=datastore) as stats:
        assert stats.get("a") == 8
