"""Heads and CIDs as text, as Go prints them."""

from __future__ import annotations

from base64 import b32encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crdtstats import CRDTStatsStore


def text(cid: bytes) -> str:
    """A CIDv1 in base32, which needs no library."""
    return "b" + b32encode(cid).decode().lower().rstrip("=")


def bytes_of(cid: str) -> bytes:
    from multiformats import CID

    return bytes(CID.decode(cid))


def heads(store: CRDTStatsStore) -> list[str]:
    """The heads of the one DAG, sorted."""
    return sorted(text(cid) for cid, _ in store._running.engine.heads().get("", []))
