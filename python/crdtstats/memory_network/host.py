"""One replica's place in a memory network."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING, Protocol

from crdtstats.errors import ClosedError
from crdtstats.protocols import PeerChanged

if TYPE_CHECKING:
    from crdtstats.memory_network.broadcaster import MemoryBroadcaster
    from crdtstats.memory_network.exchange import MemoryExchange
    from crdtstats.memory_network.network import MemoryNetwork


class Identity(Protocol):
    """Who a host is: ``crdtstats._core.Identity`` is one."""

    @property
    def peer_id(self) -> str: ...
    def sign(self, data: bytes, /) -> bytes: ...


class NamedIdentity:
    """A stand-in whose peer id is a name: readable traces, and signatures that verify nowhere."""

    def __init__(self, name: str) -> None:
        self.peer_id = name

    def sign(self, data: bytes, /) -> bytes:
        """64 bytes that depend on the name and the data, and prove nothing."""
        return hashlib.sha512(self.peer_id.encode() + b"\0" + data).digest()


class MemoryHost:
    """A ``Host`` in a ``MemoryNetwork``; made by ``join``."""

    def __init__(self, network: MemoryNetwork, identity: Identity) -> None:
        self.network = network
        self._identity = identity
        self._peer_id = identity.peer_id
        # All of this is guarded by the network's lock.
        self.alive = True
        self.links: dict[str, MemoryHost] = {}
        self.component = -1
        self.broadcaster: MemoryBroadcaster | None = None
        self.exchange: MemoryExchange | None = None
        self.listeners: list[PeerChanged] = []
        self.notices: deque[tuple[PeerChanged, str, bool]] = deque()
        self.notifying = False

    def __repr__(self) -> str:
        return f"<MemoryHost {self._peer_id}{'' if self.alive else ' (stopped)'}>"

    @property
    def peer_id(self) -> str:
        """Who this host is."""
        return self._peer_id

    def sign(self, data: bytes) -> bytes:
        """64 bytes: the signature of ``data`` by the identity."""
        return self._identity.sign(data)

    def connections(self) -> list[str]:
        """Peer ids that are connected now, sorted."""
        with self.network.lock:
            return sorted(self.links)

    def on_peer(self, changed: PeerChanged) -> None:
        """Call ``changed(peer_id, connected)`` from now on, also once for each peer already there.

        The calls of one host come one at a time and in the order of the changes.
        """
        with self.network.lock:
            if not self.alive:
                raise ClosedError(f"{self._peer_id} has left the network: join again")
            self.listeners.append(changed)
            self.notices.extend((changed, peer, True) for peer in sorted(self.links))
        self.network.notify([self])

    def reach(self, peer: str) -> None:
        """Connect to ``peer``, if it is in the network."""
        self.network.reach(self, peer)

    def close(self) -> None:
        """Leave the network for ever, as ``MemoryNetwork.stop`` does."""
        self.network.stop(self)
