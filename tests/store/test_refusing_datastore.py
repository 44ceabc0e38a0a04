"""A datastore that refuses, or loses power between two writes: nothing is lost, and nothing is counted twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import crdtstats
from crdtstats.errors import UnavailableError
from tests.datastores.faulty import FaultyDatastore, NoBatch


class Recording(FaultyDatastore):
    """Remembers what each batch was asked to put."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[tuple[str, bytes]]] = []

    def batch(self, puts: Iterable[tuple[str, bytes]], deletes: Iterable[str] = ()) -> None:
        puts = list(puts)
        self.asked.append(puts)
        super().batch(puts, deletes)


class Refusing(NoBatch):
    """Takes no write below ``refused``."""

    refused = "/nothing"

    def put(self, key: str, value: bytes) -> None:
        if key.startswith(self.refused):
            raise UnavailableError("injected: refused")
        super().put(key, value)


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, but the answer is lost"])
def test_a_retry_stores_the_same_bytes_and_what_came_later_in_a_node_of_its_own(
    tmp_path: Path, after: bool
) -> None:
    datastore = Recording()
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore, flush_interval_s=3600) as stats:
        stats.flush()
        datastore.asked.clear()
        datastore.fail("batch", after=after)
        stats.increment("a", 3)
        for _ in range(3):
            with pytest.raises(UnavailableError):
                stats.flush()
            stats.increment("a", 1)
        assert stats.get("a") == 6
        datastore.heal()
        stats.flush()
        first, *retries, later = datastore.asked
        # The store's own thread may have tried too.
        assert len(retries) >= 3
        assert all(retry == first for retry in retries)
        assert {key for key, _ in later if key.startswith("/blocks/")}.isdisjoint(dict(first))
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore) as stats:
        assert (stats.get("a"), stats.status()["blocks"]) == (6, 2)


MORE_THAN_A_PART = 300_000
"""Keys of a flush that is made in two parts: one has 2¹⁸."""


@pytest.mark.parametrize("part", [1, 2])
def test_a_flush_after_one_that_was_cut_off_takes_what_came_later_too(tmp_path: Path, part: int) -> None:
    datastore = Recording()
    stats = crdtstats.open(tmp_path / "stats.d", datastore=datastore, flush_interval_s=3600)
    with stats:
        stats.flush()
        stats.update([f"old/{n}" for n in range(MORE_THAN_A_PART)])
        datastore.fail_nth("batch", part)
        with pytest.raises(UnavailableError):
            stats.flush()
        stats.update([f"new/{n}" for n in range(5_000)])
        stats.update([f"old/{n}" for n in range(5_000)])
        stats.flush()
        assert stats.status()["dirty"] == 0
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore) as stats:
        assert stats.children("") == {"new": 5_000, "old": MORE_THAN_A_PART + 5_000}


def test_a_close_that_cannot_flush_says_so_and_leaves_the_journal(tmp_path: Path) -> None:
    datastore = Recording()
    stats = crdtstats.open(tmp_path / "stats.d", datastore=datastore, flush_interval_s=3600)
    stats.update({"a": 3}, cursor=("c", 7))
    datastore.fail("batch")
    with pytest.raises(UnavailableError):
        stats.close()
    assert stats.closed
    datastore.heal()
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore) as stats:
        assert (stats.get("a"), stats.cursor("c")) == (3, 7)


@pytest.mark.parametrize("left", ["counted since", "built and not stored"])
def test_a_journal_that_is_not_clean_outlives_a_flush_that_says_it_took_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    datastore = Recording()
    stats = crdtstats.open(tmp_path / "stats.d", datastore=datastore, flush_interval_s=3600)
    stats.increment("a", 3)
    stats.flush()
    stats.increment("a", 4)
    if left == "built and not stored":
        datastore.fail("batch")
        with pytest.raises(UnavailableError):
            stats.flush()
    monkeypatch.setattr(stats._running, "flush", lambda: None)
    stats.close()
    datastore.heal()
    assert len(list((tmp_path / "stats.d" / "journal").iterdir())) == 1
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore) as stats:
        assert stats.get("a") == 7
    assert list((tmp_path / "stats.d" / "journal").iterdir()) == []


@pytest.mark.parametrize("refused", ["/own", "/cursors", "/blocks"])
def test_power_loss_between_two_writes_of_a_flush_loses_nothing(tmp_path: Path, refused: str) -> None:
    datastore = Refusing()
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore) as stats:
        stats.increment("a", 2)
    datastore.refused = refused
    stats = crdtstats.open(tmp_path / "stats.d", datastore=datastore, flush_interval_s=3600)
    stats.update({"a": 3}, cursor=("c", 7))
    with pytest.raises(UnavailableError):
        stats.close()
    left = datastore.crash()
    for _ in range(2):
        with crdtstats.open(tmp_path / "stats.d", datastore=left) as stats:
            assert (stats.get("a"), stats.cursor("c")) == (5, 7)


def test_without_batches_a_node_is_durable_before_the_next_and_the_head_is_last(tmp_path: Path) -> None:
    datastore = NoBatch()
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore, flush_interval_s=3600) as stats:
        stats.update({f"{'x' * 800}/{number}": 1 for number in range(3000)})
        datastore.log.clear()
        stats.flush()
        log = list(datastore.log)
    kinds = [key.split("/")[1] for verb, key in log if verb == "put"]
    assert kinds[-1] == "own"
    assert kinds.count("blocks") == len(kinds) - 1 > 1
    assert [verb for verb, _ in log] == ["put", "sync"] * len(kinds)


def test_a_journal_whose_publication_is_refused_stays(tmp_path: Path) -> None:
    directory = tmp_path / "stats.d"
    script = "import crdtstats, os, sys; s = crdtstats.open(sys.argv[1]); s.increment('a', 7); os._exit(0)"
    subprocess.run([sys.executable, "-c", script, os.fspath(directory)], check=True, timeout=30)
    datastore = FaultyDatastore()
    datastore.fail_nth("batch", 2)  # the first one marks the format
    with pytest.raises(UnavailableError):
        crdtstats.open(directory, datastore=datastore)
    assert len(list((directory / "journal").iterdir())) == 1
    with crdtstats.open(directory, datastore=datastore) as stats:
        assert stats.get("a") == 7
