"""``cid_of`` and ``check_block`` in Python, until ``crdtstats._core`` has them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from crdtstats.errors import RemoteError


def _blake3(data: bytes) -> bytes:
    import blake3

    return blake3.blake3(data).digest()


_HASHES: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x12\x20": lambda data: hashlib.sha256(data).digest(),
    b"\x13\x40": lambda data: hashlib.sha512(data).digest(),
    b"\x16\x20": lambda data: hashlib.sha3_256(data).digest(),
    b"\x1e\x20": _blake3,
    b"\xa0\xe4\x02\x20": lambda data: hashlib.blake2b(data, digest_size=32).digest(),
}


def cid_of(prefix: bytes, block: bytes) -> bytes:
    """The CID of ``block`` under a bitswap ``prefix``. Raises ``RemoteError`` for an unknown hash."""
    for multihash, digest in _HASHES.items():
        if prefix.endswith(multihash):
            return (prefix[2:] if prefix[0] == 0 else prefix) + digest(block)
    if prefix[2:3] == b"\x00":
        return prefix + block
    raise RemoteError(f"unknown hash in CID prefix {prefix.hex()}")


def check_block(cid: bytes, block: bytes) -> None:
    """Raise ``RemoteError`` when ``block`` is not what ``cid`` names."""
    from crdtstats.network.content import prefix_of

    try:
        right = cid_of(prefix_of(cid), block) == cid
    except (ValueError, IndexError):
        right = False
    if not right:
        raise RemoteError(f"block does not match its CID {cid.hex()}")
