"""Who can serve a block, in a network that sees everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crdtstats.memory_network.host import MemoryHost


class MemoryRouter:
    """A ``CRDTRouter`` in a ``MemoryNetwork``: asks every reachable exchange, without faults or delay."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host

    async def find_providers(self, cid: bytes, count: int) -> AsyncIterator[str]:
        """Yield up to ``count`` peer ids, sorted, that would serve ``cid`` now."""
        for peer in self._host.network.reachable(self._host):
            if count <= 0:
                return
            exchange = peer.exchange
            if exchange is not None and exchange.serves(cid) is not None:
                count -= 1
                yield peer.peer_id
