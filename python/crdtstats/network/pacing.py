"""Publishing at a rate that peers can follow."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio

PUBLISH_PER_S_MAX = 100
"""py-libp2p needs about 1 ms for each message and peer; faster bursts overflow queues of 32 at Go peers."""
BURST_MAX = 10
QUEUE_MAX = 256


class Pacer:
    """A bounded queue in front of ``publish``: the oldest is dropped when full, and counted."""

    def __init__(self, publish: Callable[[str, bytes], Awaitable[None]]) -> None:
        self._publish = publish
        self._queue: deque[tuple[str, bytes]] = deque()
        self._filled = trio.Event()
        self.published = 0
        self.dropped = 0

    def put(self, topic: str, data: bytes) -> None:
        if len(self._queue) >= QUEUE_MAX:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append((topic, data))
        self._filled.set()

    async def drained(self) -> None:
        """Return when nothing waits."""
        while self._queue:
            await trio.sleep(0.005)

    async def run(self) -> None:
        """Task: a bucket of ``BURST_MAX`` that fills at ``PUBLISH_PER_S_MAX``."""
        allowance, last = float(BURST_MAX), trio.current_time()
        while True:
            if not self._queue:
                self._filled = trio.Event()
                await self._filled.wait()
            now = trio.current_time()
            allowance = min(BURST_MAX, allowance + (now - last) * PUBLISH_PER_S_MAX)
            last = now
            if allowance < 1:
                await trio.sleep((1 - allowance) / PUBLISH_PER_S_MAX)
                continue
            allowance -= 1
            await self._publish(*self._queue.popleft())
            self.published += 1
