"""Opaque bytes to every host that a host can reach."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from crdtstats.errors import ClosedError, UsageError
from crdtstats.protocols import Payload

if TYPE_CHECKING:
    from crdtstats.memory_network.host import MemoryHost

INBOX_MAX = 100
"""Payloads that wait for ``next``. The sender never waits: the oldest goes, for the newest says the most."""
PAYLOAD_BYTES_MAX = 1_048_426
"""What a gossip peer takes; a longer payload is lost without an error, here too."""


class MemoryBroadcaster:
    """A ``Broadcaster`` in a ``MemoryNetwork``; made by ``network.broadcaster(host)``.

    A broadcast reaches every host in the connected part of the network, whatever lies between (as gossip
    does), each receiver with a loss and a delay of its own. Nobody hears itself.
    """

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._inbox: deque[Payload] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._stats = {"sent": 0, "too_big": 0, "received": 0, "dropped": 0}

    @property
    def stats(self) -> dict[str, int]:
        """``sent``, ``too_big`` (lost for it), ``received``, and ``dropped`` (the inbox was full)."""
        with self._ready:
            return dict(self._stats)

    def broadcast(self, data: bytes) -> None:
        """Hand ``data`` to the network; waits for nobody. Raises ``ClosedError`` when closed."""
        if not isinstance(data, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"a payload is bytes, not {type(data).__name__}")
        fits = len(data) <= PAYLOAD_BYTES_MAX
        with self._ready:
            self._check_open()
            self._stats["sent" if fits else "too_big"] += 1
        if fits:
            self._host.network.gossip(self._host, data)

    def next(self, timeout: float | None = None) -> Payload | None:
        """The next payload, whose ``peer`` is who broadcast it; ``None`` after ``timeout`` (real) seconds.

        Raises ``ClosedError`` once closed, also in a call that waits already.
        """
        deadline = None if timeout is None else monotonic() + timeout
        with self._ready:
            while True:
                self._check_open()
                if self._inbox:
                    return self._inbox.popleft()
                left = None if deadline is None else deadline - monotonic()
                if left is not None and left <= 0:
                    return None
                self._ready.wait(left)

    def close(self) -> None:
        """Leave the topic and wake whoever waits in ``next``. Closing twice is no error."""
        with self._ready:
            self._closed = True
            self._inbox.clear()
            self._ready.notify_all()
        with self._host.network.lock:
            if self._host.broadcaster is self:
                self._host.broadcaster = None

    def receive(self, payload: Payload) -> None:
        """Called by the network: put a payload in the inbox; never waits."""
        with self._ready:
            if self._closed:
                return
            self._stats["received"] += 1
            if len(self._inbox) >= INBOX_MAX:
                self._inbox.popleft()
                self._stats["dropped"] += 1
            self._inbox.append(payload)
            self._ready.notify()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the broadcaster of {self._host.peer_id} is closed")
