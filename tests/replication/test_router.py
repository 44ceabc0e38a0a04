"""A router names who has a block that no connected peer gives; the host reaches them, and the block is had."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator

import pytest

from crdtstats import _core, seeking
from crdtstats.datastores import MemoryDatastore
from crdtstats.errors import UsageError
from crdtstats.memory_network import MemoryHost, MemoryNetwork, MemoryRouter
from crdtstats.protocols import CRDTRouter, Host, ReachingHost
from crdtstats.store import CRDTStatsStore

FLUSHES = 5


class Line:
    """A writer and a reader with a host between them that passes gossip on and has no blocks."""

    def __init__(self, *, threads: bool) -> None:
        self.now = 0.0
        self.threads = threads
        self.network = MemoryNetwork(1, realtime=threads, check=_core.check_block)
        self.hosts = [self.network.join(_core.Identity.generate()) for _ in range(2)]
        between = self.network.join("between")
        for host in self.hosts:
            self.network.connect(host, between)
        self.stores: list[CRDTStatsStore] = []

    def open(self, host: MemoryHost, router: CRDTRouter | None = None) -> CRDTStatsStore:
        store = CRDTStatsStore(
            self.network.broadcaster(host),
            MemoryDatastore(),
            host,
            router,
            exchange=self.network.exchange(host),
            threads=self.threads,
            clock=time.monotonic if self.threads else lambda: self.now,
            flush_interval_s=0.1,
            announce_interval_s=1.0,
            close_timeout_s=0.0,
            seed=1,
        )
        self.stores.append(store)
        return store

    def run(self, for_s: float) -> None:
        if self.threads:
            return
        until = self.now + for_s
        while self.now < until:
            self.now += 0.1
            self.network.advance(self.now)
            for store in self.stores:
                store.step(self.now)

    def close(self) -> None:
        for store in self.stores:
            store.close()
        self.network.close()


def written(line: Line) -> CRDTStatsStore:
    store = line.open(line.hosts[0])
    for n in range(FLUSHES):
        store.increment(f"key/{n}")
        store.flush()
    line.run(1.0)  # nobody hears of these but by the last one's head
    return store


def test_only_with_a_router_is_had_what_nobody_connected_has() -> None:
    line = Line(threads=False)
    written(line)
    reader = line.open(line.hosts[1])
    line.run(10.0)
    assert reader.status()["blocks"] < FLUSHES
    assert "router" not in reader.status()
    line.close()

    line = Line(threads=False)
    written(line)
    router = MemoryRouter(line.hosts[1])
    reader = line.open(line.hosts[1], router)
    line.run(seeking.SEEK_AFTER_S + 6.0)
    assert reader.status()["blocks"] == FLUSHES
    assert reader.total("key") == FLUSHES
    counts = reader.status()["router"]
    assert counts["reached"] == 1
    assert counts["searches"] <= 2, "who has one has the others: no block is looked for once it came"
    line.close()


def test_a_store_with_threads_asks_in_an_event_loop_and_survives_a_router_that_fails() -> None:
    line = Line(threads=True)
    written(line)

    class Slow:
        """Waits, fails the first time, and then knows."""

        asked = 0

        async def find_providers(self, cid: bytes, count: int) -> AsyncIterator[str]:
            await asyncio.sleep(0.01)
            self.asked += 1
            if self.asked == 1:
                raise OSError("not now")
            async for peer in MemoryRouter(line.hosts[1]).find_providers(cid, count):
                yield peer

    router = Slow()
    assert isinstance(router, CRDTRouter)
    seeking_again, seeking.SEEK_AGAIN_S = seeking.SEEK_AGAIN_S, 0.2
    try:
        reader = line.open(line.hosts[1], router)
        deadline = time.monotonic() + 20.0
        while reader.status()["blocks"] < FLUSHES:
            assert time.monotonic() < deadline, reader.status()
            time.sleep(0.02)
    finally:
        seeking.SEEK_AGAIN_S = seeking_again
    counts = reader.status()["router"]
    assert counts["failed"] == 1
    assert counts["found"] >= 1
    line.close()


class _Exchange:
    def __init__(self) -> None:
        self.asked: list[tuple[bytes, str]] = []

    def want(self, cids: list[bytes], peers: list[str]) -> None:
        self.asked += [(cid, peer) for cid in cids for peer in peers]


class _Host:
    def __init__(self) -> None:
        self.reached: list[str] = []

    def reach(self, peer: str) -> None:
        self.reached.append(peer)


class _Many:
    """Names more peers than anybody asked for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def find_providers(self, cid: bytes, count: int) -> AsyncIterator[str]:
        self.asked.append(cid)
        for n in range(100):
            yield f"/ip4/127.0.0.1/tcp/1/p2p/{cid.decode()}-{n}"


