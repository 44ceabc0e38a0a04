"""What go-ds-crdt peers say to each other, as values: DAG nodes, broadcasts, keys and CIDs.

Encodes and decodes byte for byte what the Go engine does. Nothing here is needed to count: it is for tools,
tests and other transports. CIDs are taken as ``multiformats.CID`` objects or as bytes, and given as objects.

Bytes that do not decode raise ``RemoteError``, wrong arguments ``UsageError``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from crdtstats import _core
from crdtstats.errors import RemoteError, UnavailableError, UsageError

if TYPE_CHECKING:
    from multiformats import CID

    AnyCID = CID | bytes

__all__ = [
    "Element",
    "Head",
    "Native",
    "Node",
    "cid",
    "clean_key",
    "decode_broadcast",
    "decode_node",
    "encode_broadcast",
    "encode_node",
]


@dataclass(frozen=True, slots=True)
class Element:
    """A key and its value; as a tombstone, a key and the id of the element that it removes.

    Attributes:
        key: as it was written: not necessarily clean.
        id: ``/`` and the base32 multihash of the removed element's block; ``""`` in written elements.
        value: of a counter, 8 bytes big-endian.
    """

    key: str
    id: str = ""
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Native:
    """What a node of crdtstats says about itself, in a field that Go passes over. True only if it is signed.

    Attributes:
        author: peer id (multihash bytes) of the replica that wrote the node.
        section: nonce of the section of its chain, 16 bytes.
        sequence: 1, 2, 3 … within the section.
        kind: 0 delta, 1 checkpoint top, 2 checkpoint chunk.
        from_newer_version: it holds something that this version does not know; such a node is not merged.
    """

    author: bytes
    section: bytes
    sequence: int
    kind: int
    from_newer_version: bool


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the Merkle-DAG.

    Attributes:
        links: CIDs of the heads that it replaces, in the block's order.
        elements: what it sets.
        tombstones: what it removes.
        priority: its height.
        dag_name: the DAG that it was written to; ``""`` is the default one.
        native: ``None`` in a Go peer's node.
        signature: ``"valid"``, ``"unsigned"`` or ``"invalid"``; ``None`` where no topic was given.
        signed_by: peer id of the author where the signature is valid.
        exact_form: whether the block is what crdtstats writes, byte for byte: signed, sorted, nothing more.
    """

    links: tuple[CID, ...] = ()
    elements: tuple[Element, ...] = ()
    tombstones: tuple[Element, ...] = ()
    priority: int = 0
    dag_name: str = ""
    native: Native | None = None
    signature: Literal["valid", "unsigned", "invalid"] | None = None
    signed_by: str | None = None
    exact_form: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """A head that a replica announces.

    Attributes:
        cid: of the head's block.
        dag_name: the DAG that it is a head of.
        block: the block itself, where it rides along. It is *not* checked against the CID.
    """

    cid: AnyCID
    dag_name: str = ""
    block: bytes | None = field(default=None, repr=False)


def encode_node(
    elements: Iterable[Element] = (),
    links: Iterable[AnyCID] = (),
    *,
    tombstones: Iterable[Element] = (),
    priority: int = 0,
    dag_name: str = "",
) -> bytes:
    """The block of an unsigned node, everything in the order given.

    Raises:
        UsageError: the block would pass 4 MiB, or an argument is no CID, no UTF-8 or no number below 2**64.
    """
    return _core.encode_node(
        [_bytes(link) for link in links], _entries(elements), _entries(tombstones), priority, dag_name
    )


def decode_node(block: bytes, *, topic: str | None = None) -> Node:
    """Read a block.

    Args:
        block: at most 4 MiB. It is *not* checked against a CID.
        topic: the gossip topic of its network, part of what is signed: tells who wrote the node.

    Raises:
        RemoteError: it is no node.
        UnavailableError: ``multiformats`` is not installed.
    """
    links, elements, tombstones, priority, dag_name, native, signature, exact_form = _core.decode_node(
        block, topic
    )
    return Node(
        links=tuple(_cid(link) for link in links),
        elements=tuple(Element(*element) for element in elements),
        tombstones=tuple(Element(*tombstone) for tombstone in tombstones),
        priority=priority,
        dag_name=dag_name,
        native=None if native is None else Native(*native),
        signature=None if signature is None else signature[0],
        signed_by=None if signature is None else signature[1],
        exact_form=exact_form,
    )


def encode_broadcast(heads: Iterable[Head]) -> bytes:
    """The payload that announces ``heads``, in the order given.

    Raises:
        UsageError: it would pass the 1,048,426 bytes that Go peers take, or a head's CID is none.
    """
    return _core.encode_broadcast([(_bytes(head.cid), head.dag_name, head.block) for head in heads])


def decode_broadcast(payload: bytes) -> list[Head]:
    """The heads of a payload; a bare CIDv0 is one head of the default DAG.

    Raises:
        RemoteError: it is no broadcast, or has an unknown field at its top.
        UnavailableError: ``multiformats`` is not installed.
    """
    return [Head(_cid(head), dag_name, block) for head, dag_name, block in _core.decode_broadcast(payload)]


def clean_key(text: str) -> str:
    """The key as go-datastore cleans it: a leading ``/``, no empty, ``.`` or ``..`` component.

    Raises:
        UsageError: the text has lone surrogates.
    """
    return _core.clean_key(text)


def cid(block: bytes, *, hash: str = "sha2-256") -> CID:
    """The CIDv1 of a node: codec dag-pb and ``hash`` (Go writes ``sha2-256``, native networks ``blake3``).

    Raises:
        UsageError: ``hash`` is none of sha2-256, sha2-512, sha3-256, blake3, blake2b-256.
        UnavailableError: ``multiformats`` is not installed.
    """
    return _cid(_core.cid(block, hash))


def _entries(elements: Iterable[Element]) -> list[tuple[str, str, bytes]]:
    return [(element.key, element.id, element.value) for element in elements]


def _bytes(cid: AnyCID) -> bytes:
    if isinstance(cid, str | int):  # bytes(3) would be three zeros
        raise UsageError(f"a CID is a multiformats.CID or bytes, not {type(cid).__name__}")
    return bytes(cid)


def _cid(data: bytes) -> CID:
    try:
        from multiformats import CID
    except ImportError as error:
        raise UnavailableError(
            "multiformats is not installed: CID objects need the extra, pip install 'crdtstats[p2p]'",
            extra="p2p",
        ) from error
    try:
        cid = CID.decode(data)
    except (KeyError, TypeError, ValueError) as error:
        raise RemoteError(f"a CID of a kind that multiformats does not know: {data.hex()}") from error
    return cid if cid.version == 0 else cid.set(base="base32")
