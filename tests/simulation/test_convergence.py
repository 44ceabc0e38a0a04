"""Many replicas on a bad network, from one seed: all become equal, and equal to the sum of what was acknowledged."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from crdtstats import _core
from crdtstats.datastores import MemoryDatastore
from crdtstats.memory_network import MemoryNetwork
from crdtstats.store import CRDTStatsStore

SEEDS = int(os.environ.get("CRDTSTATS_SEEDS", "1000"))
PER_TEST = 50
KEYS = ["a", "a/b", "a/b/c", "a/d", "e/f", "e/g/h", "i"]
VIRTUAL_S_MAX = 400.0


class Cluster:
    """Replicas without threads, driven by one virtual clock."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.network = MemoryNetwork(
            seed, loss=0.3, duplicate=0.1, reorder=0.3, delay_s=(0.0, 0.3), check=_core.check_block
        )
        self.stores: list[CRDTStatsStore] = []
        self.hosts: list[object] = []
        self.acknowledged: Counter[str] = Counter()

    def join(self) -> CRDTStatsStore:
        host = self.network.join(_core.Identity.generate())
        store = CRDTStatsStore(
            self.network.broadcaster(host),
            MemoryDatastore(),
            host,
            exchange=self.network.exchange(host),
            threads=False,
            clock=lambda: self.now,
            flush_interval_s=0.5,
            announce_interval_s=5.0,
            seed=self.random.getrandbits(64),
        )
        self.stores.append(store)
        self.hosts.append(host)
        return store

    def count(self, store: CRDTStatsStore) -> None:
        key, n = self.random.choice(KEYS), self.random.randint(1, 9)
        if self.random.random() < 0.3:
            store.decrement(key, n)
            self.acknowledged[key] -= n
        else:
            store.increment(key, n)
            self.acknowledged[key] += n

    def run(self, for_s: float) -> None:
        until = self.now + for_s
        while self.now < until:
            self.now += 0.1
            self.network.advance(self.now)
            for store in self.stores:
                store.step(self.now)

    def equal(self) -> bool:
        want = {key: value for key, value in self.acknowledged.items() if value}
        return all({k: v for k, v in s.items() if v} == want for s in self.stores)

    def close(self) -> None:
        for store in self.stores:
            store.close()
        self.network.close()


def converge(cluster: Cluster) -> None:
    while not cluster.equal():
        assert cluster.now < VIRTUAL_S_MAX, [dict(s.items()) for s in cluster.stores]
        cluster.run(2.0)
    for prefix in ["", "a", "a/b", "e", "e/g", "none"]:
        assert len({s.total(prefix) for s in cluster.stores}) == 1


def play(seed: int) -> None:
    cluster = Cluster(seed)
    draw = cluster.random
    try:
        stores = [cluster.join() for _ in range(draw.choice([3, 3, 3, 4, 5]))]
        cluster.network.connect_all()
        for _ in range(draw.randint(5, 25)):
            cluster.count(draw.choice(stores))
            if draw.random() < 0.4:
                cluster.run(draw.random())
        if seed % 2:
            leave_one_behind(cluster)
        converge(cluster)
    finally:
        cluster.close()


def leave_one_behind(cluster: Cluster) -> None:
    """One stops for ever after its flush was fetched by one other; one joins empty, connected to a third only."""
    network, stores = cluster.network, cluster.stores
    gone, fetcher, third = stores[0], stores[1], stores[2]
    gone_host, fetcher_host, third_host = cluster.hosts[0], cluster.hosts[1], cluster.hosts[2]
    cluster.count(gone)
    gone.flush()
    for host in cluster.hosts[2:]:
        network.disconnect(gone_host, host)
    mine = dict(gone.items())
    deadline = cluster.now + 200
    while not all(b in heads_of(fetcher) for b in heads_of(gone)):
        assert cluster.now < deadline, mine
        cluster.run(1.0)
    network.stop(gone_host)
    gone.close()
    del stores[0], cluster.hosts[0]
    assert fetcher_host in cluster.hosts
    late = cluster.join()
    assert dict(late.items()) == {}
    network.connect(cluster.hosts[-1], third_host)
    assert third in stores


def heads_of(store: CRDTStatsStore) -> set[bytes]:
    heads = store._running.engine.heads()
    return {cid for of_dag in heads.values() for cid, _ in of_dag}


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_replicas_become_equal_to_what_was_acknowledged(first: int) -> None:
    for seed in range(first, min(first + PER_TEST, SEEDS)):
        try:
            play(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
