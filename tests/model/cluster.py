"""Replicas on a bad network in memory, under one virtual clock: they meet, part, die and come again."""

from __future__ import annotations

import random
import shutil

from crdtstats import _core
from crdtstats.errors import UnavailableError
from crdtstats.memory_network import MemoryHost, MemoryNetwork
from crdtstats.settings import WARPNET_TOPIC
from crdtstats.store import CRDTStatsStore
from tests.datastores.faulty import FaultyDatastore
from tests.model.dicts import Dicts
from tests.model.home import make_home

TICK_S = 0.1
SETTLE_S_MAX = 600.0
"""In virtual time: five retries of the exchange's longest wait are 80."""


class Replica:
    """One directory: what outlives its process, and its store while that lives."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster = cluster
        self.identity = _core.Identity.generate()
        self.datastore = FaultyDatastore()
        self.journal_dir = cluster.home / str(number)
        self.journal_dir.mkdir()
        self.model = Dicts()
        """What this replica acknowledged, and nothing of the others."""
        self.open()

    def open(self) -> None:
        cluster = self.cluster
        self.host: MemoryHost = cluster.network.join(self.identity)
        self.stats = CRDTStatsStore(
            cluster.network.broadcaster(self.host),
            self.datastore,
            self.host,
            exchange=cluster.network.exchange(self.host),
            journal_dir=self.journal_dir,
            topic=WARPNET_TOPIC if not cluster.native else "/crdtstats/1/model",
            native=cluster.native,
            flush_interval_s=0.5,
            announce_interval_s=3.0,
            threads=False,
            clock=lambda: cluster.now,
            seed=cluster.random.getrandbits(64),
        )
        for other in cluster.replicas:
            if other is not self:
                cluster.network.connect(self.host, other.host)

    def restart(self, *, by_a_kill: bool) -> None:
        """Stop and come again; what a close leaves when its flush fails is what a killed process leaves."""
        if by_a_kill:
            self.datastore.fail("batch")
        try:
            self.stats.close()
        except UnavailableError:
            assert by_a_kill
        self.cluster.network.stop(self.host)
        self.datastore.heal()
        self.open()
        self.model.reopened()


class Cluster:
    """The network and everybody in it."""

    def __init__(self, seed: int, *, native: bool) -> None:
        self.native = native
        self.random = random.Random(seed)
        self.home = make_home()
        self.now = 0.0
        self.network = MemoryNetwork(
            seed, loss=0.2, duplicate=0.1, reorder=0.3, delay_s=(0.0, 0.3), check=_core.check_block
        )
        self.replicas: list[Replica] = []

    def join(self) -> Replica:
        replica = Replica(self, len(self.replicas))
        self.replicas.append(replica)
        return replica

    def run(self, for_s: float) -> None:
        until = self.now + for_s
        while self.now < until:
            self.now += TICK_S
            self.network.advance(self.now)
            for replica in self.replicas:
                replica.stats.step(self.now)

    def acknowledged(self) -> dict[str, int]:
        """The sum over all replicas."""
        out: dict[str, int] = {}
        for replica in self.replicas:
            for key, n in replica.model.values.items():
                out[key] = out.get(key, 0) + n
        return out

    def settle(self) -> None:
        """Run until every replica holds everything that was acknowledged."""
        self.network.heal()
        want = self.acknowledged()
        until = self.now + SETTLE_S_MAX
        while any(dict(replica.stats.items()) != want for replica in self.replicas):
            assert self.now < until, (want, [dict(replica.stats.items()) for replica in self.replicas])
            self.run(1.0)

    def close(self) -> None:
        for replica in self.replicas:
            replica.stats.close()
        self.network.close()
        shutil.rmtree(self.home)
