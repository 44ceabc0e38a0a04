"""What a store needs from outside: a datastore, a broadcaster, an exchange, a router and a host.

Each is a protocol with several implementations; everything above works with any mix of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable


class Payload(bytes):
    """A received broadcast: opaque bytes, and who sent them where that is known."""

    peer: str | None

    def __new__(cls, data: bytes, peer: str | None = None) -> Payload:
        self = super().__new__(cls, data)
        self.peer = peer
        return self


@runtime_checkable
class Datastore(Protocol):
    """Bytes under clean ``/``-separated keys: the verbs of go-datastore.

    A missing key raises ``KeyError``; a store that refuses raises ``UnavailableError``;
    a damaged one ``DataError``; after ``close`` every call raises ``ClosedError``.
    Where nothing but one value is damaged, the ``DataError`` of ``get`` and ``query`` has its key as the
    attribute ``key``: all others can be had, one by one.
    Any thread may call.
    """

    def get(self, key: str) -> bytes: ...
    def has(self, key: str) -> bool: ...
    def get_size(self, key: str) -> int: ...
    def put(self, key: str, value: bytes) -> None: ...
    def delete(self, key: str) -> None:
        """Remove ``key``; a missing key is no error."""
        ...

    def query(self, prefix: str, *, keys_only: bool = False) -> Iterator[tuple[str, bytes]]:
        """Yield (key, value) strictly below ``prefix``, by key; values are ``b""`` with ``keys_only``."""
        ...

    def batch(self, puts: Iterable[tuple[str, bytes]], deletes: Iterable[str] = ()) -> None:
        """Apply all or nothing, and durably: when it returns, power loss keeps it."""
        ...

    def sync(self, prefix: str = "/") -> None:
        """Return when everything put below ``prefix`` is durable."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Broadcaster(Protocol):
    """Opaque bytes to every peer of one topic; a hint, never a promise."""

    def broadcast(self, data: bytes) -> None:
        """Hand ``data`` to the transport; never waits for a peer."""
        ...

    def next(self, timeout: float | None = None) -> bytes | None:
        """The next payload (a ``Payload`` where the sender is known); ``None`` after ``timeout`` seconds.

        Raises ``ClosedError`` once the broadcaster is closed.
        """
        ...


ServeBlock = Callable[[bytes], bytes | None]
DeliverBlock = Callable[[bytes, bytes, str | None], None]
WalkBlocks = Callable[[bytes, int, int], Iterable[tuple[bytes, bytes]]]
PeerChanged = Callable[[str, bool], None]


@runtime_checkable
class Exchange(Protocol):
    """Fetches and serves blocks by CID (binary CIDs, ``bytes``). No call waits for the network."""

    def start(self, serve: ServeBlock, deliver: DeliverBlock, walk: WalkBlocks | None = None) -> None:
        """Begin. ``serve(cid)`` gives a published block or ``None``; ``deliver(cid, block, peer)`` takes a
        fetched one, already checked against its CID. ``walk(cid, count_max, bytes_max)`` gives (CID, block)
        of ``cid`` and of published blocks below it, nearest first, as far as the limits go; without it peers
        fetch history block by block. All are called from any thread, and never raise."""
        ...

    def want(self, cids: Sequence[bytes], peers: Sequence[str] = ()) -> None:
        """Ask for blocks, ``peers`` (who announced them) first; it asks again, with back-off, until
        delivered or cancelled."""
        ...

    def cancel(self, cids: Sequence[bytes]) -> None: ...

    def have(self, cids: Sequence[bytes]) -> None:
        """These blocks can be served from now on (answers peers that wait for them)."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Host(Protocol):
    """Who this replica is, and whom it is connected to."""

    @property
    def peer_id(self) -> str:
        """Peer id as base58 text."""
        ...

    def sign(self, data: bytes) -> bytes:
        """64 bytes: the Ed25519 signature by the identity key."""
        ...

    def connections(self) -> list[str]:
        """Peer ids that are connected now."""
        ...

    def on_peer(self, changed: PeerChanged) -> None:
        """Call ``changed(peer_id, connected)`` from now on, also once for each peer already there."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class ReachingHost(Protocol):
    """A host that connects to peers that a router names; it may take its time, or fail."""

    def reach(self, peer: str) -> None:
        """``peer`` is a peer id, or a multiaddr that ends in ``/p2p/`` and one. Does not wait."""
        ...


@runtime_checkable
class CRDTRouter(Protocol):
    """Finds peers that can serve a block."""

    def find_providers(self, cid: bytes, count: int) -> AsyncIterator[str]:
        """Yield at most ``count`` peer ids; or, where it knows how to reach them, multiaddrs with ``/p2p/``."""
        ...


@runtime_checkable
class GossipPubSuber(Protocol):
    """Publishes to and subscribes to raw topics (the client of the network node is one)."""

    def publish_raw(self, topic: str, data: bytes) -> None: ...
    def subscribe_raw(self, topic: str, handler: Callable[[bytes, str | None], None]) -> None: ...
