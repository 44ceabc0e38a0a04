"""The peer id of an Ed25519 identity as libp2p marshals it, without importing libp2p."""

from __future__ import annotations

from crdtstats.errors import UsageError

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PUBLIC_KEY_MULTIHASH = b"\x00\x24\x08\x01\x12\x20"
"""Identity multihash of 36 bytes: protobuf {Type: Ed25519, Data: 32 bytes}."""


def base58(data: bytes) -> str:
    """``data`` in the Bitcoin alphabet."""
    number = int.from_bytes(data, "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def peer_id_of(identity: bytes) -> str:
    """Peer id (base58) of a marshalled Ed25519 private key.

    Raises ``UsageError`` when ``identity`` is something else.
    """
    if (
        identity[:3] == b"\x08\x01\x12"
        and identity[3:4] in (b"\x40", b"\x60")
        and len(identity) == 4 + identity[3]
    ):
        return base58(_PUBLIC_KEY_MULTIHASH + identity[36:68])
    raise UsageError("identity must be an Ed25519 private key as libp2p marshals it (68 or 100 bytes)")
