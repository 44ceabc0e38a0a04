"""The child's end of the socket pair: frames in and out, and questions to the parent."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import AsyncIterator, Sequence

import trio

from crdtstats.network.frames import FrameReader, Kind, frame, pack, unpack

QUEUE_BYTES_MAX = 32 << 20
"""Beyond this the parent is not reading: blocks wait, messages and log lines are dropped."""
ASKED_MAX = 64
"""Questions to the parent at a time; more wait their turn."""
ANSWER_TIMEOUT_S = 10.0
_REQUEST = struct.Struct(">I")

HERE, MISSING, LATER = b"\1", b"\0", b"\2"
"""State byte of one block in an answer: it follows; not there; it did not fit, ask again."""


class ParentLink:
    """Frames to and from the parent. ``send`` waits for room, ``offer`` drops where there is none."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._filled = trio.Event()
        self._drained = trio.Event()
        self._asking = trio.Semaphore(ASKED_MAX)
        self._answers: dict[int, tuple[trio.Event, list[bytes]]] = {}
        self._request = 0
        self.dropped = 0

    def offer(self, kind: Kind, *parts: bytes) -> bool:
        """Queue a frame, or drop and count it when the parent is far behind."""
        if self._bytes > QUEUE_BYTES_MAX:
            self.dropped += 1
            return False
        self._put(frame(kind, *parts))
        return True

    async def send(self, kind: Kind, *parts: bytes) -> None:
        """Queue a frame, once there is room."""
        while self._bytes > QUEUE_BYTES_MAX:
            await self._drained.wait()
        self._put(frame(kind, *parts))

    def _put(self, data: bytes) -> None:
        self._queue.append(data)
        self._bytes += len(data)
        self._filled.set()

    async def write(self) -> None:
        """Task: carry the queue to the socket. Ends only by cancellation or a broken socket."""
        while True:
            if not self._queue:
                self._filled = trio.Event()
                await self._filled.wait()
            data = self._queue.popleft()
            while self._queue and len(data) < 1 << 16:  # few system calls for many small frames
                data += self._queue.popleft()
            await self._stream.send_all(data)
            self._bytes -= len(data)
            self._drained.set()
            self._drained = trio.Event()

    async def read(self) -> AsyncIterator[tuple[int, bytes]]:
        """Frames from the parent, answers excepted; ends when the parent closes its side."""
        reader = FrameReader()
        while True:
            data = await self._stream.receive_some(1 << 18)
            if not data:
                return
            for kind, payload in reader.feed(data):
                if kind in (Kind.ANSWER, Kind.WALKED):
                    (request,) = _REQUEST.unpack_from(payload)
                    waiting = self._answers.pop(request, None)
                    if waiting:
                        waiting[1].extend(unpack(payload, _REQUEST.size))
                        waiting[0].set()
                else:
                    yield kind, payload

    async def _ask(self, kind: Kind, head: bytes, cids: Sequence[bytes]) -> list[bytes] | None:
        async with self._asking:
            self._request = request = (self._request + 1) & 0xFFFFFFFF
            answered = trio.Event()
            items: list[bytes] = []
            self._answers[request] = answered, items
            try:
                await self.send(kind, _REQUEST.pack(request), head, pack(cids))
                with trio.move_on_after(ANSWER_TIMEOUT_S):
                    await answered.wait()
                    return items
                return None
            finally:
                self._answers.pop(request, None)

    async def blocks(self, cids: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """What the parent serves for ``cids``: block, or ``None`` where it has none.

        A CID that is absent from the result did not fit into the answer: ask again.
        """
        items = await self._ask(Kind.SERVE, b"", cids)
        if items is None:
            return dict.fromkeys(cids)
        return {
            cid: item[1:] if item[:1] == HERE else None
            for cid, item in zip(cids, items, strict=True)
            if item[:1] != LATER
        }

    async def ancestors(self, cids: Sequence[bytes], count_max: int, bytes_max: int) -> list[bytes]:
        """CID, block, CID, block ...: ``cids`` and what lies below them, as far as the limits go."""
        head = struct.pack(">II", count_max, bytes_max)
        return await self._ask(Kind.WALK, head, cids) or []
