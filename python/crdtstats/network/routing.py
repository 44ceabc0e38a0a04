"""Finds peers that have a block which nobody connected has, by the Kademlia DHT that Go peers share; and is found."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import trio
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.peerinfo import PeerInfo
from libp2p.tools.anyio_service import background_trio_service

from crdtstats.network import hardened
from crdtstats.network.content import read_uvarint

log = logging.getLogger("crdtstats.network.routing")

TICK_S = 0.5
SEARCH_AFTER_S = 1.0
"""A block that connected peers were asked for in vain for so long is looked for."""
SEARCH_AGAIN_S = 30.0
SEARCHES_MAX = 4
"""At a time, and blocks looked for in one round: who has one of them has the others too, as a rule."""
PROVIDERS_MAX = 8
ADDRESSES_MAX = 8
"""Of one provider: whoever answered a search may have named any number of them."""
SEARCH_TIMEOUT_S = 20.0
PROVIDE_TIMEOUT_S = 20.0
PROVIDE_AGAIN_S = 10.0
"""Records of new heads go out at most this often: the newest one leads to all below it."""
IDENTIFY_TRIES, IDENTIFY_S = 10, 0.5
"""Which protocols a new peer speaks is known some time after it has connected."""


class Routing:
    """A ``CRDTRouter`` over kad-dht. ``stuck`` gives the CIDs that no connected peer has."""

    def __init__(self, host: Any, nursery: trio.Nursery, stuck: Callable[[], list[bytes]]) -> None:
        self._host, self._nursery, self._stuck = host, nursery, stuck
        self._dht: Any = KadDHT(host, DHTMode.SERVER, enable_values=False)
        self._since: dict[bytes, float] = {}  # stuck CID -> when it is looked for next
        self._searching = trio.CapacityLimiter(SEARCHES_MAX)
        self._newest: bytes | None = None
        self.counts = dict.fromkeys(("searches", "found", "dialled", "provided", "failed"), 0)

    async def run(self) -> None:
        """Task: lives as long as the host."""
        async with background_trio_service(self._dht):
            self._nursery.start_soon(self._provide)
            while True:
                await trio.sleep(TICK_S)
                self._look_round(trio.current_time())

    def connected(self, peer: Any) -> None:
        """A new peer may be a server of the DHT."""
        self._nursery.start_soon(self._learn, peer)

    def have(self, cids: Iterable[bytes]) -> None:
        """These blocks can be had from us; others are told of the last one."""
        for cid in cids:
            self._newest = cid

    async def find_providers(self, cid: bytes, count: int) -> AsyncIterator[str]:
        """Yield peer ids, at most ``count``, that said they have the block of ``cid``."""
        for info in await self._find(cid, count):
            yield str(info.peer_id)

    async def _learn(self, peer: Any) -> None:
        for _ in range(IDENTIFY_TRIES):
            await trio.sleep(IDENTIFY_S)
            if peer not in self._host.get_connected_peers() or await self._dht.add_peer(peer):
                return

    def _look_round(self, now: float) -> None:
        stuck = self._stuck()
        self._since = {cid: self._since.get(cid, now + SEARCH_AFTER_S) for cid in stuck}
        due = [cid for cid, at in self._since.items() if at <= now]
        for cid in due[: int(SEARCHES_MAX - self._searching.borrowed_tokens)]:
            self._since[cid] = now + SEARCH_AGAIN_S
            self._nursery.start_soon(self._search, cid)

    async def _search(self, cid: bytes) -> None:
        async with self._searching:
            for info in await self._find(cid, PROVIDERS_MAX):
                await self._dial(info)

    async def _find(self, cid: bytes, count: int) -> list[PeerInfo]:
        self.counts["searches"] += 1
        found: list[PeerInfo] = []
        try:
            with trio.move_on_after(SEARCH_TIMEOUT_S):
                found = await self._dht.provider_store.find_providers(_multihash(cid), count)
        except Exception as error:  # noqa: BLE001 - a search is a hint: the want stands
            self.counts["failed"] += 1
            log.info("looking for providers: %r", error)
        # Two servers of the DHT name the same peer.
        named = {info.peer_id: info for info in found if info.peer_id != self._host.get_id()}
        self.counts["found"] += len(named)
        return list(named.values())[:count]

    async def _dial(self, info: PeerInfo) -> None:
        """Whoever connects is asked for all that is wanted: nothing else needs to be told."""
        for address in info.addrs[:ADDRESSES_MAX]:
            if info.peer_id in self._host.get_connected_peers():
                return
            self.counts["dialled"] += 1
            if await hardened.dial(self._host, info.peer_id, address):
                return

    async def _provide(self) -> None:
        """Task: tell the DHT of the newest block. The library says it again every 22 hours."""
        provided: bytes | None = None
        while True:
            if self._newest is None or self._newest == provided or not self._host.get_connected_peers():
                await trio.sleep(TICK_S)
                continue
            cid = self._newest
            try:
                with trio.move_on_after(PROVIDE_TIMEOUT_S):
                    if await self._dht.provider_store.provide(_multihash(cid)):
                        self._forget(provided)
                        provided = cid
                        self.counts["provided"] += 1
            except Exception as error:  # noqa: BLE001 - nobody heard: tried again
                self.counts["failed"] += 1
                log.info("providing: %r", error)
            await trio.sleep(PROVIDE_AGAIN_S if provided == cid else TICK_S)

    def _forget(self, cid: bytes | None) -> None:
        """What is not the newest any more is not said again, or the list would grow for ever."""
        if cid is not None:
            self._dht.provider_store.providing_keys.discard(_multihash(cid))


def _multihash(cid: bytes) -> bytes:
    """What the DHT knows a block by: its CID without version and codec."""
    if cid[:2] == b"\x12\x20":  # CIDv0
        return cid
    _, position = read_uvarint(cid, 0)
    _, position = read_uvarint(cid, position)
    return cid[position:]
