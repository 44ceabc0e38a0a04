"""A ``Broadcaster`` over anything that publishes and subscribes to raw topics."""

from __future__ import annotations

import threading
import time
from collections import deque

from crdtstats.errors import ClosedError, UsageError
from crdtstats.protocols import GossipPubSuber, Payload

INBOX_MAX = 100
"""Payloads that wait for ``next``: the seed's number."""
PAYLOAD_BYTES_MAX = 1_048_426
"""What a gossipsub message of 1 MiB can carry; Go peers lose more without an error."""


class GossipBroadcaster:
    """Broadcasts on one topic, and keeps what arrives there in an inbox that never blocks the receiver.

    Args:
        gossip: the transport; its lifetime is the caller's.
        topic: subscribed at once.
    """

    def __init__(self, gossip: GossipPubSuber, topic: str) -> None:
        self._gossip, self._topic = gossip, topic
        self._inbox: deque[Payload] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._dropped = 0
        gossip.subscribe_raw(topic, self.receive)

    @property
    def dropped(self) -> int:
        """Payloads that gave way to newer ones because nobody took them."""
        return self._dropped

    def broadcast(self, data: bytes) -> None:
        """Hand ``data`` to the transport; never waits.

        Raises ``UsageError`` above ``PAYLOAD_BYTES_MAX``, ``ClosedError`` after ``close``.
        """
        if len(data) > PAYLOAD_BYTES_MAX:
            raise UsageError(
                f"broadcast of {len(data)} bytes; the limit is {PAYLOAD_BYTES_MAX}: split it",
                limit=PAYLOAD_BYTES_MAX,
            )
        if self._closed:
            raise ClosedError("the broadcaster is closed")
        self._gossip.publish_raw(self._topic, bytes(data))

    def next(self, timeout: float | None = None) -> Payload | None:
        """The oldest payload that waits, or ``None`` after ``timeout`` seconds (``None``: waits for ever).

        Raises ``ClosedError`` once closed, also in a thread that already waits.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._inbox:
                if self._closed:
                    raise ClosedError("the broadcaster is closed")
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            if self._closed:
                raise ClosedError("the broadcaster is closed")
            return self._inbox.popleft()

    def receive(self, data: bytes, peer: str | None = None) -> None:
        """Take a payload from the transport: never blocks, drops and counts the oldest when full."""
        payload = Payload(data, peer)
        with self._changed:
            if self._closed:
                return
            if len(self._inbox) >= INBOX_MAX:
                self._inbox.popleft()
                self._dropped += 1
            self._inbox.append(payload)
            self._changed.notify()

    def close(self) -> None:
        """Wake all who wait; what is in the inbox is dropped. The transport stays open."""
        with self._changed:
            self._closed = True
            self._inbox.clear()
            self._changed.notify_all()
