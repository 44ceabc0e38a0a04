"""Keeps the configured peers connected."""

from __future__ import annotations

import logging
import random
from typing import Any

import trio
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr

from crdtstats.network import hardened

log = logging.getLogger("crdtstats.network.redial")

CHECK_S = 0.5
"""How soon a lost connection is noticed."""
BACKOFF_S_MAX = 15.0
BACKOFF_S_MIN = 0.25
ADDRESSES_MAX = 16
"""Addresses tried for one peer: those configured, then those it told us of."""


class Redial:
    """Dials each wanted peer at each of its addresses, with jittered back-off, while it is not connected."""

    def __init__(self, host: Any, nursery: trio.Nursery) -> None:
        self._host = host
        self._nursery = nursery
        self._addresses: dict[Any, list[Multiaddr]] = {}
        self._retry: dict[Any, trio.Event] = {}
        self.attempts = 0

    def add(self, address: str) -> None:
        """Keep the peer of ``address`` (with ``/p2p/``) connected; one more for a known peer counts.

        Raises ``ValueError`` when it is no such address.
        """
        try:
            info = info_from_p2p_addr(Multiaddr(address))
        except Exception as error:
            raise ValueError(f"{address!r} is no multiaddr with /p2p/: {error}") from error
        if info.peer_id == self._host.get_id():
            return
        known = self._addresses.get(info.peer_id)
        if known is None:
            self._addresses[info.peer_id] = list(info.addrs)
            self._retry[info.peer_id] = trio.Event()
            self._nursery.start_soon(self._keep, info.peer_id)
        else:
            known[:0] = [a for a in info.addrs if a not in known]
            self._retry[info.peer_id].set()

    async def _keep(self, peer: Any) -> None:
        backoff = BACKOFF_S_MIN
        while True:
            if peer in self._host.get_connected_peers():
                backoff = BACKOFF_S_MIN
                await trio.sleep(CHECK_S)
                continue
            if await self._try_all(peer):
                await trio.sleep(CHECK_S)
                if peer in self._host.get_connected_peers():
                    continue
                # It lets us in and closes at once, as a peer does that is told to keep us out: a failure as well.
            with trio.move_on_after(backoff * random.uniform(0.7, 1.3)):
                await self._retry[peer].wait()
                backoff = BACKOFF_S_MIN
            self._retry[peer] = trio.Event()
            backoff = min(2 * backoff, BACKOFF_S_MAX)

    async def _try_all(self, peer: Any) -> bool:
        try:
            told = self._host.get_peerstore().addrs(peer)
        except Exception:  # noqa: BLE001 - the library raises for a peer without addresses
            told = []
        known = self._addresses[peer]
        known += [a for a in (_bare(a) for a in told) if a not in known]
        del known[ADDRESSES_MAX:]
        for address in list(known):
            self.attempts += 1
            if await hardened.dial(self._host, peer, address):
                return True
            if peer in self._host.get_connected_peers():  # it dialled us meanwhile
                return True
        return False


def _bare(address: Multiaddr) -> Multiaddr:
    return Multiaddr(str(address).split("/p2p/")[0])
