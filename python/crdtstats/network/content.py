"""Is this block what its CID says? The answer comes from the Rust core."""

from __future__ import annotations

from crdtstats._core import check_block, cid_of
from crdtstats.errors import RemoteError

CID_BYTES_MAX = 168
"""boxo's limit for an identity CID, the longest kind."""
BLOCK_BYTES_MAX = (4 << 20) - 4096
"""bitswap's message limit of 4 MiB minus room for its framing."""


def read_uvarint(data: bytes | bytearray | memoryview, position: int) -> tuple[int, int]:
    """(value, next position) of the unsigned varint at ``position``.

    Raises ``IndexError`` when cut short, ``ValueError`` beyond 64 bits.
    """
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("varint beyond 64 bits")


def uvarint(value: int) -> bytes:
    """``value`` as an unsigned varint, the shortest one."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def inline_block(cid: bytes) -> bytes | None:
    """The block that an identity CID is itself; ``None`` for any other CID."""
    if cid[:1] != b"\x01":
        return None
    try:
        _, position = read_uvarint(cid, 1)  # codec
        code, position = read_uvarint(cid, position)
        size, position = read_uvarint(cid, position)
    except (IndexError, ValueError):
        return None
    return cid[position:] if code == 0 and len(cid) == position + size else None


def prefix_of(cid: bytes) -> bytes:
    """Version, codec, hash and digest length of ``cid``, as bitswap sends them with a block.

    Raises ``ValueError`` or ``IndexError`` when ``cid`` is none.
    """
    if cid[:2] == b"\x12\x20":  # CIDv0: a bare sha2-256 multihash
        return b"\x00\x70\x12\x20"
    position = 0
    for _ in range(4):
        _, position = read_uvarint(cid, position)
    return cid[:position]


__all__ = [
    "BLOCK_BYTES_MAX",
    "CID_BYTES_MAX",
    "RemoteError",
    "check_block",
    "cid_of",
    "inline_block",
    "prefix_of",
    "read_uvarint",
    "uvarint",
]
