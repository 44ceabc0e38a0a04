"""A store that leaves takes nothing in, and does not spin over what still waits to be taken in."""

from __future__ import annotations

from crdtstats import _core
from crdtstats.datastores import MemoryDatastore
from crdtstats.memory_network import MemoryNetwork
from crdtstats.store import CRDTStatsStore


def test_what_waits_while_a_store_leaves_does_not_keep_it_awake() -> None:
    network = MemoryNetwork(1)
    host = network.join(_core.Identity.generate())
    store = CRDTStatsStore(
        network.broadcaster(host), MemoryDatastore(), host, threads=False, clock=lambda: 1.0, seed=1
    )
    replicator = store._running.replicator
    try:
        store.step(1.0)
        replicator.receive(b"whatever")
        replicator.leave()
        assert store.step(1.5) > 1.5
        assert store.status()["dropped"] == {}, "it was not taken in"
    finally:
        store.close()
