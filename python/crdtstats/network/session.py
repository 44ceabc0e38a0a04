"""A noise session that takes from the socket what is there, and deciphers it without waiting. Child process only.

The library's own awaits two reads of the socket for each noise message (its two bytes of length, its body), each with
a lock and a turn of the event loop, and copies what is left over of every message: with frames of 64 KiB that is most
of what a transfer costs. What goes over the wire is the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from libp2p.abc import IRawConnection, ISecureConn
from libp2p.io.exceptions import IncompleteReadError
from libp2p.peer.id import ID
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.security.noise.transport import Transport
from libp2p.security.secure_session import SecureSession

READ_BYTES = 256 << 10
"""Asked of the socket at a time; four noise messages of the greatest size."""


class Session(SecureSession):
    """A ``SecureSession`` after its handshake, with ``plain``: what is deciphered and not yet taken."""

    def __init__(self, done: SecureSession) -> None:
        super().__init__(
            local_peer=done.local_peer,
            local_private_key=done.local_private_key,
            remote_peer=done.remote_peer,
            remote_permanent_pubkey=done.remote_permanent_pubkey,
            is_initiator=done.is_initiator,
            conn=done.conn,
        )
        transport: Any = done.conn
        self._noise = transport.noise_state
        self._raw: IRawConnection = transport.read_writer.read_write_closer
        self._sealed = bytearray()
        self.plain = bytearray()
        self.before_read: Callable[[], Awaitable[None]] | None = None
        """Of the muxer: handles what it can in ``plain`` itself, before ``read`` gives the rest."""

    async def fill(self, size: int) -> None:
        """Wait until ``plain`` holds ``size`` bytes; nothing is waited for when it does.

        Raises ``IncompleteReadError`` at the end of the connection, and what noise says of a forged message.
        """
        while len(self.plain) < size:
            data = await self._raw.read(READ_BYTES)
            if not data:
                received = len(self.plain) + len(self._sealed)
                self.plain.clear()  # the rest of a frame: the library reads on, and would take it for a header
                raise IncompleteReadError("connection closed", size, received)
            self._sealed += data
            self._decipher()

    def _decipher(self) -> None:
        sealed, position = self._sealed, 0
        with memoryview(sealed) as view:
            while (end := position + 2) <= len(sealed):
                end += int.from_bytes(view[position:end], "big")
                if end > len(sealed):
                    break
                self.plain += self._noise.decrypt(bytes(view[position + 2 : end]))
                position = end
        del sealed[:position]

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes of ``plain``, which holds them."""
        with memoryview(self.plain) as view:
            taken = bytes(view[:size])
        del self.plain[:size]
        return taken

    async def read(self, n: int | None = None) -> bytes:
        """Exactly ``n`` bytes; what is there, at least one, without ``n``."""
        if n == 0:
            return b""
        if self.before_read is not None:
            await self.before_read()
        await self.fill(n or 1)
        return self.take(n or len(self.plain))

    async def write(self, data: bytes) -> None:
        """All noise messages of ``data`` in one write: the library's own makes one of each."""
        parts: list[bytes] = []
        for start in range(0, len(data), MAX_PLAINTEXT_LENGTH):
            sealed = self._noise.encrypt(bytes(data[start : start + MAX_PLAINTEXT_LENGTH]))
            parts += (len(sealed).to_bytes(2, "big"), sealed)
        await self._raw.write(b"".join(parts))


class Noise(Transport):
    """The library's handshake, our session."""

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        return _ours(await super().secure_inbound(conn))

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        return _ours(await super().secure_outbound(conn, peer_id))


def _ours(secured: ISecureConn) -> ISecureConn:
    return Session(secured) if type(secured) is SecureSession else secured
