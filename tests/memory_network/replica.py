"""A host with a broadcaster, an exchange and a dict of blocks: the least that a network carries."""

from __future__ import annotations

import hashlib

from crdtstats.memory_network import MemoryNetwork


def cid(block: bytes) -> bytes:
    return hashlib.sha256(block).digest()


def check(wanted: bytes, block: bytes) -> None:
    if cid(block) != wanted:
        raise ValueError("this is another block")


class Replica:
    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.host = network.join(name)
        self.broadcaster = network.broadcaster(self.host)
        self.exchange = network.exchange(self.host)
        self.blocks: dict[bytes, bytes] = {}
        self.fetched: list[tuple[bytes, str | None]] = []
        self.exchange.start(self.blocks.get, self.deliver)

    def deliver(self, cid: bytes, block: bytes, peer: str | None) -> None:
        self.blocks[cid] = block
        self.fetched.append((cid, peer))
        self.exchange.have([cid])

    def publish(self, *blocks: bytes) -> list[bytes]:
        cids = [cid(block) for block in blocks]
        self.blocks.update(zip(cids, blocks, strict=True))
        self.exchange.have(cids)
        return cids
