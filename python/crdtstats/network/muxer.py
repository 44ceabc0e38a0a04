"""A yamux connection that handles frames of data and of credit without a turn of the event loop. Child process only.

The library's own takes two locks, reads twice, and formats a line of log that nobody reads, for each frame; each lock
is a turn of the loop, in which all other tasks run. Nothing here waits while it changes a stream, so no lock is needed;
frames that open, close, or reset a stream are left to the library.
"""

from __future__ import annotations

import struct
from typing import Any

import trio
from libp2p.stream_muxer.yamux.yamux import (
    HEADER_SIZE,
    MAX_WINDOW_SIZE,
    TYPE_DATA,
    TYPE_WINDOW_UPDATE,
    Yamux,
)

from crdtstats.network.session import Session

BODY_TIMEOUT_S = 60.0
"""A frame that was announced and does not come: as the library has it."""
_HEADER = struct.Struct("!BBHII")


class Muxer(Yamux):
    """Yamux over a ``Session``; over any other connection it is the library's."""

    def __init__(self, secured_conn: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(secured_conn, *arguments, **named)
        self._session = secured_conn if isinstance(secured_conn, Session) else None

    async def handle_incoming(self) -> None:
        """Task: the library's loop, which sees only those frames that are left to it."""
        if self._session is not None:
            self._session.before_read = self._plain_frames
        await super().handle_incoming()

    async def _read_data_body(self, length: int) -> bytes:
        if self._session is None:
            return await super()._read_data_body(length)
        await self._body(self._session, length)
        return self._session.take(length)

    async def _body(self, session: Session, length: int) -> None:
        if len(session.plain) < length:
            with trio.fail_after(BODY_TIMEOUT_S):
                await session.fill(length)

    async def _plain_frames(self) -> None:
        """Handle frames up to the first that is more than data or credit. Raises as ``Session.fill``."""
        session = self._session
        assert session is not None
        plain = session.plain
        while True:
            await session.fill(HEADER_SIZE)
            _, kind, flags, number, length = _HEADER.unpack_from(plain)
            if flags or kind not in (TYPE_DATA, TYPE_WINDOW_UPDATE):
                return
            stream = self.streams.get(number)
            if kind == TYPE_WINDOW_UPDATE:
                del plain[:HEADER_SIZE]
                if stream is not None:
                    stream.send_window += length
                continue
            if length > MAX_WINDOW_SIZE:
                return  # the library ends the connection
            await self._body(session, HEADER_SIZE + length)
            stream = self.streams.get(number)
            if stream is not None:
                with memoryview(plain) as view:
                    self.stream_buffers[number] += view[HEADER_SIZE : HEADER_SIZE + length]
                stream.recv_window = max(0, stream.recv_window - length)
                self.stream_events[number].set()
            del plain[: HEADER_SIZE + length]

    async def read_stream(self, stream_id: int, n: int = -1) -> bytes:
        """As the library's; at once where a stream that is open has something."""
        stream = self.streams.get(stream_id)
        buffer = self.stream_buffers.get(stream_id)
        if (
            not buffer
            or stream is None
            or stream.recv_closed
            or stream.reset_received
            or stream.closed
            or self.event_shutting_down.is_set()
        ):
            return await super().read_stream(stream_id, n)
        if n < 0 or n >= len(buffer):
            data = bytes(buffer)
            buffer.clear()
        else:
            with memoryview(buffer) as view:
                data = bytes(view[:n])
            del buffer[:n]
        return data

    async def _write_frame(self, data: bytes) -> None:
        async with self._write_lock:
            await self.secured_conn.write(data)