def test_searches_and_peers_are_bounded() -> None:
    router, exchange, host = _Many(), _Exchange(), _Host()
    seeker = seeking.Seeker(router, exchange, host, threads=False)  # type: ignore[arg-type]
    cids = [b"c%d" % n for n in range(20)]
    seeker.wanted(cids, 0.0)
    assert seeker.step(1.0) == seeking.SEEK_AFTER_S
    assert not router.asked
    seeker.over(cids[10:])
    seeker.wanted(cids[:5], 1.5)  # wanted already: does not begin again
    seeker.step(seeking.SEEK_AFTER_S)
    assert sorted(router.asked) == sorted(cids[:10])
    assert exchange.asked.count((b"c0", "c0-0")) == 1
    assert len([peer for cid, peer in exchange.asked if cid == b"c0"]) == seeking.PROVIDERS_MAX
    assert len(host.reached) == seeking.REACHED_MAX
    assert seeker.step(seeking.SEEK_AFTER_S + 1.0) == seeking.SEEK_AFTER_S + seeking.SEEK_AGAIN_S
    seeker.close()


def test_a_router_that_waits_is_refused_without_threads() -> None:
    class Later:
        def __await__(self) -> Generator[None, None, None]:
            yield

    class Waits:
        async def find_providers(self, cid: bytes, count: int) -> AsyncIterator[str]:
            await Later()
            yield ""

    seeker = seeking.Seeker(Waits(), _Exchange(), _Host(), threads=False)  # type: ignore[arg-type]
    seeker.wanted([b"c"], 0.0)
    with pytest.raises(UsageError):
        seeker.step(seeking.SEEK_AFTER_S)


def test_a_search_that_could_not_begin_is_counted_and_the_next_ones_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when no file can be opened for the event loop, or no thread begun."""
    router, exchange = _Many(), _Exchange()
    seeker = seeking.Seeker(router, exchange, _Host(), threads=True)  # type: ignore[arg-type]
    cids = [b"c%d" % n for n in range(2 * seeking.SEARCHES_MAX)]

    def refuse(*_: object) -> None:
        raise OSError("too many open files")

    def refuse_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse_thread)
        seeker.wanted([b"none"], 0.0)
        seeker.step(seeking.SEEK_AFTER_S)
        seeker.over([b"none"])
    assert seeker.counts["failed"] == 1
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "run", refuse)
        seeker.wanted(cids, 0.0)
        _step_until(seeker, lambda: seeker.counts["failed"] == 1 + len(cids), seeking.SEEK_AFTER_S)
    again = seeking.SEEK_AFTER_S + seeking.SEEK_AGAIN_S
    _step_until(seeker, lambda: seeker.counts["searches"] == len(cids), again)
    _step_until(seeker, lambda: seeker._searching == 0, again)
    assert sorted(router.asked) == sorted(cids)
    assert seeker.counts["failed"] == 1 + len(cids)
    seeker.close()


def _step_until(seeker: seeking.Seeker, condition: Callable[[], bool], now_s: float) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline, seeker.counts
        seeker.step(now_s)
        time.sleep(0.005)


@pytest.mark.parametrize("comes", ["before a peer is named", "while it is reached"])
def test_what_came_while_it_was_looked_for_is_not_asked_for_again(comes: str) -> None:
    class Late(_Host):
        def reach(self, peer: str) -> None:
            super().reach(peer)
            if comes == "while it is reached":
                seeker.over([b"c"])

    class Names:
        async def find_providers(self, cid: bytes, count: int) -> AsyncIterator[str]:
            if comes == "before a peer is named":
                seeker.over([cid])
            yield "/ip4/127.0.0.1/tcp/1/p2p/somebody"

    exchange, host = _Exchange(), Late()
    seeker = seeking.Seeker(Names(), exchange, host, threads=False)  # type: ignore[arg-type]
    seeker.wanted([b"c"], 0.0)
    seeker.step(seeking.SEEK_AFTER_S)
    assert not exchange.asked
    assert len(host.reached) == (comes == "while it is reached")


def test_hosts_of_ours_reach() -> None:
    pytest.importorskip("libp2p")
    from tests.network.conftest import Peer

    peer = Peer()
    try:
        assert isinstance(peer.node, ReachingHost)
        assert isinstance(peer.node, Host)
        peer.node.reach(peer.node.peer_id)  # of a mere id nobody knows where it is
        with pytest.raises(UsageError):
            peer.node.reach("/nonsense")
    finally:
        peer.node.close()
