"""Framing between the client and its child process: u32 length, u8 kind, payload; and lists of byte strings.

Both sides are the same release of the same package: nothing here is for another machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum

from crdtstats.errors import InternalError

HEADER = struct.Struct(">IB")
"""Length of kind and payload, kind."""
FRAME_BYTES_MAX = 16 << 20
"""A walk's answer (at most 4 MiB plus one block of 4 MiB) fits twice; more is a bug, not data."""

_ITEM = struct.Struct(">I")


class Kind(IntEnum):
    """What a frame says. First half: client to child; second half: child to client."""

    START = 1  # identity key, JSON settings, peers ...
    PUBLISH = 2  # topic, data
    SUBSCRIBE = 3  # topic
    WANT = 4  # u32 how many blocks to walk ahead, peers (space separated), CIDs ...
    CANCEL = 5  # CIDs ...
    HAVE = 6  # CIDs ...
    ANSWER = 7  # u32 request, one item for each CID asked: state byte, block
    WALKED = 8  # u32 request, CID, block, CID, block ...
    CONNECT = 9  # multiaddr with /p2p/
    STOP = 10
    CONFIRM = 11  # CIDs ...: which peers have them?

    READY = 64  # peer id, multiaddrs with /p2p/ ...
    MESSAGE = 65  # topic, author's peer id, data
    PEER = 66  # u8 connected, peer id
    BLOCKS = 67  # peer, CID, block, CID, block ...: wanted ones
    AHEAD = 68  # the same: what a walk brought beyond what was wanted
    SERVE = 69  # u32 request, CIDs ...
    WALK = 70  # u32 request, u32 blocks at most, u32 bytes at most, CIDs ...
    STATUS = 71  # JSON: counters
    LOG = 72  # u8 level, logger, text
    FAILED = 73  # text: the node cannot start
    CONFIRMED = 74  # peer, CIDs ...: it has them


def frame(kind: Kind, *parts: bytes | bytearray | memoryview) -> bytes:
    """One frame; its payload is ``parts`` end to end. Raises ``InternalError`` above ``FRAME_BYTES_MAX``."""
    size = 1 + sum(map(len, parts))
    if size > FRAME_BYTES_MAX:
        raise InternalError(f"frame of {size} bytes; FRAME_BYTES_MAX is {FRAME_BYTES_MAX}")
    return b"".join((HEADER.pack(size, kind), *parts))


def pack(items: Iterable[bytes | bytearray | memoryview]) -> bytes:
    """The items, each behind its u32 length."""
    parts: list[bytes | bytearray | memoryview] = []
    for item in items:
        parts.append(_ITEM.pack(len(item)))
        parts.append(item)
    return b"".join(parts)


def unpack(payload: bytes, start: int = 0) -> list[bytes]:
    """The items that ``pack`` wrote from ``start`` on. Raises ``ValueError`` when cut short."""
    items: list[bytes] = []
    position, end = start, len(payload)
    while position < end:
        if position + 4 > end:
            raise ValueError("list cut short")
        (size,) = _ITEM.unpack_from(payload, position)
        position += 4 + size
        if position > end:
            raise ValueError("item cut short")
        items.append(payload[position - size : position])
    return items


class FrameReader:
    """Bytes in, in pieces of any size; whole frames out.

    Cost: one copy of each payload. Raises ``ValueError`` on a length that no frame has.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (kind, payload) of every frame that ``data`` completes."""
        buffer = self._buffer
        buffer += data
        position = 0
        try:
            while len(buffer) - position >= HEADER.size:
                size, kind = HEADER.unpack_from(buffer, position)
                if not 1 <= size <= FRAME_BYTES_MAX:
                    raise ValueError(f"frame of {size} bytes")
                end = position + 4 + size
                if len(buffer) < end:
                    break
                payload = bytes(memoryview(buffer)[position + HEADER.size : end])
                position = end
                yield kind, payload
        finally:
            del buffer[:position]
