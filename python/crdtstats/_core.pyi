"""The compiled part of crdtstats."""

from typing import Literal, final

__version__: str

# ---- wire (rust/python/src/wire.rs): what crdtstats.wire and the network wrap --------------------

@final
class Identity:
    """An Ed25519 private key: who a replica is."""

    def __new__(cls, data: bytes) -> Identity:
        """Read a key as libp2p marshals it. Raises ``UsageError`` for other kinds and damaged ones."""

    @staticmethod
    def generate() -> Identity:
        """A new key, from the operating system's randomness."""

    @property
    def peer_id(self) -> str:
        """The peer id as base58 text."""

    def to_bytes(self) -> bytes:
        """The private key as libp2p marshals it: a secret."""

    def sign(self, data: bytes) -> bytes:
        """64 bytes: the Ed25519 signature of ``data``."""

def cid_of(prefix: bytes, block: bytes) -> bytes:
    """The CID of a block that came with a bitswap prefix. Raises ``RemoteError``. Cost: one hash."""

def check_block(cid: bytes, block: bytes) -> None:
    """Raise ``RemoteError`` unless ``block`` is what ``cid`` names. Cost: one hash."""

def cid(block: bytes, hash: str) -> bytes:
    """The CIDv1 of a node. Raises ``UsageError`` for a hash that is not written."""

def clean_key(text: str) -> str:
    """The key as go-datastore cleans it. Raises ``UsageError`` for lone surrogates."""

def encode_key_component(part: bytes) -> str:
    """One key component that stands for ``part``, percent-encoded where it has to be."""

def encode_node(
    links: list[bytes],
    put: list[tuple[str, str, bytes]],
    removed: list[tuple[str, str, bytes]],
    priority: int,
    dag_name: str,
) -> bytes:
    """The block of an unsigned node; elements are (key, id, value). Raises ``UsageError``."""

def decode_node(
    block: bytes, topic: str | None
) -> tuple[
    list[bytes],
    list[tuple[str, str, bytes]],
    list[tuple[str, str, bytes]],
    int,
    str,
    tuple[bytes, bytes, int, int, bool] | None,
    tuple[Literal["valid", "unsigned", "invalid"], str | None] | None,
    bool,
]:
    """Links, elements, tombstones, priority, dagName, (author, section, sequence, kind, newer version),
    (signature, signer; only with ``topic``), exact form. Raises ``RemoteError``."""

def encode_broadcast(heads: list[tuple[bytes, str, bytes | None]]) -> bytes:
    """The payload of heads (CID, dagName, block). Raises ``UsageError``."""

def decode_broadcast(payload: bytes) -> list[tuple[bytes, str, bytes | None]]:
    """The heads of a payload. Raises ``RemoteError``."""

# ---- end of wire ---------------------------------------------------------------------------------
