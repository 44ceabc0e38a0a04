"""A file of values beside SQLite's that is missing or cut: its blocks do not count until it is back or a peer gives
them again, and nothing else is touched."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import closing
from pathlib import Path

import pytest

import crdtstats
from crdtstats import _core, durable_file
from crdtstats.datastores import SQLiteDatastore
from crdtstats.errors import DataError, UnavailableError
from crdtstats.memory_network import MemoryNetwork
from crdtstats.storage import Storage
from crdtstats.store import CRDTStatsStore
from tests.datastores.faulty import FaultyDatastore

LARGE = {f"large/{'x' * 800}/{number}": 1 for number in range(3000)}
"""One flush of these is several blocks and more than a megabyte: a file of values."""


class Directory:
    """A store that has flushed ``LARGE`` into a file of values, and counted ``small`` after it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.open() as stats:
            stats.update(LARGE)
            stats.flush()
            self.blocks = stats.status()["blocks"]
            stats.increment("small")
        (self.values,) = (path / "blocks.sqlite-values").iterdir()

    def open(self) -> CRDTStatsStore:
        return crdtstats.open(self.path, flush_interval_s=3600)


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "stats.d")


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_its_blocks_do_not_count_and_all_else_is_there(
    directory: Directory, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    if damage == "missing":
        directory.values.unlink()
    else:
        os.truncate(directory.values, directory.values.stat().st_size // 2)
    with caplog.at_level(logging.ERROR), directory.open() as stats:
        status = stats.status()
        lost = status["dropped"]["block-damaged"]
        assert lost == (directory.blocks if damage == "missing" else range(2, directory.blocks)[lost - 2])
        assert status["blocks"] == directory.blocks - lost + 1
        assert (status["missing"], status["wanted"]) == (1, 1), "the newest node links to what is lost"
        left = stats.total("large")
        assert left == 0 if damage == "missing" else 0 < left < len(LARGE)
        assert stats.get("small") == 1
        stats.increment("later")
    assert caplog.text.count("damaged block") == 1
    assert f"{lost} damaged block(s)" in caplog.text
    assert f"1 is {damage}" in caplog.text
    with directory.open() as stats:
        assert stats.status()["dropped"] == {"block-damaged": lost}
        assert (stats.total("large"), stats.get("small"), stats.get("later")) == (left, 1, 1)
    assert directory.values.exists() == (damage == "cut")


def test_values_that_come_back_count_again(directory: Directory) -> None:
    beside, aside = directory.values.parent, directory.path / "aside"
    beside.rename(aside)
    with directory.open() as stats:
        assert stats.status()["dropped"] == {"block-damaged": directory.blocks}
        assert (stats.total("large"), stats.get("small")) == (0, 1)
        stats.increment("later")
    aside.rename(beside)
    with directory.open() as stats:
        status = stats.status()
        assert (status["dropped"], status["missing"], status["clone_seen"]) == ({}, 0, False)
        assert (stats.total("large"), stats.get("small"), stats.get("later")) == (len(LARGE), 1, 1)


def test_what_cannot_be_read_is_an_error_of_the_open_and_nothing_is_dropped(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_read = durable_file.open_to_read

    def refused(path: Path) -> int:
        if path == directory.values:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return open_to_read(path)

    with monkeypatch.context() as patched:
        patched.setattr(durable_file, "open_to_read", refused)
        with pytest.raises(UnavailableError, match="denied"):
            directory.open()
    aside = directory.values.rename(directory.path / "aside")
    directory.values.mkdir()
    with pytest.raises(DataError, match="not a regular file"):
        directory.open()
    directory.values.rmdir()
    aside.rename(directory.values)
    with directory.open() as stats:
        assert stats.total("large") == len(LARGE)
        assert stats.status()["dropped"] == {}


@pytest.mark.parametrize("verb", ["query", "get"])
def test_a_datastore_that_is_damaged_itself_is_never_taken_for_one_value(
    directory: Directory, verb: str
) -> None:
    directory.values.unlink()
    with closing(SQLiteDatastore(directory.path / "blocks.sqlite")) as inner:
        datastore = FaultyDatastore(inner)
        datastore.fail(verb, error=DataError("injected: all is damaged"))
        with pytest.raises(DataError, match="all is damaged"):
            list(Storage(datastore).blocks([]))


def test_a_value_lost_while_the_store_runs_is_served_as_none_and_named_once(
    directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    with directory.open() as stats:
        storage, replicator = stats._running._storage, stats._running.replicator
        cids = [cid for cid, _ in storage.blocks()]
        os.truncate(directory.values, directory.values.stat().st_size // 2)
        with pytest.raises(DataError):
            list(storage.blocks())
        served = [replicator._serve(cid) for cid in cids]
        assert [replicator._serve(cid) for cid in cids] == served
        assert 1 < served.count(None) < directory.blocks
        assert replicator.served == 2 * (len(cids) - served.count(None))
        assert caplog.text.count("damaged block") == served.count(None)


@pytest.mark.parametrize("damage", ["missing", "cut", "zeros", "head"])
def test_a_peer_gives_back_our_own_blocks_and_those_of_others(tmp_path: Path, damage: str) -> None:
    now, network = 0.0, MemoryNetwork(1, check=_core.check_block)
    identities = [_core.Identity.generate() for _ in range(2)]
    paths = [tmp_path / f"{number}.sqlite" for number in range(2)]

    def join(number: int) -> CRDTStatsStore:
        host, datastore = network.join(identities[number]), SQLiteDatastore(paths[number])
        store = CRDTStatsStore(
            network.broadcaster(host),
            datastore,
            host,
            exchange=network.exchange(host),
            threads=False,
            clock=lambda: now,
            seed=number,
            on_close=[datastore.close, host.close],
        )
        network.connect_all()
        return store

    def run(*stores: CRDTStatsStore) -> None:
        nonlocal now
        for _ in range(100):
            now += 0.1
            network.advance(now)
            for store in stores:
                store.step(now)

    one, two = join(0), join(1)
    for store in (one, two):
        store.update(LARGE)
        store.flush()
    run(one, two)
    two.close()
    two = join(1)
    two.increment("last")  # a section of one node, too small for a file
    two.flush()
    run(one, two)
    totals, blocks = dict(two.items()), two.status()["blocks"]
    assert totals == {**{key: 2 * n for key, n in LARGE.items()}, "last": 1} == dict(one.items())
    two.close()
    with closing(SQLiteDatastore(paths[1])) as datastore:
        datastore.batch(list(datastore.query("/blocks")))  # at once, as they come by a walk
    (values,) = paths[1].with_name(paths[1].name + "-values").iterdir()
    if damage == "missing":
        values.unlink()
    elif damage == "cut":
        os.truncate(values, values.stat().st_size // 2)
    elif damage == "head":
        with closing(SQLiteDatastore(paths[1])) as datastore:
            Storage(datastore).drop_blocks([datastore.get(f"/own/{identities[1].peer_id}")])
    else:
        values.write_bytes(bytes(values.stat().st_size))
    two = join(1)
    assert two.total() < 2 * len(LARGE) + 1
    lost = two.status()["dropped"].get("block-damaged", 1)
    assert two.status()["blocks"] == blocks - lost
    run(one, two)
    assert dict(two.items()) == totals
    assert two.status()["blocks"] == blocks
    assert [store.status()["clone_seen"] for store in (one, two)] == [False, False], (
        "its own were lost, not cloned"
    )
    for store in (one, two):
        store.close()
    network.close()
    with closing(SQLiteDatastore(paths[1])) as datastore:
        assert len(list(Storage(datastore).blocks())) == blocks
