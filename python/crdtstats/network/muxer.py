"""A yamux connection that handles frames of data and of credit without a turn of the event loop. Child process only.

The library's own takes two locks, reads twice, and formats a line of log that nobody reads, for each frame; each lock
is a turn of the loop, in which all other tasks run. Nothing here waits while it changes a stream, so no lock is needed;
frames that open, close, or reset a stream are left to the library.

A peer that sends more than it was given credit for is cut off; the library notes it in its log and keeps the bytes.
``recv_window`` is what we granted, from the first window on, less what came: it grows before the credit is sent and
frames come in order, so a peer that keeps to what it was told is never beyond it.
"""

from __future__ import annotations

import logging
import struct
from typing import Any, ClassVar

import trio
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    FLAG_SYN,
    HEADER_SIZE,
    MAX_WINDOW_SIZE,
    TYPE_DATA,
    TYPE_WINDOW_UPDATE,
    Yamux,
    YamuxStream,
)

from crdtstats.errors import RemoteError
from crdtstats.network.session import Session

log = logging.getLogger("crdtstats.network.muxer")

BODY_TIMEOUT_S = 60.0
"""A frame that was announced and does not come: as the library has it."""
_HEADER = struct.Struct("!BBHII")


class Muxer(Yamux):
    """Yamux over a ``Session``; over any other connection it is the library's."""

    overruns: ClassVar[int] = 0
    """Connections of this process that ended because the peer sent more than it had credit for."""

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
        """Handle frames up to the first that is more than data or credit.

        Raises as ``Session.fill``, and ``RemoteError`` for data without credit; the library ends the connection.
        """
        session = self._session
        assert session is not None
        plain = session.plain
        while True:
            await session.fill(HEADER_SIZE)
            _, kind, flags, number, length = _HEADER.unpack_from(plain)
            stream = self.streams.get(number)
            if flags or kind not in (TYPE_DATA, TYPE_WINDOW_UPDATE):
                if kind == TYPE_DATA and (stream is not None or flags & FLAG_SYN):
                    self._keeps_to_credit(stream, number, length)
                return
            if kind == TYPE_WINDOW_UPDATE:
                del plain[:HEADER_SIZE]
                if stream is not None:
                    stream.send_window += length
                continue
            if length > MAX_WINDOW_SIZE:
                return  # the library ends the connection
            if stream is not None:
                self._keeps_to_credit(stream, number, length)
            await self._body(session, HEADER_SIZE + length)
            stream = self.streams.get(number)
            if stream is not None:
                with memoryview(plain) as view:
                    self.stream_buffers[number] += view[HEADER_SIZE : HEADER_SIZE + length]
                stream.recv_window -= length
                self.stream_events[number].set()
            del plain[: HEADER_SIZE + length]

    def _keeps_to_credit(self, stream: YamuxStream | None, number: int, length: int) -> None:
        """Raise ``RemoteError`` when ``length`` bytes of data are more than the peer may send; before they are read."""
        granted = DEFAULT_WINDOW_SIZE if stream is None else stream.recv_window
        if length > granted:
            Muxer.overruns += 1
            log.warning("connection to %s ended: %d bytes, credit for %d", self.peer_id, length, granted)
            raise RemoteError(f"stream {number}: {length} bytes came, with credit for {granted}")

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
