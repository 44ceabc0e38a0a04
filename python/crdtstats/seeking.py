"""Asks a router who has a block that the connected peers do not give, and has the host reach whoever it names."""

from __future__ import annotations

import heapq
import logging
import queue
import threading
from typing import TYPE_CHECKING

from crdtstats.errors import CrdtStatsError, UsageError
from crdtstats.protocols import ReachingHost

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from crdtstats.protocols import CRDTRouter, Exchange, Host

logger = logging.getLogger("crdtstats.seeking")

SEEK_AFTER_S = 2.0
"""A block that is wanted for so long and did not come is looked for."""
SEEK_AGAIN_S = 30.0
SEARCHES_MAX = 4
"""Begun and not ended; the rest waits: who has one of them has the others too, as a rule."""
PROVIDERS_MAX = 8
SEARCH_TIMEOUT_S = 20.0
REACHED_MAX = 64
"""Peers that the host is asked to reach: it keeps connected to each of them, so there has to be an end."""


class Seeker:
    """The wants of one store, and the router that is asked when one stays.

    Args:
        router: asked in one thread, in an event loop of asyncio.
        exchange: told who may have what it wants.
        host: asked to reach them where it is a ``ReachingHost``.
        threads: False: asked within :meth:`step`; a router that waits for anything is refused there.
    """

    def __init__(self, router: CRDTRouter, exchange: Exchange, host: Host, *, threads: bool) -> None:
        self._router, self._exchange, self._host, self._threads = router, exchange, host, threads
        self._lock = threading.Lock()
        self._due: dict[bytes, float] = {}
        self._order: list[tuple[float, bytes]] = []  # what is no longer in `_due` like this is skipped
        self._searching = 0
        self._reached: set[str] = set()
        self._asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.counts = dict.fromkeys(("searches", "found", "reached", "failed"), 0)

    def wanted(self, cids: Iterable[bytes], now_s: float) -> None:
        """These are wanted from now on, if they were not."""
        with self._lock:
            for cid in cids:
                if cid not in self._due:
                    self._put(cid, now_s + SEEK_AFTER_S)

    def over(self, cids: Iterable[bytes]) -> None:
        """These came, or are wanted no more."""
        with self._lock:
            for cid in cids:
                self._due.pop(cid, None)

    def step(self, now_s: float) -> float:
        """Look for what is due at ``now_s``. Returns when to call again at the latest."""
        while (cid := self._next(now_s)) is not None:
            if self._threads:
                self._in_thread(cid)
            else:
                try:
                    _at_once(self._search(cid))
                finally:
                    self._ended()
        with self._lock:
            if not self._order:
                return float("inf")
            return max(self._order[0][0], now_s + 1.0 if self._searching >= SEARCHES_MAX else now_s)

    def close(self) -> None:
        """End; waits at most a second for a search that runs."""
        self._closed = True
        self._asked.put(None)
        if self._thread is not None:
            self._thread.join(1.0)

    def _put(self, cid: bytes, due: float) -> None:
        self._due[cid] = due
        heapq.heappush(self._order, (due, cid))

    def _next(self, now_s: float) -> bytes | None:
        with self._lock:
            while self._order and (
                self._due.get(self._order[0][1]) != self._order[0][0]  # it came
                or (self._order[0][0] <= now_s and self._searching < SEARCHES_MAX)
            ):
                due, cid = heapq.heappop(self._order)
                if self._due.get(cid) == due:
                    self._put(cid, now_s + SEEK_AGAIN_S)
                    self._searching += 1
                    return cid
            return None

    def _in_thread(self, cid: bytes) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="crdtstats-router", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # none to be had: looked for again when it is due
                self._failed(error)
                self._ended()
                return
            self._thread = thread
        self._asked.put(cid)

    def _run(self) -> None:
        import asyncio  # late: most stores have no router

        async def search(cid: bytes) -> None:
            async with asyncio.timeout(SEARCH_TIMEOUT_S):
                await self._search(cid)

        while (cid := self._asked.get()) is not None and not self._closed:
            try:
                coroutine = search(cid)
                try:
                    asyncio.run(coroutine)
                finally:
                    coroutine.close()  # where no loop could be made
            except Exception as error:  # noqa: BLE001 - this thread is the only one: the next search may succeed
                self._failed(error)
            finally:
                self._ended()

    async def _search(self, cid: bytes) -> None:
        self.counts["searches"] += 1
        try:
            left = PROVIDERS_MAX
            async for peer in self._router.find_providers(cid, PROVIDERS_MAX):
                self.counts["found"] += 1
                self._reach(peer, cid)
                left -= 1
                if left <= 0 or self._closed or cid not in self._due:
                    return
        except Exception as error:  # noqa: BLE001 - somebody else's code, and a hint: the want stands
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.counts["failed"] += 1
        logger.info("looking for providers: %r", error)

    def _ended(self) -> None:
        with self._lock:
            self._searching -= 1

    def _reach(self, peer: str, cid: bytes) -> None:
        """``peer``: an id, or an address that ends in it."""
        if cid not in self._due:  # it came while the router was asked: wanted anew it would stay wanted
            return
        try:
            if (
                isinstance(self._host, ReachingHost)
                and peer not in self._reached
                and len(self._reached) < REACHED_MAX
            ):
                self._host.reach(peer)
                self._reached.add(peer)
                self.counts["reached"] += 1
            if cid in self._due:  # still
                self._exchange.want([cid], [peer.rpartition("/")[2]])
        except CrdtStatsError as error:  # an address that is none, or all is closed by now
            logger.info("%s was named for a block: %s", peer, error)


def _at_once(search: Coroutine[object, object, None]) -> None:
    try:
        search.send(None)
    except StopIteration:
        return
    search.close()
    raise UsageError("this router waits for something: a store without threads cannot")
