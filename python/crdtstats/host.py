"""The host of a store without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crdtstats._core import Identity
    from crdtstats.protocols import PeerChanged


class LocalHost:
    """A ``Host`` that has an identity and no connections."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    @property
    def peer_id(self) -> str:
        return self.identity.peer_id

    def sign(self, data: bytes) -> bytes:
        return self.identity.sign(data)

    def connections(self) -> list[str]:
        return []

    def on_peer(self, changed: PeerChanged) -> None:
        """Nobody ever connects, so ``changed`` is never called."""

    def close(self) -> None:
        """Nothing to close."""
