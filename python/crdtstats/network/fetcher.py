"""Which way a wanted block comes: first by a walk where a peer speaks it, else by bitswap."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import Any

import trio

from crdtstats.errors import RemoteError
from crdtstats.network.bitswap import Bitswap
from crdtstats.network.frames import Kind, pack
from crdtstats.network.hardened import quietly
from crdtstats.network.link import ParentLink
from crdtstats.network.walk import CIDS_MAX, Walk

log = logging.getLogger("crdtstats.network.fetcher")

CACHE_BYTES_MAX = 8 << 20
"""Blocks just served: several peers ask for the same new block within a moment."""

NO_WALK_S = 60.0
"""A peer that did not answer a walk (Go peers never do) is asked by bitswap for so long."""


_Asked = tuple[int, Sequence[Any]]
"""How far below a block the walk may go, and who is known to have it."""


class Fetcher:
    """Wants in, blocks out (to the parent); and the other side of it: serves what the parent has.

    Made before the host listens, so that its protocols are there for the first who connects; then :meth:`begin`.
    """

    def __init__(self, host: Any, link: ParentLink) -> None:
        self._host, self._link = host, link
        self._nursery: trio.Nursery | None = None
        self._served: OrderedDict[bytes, bytes] = OrderedDict()
        self._served_bytes = 0
        self._wanted: set[bytes] = set()
        self._walks: dict[Any, dict[bytes, _Asked]] = {}  # peer -> what it will be asked for next
        self._no_walk: dict[Any, float] = {}  # peer -> until when
        self._misses: dict[Any, int] = {}
        self._last: Any = None  # the peer that last had what was wanted
        self.blamed: dict[str, int] = {}
        self.bitswap = Bitswap(host, self._blocks, self._deliver, self._confirmed)
        self.walk = Walk(host, link.ancestors, self._deliver)

    async def begin(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        await nursery.start(self.bitswap.run)

    # ---- wants

    def want(self, cids: Sequence[bytes], hints: Sequence[Any], ahead: int) -> None:
        self._wanted.update(cids)
        peer = self._walker(hints)
        if peer is None or self._nursery is None or (not ahead and self._is_bitswap_only(hints)):
            self.bitswap.want(cids, hints)
            return
        queue = self._walks.get(peer)
        if queue is None:
            queue = self._walks[peer] = {}
            self._nursery.start_soon(self._by_walk, peer, queue)
        queue.update(dict.fromkeys(cids, (ahead, hints)))

    def cancel(self, cids: Sequence[bytes]) -> None:
        self._wanted.difference_update(cids)
        self.bitswap.cancel(cids)

    def have(self, cids: Sequence[bytes]) -> None:
        self.bitswap.have(cids)

    def confirm(self, cids: Sequence[bytes]) -> None:
        """Tell the parent which peers have ``cids``, now or later."""
        self.bitswap.confirm(cids)

    async def _confirmed(self, peer: Any, cids: list[bytes]) -> None:
        await self._link.send(Kind.CONFIRMED, pack([str(peer).encode(), *cids]))

    def connected(self, peer: Any) -> None:
        self.bitswap.connected(peer, again=True)

    def disconnected(self, peer: Any) -> None:
        self._no_walk.pop(peer, None)
        self._misses.pop(peer, None)
        self.walk.disconnected(peer)
        self.bitswap.disconnected(peer)

    def _walker(self, hints: Sequence[Any]) -> Any:
        now = trio.current_time()
        connected = [p for p in self._host.get_connected_peers() if self._no_walk.get(p, 0) <= now]
        return min(
            connected,
            key=lambda p: (p not in hints, self._misses.get(p, 0), p != self._last),
            default=None,
        )

    def _is_bitswap_only(self, hints: Sequence[Any]) -> bool:
        """Whoever is known to have it walks not: asked for the block itself, it needs no detour by one that does."""
        now = trio.current_time()
        return any(self._no_walk.get(p, 0) > now for p in self._host.get_connected_peers() if p in hints)

    async def _by_walk(self, peer: Any, queue: dict[bytes, _Asked]) -> None:
        """Task, as long as anything waits: one question at a time, for all that came up since the one before."""
        try:
            while queue:
                ahead, _ = next(iter(queue.values()))
                asked = dict(islice(((c, a) for c, a in queue.items() if a[0] == ahead), CIDS_MAX))
                for cid in asked:
                    del queue[cid]
                if not await self._walk_for(peer, asked, ahead):
                    break
        finally:
            del self._walks[peer]
        self._by_bitswap(queue)

    async def _walk_for(self, peer: Any, asked: dict[bytes, _Asked], ahead: int) -> bool:
        """Ask one peer; ``False`` when it does not answer. What it has not is asked for by bitswap."""
        left = list(asked)
        answers = True
        try:
            while left and answers:
                answers = await self.walk.ask(peer, left, ahead, self._wanted.__contains__)
                if not answers and peer in self._host.get_connected_peers():  # else it only went away
                    self._no_walk[peer] = trio.current_time() + NO_WALK_S
                before, left = len(left), [cid for cid in left if cid in self._wanted]
                if len(left) == before:
                    break  # it has none of them; else they may only have been beyond the answer's size
        except RemoteError as error:
            await self._blame(peer, error)
            answers = False
        if len(left) == len(asked):
            self._misses[peer] = min(self._misses.get(peer, 0) + 1, 8)
        self._by_bitswap({cid: asked[cid] for cid in left})
        return answers

    def _by_bitswap(self, asked: dict[bytes, _Asked]) -> None:
        """These stand as wants until somebody has them."""
        for cid, (_, hints) in asked.items():
            if cid in self._wanted:
                self.bitswap.want([cid], hints)

    async def _blame(self, peer: Any, error: Exception) -> None:
        name = str(peer)
        self.blamed[name] = self.blamed.get(name, 0) + 1
        log.warning("peer %s dropped: %s", name, error)
        with trio.move_on_after(2):
            await quietly(self._host.disconnect(peer))

    async def _deliver(self, peer: Any, pairs: list[tuple[bytes, bytes]]) -> None:
        wanted = [pair for pair in pairs if pair[0] in self._wanted]
        name = str(peer).encode()
        if wanted:
            cids = [cid for cid, _ in wanted]
            self._wanted.difference_update(cids)
            self.bitswap.cancel(cids)
            self._last = peer
            self._misses.pop(peer, None)
            await self._link.send(Kind.BLOCKS, pack([name, *(part for pair in wanted for part in pair)]))
        if len(wanted) < len(pairs):
            named = {cid for cid, _ in wanted}
            ahead = [pair for pair in pairs if pair[0] not in named]
            await self._link.send(Kind.AHEAD, pack([name, *(part for pair in ahead for part in pair)]))

    # ---- serving

    async def _blocks(self, cids: Sequence[bytes]) -> dict[bytes, bytes | None]:
        found: dict[bytes, bytes | None] = {}
        for cid in cids:
            if (block := self._served.get(cid)) is not None:
                self._served.move_to_end(cid)
                found[cid] = block
        if rest := [cid for cid in cids if cid not in found]:
            asked = await self._link.blocks(rest)
            for cid, block in asked.items():
                if block is not None:
                    self._keep(cid, block)
            found |= asked
        return found

    def _keep(self, cid: bytes, block: bytes) -> None:
        if len(block) > CACHE_BYTES_MAX // 8 or cid in self._served:
            return
        self._served[cid] = block
        self._served_bytes += len(block)
        while self._served_bytes > CACHE_BYTES_MAX:
            self._served_bytes -= len(self._served.popitem(last=False)[1])

    def status(self) -> dict[str, Any]:
        return {
            "wanted": len(self._wanted),
            "bitswap": self.bitswap.counts,
            "walk": self.walk.counts,
            "blamed": self.blamed,
        }
