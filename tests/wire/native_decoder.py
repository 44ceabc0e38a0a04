"""A second reader of signed nodes, written from the description alone: it shares no code with the package.

Slow and plain on purpose. It must say of every vector what the Rust codec says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
ED25519_PEER_ID = bytes.fromhex("002408011220")
SIGNATURE_FIELD = bytes.fromhex("aa0640")


class Undecodable(Exception):
    """The bytes are no node."""


@dataclass
class Decoded:
    links: list[bytes] = field(default_factory=list)
    elements: list[tuple[str, str, bytes]] = field(default_factory=list)
    tombstones: list[tuple[str, str, bytes]] = field(default_factory=list)
    priority: int = 0
    dag: str = ""
    native: dict[str, Any] | None = None
    signatures: list[int] = field(default_factory=list)
    """Where each field 101 of the Delta begins in the block."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if at >= len(data):
            raise Undecodable("varint cut")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >= 2**64:
                raise Undecodable("varint over 64 bits")
            return value, at
    raise Undecodable("varint over 10 bytes")


def write_varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def read_field(data: bytes, at: int) -> tuple[int, int, Any, int, int]:
    """(number, wire type, value, where the value's bytes begin, where the next field begins)."""
    tag, at = read_varint(data, at)
    number, kind = tag >> 3, tag & 7
    if not 1 <= number < 2**29:
        raise Undecodable("field number")
    if kind == 0:
        value, end = read_varint(data, at)
        return number, kind, value, at, end
    if kind == 2:
        length, at = read_varint(data, at)
        end = at + length
    elif kind in (1, 5):
        end = at + (8 if kind == 1 else 4)
    elif kind == 3:
        end = at
        while True:
            inner, inner_kind, _, _, end = read_field(data, end)
            if inner_kind == 4:
                if inner != number:
                    raise Undecodable("group ends another")
                return number, kind, None, at, end
    elif kind == 4:
        return number, kind, None, at, at
    else:
        raise Undecodable("wire type")
    if end > len(data):
        raise Undecodable("field cut")
    return number, kind, data[at:end], at, end


def fields(data: bytes) -> list[tuple[int, int, Any, int, int]]:
    """(number, wire type, value, where the value begins, where the field begins) of each field."""
    out, at = [], 0
    while at < len(data):
        number, kind, value, begin, end = read_field(data, at)
        if kind == 4:
            raise Undecodable("end of no group")
        out.append((number, kind, value, begin, at))
        at = end
    return out


def text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Undecodable("not UTF-8") from error


def decode(block: bytes) -> Decoded:
    out = Decoded()
    data, base, order = None, 0, ""
    for number, kind, value, begin, _ in fields(block):
        if kind != 2 or number not in (1, 2):
            raise Undecodable("field of the node")
        order += "dl"[number - 1]
        if number == 1:
            data, base = value, begin
        else:
            out.links.append(decode_link(value))
    if order.count("d") > 1 or (order.startswith("l") and order.endswith("l") and "d" in order):
        raise Undecodable("order of the node")
    for number, kind, value, _, begin in fields(data or b""):
        if number == 101:
            out.signatures.append(base + begin)
        elif (number, kind) == (1, 2):
            out.elements.append(decode_element(value))
        elif (number, kind) == (2, 2):
            out.tombstones.append(decode_element(value))
        elif (number, kind) == (3, 0):
            out.priority = value
        elif (number, kind) == (4, 2):
            out.dag = text(value)
        elif (number, kind) == (100, 2):
            try:
                out.native = decode_native(value)
            except Undecodable:
                out.native = None
    return out


def decode_link(data: bytes) -> bytes:
    numbers = [number for number, *_ in fields(data)]
    kinds = {1: 2, 2: 2, 3: 0}
    if numbers != sorted(set(numbers)) or 1 not in numbers:
        raise Undecodable("fields of a link")
    if any(kinds.get(number) != kind for number, kind, *_ in fields(data)):
        raise Undecodable("fields of a link")
    return fields(data)[0][2]


def decode_element(data: bytes) -> tuple[str, str, bytes]:
    got: dict[int, bytes] = {1: b"", 2: b"", 3: b""}
    for number, kind, value, *_ in fields(data):
        if kind == 2:
            if number in (1, 2):
                text(value)
            got[number] = value
    return text(got[1]), text(got[2]), got[3]


