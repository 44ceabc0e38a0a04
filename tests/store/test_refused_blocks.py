"""A block that is no node, below one that is: it holds nothing up, neither before a restart nor after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from crdtstats import _core, wire
from crdtstats.datastores import MemoryDatastore, SQLiteDatastore
from crdtstats.memory_network import MemoryNetwork
from crdtstats.protocols import Datastore
from crdtstats.settings import WARPNET_TOPIC
from crdtstats.storage import Storage
from crdtstats.store import CRDTStatsStore
from tests.datastores.faulty import FaultyDatastore, NoBatch

JUNK = b"this is no node"


def cid(block: bytes) -> bytes:
    return bytes(wire.cid(block))


def node(number: int, *links: bytes) -> bytes:
    element = wire.Element(f"/STATS/incr/k/writer/{number}", "", (1).to_bytes(8, "big"))
    return wire.encode_node([element], links, priority=number)


class Lives:
    """One store of a shared network, opened again and again over one datastore, and a peer that has some blocks."""

    def __init__(self, datastore: Datastore) -> None:
        self.now_s = 0.0
        self.datastore = datastore
        self.identity = _core.Identity.generate()
        self.gives: dict[bytes, bytes] = {}
        self.wanted: list[bytes] = []
        self.open()

    def open(self) -> None:
        self.network = MemoryNetwork(1, check=_core.check_block)
        host, peer = self.network.join(self.identity), self.network.join("peer")
        exchange = self.network.exchange(host)
        self.peer = self.network.exchange(peer)
        self.peer.start(self._serve, lambda *_: None)
        self.store = CRDTStatsStore(
            self.network.broadcaster(host),
            self.datastore,
            host,
            exchange=exchange,
            topic=WARPNET_TOPIC,
            native=False,
            threads=False,
            clock=lambda: self.now_s,
            seed=1,
            on_close=[host.close],
        )
        self.broadcaster = self.network.broadcaster(peer)
        self.network.connect_all()

    def _serve(self, wanted: bytes) -> bytes | None:
        self.wanted.append(wanted)
        return self.gives.get(wanted)

    def close(self) -> None:
        self.store.close()
        self.network.close()

    def announce(self, *blocks: bytes) -> None:
        self.gives |= {cid(block): block for block in blocks}
        self.broadcaster.broadcast(wire.encode_broadcast([wire.Head(wire.cid(block)) for block in blocks]))
        self.run()

    def run(self, steps: int = 100) -> None:
        for _ in range(steps):
            self.now_s += 0.1
            self.network.advance(self.now_s)
            self.store.step(self.now_s)

    def heads(self) -> set[bytes]:
        return {head for head, _ in self.store._running.engine.heads().get("", [])}

    def check(self, *heads: bytes) -> None:
        assert self.heads() == {cid(head) for head in heads}
        status = self.store.status()
        assert (status["missing"], status["wanted"]) == (0, 0)

    def check_after_an_open(self, *heads: bytes, rows: int = 1) -> None:
        self.wanted.clear()
        self.open()
        self.check(*heads)
        self.run()
        assert self.wanted == []
        self.check(*heads)
        self.close()
        assert len(Storage(self.datastore).refused()) == rows


def sqlite(tmp_path: Path) -> Datastore:
    return SQLiteDatastore(tmp_path / "blocks.sqlite")


class Unclosed(MemoryDatastore):
    """Outlives the stores over it."""


@pytest.mark.parametrize("make", [lambda _: Unclosed(), sqlite, lambda _: NoBatch()])
@pytest.mark.parametrize("junk_first", [False, True])
def test_what_stands_on_it_stays_a_head(
    tmp_path: Path, make: Callable[[Path], Datastore], junk_first: bool
) -> None:
    with closing(make(tmp_path)) as datastore:
        low = node(1)
        top = node(2, cid(low), cid(JUNK))
        lives = Lives(datastore)
        if junk_first:
            lives.announce(JUNK, low)
        lives.gives[cid(JUNK)] = JUNK
        lives.announce(top)
        lives.announce(low)
        lives.check(top)
        lives.close()
        lives.gives.clear()
        for _ in range(2):
            lives.check_after_an_open(top)
        # Once more is the same.
        lives.open()
        lives.announce(JUNK)
        above = node(3, cid(top), cid(JUNK))
        lives.announce(above)
        lives.check(above)
        lives.close()
        lives.check_after_an_open(above)


def test_what_nothing_links_to_is_not_stored() -> None:
    datastore = Unclosed()
    lives = Lives(datastore)
    lives.announce(JUNK, node(1))
    lives.close()
    lives.check_after_an_open(node(1), rows=0)
    assert {key.split("/")[1] for key, _ in datastore.query("/")} == {"format", "blocks"}


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, but the answer is lost"])
@pytest.mark.parametrize("apart", [False, True])
def test_a_datastore_that_refuses_gets_it_later(apart: bool, after: bool) -> None:
    datastore = FaultyDatastore(Unclosed())
    top = node(2, cid(JUNK))
    lives = Lives(datastore)
    if apart:  # the block is stored by then, and nothing but the row has to be
        lives.announce(top)
        assert lives.heads() == set()
    datastore.fail("batch", after=after)
    lives.gives[cid(JUNK)] = JUNK
    lives.announce(JUNK, top)
    lives.check(top)
    assert Storage(datastore).refused() == ([cid(JUNK)] if after else [])
    datastore.heal()
    # Nothing else happens: the store comes back to it by itself, and soon.
    due_s = lives.store.step(lives.now_s)
    assert lives.now_s <= due_s <= lives.store._running.replicator._retry_at
    lives.store.step(due_s)
    lives.now_s = due_s
    assert Storage(datastore).refused() == [cid(JUNK)]
    asked = datastore.calls["batch"]
    lives.run()
    assert datastore.calls["batch"] == asked, "once is enough"
    lives.close()
    lives.gives.clear()
    lives.check_after_an_open(top)


def test_a_block_that_is_stored_wins_over_such_a_row() -> None:
    datastore = Unclosed()
    lives = Lives(datastore)
    low = node(1)
    top = node(2, cid(low))
    lives.announce(low, top)
    lives.close()
    Storage(datastore).put_blocks([], [cid(low), cid(top)])
    lives.gives.clear()
    lives.check_after_an_open(top, rows=2)
