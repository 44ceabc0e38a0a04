"""Who has our blocks: the evidence that a store waits for before it leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence


class Confirmation:
    """Done when one peer has said that it has every one of ``cids``. Any thread may call.

    Args:
        cids: what one and the same peer has to have; not empty.
    """

    def __init__(self, cids: Sequence[bytes]) -> None:
        self.cids = tuple(dict.fromkeys(bytes(cid) for cid in cids))
        self._left: dict[str, set[bytes]] = {}
        self._done = threading.Event()

    def heard(self, peer: str, cids: Iterable[bytes]) -> None:
        """``peer`` says that it has ``cids``."""
        left = self._left.setdefault(peer, set(self.cids))
        left.difference_update(cids)
        if not left:
            self._done.set()

    def wait(self, timeout_s: float) -> bool:
        """Whether one peer has them all, within ``timeout_s`` seconds."""
        return self._done.wait(timeout_s)
