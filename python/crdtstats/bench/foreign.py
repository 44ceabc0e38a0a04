"""State that others wrote: blocks of made replicas, as they would come from a network."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager

from crdtstats import _core, wire
from crdtstats.datastores import MemoryDatastore
from crdtstats.host import LocalHost
from crdtstats.settings import WARPNET_TOPIC, Network
from crdtstats.storage import Storage
from crdtstats.store import CRDTStatsStore

Opened = AbstractContextManager[CRDTStatsStore]
ELEMENTS_PER_BLOCK = 2_000
NATIVE_TOPIC = Network().topic
PEER = "somebody"


def unsigned_blocks(
    keys: Sequence[str], replicas: int, generations: int = 1
) -> Iterator[tuple[bytes, bytes]]:
    """Yield (CID, block) in which each of ``replicas`` counted 1 for every key in each of its generations.

    As Go peers write them: unsigned, for a network that takes such elements. A sub-counter is a sub-counter,
    whatever its block looked like, and a hundred thousand of them are made in a second.
    """
    elements: list[wire.Element] = []
    for _ in range(replicas):
        replica = _core.Identity.generate().peer_id
        for generation in range(generations):
            for key in keys:
                name = f"/STATS/incr/{key}/{replica}/{generation:032x}"
                elements.append(wire.Element(name, "", (1).to_bytes(8, "big")))
                if len(elements) == ELEMENTS_PER_BLOCK:
                    yield _block(elements)
                    elements = []
    if elements:
        yield _block(elements)


def _block(elements: list[wire.Element]) -> tuple[bytes, bytes]:
    block = wire.encode_node(elements, priority=1)
    return _core.cid(block, "sha2-256"), block


@contextlib.contextmanager
def store_of(keys: Sequence[str], replicas: int, generations: int = 1) -> Generator[CRDTStatsStore]:
    """A store that has read :func:`unsigned_blocks`."""
    datastore = MemoryDatastore()
    Storage(datastore).put_blocks(list(unsigned_blocks(keys, replicas, generations)))
    host = LocalHost(_core.Identity.generate())
    with CRDTStatsStore(None, datastore, host, topic=WARPNET_TOPIC, native=False, threads=False) as stats:
        yield stats


@contextlib.contextmanager
def restarted(keys: Sequence[str], restarts: int) -> Generator[CRDTStatsStore]:
    """A store in its last of ``restarts`` lives, each of which counted 1 for every key: real ones, signed blocks."""
    datastore = MemoryDatastore()
    host = LocalHost(_core.Identity.generate())
    for _ in range(restarts):
        with CRDTStatsStore(None, datastore, host, threads=False) as stats:
            stats.update(keys)
    with CRDTStatsStore(None, datastore, host, threads=False) as stats:
        yield stats


class SignedBlocks:
    """What one writer with a chain of its own published.

    Args:
        keys: each counted once.

    Attributes:
        announcement: the payloads that name its head.
        blocks: (CID, block), the head first: the order in which one who knows the head only gets them.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        datastore = MemoryDatastore()
        host = LocalHost(_core.Identity.generate())
        with CRDTStatsStore(None, datastore, host, threads=False) as stats:
            stats.update(keys)
            stats.flush()
            engine = stats._running.engine  # pyright: ignore[reportPrivateUsage]
            self.announcement = engine.announcement()
            stored = dict(Storage(datastore).blocks())
            heads = [cid for of_dag in engine.heads().values() for cid, _ in of_dag]
            self.blocks = [
                (cid, stored[cid]) for head in heads for cid in engine.walk_down(head, len(stored))
            ]


def empty_engine() -> _core.Engine:
    """The engine of a replica that has read nothing yet."""
    return _core.Engine(
        topic=NATIVE_TOPIC,
        native=True,
        hash="blake3",
        peer_id=_core.Identity.generate().peer_id,
        announce_interval_s=10.0,
        now_ms=0,
        seed=1,
    )


def reader(engine: _core.Engine) -> _core.Counters:
    """The reading side of an engine that no store holds."""
    counters = _core.Counters()
    counters._attach(engine)  # pyright: ignore[reportPrivateUsage]
    return counters
