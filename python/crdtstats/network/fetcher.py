"""Which way a wanted block comes: first by a walk where a peer speaks it, else by bitswap."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
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


class Fetcher:
    """Wants in, blocks out (to the parent); and the other side of it: serves what the parent has."""

    def __init__(self, host: Any, link: ParentLink, nursery: trio.Nursery) -> None:
        self._host, self._link, self._nursery = host, link, nursery
        self._served: OrderedDict[bytes, bytes] = OrderedDict()
        self._served_bytes = 0
        self._wanted: set[bytes] = set()
        self._no_walk: dict[Any, float] = {}  # peer -> until when
        self._misses: dict[Any, int] = {}
        self._last: Any = None  # the peer that last had what was wanted
        self.blamed: dict[str, int] = {}
        self.bitswap = Bitswap(host, self._blocks, self._deliver, self._confirmed)
        self.walk = Walk(host, link.ancestors, self._deliver)

    # ---- wants

    def want(self, cids: Sequence[bytes], hints: Sequence[Any], ahead: int) -> None:
        self._wanted.update(cids)
        peer = self._walker(hints)
        if peer is None:
            self.bitswap.want(cids, hints)
            return
        for start in range(0, len(cids), CIDS_MAX):
            self._nursery.start_soon(self._by_walk, peer, cids[start : start + CIDS_MAX], hints, ahead)

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
            key=lambda p: (self._misses.get(p, 0), p not in hints, p != self._last),
            default=None,
        )

    async def _by_walk(self, peer: Any, cids: Sequence[bytes], hints: Sequence[Any], ahead: int) -> None:
        left = list(cids)
        try:
            while left:
                if not await self.walk.ask(peer, left, ahead, self._wanted.__contains__):
                    if peer in self._host.get_connected_peers():  # else it only went away
                        self._no_walk[peer] = trio.current_time() + NO_WALK_S
                    break
                before, left = len(left), [cid for cid in left if cid in self._wanted]
                if len(left) == before:
                    break  # it has none of them; else they may only have been beyond the answer's size
        except RemoteError as error:
            await self._blame(peer, error)
        left = [cid for cid in left if cid in self._wanted]
        if len(left) == len(cids):
            self._misses[peer] = min(self._misses.get(peer, 0) + 1, 8)
        if left:  # wants that stand until somebody has them
            self.bitswap.want(left, hints)

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