def decode_native(data: bytes) -> dict[str, Any]:
    names = {(1, 2): "author", (2, 2): "section", (3, 0): "sequence", (4, 0): "kind", (5, 2): "covers"}
    names[6, 0] = "chunk_count"
    out: dict[str, Any] = {
        "author": b"",
        "section": b"",
        "sequence": 0,
        "kind": 0,
        "covers": b"",
        "chunk_count": 0,
    }
    out["newer"] = False
    for number, kind, value, *_ in fields(data):
        if (number, kind) in names:
            out[names[number, kind]] = value
        else:
            out["newer"] = True
    out["newer"] |= len(out["section"]) != 16 or out["kind"] > 2
    return out


def signature(block: bytes, node: Decoded, topic: str) -> tuple[str, str | None]:
    """(valid, unsigned or invalid; the author's peer id where it is valid)."""
    at = len(block) - 67
    if node.signatures != [at] or block[at : at + 3] != SIGNATURE_FIELD:
        return "unsigned", None
    author = b"" if node.native is None else node.native["author"]
    if len(author) != 38 or not author.startswith(ED25519_PEER_ID):
        return "invalid", None
    key, r, s = author[6:], block[-64:-32], int.from_bytes(block[-32:], "little")
    if s >= L or is_small_order(key) or is_small_order(r):
        return "invalid", None
    topic_bytes = topic.encode()
    unsigned = blake3(block[:at]).digest()
    message = b"crdtstats/node/2" + len(topic_bytes).to_bytes(2, "big") + topic_bytes + unsigned
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(block[-64:], message)
    except (InvalidSignature, ValueError):
        return "invalid", None
    return "valid", base58(author)


def is_small_order(point: bytes) -> bool:
    """Whether 8 times the point is the neutral element; a string that is no point is treated as one."""
    y = int.from_bytes(point, "little") & (2**255 - 1)
    y %= P
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P:
        return True
    for _ in range(3):
        x, y = double(x, y)
    return (x, y) == (0, 1)


def double(x: int, y: int) -> tuple[int, int]:
    k = D * x * x * y * y
    return 2 * x * y * pow(1 + k, P - 2, P) % P, (y * y + x * x) * pow(1 - k, P - 2, P) % P


def base58(data: bytes) -> str:
    number, out = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        out = BASE58[digit] + out
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + out


def is_exact_form(block: bytes, node: Decoded) -> bool:
    """Whether the block is a node of ours as the description has it: written again from scratch."""
    if node.native is None or node.native["newer"] or node.links != sorted(set(node.links)):
        return False
    if any(id or key != clean(key) for key, id, _ in node.elements):
        return False

    def some(number: int, value: bytes | int, always: bool = False) -> bytes:
        if not value and not always:
            return b""
        if isinstance(value, int):
            return write_varint(number << 3) + write_varint(value)
        return write_varint(number << 3 | 2) + write_varint(len(value)) + value

    def entry(key: str, id: str, value: bytes) -> bytes:
        return some(1, key.encode()) + some(2, id.encode()) + some(3, value)

    says = node.native
    native = (
        some(1, says["author"]) + some(2, says["section"]) + some(3, says["sequence"]) + some(4, says["kind"])
    )
    native += some(5, says["covers"]) + some(6, says["chunk_count"])
    delta = b"".join(some(1, entry(*element), always=True) for element in node.elements)
    delta += b"".join(some(2, entry(*tombstone), always=True) for tombstone in node.tombstones)
    delta += some(3, node.priority) + some(4, node.dag.encode()) + some(100, native) + block[-67:]
    links = b"".join(some(2, some(1, link) + bytes.fromhex("12001800")) for link in node.links)
    return (
        block[-67:].startswith(SIGNATURE_FIELD)
        and len(node.signatures) == 1
        and block == links + some(1, delta)
    )


def clean(key: str) -> str:
    parts: list[str] = []
    for part in key.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def counted(node: Decoded, author: str | None, topic: str) -> list[str]:
    """Keys of the elements that count, in the block's order."""
    if node.native is not None and node.native["newer"]:
        return []
    native = topic != "/warpnet/stats/1.0.0"
    out = []
    for key, _, _ in node.elements:
        parts = key.split("/")
        if parts[1:2] != ["STATS"] or parts[2:3] not in (["incr"], ["decr"]) or len(parts) < 4:
            continue
        is_signed = len(parts) >= 6 and parts[-1].startswith("73696731")
        if (is_signed and author == parts[-2]) or (not is_signed and not native):
            out.append(key)
    return out
