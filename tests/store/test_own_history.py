"""Own blocks are never thrown away: not beside a damaged one, not in a DAG that is shared with others."""

from __future__ import annotations

from pathlib import Path

import crdtstats
from crdtstats import _core
from crdtstats.datastores import MemoryDatastore
from crdtstats.memory_network import MemoryNetwork
from crdtstats.settings import WARPNET_TOPIC
from crdtstats.store import CRDTStatsStore


class Unclosed(MemoryDatastore):
    """Outlives the stores over it."""


def test_a_damaged_own_block_takes_no_other_with_it(tmp_path: Path) -> None:
    datastore = Unclosed()
    for key in "abc":
        with crdtstats.open(tmp_path / "stats.d", datastore=datastore) as stats:
            stats.increment(key)
    blocks = list(datastore.query("/blocks"))
    (damaged,) = [(key, block) for key, block in blocks if b"/STATS/incr/b/" in block]
    datastore.put(damaged[0], damaged[1][:-1] + bytes([damaged[1][-1] ^ 1]))
    for key in "de":
        with crdtstats.open(tmp_path / "stats.d", datastore=datastore) as stats:
            assert (stats.get("a"), stats.get("c")) == (1, 1)
            stats.increment(key)
    with crdtstats.open(tmp_path / "stats.d", datastore=datastore) as stats:
        assert dict(stats.items()) == {"a": 1, "c": 1, "d": 1, "e": 1}


def test_own_blocks_below_those_of_others_stay(tmp_path: Path) -> None:
    network = MemoryNetwork(check=_core.check_block)
    now = 0.0
    identities = [_core.Identity.generate() for _ in range(2)]
    datastores = [Unclosed(), Unclosed()]

    def join(number: int) -> CRDTStatsStore:
        host = network.join(identities[number])
        network.connect_all()
        return CRDTStatsStore(
            network.broadcaster(host),
            datastores[number],
            host,
            exchange=network.exchange(host),
            topic=WARPNET_TOPIC,
            native=False,
            threads=False,
            clock=lambda: now,
        )

    one, two = join(0), join(1)
    for store, key in ((one, "k1"), (two, "k2"), (one, "k3")):
        store.increment(key)
        store.flush()
        for _ in range(20):
            now += 0.1
            network.advance(now)
            one.step(now)
            two.step(now)
    assert dict(one.items()) == dict(two.items()) == {"k1": 1, "k2": 1, "k3": 1}
    one.close()
    again = CRDTStatsStore(
        None, datastores[0], _Host(identities[0]), topic=WARPNET_TOPIC, native=False, threads=False
    )
    assert dict(again.items()) == {"k1": 1, "k2": 1, "k3": 1}
    assert again.status()["missing"] == 0
    again.close()
    two.close()
    network.close()


class _Host:
    def __init__(self, identity: _core.Identity) -> None:
        self.identity = identity
        self.peer_id = identity.peer_id

    def sign(self, data: bytes) -> bytes:
        return self.identity.sign(data)

    def connections(self) -> list[str]:
        return []

    def on_peer(self, changed: object) -> None:
        del changed
