"""Private networks: every connection is enciphered below noise with a key that all members share.

The "Private Networks" page of the libp2p specifications, PSK v1: each side sends 24 random bytes in the clear and
then XORs all that it writes with the XSalsa20 keystream of the key and those bytes. The library's own layer takes
8 bytes and Salsa20, which nobody else speaks.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from libp2p.abc import ConnectionType, IRawConnection
from libp2p.network.connection.exceptions import RawConnError
from multiaddr import Multiaddr

from crdtstats._core import XSalsa20

log = logging.getLogger("crdtstats.network.psk")

NONCE_BYTES = 24
HELLO = b"\x13/multistream/1.0.0\n"
"""What each side says first, enciphered. Nothing else would tell a wrong key: this layer authenticates nothing."""

WRONG_PSK, NO_PSK, CLOSED_EARLY = "wrong-psk", "no-psk", "closed-before-hello"


class PrivateNetwork:
    """The key of a network, and why connections were refused for want of it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.refused: dict[str, int] = dict.fromkeys((WRONG_PSK, NO_PSK, CLOSED_EARLY), 0)

    def protect(self, connection: IRawConnection) -> ProtectedConnection:
        return ProtectedConnection(connection, self)

    def cipher(self, nonce: bytes) -> XSalsa20:
        return XSalsa20(self._key, nonce)

    def refuse(self, reason: str, address: Any) -> RawConnError:
        """Count and say it; gives what the reader raises."""
        self.refused[reason] += 1
        level = logging.WARNING if self.refused[reason] == 1 else logging.INFO
        log.log(level, "connection with %s refused: %s", address, reason)
        return RawConnError(reason)


class ProtectedConnection(IRawConnection):
    """A raw connection whose bytes only members of the network can read."""

    def __init__(self, connection: IRawConnection, network: PrivateNetwork) -> None:
        self._connection, self._network = connection, network
        self._reading: XSalsa20 | None = None
        self._writing: XSalsa20 | None = None
        self._expected = HELLO
        self.is_initiator = connection.is_initiator

    async def write(self, data: bytes) -> None:
        """As the raw connection; our nonce goes out before the first byte."""
        nonce = b""
        if self._writing is None:
            nonce = os.urandom(NONCE_BYTES)
            self._writing = self._network.cipher(nonce)
        await self._connection.write(nonce + self._writing.apply(data))

    async def read(self, n: int | None = None) -> bytes:
        """As the raw connection. Raises ``RawConnError`` when the other side turns out to have another key."""
        if self._reading is None:
            self._reading = self._network.cipher(await self._their_nonce())
        data = self._reading.apply(await self._connection.read(n))
        if self._expected:
            await self._check(data)
        return data

    async def _their_nonce(self) -> bytes:
        nonce = b""
        while len(nonce) < NONCE_BYTES:
            piece = await self._connection.read(NONCE_BYTES - len(nonce))
            if not piece:
                raise await self._refuse(CLOSED_EARLY)
            nonce += piece
            if len(nonce) >= len(HELLO) and nonce.startswith(HELLO):
                raise await self._refuse(NO_PSK)
        return nonce

    async def _check(self, data: bytes) -> None:
        if not data:
            raise await self._refuse(CLOSED_EARLY)
        size = min(len(data), len(self._expected))
        if data[:size] != self._expected[:size]:
            raise await self._refuse(WRONG_PSK)
        self._expected = self._expected[size:]

    async def _refuse(self, reason: str) -> RawConnError:
        error = self._network.refuse(reason, self.get_remote_address())
        await self._connection.close()
        return error

    async def close(self) -> None:
        await self._connection.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._connection.get_remote_address()

    def get_transport_addresses(self) -> list[Multiaddr]:
        return self._connection.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        return self._connection.get_connection_type()
