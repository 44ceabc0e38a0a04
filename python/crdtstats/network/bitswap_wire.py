"""Bitswap 1.2.0 messages (1.1.0 and 1.0.0 are read too). Spec: the IPFS "Bitswap" page, message schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from crdtstats.network.content import BLOCK_BYTES_MAX, CID_BYTES_MAX, prefix_of, read_uvarint, uvarint

PROTOCOL = "/ipfs/bitswap/1.2.0"
PROTOCOLS_READ = (PROTOCOL, "/ipfs/bitswap/1.1.0", "/ipfs/bitswap/1.0.0")
MESSAGE_BYTES_MAX = 4 << 20
"""boxo's limit: it resets the stream of a longer one."""
PREFIX_BYTES_MAX = 40
ENTRIES_MAX = 8192
"""Entries read of one wantlist; what is beyond is asked for again by an honest peer."""


@dataclass(slots=True)
class Entry:
    """One line of a wantlist."""

    cid: bytes
    cancel: bool = False
    have_only: bool = False
    tell_missing: bool = False


@dataclass(slots=True)
class Message:
    """What a peer said, decoded: nothing is checked against its hash yet."""

    full: bool = False
    entries: list[Entry] = field(default_factory=list)
    blocks: list[tuple[bytes, bytes]] = field(default_factory=list)
    """(prefix, block)"""
    present: list[tuple[bytes, bool]] = field(default_factory=list)
    """(CID, has it)"""
    refused: int = 0
    """Blocks with a prefix or size that nobody may send."""


def _field(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + uvarint(len(value)) + value


def fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield (tag with wire type, value). Strict about lengths; raises ``ValueError`` or ``IndexError``."""
    position, end = 0, len(data)
    while position < end:
        tag, position = read_uvarint(data, position)
        if tag & 7 == 0:
            value, position = read_uvarint(data, position)
        elif tag & 7 == 2:
            size, position = read_uvarint(data, position)
            value = data[position : position + size]
            position += size
        else:
            raise ValueError(f"wire type {tag & 7}")
        if position > end:
            raise ValueError("field cut short")
        yield tag, value


def have_entry(cid: bytes) -> bytes:
    """A wantlist line: say when you have the block, now or later; small ones are sent along."""
    return _field(0x0A, _field(0x0A, cid) + b"\x10\x01\x20\x01")


def want_entry(cid: bytes, *, cancel: bool = False) -> bytes:
    """A wantlist line: want the block and say when it is missing, or take the want back."""
    return _field(0x0A, _field(0x0A, cid) + (b"\x18\x01" if cancel else b"\x10\x01\x28\x01"))


def wantlist(entries: Iterable[bytes]) -> bytes:
    """The message part that holds wantlist lines."""
    return _field(0x0A, b"".join(entries))


def block_part(cid: bytes, block: bytes) -> bytes:
    """The message part that hands over a block; of its CID only the prefix travels."""
    return _field(0x1A, _field(0x0A, prefix_of(cid)) + _field(0x12, block))


def presence_part(cid: bytes, present: bool) -> bytes:
    """The message part that says whether a block is here."""
    return _field(0x22, _field(0x0A, cid) + (b"" if present else b"\x10\x01"))


def envelope(parts: Iterable[bytes]) -> bytes:
    """A whole message behind its length."""
    message = b"".join(parts)
    return uvarint(len(message)) + message


def decode(data: bytes | memoryview) -> Message:
    """Raises ``ValueError``, ``IndexError`` or ``TypeError`` on anything malformed."""
    message = Message()
    for tag, value in fields(memoryview(data)):
        if tag == 0x0A:
            _decode_wantlist(message, value)
        elif tag == 0x1A:
            got = dict(fields(value))
            prefix, block = bytes(got.get(0x0A, b"")), bytes(got.get(0x12, b""))
            if 4 <= len(prefix) <= PREFIX_BYTES_MAX and len(block) <= BLOCK_BYTES_MAX:
                message.blocks.append((prefix, block))
            else:
                message.refused += 1
        elif tag == 0x12:  # 1.0.0: a bare block, sha2-256 and CIDv0 understood
            message.blocks.append((b"\x00\x70\x12\x20", bytes(value)))
        elif tag == 0x22:
            got = dict(fields(value))
            message.present.append((_cid(got), not got.get(0x10)))
    return message


def _decode_wantlist(message: Message, body: memoryview) -> None:
    for tag, value in fields(body):
        if tag == 0x10 and value:
            message.full = True
        elif tag == 0x0A and len(message.entries) < ENTRIES_MAX:
            got = dict(fields(value))
            message.entries.append(
                Entry(_cid(got), bool(got.get(0x18)), bool(got.get(0x20)), bool(got.get(0x28)))
            )


def _cid(got: dict[int, Any]) -> bytes:
    cid = bytes(got.get(0x0A, b""))
    if not 4 <= len(cid) <= CID_BYTES_MAX:
        raise ValueError(f"CID of {len(cid)} bytes")
    return cid
