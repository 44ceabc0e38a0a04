"""What is damaged is named and dropped, and takes nothing else with it."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

import crdtstats
from crdtstats import _core
from crdtstats.datastores import MemoryDatastore
from crdtstats.host import LocalHost
from crdtstats.memory_network import MemoryNetwork
from crdtstats.store import CRDTStatsStore

KEYS = ["a", "b", "c"]


def flip_a_bit(database: Path, number: int, keys: list[str]) -> None:
    """Damage the block that was stored as ``number`` of ``keys``."""
    connection = sqlite3.connect(database)
    with connection:
        ((block,),) = connection.execute("SELECT value FROM entry WHERE key = ?", (keys[number],)).fetchall()
        connection.execute(
            "UPDATE entry SET value = ? WHERE key = ?", (bytes([block[0] ^ 1]) + block[1:], keys[number])
        )
    connection.close()


def block_keys(database: Path) -> set[str]:
    connection = sqlite3.connect(database)
    found = {key for (key,) in connection.execute("SELECT key FROM entry WHERE key LIKE '/blocks/%'")}
    connection.close()
    return found


@pytest.mark.parametrize("number", range(len(KEYS)))
def test_a_damaged_node_of_our_own_takes_no_other_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    directory = tmp_path / "stats.d"
    database = directory / "blocks.sqlite"
    stored: list[str] = []
    with crdtstats.open(directory, flush_interval_s=3600) as stats:
        for key in KEYS:
            stats.increment(key, 5)
            stats.flush()
            stored += block_keys(database).difference(stored)
    flip_a_bit(database, number, stored)
    left = {key: 5 for key in KEYS if key != KEYS[number]}
    with caplog.at_level(logging.ERROR), crdtstats.open(directory) as stats:
        assert dict(stats.items()) == left
        stats.increment("d")
    assert caplog.text.count("block dropped") == 1
    # Nor does what is written afterwards, which cannot link to nodes above a gap.
    for _ in range(2):
        with crdtstats.open(directory) as stats:
            assert dict(stats.items()) == {**left, "d": 1}
    assert block_keys(database).issuperset({key for key in stored if key != stored[number]})


def test_own_nodes_below_a_peers_node_stay(caplog: pytest.LogCaptureFixture) -> None:
    """In a DAG that all share, our chain goes through the nodes of others."""
    now, network = 0.0, MemoryNetwork(1, check=_core.check_block)
    identities = [_core.Identity.generate() for _ in range(2)]
    datastores = [MemoryDatastore() for _ in range(2)]

    def join(number: int) -> CRDTStatsStore:
        host = network.join(identities[number])
        return CRDTStatsStore(
            network.broadcaster(host),
            datastores[number],
            host,
            exchange=network.exchange(host),
            native=False,
            threads=False,
            clock=lambda: now,
            seed=number,
        )

    stores = [join(0), join(1)]
    network.connect_all()
    for turn in (0, 1, 0):
        stores[turn].increment("a")
        stores[turn].flush()
        for _ in range(50):
            now += 0.1
            network.advance(now)
            for store in stores:
                store.step(now)
    assert [store.get("a") for store in stores] == [3, 3]
    for store in stores:
        store.close()
    network.close()
    again = CRDTStatsStore(None, datastores[0], LocalHost(identities[0]), native=False, threads=False)
    assert (again.get("a"), again.status()["blocks"]) == (3, 3)
    again.close()
    assert "dropped" not in caplog.text
